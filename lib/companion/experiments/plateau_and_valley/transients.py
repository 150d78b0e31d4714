"""What a run does before it settles and after: on the plateau, at the lip, and long after it came to the bottom."""

from collections.abc import Callable
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from stepsize.descent import walk
from stepsize.rules import SGD

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
    seen = np.empty((3, steps, len(land.start)))
    with np.errstate(all="ignore"):
        for t, now in zip(range(steps), walk(rule, land.grad, land.start), strict=False):
            for series, value in zip(seen, (now.x, now.rate, now.rate * now.direction), strict=True):
                series[t] = value[..., 0]
        (x, rate, step), width = seen, np.ravel(land.width)
        # the gradient of a step is taken where the step before has ended
        steep = np.concatenate([land.start.reshape(1, -1), x[:-1]]) >= -width
        k = steep.argmax(0)[None]  # the first steep step
        soon = np.minimum(k + np.arange(after)[:, None], steps - 1)
        inside = steep.any(0) & (np.arange(steps)[:, None] >= k)

        def relative(series, t):
            before = np.where(inside.any(0) & (k > 0), np.take_along_axis(series, k - 1, 0), np.nan)
            return np.take_along_axis(series, t, 0) / before

        size = np.abs(step)
        parts = (
            relative(size, k),
            np.fmax.reduce(relative(size, soon)),
            relative(rate, k),
            np.fmin.reduce(relative(rate, soon)),
            (inside & (x < -width)).any(0),
            np.fmax.reduce(np.where(inside, x / width, 0), initial=0.0),
        )
    return Entry(*(part.reshape(land.start.shape[:-1]) for part in parts))


def thrown_back(land: PlateauValley, crossing: float, steps: int) -> float:
    """The share of entries after which gradient descent lands on the plateau again, at the rate that takes `crossing` steps to the lip."""
    seen = enter(SGD(land.length / (crossing * land.slope)), land, steps)
    return seen.ejected[seen.arrived].mean()


def peaks(rule, grad: Callable, x0, edges) -> np.ndarray:
    """The largest |x| in each window edges[i] < t <= edges[i + 1], shape (windows, ..., d)."""
    iterates = (now.x for now in walk(rule, grad, x0))
    with np.errstate(all="ignore"):
        tops = [np.abs(list(islice(iterates, last - first))).max(0) for first, last in pairwise([0, *edges])]
    return np.stack(tops[1:])
