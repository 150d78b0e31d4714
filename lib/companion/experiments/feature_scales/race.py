"""Races on features of every size: rates tuned for each size on some problems, times reported on others, exponents."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from companion.evidence import bootstrap
from stepsize.errors import EvidenceError
from stepsize.measures import penalised
from stepsize.rules import AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent
from stepsize.tuning import Choice, choose, require_apart

from .problem import Regression, descent_time, time_and_peak

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

    `choices` has one for every size, None where no rate fitted any tuning problem. On the reported problems, (sizes,
    problems): `times` in steps, inf where a run did not fit its problem, `peak`, the largest loss over the first.
    """

    choices: list[Choice | None]
    times: np.ndarray
    peak: np.ndarray

    def rate(self, i: int) -> float:
        """The learning rate chosen at size i, for a rule; an error where there is none."""
        if self.choices[i] is None:
            raise EvidenceError(
                f"at size {i + 1} of {len(self.choices)} no learning rate of the grid fitted a tuning problem before the "
                "horizon, so none was chosen; give the race more steps, or smaller sizes"
            )
        return self.choices[i].lr


def _problems(tuning, reporting, correlation=0.3):
    """Problems to choose on and others to report, one per seed."""
    require_apart(tuning, reporting)
    return (Regression.sample(seeds, correlation=correlation) for seeds in (tuning, reporting))


def race(method: str, sizes, tuning, reporting, steps: int, ceilings=(np.inf,), correlation: float = 0.3):
    """One `Race` per ceiling, its rates chosen on the problems of the seeds `tuning`. A run whose loss exceeds `ceiling` times its first value counts as unfinished, in tuning and after."""
    makers, lrs = METHODS[method], FINE if method == "heavy ball" else COARSE
    sizes = np.asarray(sizes, float)
    practice, land = _problems(tuning, reporting, correlation)
    practice, lr = practice.sized(np.repeat(sizes, lrs.size)), np.tile(lrs, sizes.size)[:, None]
    tried = [time_and_peak(make(lr), practice, steps) for make in makers.values()]
    shape = len(makers), sizes.size, lrs.size

    @cache
    def report(size, setting, lr):
        # ceilings often choose alike
        return time_and_peak(makers[setting](np.full((1, 1), lr)), land.sized(size), steps)

    def at(ceiling):
        score = np.reshape([penalised(np.where(peak <= ceiling, time, np.inf).T, steps) for time, peak in tried], shape)
        times, peaks = np.full((2, sizes.size, len(reporting)), np.inf)
        # among runs of which none finished there is nothing to choose
        choices = [choose(s, lrs, list(makers)) if s.min() < 10 * steps else None for s in score.swapaxes(0, 1)]
        for i, choice in enumerate(choices):
            if choice:
                time, peak = report(sizes[i], choice.setting, choice.lr)
                times[i], peaks[i] = np.where(peak <= ceiling, time, np.inf)[:, 0], peak[:, 0]
        return Race(choices, times, peaks)

    return [at(ceiling) for ceiling in ceilings]


def descent_race(sizes, tuning, reporting, standardised: bool = False, correlation: float = 0.3) -> Race:
    """The same for gradient descent, by `descent_time` and so without an end; on raw or on standardised features."""
    practice, land = _problems(tuning, reporting, correlation)
    choices, times = [], []
    for size in np.asarray(sizes, float):
        first, second = (a.standardised() if standardised else a.sized(size) for a in (practice, land))
        choices.append(choose([np.mean(descent_time(first, lr)) for lr in FINE], FINE))
        times.append(descent_time(second, choices[-1].lr)[:, 0])
    return Race(choices, np.stack(times), np.ones((len(choices), len(reporting))))


def exponent(sizes, times, least: float = 10.0, points: int = 4):
    """(slope of log median time in log S as an `Interval`, sizes used): sizes from `least` on at which 3/4 of the problems were fitted.

    The largest `points` of them, at least two. Problems are resampled whole, with all their sizes.
    """
    sizes = np.asarray(sizes, float)
    used = np.flatnonzero((np.isfinite(times).mean(1) >= 0.75) & (sizes >= least * (1 - 1e-9)))[-points:]
    if used.size < 2:
        raise EvidenceError(f"an exponent needs two sizes at which 3/4 were fitted, got {used.size}; add steps")
    x = np.log(sizes[used])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()

    def slope(problems, axis):
        return x @ np.log(np.median(times[used][:, problems.astype(int)], axis=-1))

    return bootstrap(np.arange(times.shape[1]), slope), sizes[used]
