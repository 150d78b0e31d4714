"""Where the clip stands: before the moments, in one of them, or behind the rule; and what an outlier does to each.

Noise has unit *median* size, for a variance need not exist: limits c are in units of the median.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepsize.contract import Wrapper
from stepsize.descent import Tuned, tune, walk
from stepsize.errors import HyperparameterError
from stepsize.backend import constant, maximum, norm, sqrt
from stepsize.signals import respond
from stepsize.rules import SGD, Adam, Moments
from stepsize.transforms import ClipByNorm, ClipByValue, chain


def unclipped(g):
    """g: the transform that does nothing."""
    return g


@dataclass(frozen=True, eq=False)
class SplitAdam(Adam):
    """Adam whose first moment averages mean(g) and whose second averages square(g)^2: a clip in one of the two alone.

    SplitAdam(mean=clip, square=clip) is chain(clip, Adam()).
    """

    mean: Callable = unclipped
    square: Callable = unclipped

    def step(self, state, g, x):
        m, v = state.m.push(self.mean(g), self.beta1), state.v.push(self.square(g) ** 2, self.beta2)
        return Moments(m, v), self.lr / (sqrt(v.mean) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class ClippedStep(Wrapper):
    """direction min(1, limit lr / |rate direction|): the clip behind the rule.  Shazeer & Stern (2018), section 6, with the norm for the root mean square."""

    rule: Any
    limit: Any

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        length, bound = norm(rate * direction), constant(self.limit, x[..., :1]) * self.lr
        return state, rate, direction * (bound / maximum(length, bound))


TAILS = ("normal", "t3", "t2", "t1.5", "t1.1", "spikes")

SPIKE_SHARE, SPIKE_SIZE = 0.005, 1000.0


def require_tail(tail: str) -> str:
    if tail not in TAILS:
        raise HyperparameterError(f"unknown tail {tail!r}; use one of {', '.join(TAILS)}")
    return tail


def heavy_tailed(tail: str, shape, rng) -> np.ndarray:
    """Symmetric noise with median |g| = 1: normal, Student t with 3 ... 1.1 degrees of freedom, or a normal whose whole vector (last axis) is 1000 times larger in 0.5 % of the cases."""
    require_tail(tail)
    from scipy import stats

    if tail in ("normal", "spikes"):
        g = rng.standard_normal(shape) / stats.norm.ppf(0.75)
        # a spike hits the whole vector: the exploding batch, not the odd coordinate
        return g * np.where(rng.random((*shape[:-1], 1)) < SPIKE_SHARE, SPIKE_SIZE, 1) if tail == "spikes" else g
    nu = float(tail[1:])
    return rng.standard_t(nu, shape) / stats.t.ppf(0.75, nu)


def kept_share(tail: str, c):
    """E min(|g|, c)^2 / E g^2 for a unit normal, a unit Laplace or a Pareto(a > 2) variable above 1 ("pareto3": a = 3).

    Normal: 2 Phi(c) - 1 - 2 c phi(c) + 2 c^2 (1 - Phi(c)). Laplace: 1 - (1 + c) e^-c. Pareto: 1 - 2 c^(2 - a) / a, c >= 1.
    """
    from scipy import stats

    c = np.asarray(c, float)
    if tail == "normal":
        return 2 * stats.norm.cdf(c) - 1 - 2 * c * stats.norm.pdf(c) + 2 * c**2 * stats.norm.sf(c)
    if tail == "laplace":
        return 1 - (1 + c) * np.exp(-c)
    if tail.startswith("pareto") and float(tail[6:]) > 2 and (c >= 1).all():
        a = float(tail[6:])
        return 1 - 2 * c ** (2 - a) / a
    raise HyperparameterError(f"kept_share knows normal, laplace and pareto with a > 2 for c >= 1, got {tail!r}")


def outlier_kick(beta1=0.9, beta2=0.999):
    """(1 - beta1) / sqrt(1 - beta2) / (1 - beta1 / sqrt(beta2)): all steps after one huge gradient, added up, in lr; no others follow."""
    return (1 - beta1) / np.sqrt(1 - beta2) / (1 - beta1 / np.sqrt(beta2))


def outlier_rate(k, size, beta2=0.999):
    """1 / sqrt(1 + (size^2 - 1) (1 - beta2) beta2^(k - 1)): the rate over its old value, k steps into the outlier, background |g| = 1."""
    return 1 / np.sqrt(1 + (np.asarray(size, float) ** 2 - 1) * (1 - beta2) * beta2 ** (np.asarray(k) - 1))


def outlier_recovery(size, share=1 / 1.1, beta2=0.999):
    """ln((size^2 - 1)(1 - beta2) / (share^-2 - 1)) / ln(1 / beta2): steps after the outlier until the rate is `share` of the old one again."""
    return np.log((np.asarray(size, float) ** 2 - 1) * (1 - beta2) / (share**-2 - 1)) / -np.log(beta2)


def rms_step(index=2.0, beta1=0.9, beta2=0.999):
    """(1 - beta1) sqrt(r / (1 - beta1^2 beta2^(a - 1))), r = (1 - beta2^a) / (1 - beta2), a = index / 2: Adam's root mean square step in lr.

    For symmetric independent noise whose square is stable with exponent a, as Student's t with `index` < 2 degrees of freedom
    nearly is; index = 2 is the limit of light tails, sqrt((1 - beta1) / (1 + beta1)).
    """
    a = np.asarray(index, float) / 2
    return (1 - beta1) * np.sqrt((1 - beta2**a) / (1 - beta2) / (1 - beta1**2 * beta2 ** (a - 1)))


def rms_ceiling(beta1=0.9, beta2=0.999):
    """(1 - beta1) / sqrt(1 - beta1^2 / beta2): no symmetric independent noise, clipped or not, has a longer root mean square step, in lr."""
    return (1 - beta1) / np.sqrt(1 - beta1**2 / beta2)


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


def late_loss(rule, bowl: NoisyBowl, steps: int):
    """Mean of f over the last 40 % of the steps, relative to f(x0): (..., n), infinite where a run diverged."""
    total, first = 0.0, steps - int(0.4 * steps)
    with np.errstate(all="ignore"):
        for t, now in zip(range(steps), walk(rule, bowl.grad, bowl.x0), strict=False):
            if t >= first:
                total = total + bowl.f(now.x)
        loss = total / (steps - first) / bowl.f(bowl.x0)
    return np.where(np.isfinite(loss), loss, np.inf)


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
) -> dict[str, Tuned]:
    """Late loss of placements under one tail: rate of least median on `tuning` bowls, scores on `reporting` others, the same for all.

    "clip before, not tuned again" is the clip c = 1 at the rate that was best without it. `names` always includes "Adam";
    starts are normal with standard deviation `spread`.
    """

    def run(make):
        def losses(lrs, seeds):
            bowl = NoisyBowl.sample(tail, len(seeds), int(seeds[0]), spread=spread)
            return late_loss(make(lrs[:, None, None], bowl.x0.shape[-1] ** 0.5), bowl, steps)

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
