"""Races on features of every size: rates tuned for each size on some problems, times reported on others, exponents."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from companion.evidence import bootstrap
from stepsize.errors import EvidenceError
from stepsize.measures import capped, penalised
from stepsize.rules import AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent

from .problem import Regression, descent_time, ride

#: method -> setting -> lr -> rule. eps is 0: what it adds is measured apart.
METHODS: dict[str, dict[str, Callable]] = {
    "heavy ball": {f"μ = {mu}": lambda lr, mu=mu: HeavyBall(lr, mu) for mu in (0.9, 0.97, 0.99, 0.997)},
    "sign": {"": lambda lr: SignDescent(lr)},
    "AdaGrad": {"": lambda lr: AdaGrad(lr, eps=0.0)},
    "RMSProp": {"": lambda lr: RMSProp(lr, eps=0.0)},
    "Adam": {"": lambda lr: Adam(lr, eps=0.0)},
    "Adam, β₂ = 0.9": {"": lambda lr: Adam(lr, beta2=0.9, eps=0.0)},
    "AMSGrad": {"": lambda lr: AMSGrad(lr, eps=0.0)},
}

#: Learning rates: those of the curvature, down to the stable ones at S = 10^4; and those of a weight's own size.
FINE, COARSE = 10 ** np.arange(-9, 0.01, 0.25), 10 ** np.arange(-4.5, 1.51, 0.25)


class Race(NamedTuple):
    """A method at every size S, with the setting and the rate of least mean capped time on the tuning problems.

    `lr`, `setting`, `at_edge` of shape (sizes,); lr is NaN where no rate got any tuning problem home. On the reported
    problems, (sizes, problems): `times` in steps, inf where it did not get home, `peak`, the largest loss over the first.
    """

    lr: np.ndarray
    setting: list[str]
    at_edge: np.ndarray
    times: np.ndarray
    peak: np.ndarray

    def rate(self, i: int) -> float:
        """The learning rate chosen at size i, for a rule; an error where there is none."""
        if np.isnan(self.lr[i]):
            raise EvidenceError(
                f"at size {i + 1} of {len(self.lr)} no learning rate of the grid got a tuning problem home before the "
                "horizon, so none was chosen; give the race more steps, or smaller sizes"
            )
        return float(self.lr[i])


def _problems(tuning, reporting, correlation=0.3):
    """Problems 0 ... tuning - 1 to choose on, and the `reporting` ones after them."""
    if tuning < 1 or reporting < 1:
        raise EvidenceError(f"a race needs problems to tune on and others to report, got {tuning} and {reporting}")
    seeds = range(tuning + reporting)
    return (Regression.sample(part, correlation=correlation) for part in (seeds[:tuning], seeds[tuning:]))


def race(method: str, sizes, tuning: int, reporting: int, steps: int, ceilings=(np.inf,), correlation: float = 0.3):
    """One `Race` per ceiling. A run whose loss exceeds `ceiling` times its first value counts as not home, in tuning and after."""
    makers, lrs = METHODS[method], FINE if method == "heavy ball" else COARSE
    sizes = np.asarray(sizes, float)
    practice, land = _problems(tuning, reporting, correlation)
    practice, lr = practice.sized(np.repeat(sizes, lrs.size)), np.tile(lrs, sizes.size)[:, None]
    tried = [ride(make(lr), practice, steps) for make in makers.values()]
    shape = len(makers), sizes.size, lrs.size

    @cache
    def report(size, setting, j):
        # ceilings often choose alike
        return ride(list(makers.values())[setting](np.full((1, 1), lrs[j])), land.sized(size), steps)

    def at(ceiling):
        score = np.reshape([penalised(np.where(peak <= ceiling, time, np.inf).T, steps) for time, peak in tried], shape)
        times, peaks = np.full((2, sizes.size, reporting), np.inf)
        best = [np.unravel_index(s.argmin(), s.shape) for s in score.swapaxes(0, 1)]
        home = score.min((0, 2)) < 10 * steps
        for i in np.flatnonzero(home):
            time, peak = report(sizes[i], *best[i])
            times[i], peaks[i] = np.where(peak <= ceiling, time, np.inf)[:, 0], peak[:, 0]
        rate = np.array([j for _, j in best])
        edge = home & np.isin(rate, (0, lrs.size - 1))
        return Race(np.where(home, lrs[rate], np.nan), [list(makers)[k] for k, _ in best], edge, times, peaks)

    return [at(ceiling) for ceiling in ceilings]


def descent_race(sizes, tuning: int, reporting: int, standardised: bool = False, correlation: float = 0.3) -> Race:
    """The same for gradient descent, by `descent_time` and so without an end; on raw or on standardised features."""
    practice, land = _problems(tuning, reporting, correlation)
    rates, times = [], []
    for size in np.asarray(sizes, float):
        first, second = (a.standardised() if standardised else a.sized(size) for a in (practice, land))
        score = [np.mean(descent_time(first, lr)) for lr in FINE]
        rates.append(int(np.argmin(score)))
        times.append(descent_time(second, FINE[rates[-1]])[:, 0])
    edge = np.isin(rates, (0, FINE.size - 1))
    return Race(FINE[rates], [""] * len(rates), edge, np.stack(times), np.ones((len(rates), reporting)))


def exponent(sizes, times, least: float = 10.0, points: int = 4):
    """(slope of log median time in log S as an `Interval`, sizes used): sizes from `least` on at which 3/4 of the problems came home.

    The largest `points` of them, at least two. Problems are resampled whole, with all their sizes.
    """
    sizes = np.asarray(sizes, float)
    used = np.flatnonzero((np.isfinite(times).mean(1) >= 0.75) & (sizes >= least * (1 - 1e-9)))[-points:]
    if used.size < 2:
        raise EvidenceError(f"an exponent needs two sizes at which 3/4 came home, got {used.size}; add steps")
    x = np.log(sizes[used])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()

    def slope(problems, axis):
        return x @ np.log(np.median(times[used][:, problems.astype(int)], axis=-1))

    return bootstrap(np.arange(times.shape[1]), slope), sizes[used]


def slowdown(race: Race, i: int, steps: int):
    """Time at size i over time at the first size, problem by problem; unfinished runs count 10 * steps."""
    return capped(race.times[i], steps) / capped(race.times[0], steps)
