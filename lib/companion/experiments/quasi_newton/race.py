"""The same valley seen from turned axes, with exact and with sampled gradients: who needs the axes, and who only the shape?

Shapes: problems (n, d), matrices (n, d, d); iterates (..., n, d), leading axes for learning rates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from stepsize.errors import HyperparameterError
from stepsize.measures import late_loss, settle
from stepsize.metric import FullPower, apply, solve
from stepsize.rules import SGD, AdaGrad, Adam, HeavyBall
from stepsize.tuning import Choice, tune
from stepsize.wrappers import LinearDecay

from .rules import SQN, DampedBFGS, FullAdaGrad, LazyBFGS, OnlineBFGS
from .secant import bfgs_metric, minimise


def rotation(angle: float, generators):
    """exp(angle K): a turn by `angle` radians in every plane of the skew-symmetric K of shape (n, d, d), each of norm 1."""
    w, Q = np.linalg.eigh(1j * generators)
    turned = (Q * np.exp(-1j * angle * w)[..., None, :]) @ np.conj(np.swapaxes(Q, -1, -2))
    return turned.real


def generators(n: int, d: int, seed: int):
    """n random skew-symmetric matrices of shape (d, d) with spectral norm 1."""
    K = np.random.default_rng(seed).normal(size=(n, d, d))
    K = K - np.swapaxes(K, -1, -2)
    return K / np.linalg.norm(K, 2, axis=(-2, -1), keepdims=True)


def _axes(condition: float, d: int):
    if not (1 <= condition < np.inf and d >= 2):
        raise HyperparameterError(f"a valley needs condition >= 1 and d >= 2, got condition={condition}, d={d}")
    return np.logspace(0, -np.log10(condition), d)


@dataclass(frozen=True, eq=False)
class TurnedValley:
    """f = x' R D R' x / 2, D with eigenvalues 1 ... 1 / condition, R = exp(angle K); n valleys with n starts `x0`."""

    A: np.ndarray
    x0: np.ndarray

    @classmethod
    def sample(cls, n: int, angle: float, condition: float = 1e4, d: int = 20, seed: int = 0) -> "TurnedValley":
        """n valleys turned by the same angle about different planes. The starts turn along: f(x0) does not depend on the angle."""
        R = rotation(angle, generators(n, d, seed))
        y0 = np.random.default_rng([seed, 1]).normal(size=(n, d))
        return cls((R * _axes(condition, d)) @ np.swapaxes(R, -1, -2), apply(R, y0))

    def f(self, x):
        return (x * apply(self.A, x)).sum(-1) / 2

    def grad(self, x, t=None):
        return apply(self.A, x)


@dataclass(frozen=True, eq=False)
class StreamingRegression:
    """y = x'w + noise, features x ~ N(0, R D R'), a fresh batch every step; n independent streams, seeded.

    `grad(w, t)` of shape (..., n, d) is the least-squares gradient on the batch of step t, the same for every
    learning rate and every call; `excess(w)` the exact expected loss above the noise floor.
    """

    seed: int
    R: np.ndarray
    w: np.ndarray
    condition: float = 1e4
    batch: int = 32
    noise: float = 1.0

    @classmethod
    def sample(cls, n: int, angle: float, condition: float = 1e4, d: int = 20, seed: int = 0, **settings):
        """n streams with true weights of unit excess loss at w = 0; weights and features turn along with the angle."""
        R = rotation(angle, generators(n, d, seed))
        v = np.random.default_rng([seed, 2]).normal(size=(n, d)) / np.sqrt(_axes(condition, d) * d / 2)
        return cls(seed, R, apply(R, v), condition, **settings)

    @property
    def _root(self):
        return np.sqrt(_axes(self.condition, self.w.shape[-1]))

    def sampled(self, t: int):
        """The batch of step t: features (n, batch, d) and noise (n, batch)."""
        rng = np.random.default_rng([self.seed, 3, t])
        n, d = self.w.shape
        z = rng.standard_normal((n, self.batch, d)) * self._root
        return z @ np.swapaxes(self.R, -1, -2), self.noise * rng.standard_normal((n, self.batch))

    def grad(self, w, t):
        X, noise = self.sampled(t)
        residual = apply(X, w - self.w) - noise
        return apply(np.swapaxes(X, -1, -2), residual) / self.batch

    def excess(self, w):
        return (apply(np.swapaxes(self.R, -1, -2), w - self.w) ** 2 * self._root**2).sum(-1) / 2


def settling_time(rule, valley: TurnedValley, steps: int, tolerance: float = 1e-6):
    """Steps after which f stays at or below tolerance * f(x0): an array (..., n), infinite where that did not happen."""
    goal = tolerance * valley.f(valley.x0)
    return settle(rule, valley.grad, valley.x0, lambda x: valley.f(x) <= goal, steps, stay=0.0)


def final_loss(rule, stream: StreamingRegression, steps: int):
    """Excess loss after `steps` steps from w = 0, relative to the start: (..., n); infinite where the run diverged."""
    start = np.zeros_like(stream.w)
    return late_loss(rule, stream.grad, start, stream.excess, steps, last=1) / stream.excess(start)


def censored_median(values):
    """The median, and the largest float where it is infinite: a rate at which most runs fail ranks last, but it ranks."""
    return min(np.median(values), np.finfo(float).max)


def tuned(measure, make, sample, lrs, tuning: int, reporting: int, steps: Callable, settings=None) -> Choice:
    """`make(lr, problem)` with the rate of smallest median `measure(rule, problem, steps())` over `tuning` problems, on `reporting` others.

    `sample(n, part)` draws n problems; part 0 is tuned on, part 1 reported. With `settings` it is
    make(lr, problem, *setting), which makes steps(*setting) steps. Where no rate solves half of the problems, the
    smallest is reported with its failures.
    """

    def run(rates, seeds, setting=()):
        problem = sample(len(seeds), int(seeds[0] > 0))
        return measure(make(rates[:, None, None], problem, *setting), problem, steps(*setting))

    return tune(run, lrs, range(-tuning, 0), range(1, reporting + 1), censored_median, settings)


def bfgs_evaluations(problem: TurnedValley, tolerance: float = 1e-6):
    """Gradient evaluations that BFGS with a Wolfe search needs to f <= tolerance * f(x0), valley by valley: (n,)."""
    goals = tolerance * problem.f(problem.x0)
    runs = [
        minimise(lambda x, A=A: (x @ A @ x / 2, A @ x), x0, gtol=0, target=goal)
        for A, x0, goal in zip(problem.A, problem.x0, goals, strict=True)
    ]
    return np.array([run.evaluations if run.converged else np.inf for run in runs])


RATES = 10 ** np.arange(-3, 1.3, 0.25)


def exact_race(
    angles, condition: float, tuning: int, reporting: int, steps: int, seed: int, names=None
) -> dict[str, np.ndarray]:
    """Gradient evaluations to a millionth of f(x0), (angles, reporting) for every method, or those of the given names.

    Rates are tuned for every angle anew; the line search of BFGS has none to choose. Full-matrix AdaGrad gets a tenth of the
    horizon and every other rate: it needs less, and costs more per step.
    """
    rules = {
        "AdaGrad": (lambda lr, _: AdaGrad(lr), RATES, steps),
        "Adam": (lambda lr, _: LinearDecay(Adam(lr), steps), RATES, steps),
        "heavy ball": (lambda lr, _: HeavyBall(lr, 0.98), RATES, steps),
        "full AdaGrad": (lambda lr, _: FullAdaGrad(lr), RATES[::2], max(steps // 10, 100)),
    }

    def evaluations(name, angle):
        def sample(n, part):
            return TurnedValley.sample(n, angle, condition, seed=2 * seed + part)

        if name == "BFGS":
            return bfgs_evaluations(sample(reporting, 1))
        make, lrs, limit = rules[name]
        return tuned(settling_time, make, sample, lrs, tuning, reporting, lambda: limit).scores

    return {name: np.array([evaluations(name, a) for a in angles]) for name in names or (*rules, "BFGS")}


class Noisy(NamedTuple):
    """A rule make(lr, stream, *setting) of the race with sampled gradients, the settings it chooses from, and what a step costs in gradients."""

    make: Callable
    settings: tuple | None = None
    cost: Callable = lambda *_: 1


#: Ridges, shares of curvature, and blocks and memories stand around those of the papers; the tuning streams choose.
NOISY_RULES = {
    "SGD": Noisy(lambda lr, stream: SGD(lr)),
    "heavy ball": Noisy(lambda lr, stream: HeavyBall(lr, 0.98)),
    "AdaGrad": Noisy(lambda lr, stream: AdaGrad(lr)),
    "Adam": Noisy(lambda lr, stream: Adam(lr)),
    "full AdaGrad": Noisy(lambda lr, stream: FullAdaGrad(lr)),
    "lazy BFGS": Noisy(lambda lr, stream: LazyBFGS(lr)),
    "damped BFGS": Noisy(lambda lr, stream, share: DampedBFGS(lr, share), ((0.2,), (0.6,), (0.9,))),
    "online BFGS": Noisy(
        lambda lr, stream, ridge: OnlineBFGS(stream.grad, lr, ridge), ((0.0,), (0.01,), (0.1,)), lambda _: 2
    ),
    "SQN": Noisy(
        lambda lr, stream, block, memory: SQN(stream.grad, lr, block, memory),
        tuple(product((10, 20, 25, 40), (20, None))),
        lambda block, _: 1 + 2 / block,
    ),
}


def noisy_race(
    angles, condition: float, tuning: int, reporting: int, gradients: int, seed: int, noise=0.3
) -> dict[str, list[Choice]]:
    """Excess loss after `gradients` batch gradients under linear decay, as a share of the start, by method and angle."""

    def run(name, angle):
        entry, lrs = NOISY_RULES[name], RATES[:: 2 if name.startswith("full") else 1]

        def steps(*setting):
            return int(gradients / entry.cost(*setting))

        def sample(n, part):
            return StreamingRegression.sample(n, angle, condition, seed=2 * seed + part, noise=noise)

        def decaying(lr, stream, *setting):
            return LinearDecay(entry.make(lr, stream, *setting), steps(*setting))

        return tuned(final_loss, decaying, sample, lrs, tuning, reporting, steps, entry.settings)

    return {name: [run(name, a) for a in angles] for name in NOISY_RULES}


#: The methods of the noisy race whose metric comes from differences of gradients.
SECANTS = ("lazy BFGS", "damped BFGS", "online BFGS", "SQN")


def solved_in(counts, limit: int) -> str:
    """The median of counts of evaluations in words: "812", or "more than 2000" where the median problem was not solved."""
    middle = np.median(counts)
    return f"{middle:.0f}" if np.isfinite(middle) else f"more than {limit}"


def learned_metrics(A, x, updates: int):
    """BFGS metrics B_0 = I, B_1, ... on f = x'A x / 2 with exact line searches: a list of `updates` + 1 matrices."""
    metrics = [np.eye(len(x))]
    for _ in range(updates):
        p = -np.linalg.solve(metrics[-1], A @ x)
        s = -(x @ A @ p) / (p @ A @ p) * p
        x = x + s
        metrics.append(bfgs_metric(metrics[-1], s, A @ s))
    return metrics


