"""The same valley seen from turned axes, with exact and with sampled gradients: who needs the axes, and who only the shape?

Shapes: problems (n, d), matrices (n, d, d); iterates (..., n, d), leading axes for learning rates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from stepsize.descent import descend
from stepsize.errors import HyperparameterError
from stepsize.matrix_rules import SOAP, Shampoo
from stepsize.measures import late_loss, settle
from stepsize.metric import FullPower, apply, diagonal, solve
from stepsize.rules import SGD, AdaGrad, Adam, HeavyBall
from stepsize.tuning import Choice, choose, tune
from stepsize.wrappers import LinearDecay

from .rules import SQN, AdaHessian, DampedBFGS, Folded, FullAdaGrad, LazyBFGS, OnlineBFGS, OnlineNewton
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


def _times(M, x):
    """M x for M of shape (n, a, d) and x of shape (..., n, d): one matrix product a problem, for all learning rates together."""
    columns = x.reshape(-1, *x.shape[-2:]).transpose(1, 2, 0)
    return (M @ columns).transpose(2, 0, 1).reshape(*x.shape[:-1], -1)


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
        return (x * _times(self.A, x)).sum(-1) / 2

    def grad(self, x, t=None):
        return _times(self.A, x)


#: So many normals of the streams are kept at most, 256 MiB of them: every rule of a race meets the same.
_KEPT = 2**25


@lru_cache(maxsize=1)
def _drawn(seed: int, n: int, batch: int, d: int) -> dict:
    """Of the last streams asked for, step -> its normals; kept while other rules follow the same streams."""
    return {}


def _normals(seed: int, t: int, n: int, batch: int, d: int):
    """Standard normals of step t, (n, batch, d) and (n, batch), the same at every call; some rules ask for two gradients on one batch."""
    drawn = _drawn(seed, n, batch, d)
    if t not in drawn:
        rng = np.random.default_rng([seed, 3, t])
        if drawn and (len(drawn) + 1) * n * batch * (d + 1) > _KEPT:
            drawn.pop(next(reversed(drawn)))  # the latest: what is kept are the first steps
        drawn[t] = rng.standard_normal((n, batch, d)), rng.standard_normal((n, batch))
    return drawn[t]


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

    @cached_property
    def _root(self):
        return np.sqrt(_axes(self.condition, self.w.shape[-1]))

    @cached_property
    def _features(self):
        return self.R * self._root

    def grad(self, w, t):
        n, d = self.w.shape
        z, noise = _normals(self.seed, t, n, self.batch, d)
        T = self._features  # features z T', never formed
        residual = _times(z, _times(T.mT, w - self.w)) - self.noise * noise
        return _times(T, _times(z.mT, residual)) / self.batch

    def probe(self, t: int):
        """Random signs for step t, (n, d): the same for every learning rate, other ones for every stream."""
        return np.random.default_rng([self.seed, 4, t]).choice([-1.0, 1.0], self.w.shape)

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


def censored_geometric_mean(losses):
    """Geometric mean over the last axis of losses relative to the start; a run that ends no lower than it began has diverged.

    It counts as 1e300: a single one among a few dozen puts a choice behind all that never diverge, but every choice ranks.
    """
    return np.exp(np.log(np.where(losses < 1, losses, 1e300)).mean(-1))


def bfgs_evaluations(problem: TurnedValley, tolerance: float = 1e-6):
    """Gradient evaluations that BFGS with a Wolfe search needs to f <= tolerance * f(x0), valley by valley: (n,)."""
    goals = tolerance * problem.f(problem.x0)
    runs = [
        minimise(lambda x, A=A: (x @ A @ x / 2, A @ x), x0, gtol=0, target=goal)
        for A, x0, goal in zip(problem.A, problem.x0, goals, strict=True)
    ]
    return np.array([run.evaluations if run.converged else np.inf for run in runs])


RATES = 10 ** np.arange(-3, 1.3, 0.25)

#: Adam's default, and that of the heavy ball it is raced against.
MOMENTA = ((0.9,), (0.98,))


def exact_race(
    angles, condition: float, tuning: int, reporting: int, steps: int, seed: int, names=None
) -> dict[str, np.ndarray]:
    """Gradient evaluations to a millionth of f(x0), (angles, reporting) for every method, or those of the given names.

    Rates are tuned for every angle anew, and with them the momentum of Adam; the line search of BFGS has none to choose. Full-matrix AdaGrad gets a tenth of the
    horizon and every other rate: it needs less, and costs more per step.
    """
    rules = {
        "AdaGrad": (AdaGrad, RATES, steps),
        "Adam": (lambda lr, beta1: LinearDecay(Adam(lr, beta1), steps), RATES, steps, MOMENTA),
        "heavy ball": (lambda lr: HeavyBall(lr, 0.98), RATES, steps),
        "full AdaGrad": (FullAdaGrad, RATES[::2], max(steps // 10, 100)),
    }

    def evaluations(name, angle):
        def sample(n, part):
            return TurnedValley.sample(n, angle, condition, seed=2 * seed + part)

        if name == "BFGS":
            return bfgs_evaluations(sample(reporting, 1))
        make, lrs, limit, *settings = rules[name]

        def run(rates, seeds, setting=()):
            return settling_time(make(rates[:, None, None], *setting), sample(len(seeds), int(seeds[0] > 0)), limit)

        apart = range(-tuning, 0), range(1, reporting + 1)
        return tune(run, lrs, *apart, censored_median, *settings).scores

    return {name: np.array([evaluations(name, a) for a in angles]) for name in names or (*rules, "BFGS")}


class Noisy(NamedTuple):
    """A rule make(lr, stream, *setting) of the race with sampled gradients, the settings it chooses from, and what a step costs in gradients.

    `axes`: it depends on the coordinates; a rule without axes does the same in every frame.
    """

    make: Callable
    settings: tuple = ((),)
    cost: Callable = lambda *_: 1
    axes: bool = False
    lrs: np.ndarray = RATES


#: Ridges, shares of curvature, blocks and memories stand around those of the papers; the tuning streams choose. Read as a matrix
#: of 4 by 5, the curvatures along the axes, a geometric sequence, are a product of one of rows and one of columns. Rules with
#: eigendecompositions get every other rate, those that divide by a sum of squares larger ones.
NOISY_RULES = {
    "SGD": Noisy(lambda lr, stream: SGD(lr)),
    "heavy ball": Noisy(lambda lr, stream: HeavyBall(lr, 0.98)),
    "AdaGrad": Noisy(lambda lr, stream: AdaGrad(lr), axes=True, lrs=10 * RATES),
    "Adam": Noisy(lambda lr, stream, beta1: Adam(lr, beta1), MOMENTA, axes=True),
    "AdaHessian": Noisy(
        lambda lr, stream, beta1, every: AdaHessian(stream.grad, stream.probe, lr, beta1, every=every),
        ((0.9, 1), (0.98, 1), (0.9, 10), (0.98, 10)),
        lambda _, every: 1 + 1 / every,
        axes=True,
    ),
    "Shampoo": Noisy(lambda lr, stream: Folded(Shampoo(lr[..., None]), (4, 5)), axes=True, lrs=100 * RATES[::2]),
    "SOAP": Noisy(
        lambda lr, stream, *betas: Folded(SOAP(lr[..., None], *betas), (4, 5)),
        ((0.95, 0.95), (0.9, 0.999)),
        axes=True,
        lrs=RATES[::2],
    ),
    "full AdaGrad": Noisy(lambda lr, stream: FullAdaGrad(lr), lrs=RATES[::2]),
    "online Newton": Noisy(lambda lr, stream, ridge: OnlineNewton(lr, ridge), ((1e-4,), (1e-2,), (1.0,))),
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


#: So many pairs of a setting and a rate reach the second stage of tuning.
FINALISTS = 4


def noisy_race(
    angles, condition: float, tuning: int, reporting: int, gradients: int, seed: int, noise=0.3
) -> dict[str, list[Choice]]:
    """Excess loss after `gradients` batch gradients under linear decay, as a share of the start: one Choice an angle for every method.

    Every method is tuned alike, in two stages: all its settings and rates on `tuning` streams, then the FINALISTS best on these and
    twice as many further ones, both times by `censored_geometric_mean`. The `curve` of a Choice is that of the first stage; `scores`
    are on `reporting` other streams. A rule without axes does the same at every angle, and runs at the last one alone.
    """

    def losses(part, n, run, setting, rates):
        name, angle = run
        make, _, cost, *_ = NOISY_RULES[name]
        stream = StreamingRegression.sample(n, angle, condition, seed=3 * seed + part, noise=noise)
        steps = int(gradients / cost(*setting))
        return final_loss(LinearDecay(make(rates[:, None, None], stream, *setting), steps), stream, steps)

    # stage by stage, not rule by rule: all rules of a stage follow the same streams, which are drawn once
    runs = [(name, a) for name, rule in NOISY_RULES.items() for a in (angles if rule.axes else angles[-1:])]
    first = {}
    for run in runs:
        _, settings, _, _, lrs = NOISY_RULES[run[0]]
        first[run] = np.stack([losses(0, tuning, run, setting, lrs) for setting in settings])
    chosen = {}
    for run in runs:
        _, settings, _, _, lrs = NOISY_RULES[run[0]]
        curve = censored_geometric_mean(first[run])
        reaches = curve <= np.sort(curve, None)[FINALISTS - 1]
        final = np.full(curve.shape, np.inf)
        for i in np.flatnonzero(reaches.any(1)):
            further = losses(1, 2 * tuning, run, settings[i], lrs[reaches[i]])
            final[i, reaches[i]] = censored_geometric_mean(np.hstack([first[run][i, reaches[i]], further]))
        chosen[run] = choose(final, lrs, settings)._replace(curve=curve)
    reported = {name: [] for name in NOISY_RULES}
    for run, choice in chosen.items():
        scores = losses(2, reporting, run, choice.setting, np.array([choice.lr]))[0]
        reported[run[0]].append(choice._replace(scores=scores))
    return reported


def learned_axes(name: str, choice: Choice, condition: float, n: int, gradients: int, seed: int, noise=0.3):
    """What a secant method of the noisy race knows at its end: for every axis, its inverse metric over the inverse curvature, and the share of the excess loss left there.

    On n new streams along the axes, at the rate and setting of `choice`: two arrays (n, d), steepest axis first, with a row for
    every run that stays finite. 1 is Newton's metric.
    """
    make, _, cost, *_ = NOISY_RULES[name]
    stream = StreamingRegression.sample(n, 0.0, condition, seed=seed, noise=noise)
    steps = int(gradients / cost(*choice.setting))
    rule = LinearDecay(make(choice.lr, stream, *choice.setting), steps)
    path = descend(rule, stream.grad, np.zeros_like(stream.w), steps, every=steps, nonfinite="record")
    finite, curvature = path.diverged < 0, _axes(condition, stream.w.shape[-1])
    left = (path.x[-1] - stream.w)[finite] ** 2 * curvature
    known = np.diagonal(path.state.state.H, axis1=-2, axis2=-1)[finite] * curvature
    return known, left / left.sum(-1, keepdims=True)


#: The methods of the noisy race whose metric comes from differences of gradients along their steps.
SECANTS = ("lazy BFGS", "damped BFGS", "online BFGS", "SQN")

#: Those whose metric comes from outer products: as one matrix or as two Kronecker factors.
OUTER_PRODUCTS = ("full AdaGrad", "online Newton", "Shampoo", "SOAP")


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

    The power of a full second moment that is diagonal, against the power of the diagonal; the BFGS metric of a plane after
    two exact searches, against the Hessian; and AdaHessian, where the Hessian is diagonal, against Newton's step.
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
    curved = rng.lognormal(size=(n, d))
    probing = AdaHessian(lambda a, t: curved * a, lambda t: rng.choice([-1.0, 1.0], (n, d)), lr=1.0, eps=0)
    _, rate, direction = probing.step(probing.init(g), curved * g, g)
    pairs = {
        "a diagonal second moment as a full matrix": (walked, expected),
        "BFGS with exact searches as Newton's metric": (solve(learned, x), solve(plane.A, x)),
        "AdaHessian on a diagonal Hessian as Newton's metric": (rate * direction, solve(diagonal(curved), curved * g)),
    }
    return {name: np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1) for name, (a, b) in pairs.items()}
