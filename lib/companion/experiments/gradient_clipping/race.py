"""Where the clip stands: before the moments, in one of them, or behind the rule; and what an outlier does to each.

Noise has unit *median* size, for a variance need not exist: limits c are in units of the median.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from companion.evidence import Interval, geometric
from companion.evidence.intervals import at_any_level, percent
from stepsize.descent import walk
from stepsize.measures import late_loss
from stepsize.rules import SGD, Adam
from stepsize.signals import respond
from stepsize.transforms import ClipByNorm, ClipByValue, chain
from stepsize.tuning import Choice, tune

from .heavy_tails import heavy_tailed, require_tail
from .rules import ClippedStep, SplitAdam


@dataclass(frozen=True, eq=False)
class NoisyBowl:
    """f = x'A x / 2, gradients A x + noise; n bowls A = R D R' with eigenvalues 0.1 ... 10, R random. Spikes hit the whole vector.

    Noise depends on seed and step alone: every method and every rate meets the same, (n, d) at step t.
    """

    A: np.ndarray
    x0: np.ndarray
    tail: str
    seed: int

    @classmethod
    def sample(cls, tail: str, n: int, seed: int, d: int = 10, spread: float = 3.0) -> "NoisyBowl":
        rng = np.random.default_rng([seed, 0])
        R, _ = np.linalg.qr(rng.normal(size=(n, d, d)))
        return cls(
            (R * np.logspace(-1, 1, d)) @ np.swapaxes(R, 1, 2),
            spread * rng.normal(size=(n, d)),
            require_tail(tail),
            seed,
        )

    def noise(self, t):
        return heavy_tailed(self.tail, self.x0.shape, np.random.default_rng([self.seed, 1, t]))

    def f(self, x):
        return (x * (self.A @ x[..., None])[..., 0]).sum(-1) / 2

    def grad(self, x, t):
        return (self.A @ x[..., None])[..., 0] + self.noise(t)

    def late_loss(self, rule, steps: int):
        """Mean of f over the last 40 % of the steps, relative to f(x0): (..., n), infinite where a run diverged."""
        return late_loss(rule, self.grad, self.x0, self.f, steps, int(0.4 * steps)) / self.f(self.x0)


#: Placements by name; `c` is in units of sqrt(d) for norms, of 1 for coordinates. Every one is given the same rates to choose from.
PLACEMENTS = {
    "Adam": lambda lr, root: Adam(lr),
    "clip before, c = 1": lambda lr, root: chain(ClipByNorm(root), Adam(lr)),
    "clip before, c = 10": lambda lr, root: chain(ClipByNorm(10 * root), Adam(lr)),
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
        bowl = NoisyBowl.sample(tail, len(seeds), int(seeds[0]), spread=spread)
        return bowl.late_loss(make(np.reshape(lrs, (-1, 1, 1)), bowl.x0.shape[-1] ** 0.5), steps)

    return losses


def place(tail: str, tuning, reporting, steps: int, names=tuple(PLACEMENTS), spread: float = 3.0) -> dict[str, Choice]:
    """Late loss of placements under one tail: rate of least median on the bowls `tuning`, scores on the bowls `reporting`.

    Both are lists of seeds, a bowl for each, the same for all placements. "clip before, not tuned again" is the clip c = 1 at
    the rate that was best without it. `names` always includes "Adam"; starts are normal with standard deviation `spread`.
    """
    run = {name: _losses(PLACEMENTS[name], tail, steps, spread) for name in {*names, "clip before, c = 1"}}
    runs = {name: tune(run[name], RATES, tuning, reporting, np.median) for name in names}
    scores = run["clip before, c = 1"]([runs["Adam"].lr], reporting)[0]
    return runs | {"clip before, not tuned again": runs["Adam"]._replace(scores=scores)}


class Retuning(NamedTuple):
    """Late losses of Adam without a clip and with c = 1 in front, on one grid of rates: (lrs, bowls) to tune on and to report."""

    lrs: np.ndarray
    raw: np.ndarray
    clipped: np.ndarray
    reported: np.ndarray

    def best(self, rows=slice(None)):
        """Places in the grid of the rates of least typical loss, without and with the clip, on the tuning bowls `rows` (..., n).

        The geometric mean, in which the difference between bowls cancels: all rates meet the same.
        """
        return [geometric(losses[:, rows], axis=-1).argmin(0) for losses in (self.raw, self.clipped)]

    def rates(self, bowls, others):
        """Best rate with the clip over that without."""
        raw, clipped = self.best(bowls)
        return self.lrs[clipped] / self.lrs[raw]

    def loss(self, bowls, others):
        """Loss with the clip at the rate tuned without it over that at the rate tuned with it: geometric mean over bowls."""
        kept, retuned = (self.reported[at[..., None], others] for at in self.best(bowls))
        return geometric(kept / retuned, axis=-1)


def retune(tail: str, near: list[float], tuning, reporting, steps: int, per_decade: int = 16) -> Retuning:
    """The losses of `Retuning` on a fine grid, from half a decade below the smallest of the rates `near` to as far above the largest."""
    low, high = np.log10(min(near)) - 0.5, np.log10(max(near)) + 0.5
    lrs = 10 ** np.linspace(low, high, 1 + round(per_decade * (high - low)))
    raw, clipped = (_losses(PLACEMENTS[name], tail, steps) for name in ("Adam", "clip before, c = 1"))
    return Retuning(lrs, raw(lrs, tuning), clipped(lrs, tuning), clipped(lrs, reporting))


@at_any_level
def resampled(statistic, tuned: Retuning, *, level, seed) -> Interval:
    """A `statistic` of `Retuning`, such as Retuning.rates, with a percentile bootstrap over tuning *and* reporting bowls.

    Each resample chooses both rates anew, so that the interval includes the uncertainty of the choice.
    """
    rng, n, m = np.random.default_rng(seed), tuned.raw.shape[1], tuned.reported.shape[1]
    resamples = max(2000, round(40 / (1 - level)))
    values = np.concatenate(
        [
            statistic(tuned, rng.integers(n, size=(rows, n)), rng.integers(m, size=(rows, m)))
            for rows in np.diff([*range(0, resamples, 250), resamples])  # a few megabytes at once
        ]
    )
    estimate = float(statistic(tuned, np.arange(n), np.arange(m)))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    method = f"percentile bootstrap over tuning and reported bowls, {percent(level)}"
    return Interval(estimate, min(low, estimate), max(high, estimate), method, n)


def steady_steps(rule, tail: str, runs: int, steps: int, seed: int):
    """(rate, |rate direction|) of the second half of `steps` steps under noise alone, each of shape (steps / 2, runs)."""
    path = respond(rule, heavy_tailed(tail, (steps, runs, 1), np.random.default_rng(seed)))
    rate, step = path.rate[steps // 2 :, :, 0], np.abs(path.rate * path.direction)[steps // 2 :, :, 0]
    return rate, step


def steps_in_training(name: str, tail: str, lr: float, seeds, steps: int):
    """(rate, |rate direction|) of a placement on its way down a bowl for each seed, over the last 40 % of the steps.

    Each of shape (steps and coordinates, bowls), as `steady_steps` has it: medians and maxima run over the first axis.
    """
    bowl = NoisyBowl.sample(tail, len(seeds), int(seeds[0]))
    walked = walk(PLACEMENTS[name](lr, bowl.x0.shape[-1] ** 0.5), bowl.grad, bowl.x0)
    late = [now for t, now in zip(range(steps), walked, strict=False) if t >= 0.6 * steps]
    rate, direction = (np.stack([getattr(now, part) for now in late]) for part in ("rate", "direction"))
    return [np.swapaxes(a, 1, 2).reshape(-1, len(seeds)) for a in (rate, np.abs(rate * direction))]
