"""Where the clip stands: before the moments, in one of them, or behind the rule; and what an outlier does to each.

Noise has unit *median* size, for a variance need not exist: limits c are in units of the median.
"""

from dataclasses import dataclass

import numpy as np

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


def place(
    tail: str, tuning: int, reporting: int, steps: int, names=tuple(PLACEMENTS), spread: float = 3.0
) -> dict[str, Choice]:
    """Late loss of placements under one tail: rate of least median on `tuning` bowls, scores on `reporting` others, the same for all.

    "clip before, not tuned again" is the clip c = 1 at the rate that was best without it. `names` always includes "Adam";
    starts are normal with standard deviation `spread`.
    """

    def run(make):
        def losses(lrs, seeds):
            bowl = NoisyBowl.sample(tail, len(seeds), int(seeds[0]), spread=spread)
            return bowl.late_loss(make(lrs[:, None, None], bowl.x0.shape[-1] ** 0.5), steps)

        return losses

    tuned_on, reported_on = range(tuning), range(tuning, tuning + reporting)
    runs = {name: tune(run(PLACEMENTS[name]), RATES, tuned_on, reported_on, np.median) for name in names}
    kept = np.array([runs["Adam"].lr])
    scores = run(PLACEMENTS["clip before, c = 1"])(kept, reported_on)[0]
    return runs | {"clip before, not tuned again": runs["Adam"]._replace(scores=scores)}


def steady_steps(rule, tail: str, runs: int, steps: int, seed: int = 1):
    """(rate, |rate direction|) of the second half of `steps` steps under noise alone, each of shape (steps / 2, runs)."""
    path = respond(rule, heavy_tailed(tail, (steps, runs, 1), np.random.default_rng(seed)))
    rate, step = path.rate[steps // 2 :, :, 0], np.abs(path.rate * path.direction)[steps // 2 :, :, 0]
    return rate, step
