"""Races on features of every size: rates tuned for each size on some problems, times reported on others, exponents."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from companion.evidence import bootstrap
from stepsize.errors import EvidenceError
from stepsize.matrix_rules import Muon, Shampoo
from stepsize.measures import penalised, times_as_long
from stepsize.rules import AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent
from stepsize.tuning import Choice, choose, require_apart

from .problem import MatrixRegression, Minibatches, Regression, descent_time, time_and_peak

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

#: Those that the claim on feature scaling is about, and their kind among the rules for matrices.
ADAPTIVE = ("AdaGrad", "RMSProp", "Adam", "Adam, β₂ = 0.9", "AMSGrad", "Shampoo", "Muon")

#: The same for rules that see a matrix, with Adam to compare. Shampoo's eps, which must not be 0, is far below its smallest eigenvalue.
MATRIX_METHODS: dict[str, Callable] = {
    "Adam": lambda lr: Adam(lr, eps=0.0),
    "Shampoo": lambda lr: Shampoo(lr, eps=1e-12),
    "Muon": lambda lr: Muon(lr),
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


def outrun(sizes: int, ceilings, steps: int, hold: int, whole: int | None = None) -> Callable:
    """`drop` of `time_and_peak` for runs (sizes, rates), flat: rates that can no longer be chosen under any ceiling, whatever their runs do.

    At step t a run that is not done needs t - hold + 2 steps at least. A rate is out once its problems add up to more than
    those of another rate at its size could, here or in an earlier setting, were they all to fail from now on; or once they all have.
    At size number `whole` no rate is out.
    """
    never, best = 10 * steps, np.full((len(ceilings), sizes), np.inf)

    def drop(t, time, peak):
        done, out = np.isfinite(time), np.ones(time.shape[1], bool)
        for least, ceiling in zip(best, ceilings, strict=True):
            allowed = ~(peak > ceiling)
            worst = np.where(done & allowed, time, never).sum(0)
            at_least = np.where(allowed, np.where(done, time, t - hold + 2), never).sum(0)
            np.minimum(least, worst.reshape(sizes, -1).min(1), out=least)
            out &= (at_least > np.repeat(least, out.size // sizes)) | (at_least >= never * len(time))
        return out & (np.repeat(range(sizes), out.size // sizes) != whole)

    return drop


def _race(
    makers: dict, lrs, practice, land, sizes, steps: int, ceilings, target: float, hold: int, whole: int | None = None
) -> list[Race]:
    """One `Race` per ceiling. `practice` and `land` are problems whose `sized` takes one of `sizes`, or a row of it, for each run.

    Rates that cannot be chosen any more are not followed, but at size number `whole`: elsewhere only the least of a curve is exact.
    """
    axes = (1,) * (practice.start.ndim - 2)  # of one weight: a vector's, or a matrix's
    large, lr = practice.sized(np.repeat(sizes, lrs.size, axis=0)), np.tile(lrs, len(sizes)).reshape(-1, *axes)
    drop = outrun(len(sizes), ceilings, steps, hold, whole)
    tried = [time_and_peak(make(lr), large, steps, target, hold, drop) for make in makers.values()]
    shape = len(makers), len(sizes), lrs.size

    @cache
    def report(i, setting, lr):
        # ceilings often choose alike
        rule, problems = makers[setting](np.full((1, *axes), lr)), land.sized(sizes[i : i + 1])
        return time_and_peak(rule, problems, steps, target, hold)

    def at(ceiling):
        score = np.reshape([penalised(np.where(peak <= ceiling, time, np.inf).T, steps) for time, peak in tried], shape)
        times, peaks = np.full((2, len(sizes), len(land.start)), np.inf)
        # among runs of which none finished there is nothing to choose
        choices = [choose(s, lrs, list(makers)) if s.min() < 10 * steps else None for s in score.swapaxes(0, 1)]
        for i, choice in enumerate(choices):
            if choice:
                time, peak = report(i, choice.setting, choice.lr)
                times[i], peaks[i] = np.where(peak <= ceiling, time, np.inf)[:, 0], peak[:, 0]
        return Race(choices, times, peaks)

    return [at(ceiling) for ceiling in ceilings]


def race(
    method: str, sizes, tuning, reporting, steps: int, ceilings=(np.inf,), correlation: float = 0.3,
    batches: tuple[int, int, int] | None = None, target: float = 1e-4, hold: int = 500, whole: int | None = None,
) -> list[Race]:  # fmt: skip
    """One `Race` per ceiling, its rates chosen on the problems of the seeds `tuning`. A run whose loss exceeds `ceiling` times its first value counts as unfinished, in tuning and after.

    `batches`: examples of a minibatch, and the seeds that draw them in tuning and in reporting; else every step sees all examples.
    `whole`: the size, by its number, of which the whole tuning curve is wanted; at the others it is exact only where it is least.
    """
    problems = _problems(tuning, reporting, correlation)
    if batches:
        problems = (Minibatches.of(land, batches[0], seed) for land, seed in zip(problems, batches[1:], strict=True))
    lrs = FINE if method == "heavy ball" else COARSE
    return _race(METHODS[method], lrs, *problems, np.asarray(sizes, float), steps, ceilings, target, hold, whole)


def matrix_race(method: str, sizes, tuning, reporting, steps: int, hold: int = 500) -> Race:
    """The same for weights that are a matrix, with a rule of `MATRIX_METHODS`: `sizes` are pairs, of one feature and of one output."""
    require_apart(tuning, reporting)
    problems = (MatrixRegression.sample(seeds) for seeds in (tuning, reporting))
    makers = {"": MATRIX_METHODS[method]}
    return _race(makers, COARSE[::2], *problems, np.asarray(sizes, float), steps, (np.inf,), 1e-4, hold)[0]


def descent_race(sizes, tuning, reporting, standardised: bool = False, correlation: float = 0.3) -> Race:
    """The same for gradient descent, by `descent_time` and so without an end; on raw or on standardised features."""
    practice, land = _problems(tuning, reporting, correlation)
    choices, times = [], []
    for size in np.asarray(sizes, float):
        first, second = (a.standardised() if standardised else a.sized(size) for a in (practice, land))
        choices.append(choose(descent_time(first, FINE).mean(0), FINE))
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


def slowdowns(races: dict[str, Race], conditions: dict[int, str], steps: int) -> dict[str, np.ndarray]:
    """How many times as many steps the adaptive methods of `races` need at sizes i as at size 0, problem by problem: condition -> ratios.

    `conditions`: size i -> what is said of it. A run that is not done in `steps` counts ten times as many.
    """
    return {
        f"{words}, the rule is {name}": times_as_long(race.times[i], race.times[0], steps)
        for i, words in conditions.items()
        for name, race in races.items()
        if name in ADAPTIVE
    }


def entry(name: str, race: Race, i: int):
    """A method's tuned cost at size i for the record of a race: its `Choice` with the reported times as scores, and its grid."""
    lrs = COARSE if name in METHODS and name != "heavy ball" else FINE
    choice = race.choices[i]
    return choice and choice._replace(scores=race.times[i]), lrs
