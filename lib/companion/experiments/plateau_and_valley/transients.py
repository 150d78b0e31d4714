"""What a run does before it settles and after: on the plateau, at the lip, and long after it came to the bottom."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stepsize.descent import walk
from stepsize.measures import monitor

from .landscapes import PlateauValley


def rate_left(rule, slopes, steps: int) -> np.ndarray:
    """The rate after so many steps of an endless plateau over the first one, for each slope; shape (slopes,)."""
    g = -np.asarray(slopes, float)[:, None]
    rates = [now.rate for _, now in zip(range(steps), walk(rule, lambda x, t: g, 0 * g), strict=False)]
    return (rates[-1] / rates[0])[:, 0]


class Entry(NamedTuple):
    """How runs entered the valley, shape (n,): ratios to the last step on the plateau; NaN for a run that never got there.

    `first`, `peak`: the first steep step and the longest within `after` steep steps. `first_rate`, `rate`: the rate of the
    first steep step and the lowest of these.
    `ejected`: back on the plateau after having been in the valley. `overshoot`: the largest x, in widths.
    """

    first: np.ndarray
    peak: np.ndarray
    first_rate: np.ndarray
    rate: np.ndarray
    ejected: np.ndarray
    overshoot: np.ndarray

    @property
    def arrived(self):
        """Whether a run got into the valley at all."""
        return np.isfinite(self.first)


def enter(rule, land: PlateauValley, steps: int, after: int = 100) -> Entry:
    """Walk into the valleys of `land` and watch the first passage over the lip."""
    x = land.start
    k = np.zeros(x.shape)  # steps since the first steep gradient, counting it
    before, rate_before, first, first_rate, peak, low = (np.full(x.shape, np.nan) for _ in range(6))
    ejected, overshoot = np.zeros(x.shape, bool), np.zeros(x.shape)
    with np.errstate(all="ignore"):
        for _, now in zip(range(steps), walk(rule, land.grad, x), strict=False):
            steep = x >= -land.width
            k += steep | (k > 0)
            size = np.abs(now.rate * now.direction)
            np.copyto(before, size, where=k == 0)
            np.copyto(rate_before, now.rate, where=k == 0)
            np.copyto(first, size, where=k == 1)
            np.copyto(first_rate, now.rate, where=k == 1)
            soon = (k > 0) & (k <= after)
            peak, low = (np.where(soon, f(a, b), a) for f, a, b in ((np.fmax, peak, size), (np.fmin, low, now.rate)))
            x = now.x
            ejected |= (k > 0) & (x < -land.width)
            overshoot = np.where(k > 0, np.fmax(overshoot, x / land.width), overshoot)
    parts = first / before, peak / before, first_rate / rate_before, low / rate_before, ejected, overshoot
    return Entry(*(np.broadcast_to(a, x.shape)[..., 0] for a in parts))


def peaks(rule, grad: Callable, x0, edges) -> np.ndarray:
    """The largest |x| in each window edges[i] < t <= edges[i + 1], shape (windows, ..., d)."""
    windows, top, ends = [], 0.0, set(map(int, edges))
    for t, size in monitor(rule, grad, x0, max(ends), np.abs):
        top = np.maximum(top, size)
        if t in ends:
            windows.append(top)
            top = 0.0
    return np.stack(windows[1:])
