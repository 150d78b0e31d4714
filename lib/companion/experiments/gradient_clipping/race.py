"""Where the clip stands: before the moments, in one of them, or behind the rule; and what an outlier does to each.

Noise has unit *median* size, for a variance need not exist: limits c are in units of the median.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from companion.evidence import Interval, geometric
from companion.evidence.intervals import at_any_level, percent
from companion.experiments.autoclip import AutoClip
from stepsize.descent import walk
from stepsize.measures import late_loss
from stepsize.rules import SGD, Adam
from stepsize.signals import respond
from stepsize.transforms import ClipByNorm, ClipByValue, chain
from stepsize.tuning import Choice, tune

from .heavy_tails import heavy_tailed
from .kernel import adam_late_losses
from .rules import ClippedStep, SplitAdam


@dataclass(frozen=True, eq=False)
class NoisyBowl:
    """f = x'A x / 2, gradients A x + noise[t]; n bowls A = R D R' with eigenvalues 0.1 ... 10, R random. Spikes hit the whole vector.

    x has shape (n, rates, d), x0 (n, 1, d), noise (steps, n, 1, d): every method and every rate meets the same.
    """

    A: np.ndarray
    x0: np.ndarray
    noise: np.ndarray

    @classmethod
    @lru_cache(maxsize=2)  # each placement is tuned on the same bowls and reported on the same others
    def sample(cls, tail: str, n: int, seed: int, steps: int, d: int = 10, spread: float = 3.0) -> "NoisyBowl":
        rng = np.random.default_rng(seed)
        R, _ = np.linalg.qr(rng.normal(size=(n, d, d)))
        A = (R * np.logspace(-1, 1, d)) @ np.swapaxes(R, 1, 2)
        return cls(A, spread * rng.normal(size=(n, 1, d)), heavy_tailed(tail, (steps, n, 1, d), rng))

    def f(self, x):
        return (x * (x @ self.A)).sum(-1) / 2

    def grad(self, x, t):
        return x @ self.A + self.noise[t]

    def late_loss(self, rule):
        """Mean of f over the last 40 % of the steps, relative to f(x0): (n, rates), infinite where a run diverged."""
        steps = len(self.noise)
        return late_loss(rule, self.grad, self.x0, self.f, steps, int(0.4 * steps)) / self.f(self.x0)


#: Placements by name; `c` is in units of sqrt(d) for norms, of 1 for coordinates. Every one is given the same rates to choose from.
PLACEMENTS = {
    "Adam": lambda lr, root: Adam(lr),
    "clip before, c = 1": lambda lr, root: chain(ClipByNorm(root), Adam(lr)),
    "clip before, c = 10": lambda lr, root: chain(ClipByNorm(10 * root), Adam(lr)),
    "percentile clip, p = 10": lambda lr, root: AutoClip(Adam(lr), 10),
    "percentile clip, p = 90": lambda lr, root: AutoClip(Adam(lr), 90),
    "clip coordinates, c = 1": lambda lr, root: chain(ClipByValue(1.0), Adam(lr)),
    "clip the step, c = 0.1": lambda lr, root: ClippedStep(Adam(lr), 0.1 * root),
    "clip the step, c = 1": lambda lr, root: ClippedStep(Adam(lr), root),
    "clip v only, c = 1": lambda lr, root: SplitAdam(lr, square=ClipByNorm(root)),
    "clip m only, c = 1": lambda lr, root: SplitAdam(lr, mean=ClipByNorm(root)),
    "Adam, β₂ = 0.9": lambda lr, root: Adam(lr, beta2=0.9),
    "SGD": lambda lr, root: SGD(lr),
    "clipped SGD": lambda lr, root: chain(ClipByNorm(root), SGD(lr)),
}

RATES = 10 ** np.arange(-4, 1.01, 0.25)


def _losses(make, tail: str, steps: int, spread: float = 3.0):
    """(lrs, seeds) -> late losses (lrs, bowls) of a placement: a bowl for each seed, all drawn from the first of them."""

    def losses(lrs, seeds):
        bowl = NoisyBowl.sample(tail, len(seeds), int(seeds[0]), steps, spread=spread)
        return bowl.late_loss(make(np.reshape(lrs, (-1, 1)), bowl.x0.shape[-1] ** 0.5)).T

    return losses


def place(tail: str, tuning, reporting, steps: int, names=tuple(PLACEMENTS), spread: float = 3.0) -> dict[str, Choice]:
    """Late loss of placements under one tail: rate of least geometric mean on the bowls `tuning`, scores on the bowls `reporting`.

    Both are lists of seeds, a bowl for each, the same for all placements. "clip before, not tuned again" is the clip c = 1 at
    the rate that was best without it. `names` always includes "Adam"; starts are normal with standard deviation `spread`.
    """
    run = {name: _losses(PLACEMENTS[name], tail, steps, spread) for name in {*names, "clip before, c = 1"}}
    runs = {name: tune(run[name], RATES, tuning, reporting, geometric) for name in names}
    scores = run["clip before, c = 1"]([runs["Adam"].lr], reporting)[0]
    return runs | {"clip before, not tuned again": runs["Adam"]._replace(scores=scores)}


class Retuning(NamedTuple):
    """Adam without a clip and with c = 1 in front: logarithms of late losses (coarse lrs, bowls), to tune on and to report.

    `between` (lrs, coarse lrs) interpolates means over bowls to the finer grid `lrs`, from which rates are chosen. Means are
    taken with `weights` (bowls, resamples): geometric means of losses, in which the difference between bowls cancels, for all
    rates meet the same. `wide` are the losses with c = 10 on the bowls to tune on.
    """

    lrs: np.ndarray
    between: np.ndarray
    raw: np.ndarray
    clipped: np.ndarray
    reported: np.ndarray
    wide: np.ndarray | None = None

    def best(self, weights):
        """Places in `lrs` of the rates of least typical loss, without and with the clip, (resamples,) each."""
        return [(self.between @ (losses @ weights)).argmin(0) for losses in (self.raw, self.clipped)]

    def rates(self, weights, others):
        """Best rate with the clip over that without."""
        raw, clipped = self.best(weights)
        return self.lrs[clipped] / self.lrs[raw]

    def wide_rates(self, weights, others):
        """Best rate with the limit ten times as high over that without a clip."""
        return self._replace(clipped=self.wide).rates(weights, others)

    def loss(self, weights, others):
        """Loss with the clip at the rate tuned without it over that at the rate tuned with it: geometric mean over bowls."""
        curve, each = self.between @ (self.reported @ others), np.arange(others.shape[1])
        kept, retuned = (curve[best, each] for best in self.best(weights))
        return np.exp(kept - retuned)


def retune(tail: str, near: list[float], tuning, reporting, steps: int) -> Retuning:
    """The losses of `Retuning` at 8 rates a decade, from 1/4 of a decade below the smallest rate `near` to as far above the largest.

    A bowl for each seed of `tuning` and `reporting`, a hundred of them drawn from the first. Between the rates stands a cubic
    spline, 32 times as fine.
    """
    low, high = np.log10(min(near)) - 1 / 4, np.log10(max(near)) + 1 / 4
    coarse = np.linspace(low, high, 1 + round(8 * (high - low)))
    fine = np.linspace(low, high, 1 + 32 * (len(coarse) - 1))

    def losses(seeds, *limits):
        parts = []
        for first in range(0, len(seeds), 100):
            bowl = NoisyBowl.sample(tail, len(seeds[first : first + 100]), int(seeds[first]), steps)
            x0, noise, root = bowl.x0[:, 0], bowl.noise[:, :, 0], bowl.x0.shape[-1] ** 0.5
            late = [adam_late_losses(bowl.A, x0, noise, 10**coarse, c * root, int(0.4 * steps)) for c in limits]
            parts.append(np.log(late / bowl.f(bowl.x0)[:, 0]))
        return np.concatenate(parts, axis=-1)

    between = CubicSpline(coarse, np.eye(len(coarse)))(fine)
    raw, clipped, wide = losses(tuning, np.inf, 1.0, 10.0)
    return Retuning(10**fine, between, raw, clipped, *losses(reporting, 1.0), wide)


@at_any_level
def resampled(statistic, tuned: Retuning, *, level, seed) -> Interval:
    """A `statistic` of `Retuning`, such as Retuning.rates, with a percentile bootstrap over tuning *and* reporting bowls.

    Each resample chooses both rates anew, so that the interval includes the uncertainty of the choice.
    """
    rng, sizes = np.random.default_rng(seed), (tuned.raw.shape[1], tuned.reported.shape[1])
    resamples = max(2000, round(40 / (1 - level)))

    def draw(rows):
        return [
            np.stack([np.bincount(rng.integers(n, size=n), minlength=n) / n for _ in range(rows)], 1) for n in sizes
        ]

    # a few megabytes at once
    values = np.concatenate([statistic(tuned, *draw(rows)) for rows in np.diff([*range(0, resamples, 250), resamples])])
    estimate = statistic(tuned, *(np.full((n, 1), 1 / n) for n in sizes)).item()
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    method = f"percentile bootstrap over tuning and reported bowls, {percent(level)}"
    return Interval(estimate, min(low, estimate), max(high, estimate), method, sizes[0])


#: What a clip may change; each of (rate, |rate direction|), both (time, runs).
MEASURES = {
    "rate, median": lambda rate, step: np.median(rate, axis=0),
    "step, median": lambda rate, step: np.median(step, axis=0),
    "step, root mean square": lambda rate, step: np.sqrt((step**2).mean(0)),
    "step, longest": lambda rate, step: step.max(0),
}


def steady_steps(rules, noise) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rate, |rate direction|) of the second half of the steps of each rule under `noise` alone, as `respond` takes it, for one coordinate; each (steps / 2, runs)."""
    late = len(noise) // 2

    def walked(rule):
        parts = np.empty((2, len(noise) - late, noise.shape[1]))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for t, now in zip(range(len(noise)), walk(rule, lambda x, t: noise[t], 0 * noise[0]), strict=False):
                if t >= late:
                    parts[0, t - late], parts[1, t - late] = now.rate[:, 0], (now.rate * now.direction)[:, 0]
        return parts[0], np.abs(parts[1], out=parts[1])

    return list(map(walked, rules))