def one_metric_one_step(n: int, seed: int, d: int = 6) -> dict[str, np.ndarray]:
    """Relative distances |a - b| / |b| of two steps that are one in the reading as metrics, over n problems: (n,) each.

    The power of a full second moment that is diagonal, against the power of the diagonal; and the BFGS metric of a
    plane after two exact searches, against the Hessian.
    """
    rng = np.random.default_rng(seed)
    v, g = rng.lognormal(size=(n, d)), rng.normal(size=(n, d))
    full, walked, expected = FullPower(v[..., None] * np.eye(d), 1.0, 0.9), 0.0, 0.0
    V = full.init(g)
    for along in np.eye(d):  # one coordinate after the other keeps V diagonal
        V, _, step = full.step(V, along * g, None)
        v = 0.9 * v + 0.1 * (along * g) ** 2
        walked, expected = walked + step, expected + along * g / np.sqrt(v)
    plane = TurnedValley.sample(n, 0.7, condition=10, d=2, seed=seed)
    x = rng.normal(size=(n, 2))
    learned = np.stack([learned_metrics(A, x0, 2)[-1] for A, x0 in zip(plane.A, plane.x0, strict=True)])
    pairs = {
        "a diagonal second moment as a full matrix": (walked, expected),
        "BFGS with exact searches as Newton's metric": (solve(learned, x), solve(plane.A, x)),
    }
    return {name: np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1) for name, (a, b) in pairs.items()}
