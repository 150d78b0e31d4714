"""When does a run come home for good? Ensembles of landscapes times learning rates, walked at once in constant memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .descent import walk
from .errors import EvidenceError, ShapeError
from .landscapes import PlateauValley, Quadratic
from .operators import norm
from .rules import SGD, AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent
from .transforms import ClipByNorm, chain
from .wrappers import InverseRoot, Pooled


def settle(rule, grad: Callable, x0, inside: Callable, steps: int, stay: float = 0.25) -> np.ndarray:
    """The step from which on a run stays inside, inf unless it stays for the last `stay` of all steps. Shape (..., 1).

    `inside(x)` is true where x is close enough; NaN is outside. The first visit counts for nothing, and neither does
    being inside when the clock happens to stop: a run that hops in and out every other step never settles.
    """
    if not (steps >= 1 and 0 <= stay < 1):
        raise ShapeError(f"settle needs steps >= 1 and stay in [0, 1), got steps={steps}, stay={stay}")
    last = None
    with np.errstate(all="ignore"):
        for t, now in zip(range(1, steps + 1), walk(rule, grad, x0), strict=False):
            outside = ~inside(now.x)
            last = np.zeros(outside.shape) if last is None else last
            np.copyto(last, t, where=outside)
    return np.where(last < (1 - stay) * steps, last + 1, np.inf)


class Raced(NamedTuple):
    """What a method does on an ensemble. Settling times in steps, inf where a run did not settle.

    `choice` is the setting and the rate chosen on the tuning landscapes for all landscapes, `at_edge` whether that rate
    ends the grid. On the test landscapes: `one` (n,) with this one choice, `oracle` (n,) with each landscape's own best
    rate and setting, `times` (rates, n) with the chosen setting.
    """

    choice: tuple[str, float]
    at_edge: bool
    one: np.ndarray
    oracle: np.ndarray
    times: np.ndarray

    def window(self, lrs):
        """Decades of rates that settle each landscape, counted in steps of the grid, shape (n,)."""
        return np.isfinite(self.times).sum(0) * np.log10(lrs[1] / lrs[0])


def capped(times, steps: int):
    """Settling times with 10 * steps for every run that did not settle, so that ratios and means exist."""
    return np.where(np.isfinite(times), times, 10 * steps)


def penalised(times, steps: int):
    """Mean of `capped` over the last axis.  Hutter et al. (2009): penalised average run time, PAR10."""
    return capped(times, steps).mean(-1)


def choose(times: dict[str, np.ndarray], lrs, tuning: int, steps: int) -> Raced:
    """Times of shape (rates, landscapes) for every setting -> the choice on the first `tuning` landscapes, the rest reported."""
    stacked = np.stack(list(times.values()))
    if not 0 < tuning < stacked.shape[-1]:
        raise EvidenceError(
            f"{tuning} of {stacked.shape[-1]} landscapes for tuning leaves none for one of the two; give both some"
        )
    score = penalised(stacked[..., :tuning], steps)
    setting, rate = np.unravel_index(score.argmin(), score.shape)
    test = stacked[..., tuning:]
    return Raced(
        (list(times)[setting], float(lrs[rate])),
        rate in (0, len(lrs) - 1),
        test[setting, rate],
        test.min((0, 1)),
        test[setting],
    )


#: method -> setting -> lr -> rule. eps is 0: it would be a second learning rate.
METHODS: dict[str, dict[str, Callable]] = {
    "SGD": {"": lambda lr: SGD(lr)},
    "heavy ball": {f"μ = {mu}": lambda lr, mu=mu: HeavyBall(lr, mu) for mu in (0.9, 0.98)},
    "clipped SGD": {f"c = {c}": lambda lr, c=c: chain(ClipByNorm(c), SGD(lr)) for c in (1e-4, 1e-3, 1e-2)},
    "sign": {"": lambda lr: SignDescent(lr)},
    "sign, 1/√t": {"": lambda lr: InverseRoot(SignDescent(lr))},
    "AdaGrad": {"": lambda lr: AdaGrad(lr, eps=0.0)},
    "RMSProp": {"": lambda lr: RMSProp(lr, eps=0.0)},
    "Adam": {"": lambda lr: Adam(lr, eps=0.0)},
    "Adam, β₂ = 0.99": {"": lambda lr: Adam(lr, beta2=0.99, eps=0.0)},
    "Adam, β₂ = 0.9": {"": lambda lr: Adam(lr, beta2=0.9, eps=0.0)},
    "AMSGrad": {"": lambda lr: AMSGrad(lr, eps=0.0)},
}


def chosen(method: str, raced: Raced):
    """The rule of a method with the setting and the rate that were chosen for it."""
    setting, lr = raced.choice
    return METHODS[method][setting](lr)


def plateau_race(method: str, land: PlateauValley, lrs, tuning: int, steps: int) -> Raced:
    """Every rate of `lrs` on every landscape; the first `tuning` of them choose, the others report."""
    lr = np.asarray(lrs, float)[:, None, None]
    times = {
        name: settle(make(lr), land.grad, land.start, land.settled, steps)[..., 0]
        for name, make in METHODS[method].items()
    }
    return choose(times, lrs, tuning, steps)


def turned_race(
    method: str, degrees, lrs, tuning: int, reporting: int, steps: int, condition=1e4, seed=0, pooled=False
):
    """One `Raced` per angle: a valley of curvatures 1 and `condition` in the plane, starts on the unit circle, home within 1/1000.

    The rate is chosen for every angle anew, on `tuning` starts; the same starts serve every angle and method.
    """
    n, rates = tuning + reporting, len(lrs)
    phase = 2 * np.pi * np.random.default_rng(seed).random(n)
    # all runs on one axis and the two coordinates apart in memory: loops run along the runs
    x0 = np.stack([np.tile(a(phase), rates) for a in (np.cos, np.sin)]).T
    lr = np.repeat(np.asarray(lrs, float), n)[:, None]
    land = Quadratic(np.array([1.0, condition]), np.deg2rad(degrees)[:, None])
    times = {}
    for name, make in METHODS[method].items():
        rule = Pooled(make(lr)) if pooled else make(lr)
        flat = settle(rule, land.grad, x0, lambda x: norm(x) <= 1e-3, steps)
        times[name] = flat.reshape(len(degrees), rates, n)
    return [choose({name: t[i] for name, t in times.items()}, lrs, tuning, steps) for i in range(len(degrees))]


class Entry(NamedTuple):
    """How runs entered the valley, shape (n,): ratios to the last step on the plateau; NaN for a run that never got there.

    `first`, `peak`: the first steep step and the longest within `after` steep steps. `rate`: the lowest rate of these.
    `ejected`: back on the plateau after having been in the valley. `overshoot`: the largest x, in widths.
    """

    first: np.ndarray
    peak: np.ndarray
    rate: np.ndarray
    ejected: np.ndarray
    overshoot: np.ndarray

    @property
    def came(self):
        """Whether a run got into the valley at all."""
        return np.isfinite(self.first)


def enter(rule, land: PlateauValley, steps: int, after: int = 100) -> Entry:
    """Walk into the valleys of `land` and watch the first passage over the lip."""
    x = land.start
    k = np.zeros(x.shape)  # steps since the first steep gradient, counting it
    before, rate_before, first, peak, low = (np.full(x.shape, np.nan) for _ in range(5))
    ejected, overshoot = np.zeros(x.shape, bool), np.zeros(x.shape)
    with np.errstate(all="ignore"):
        for _, now in zip(range(steps), walk(rule, land.grad, x), strict=False):
            steep = x >= -land.width
            k += steep | (k > 0)
            size = np.abs(now.rate * now.direction)
            np.copyto(before, size, where=k == 0)
            np.copyto(rate_before, now.rate, where=k == 0)
            np.copyto(first, size, where=k == 1)
            soon = (k > 0) & (k <= after)
            peak, low = (np.where(soon, f(a, b), a) for f, a, b in ((np.fmax, peak, size), (np.fmin, low, now.rate)))
            x = now.x
            ejected |= (k > 0) & (x < -land.width)
            overshoot = np.where(k > 0, np.fmax(overshoot, x / land.width), overshoot)
    parts = first / before, peak / before, low / rate_before, ejected, overshoot
    return Entry(*(np.broadcast_to(a, x.shape)[..., 0] for a in parts))


def peaks(rule, grad: Callable, x0, edges) -> np.ndarray:
    """The largest |x| in each window edges[i] < t <= edges[i + 1], shape (windows, ..., d)."""
    windows, top, ends = [], 0.0, set(map(int, edges))
    with np.errstate(all="ignore"):
        for t, now in zip(range(1, max(ends) + 1), walk(rule, grad, x0), strict=False):
            top = np.maximum(top, np.abs(now.x))
            if t in ends:
                windows.append(top)
                top = 0.0
    return np.stack(windows[1:])