def steady_gains(
    clipped: dict, raw, streams: dict, runs: int, steps: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Each of `MEASURES` of the rules `clipped` over that of `raw` on the same noise, run by run: name -> tail -> measure -> ratios.

    `streams`: seeds by tail, `runs` streams of `steps` gradients for each. Ten seeds are walked at once, for a step costs hardly more.
    """
    each, gains = [(tail, seed) for tail, seeds in streams.items() for seed in seeds], {name: [] for name in clipped}
    for first in range(0, len(each), 10):
        rngs = ((tail, np.random.default_rng(seed)) for tail, seed in each[first : first + 10])
        noise = np.concatenate([heavy_tailed(tail, (steps, runs, 1), rng) for tail, rng in rngs], axis=1)
        one, *others = (
            [of(*pair) for of in MEASURES.values()] for pair in steady_steps((raw, *clipped.values()), noise)
        )
        for name, other in zip(clipped, others, strict=True):
            gains[name].append(np.divide(other, one))
    tails = np.repeat([tail for tail, _ in each], runs)
    return {
        name: {
            tail: dict(zip(MEASURES, np.concatenate(parts, axis=-1)[:, tails == tail], strict=True)) for tail in streams
        }
        for name, parts in gains.items()
    }


def outlier_then_drift(size=1e3, before=5000, quiet=500, drift=15, small=0.01):
    """Gradients (T, 1, 1): +-small in turn, one outlier of `size` after `before` of them, `quiet` more, then `drift` gradients of 1.

    Without a clip Adam's longest step is that of the outlier, (1 - beta1) / sqrt(1 - beta2), for v is frozen when the drift comes.
    With a clip at 1 the drift is a cliff, whose k-th step is (1 - beta1^k) / sqrt(1 - beta2^k); the clipped outlier in v takes little off it.
    """
    background = small * (-1.0) ** np.arange(before + quiet)
    return np.concatenate([background[:before], [size], background[before:], np.ones(drift)])[:, None, None]


def longest_steps(rules, g) -> list[float]:
    """The longest step of each rule along the gradients g, as `respond` takes them."""
    return [np.abs(path.rate * path.direction).max() for path in (respond(rule, g) for rule in rules)]


def steps_in_training(name: str, tail: str, lr: float, seeds, steps: int):
    """(rate, |rate direction|) of a placement on its way down a bowl for each seed, over the last 40 % of the steps.

    Each of shape (steps and coordinates, bowls), as `steady_steps` has it: medians and maxima run over the first axis.
    """
    bowl = NoisyBowl.sample(tail, len(seeds), int(seeds[0]), steps)
    walked = walk(PLACEMENTS[name](lr, bowl.x0.shape[-1] ** 0.5), bowl.grad, bowl.x0)
    late = [now for t, now in zip(range(steps), walked, strict=False) if t >= 0.6 * steps]
    rate, direction = (np.stack([getattr(now, part)[:, 0] for now in late]) for part in ("rate", "direction"))
    return [np.swapaxes(a, 1, 2).reshape(-1, len(seeds)) for a in (rate, np.abs(rate * direction))]


def gains_in_training(names, races: dict, seeds, steps: int) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Each of `MEASURES` of placements over that of Adam without a clip, bowl by bowl: name -> tail -> measure -> ratios.

    All train at the rate that was best for Adam without a clip: races[tail] is what `place` returned.
    """
    gains = {name: {} for name in names}
    for tail, placed in races.items():
        one, *others = (
            [of(*pair) for of in MEASURES.values()]
            for pair in (steps_in_training(name, tail, placed["Adam"].lr, seeds, steps) for name in ("Adam", *names))
        )
        for name, other in zip(names, others, strict=True):
            gains[name][tail] = {words: a / b for words, a, b in zip(MEASURES, other, one, strict=True)}
    return gains


def entries(placed: dict[str, Choice]) -> dict[str, tuple[Choice, np.ndarray]]:
    """What `Chapter.race` reports of `place`: placements with a rate of their own; the clip c = 1 in front is "clipped Adam"."""
    names = {name: name for name in placed if "not tuned again" not in name} | {"clip before, c = 1": "clipped Adam"}
    return {words: (placed[name], RATES) for name, words in names.items()}
