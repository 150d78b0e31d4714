"""Preconditioned gradients on regressions: how far each direction is from the natural gradient, and how many steps each rule takes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from companion.evidence import bootstrap
from companion.experiments.regression import Linear, Logistic, batch_second_moment, outer_mean
from stepsize.descent import descend
from stepsize.errors import ShapeError
from stepsize.measures import first_hit, log_slope
from stepsize.metric import Riemannian, diagonal, inner, law_defect, pull_back, second_moment, solve, steepest
from stepsize.rules import SGD, AdaGrad, Adam, HeavyBall, RMSProp, SignDescent
from stepsize.signals import respond
from stepsize.tuning import Choice, tune


def angle(G, a, b):
    """Degrees between a and b in the metric G."""
    cosine = inner(G, a, b) / np.sqrt(inner(G, a, a) * inner(G, b, b))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def directions(model: Linear, x) -> dict[str, Any]:
    """What the preconditioners make of the full gradient at x; 'Adam' is g / sqrt(v) with the v of single examples."""
    g, E = model.grad(x), model.empirical(x)
    F = model.fisher(x)
    f, v = (np.diagonal(M, axis1=-2, axis2=-1) for M in (F, E))
    return {
        "natural gradient": solve(F, g),
        "empirical Fisher": solve(E, g),
        "diagonal Fisher": g / f,
        "root-free, g / v": g / v,
        "Adam, g / √v": g / np.sqrt(v),
        "sign": np.sign(g),
        "SGD": g,
    }


def angles(model: Linear, share: float = 0.5) -> dict[str, Any]:
    """Degrees of every direction from the natural gradient, at a share of the distance to the minimiser: (2, runs), in Euclid's and in the Fisher metric."""
    x = share * model.minimiser()
    others, F = directions(model, x), model.fisher(x)
    natural = others.pop("natural gradient")
    return {name: np.stack([angle(G, u, natural) for G in (np.eye(x.shape[-1]), F)]) for name, u in others.items()}


def angles_by_kind(seeds) -> dict[str, dict]:
    """`angles` of regressions of all kinds, half way to the minimiser: {kind: {direction: (2, runs)}}."""
    return {kind: angles(regression(kind, seeds)) for kind in KINDS}


def gains(apart: dict, name: str) -> dict[str, Any]:
    """Degrees by which a direction is nearer to the natural gradient than the plain gradient is, Euclid's metric: kind -> (runs,)."""
    return {kind: angles["SGD"][0] - angles[name][0] for kind, angles in apart.items()}


def share_of_gain(gain, best):
    """mean(gain) / mean(best) of paired gains (runs,), with an interval that keeps the pairs together: 1 where all of the best is attained."""

    def statistic(rows, axis):
        a, b = (np.asarray(of)[rows.astype(int)].mean(axis) for of in (gain, best))
        return a / b

    return bootstrap(np.arange(len(gain)), statistic)


def steepest_deviations(runs: int, seed: int, steps: int = 20, d: int = 6) -> dict[str, np.ndarray]:
    """|step - steepest| / |step| of a method after a random history of gradients, per run; `steepest` is the steepest step of the
    same length in the inner product diag(sqrt(v)), v summed up from the history."""  # fmt: skip
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(steps, runs, d)) * rng.lognormal(sigma=2, size=d)
    age = np.arange(steps)[::-1]
    recent = 0.999**age
    methods = {
        "the method is AdaGrad": (AdaGrad(eps=0), np.ones(steps)),
        "the method is RMSProp": (RMSProp(eps=0), 0.01 * 0.99**age),
        "the method is Adam without momentum": (Adam(beta1=0.0, eps=0), recent / recent.sum()),
    }
    deviations = {}
    for name, (rule, weight) in methods.items():
        path = respond(rule, g)
        step, G = (path.rate * path.direction)[-1], diagonal(np.sqrt(np.tensordot(weight, g**2, 1)))
        best = steepest(G, g[-1], np.sqrt(inner(G, step, step))[..., None])
        deviations[name] = np.linalg.norm(step + best, axis=-1) / np.linalg.norm(step, axis=-1)
    return deviations


def law_defects(scores, seed: int) -> dict[str, Any]:
    """How far second moments of scores (runs, n, d) break the tensor law, per run, under random units and a random rotation."""
    rng, (runs, _, d) = np.random.default_rng(seed), scores.shape
    units = diagonal(np.exp(rng.uniform(-2, 2, (runs, d))))
    turn = np.linalg.qr(rng.standard_normal((runs, d, d)))[0]

    def moment(power):
        return lambda s: diagonal((s**2).mean(-2) ** power)

    cases = {
        "v, units": (moment(1.0), units),
        "√v, units": (moment(0.5), units),
        "v, rotation": (moment(1.0), turn),
        "V, both": (outer_mean, units @ turn),
    }
    return {name: law_defect(of(scores @ A), pull_back(of(scores), A)) for name, (of, A) in cases.items()}


#: The same regression under six conditions; the last two are one data set in two coordinate systems.
KINDS = ("unit scales", "flipped labels", "collinear", "nearly separable", "unequal units", "unequal units, rotated")


def coordinates(kind: str, rng, d: int):
    """(units, turn), each (d, d), of a kind of inputs X -> X units turn: from 0.1 to 10 where units are unequal, a random rotation if rotated."""
    units = np.diag(np.logspace(-1, 1, d)) if kind.startswith("unequal units") else np.eye(d)
    return units, np.linalg.qr(rng.standard_normal((d, d)))[0] if kind.endswith("rotated") else np.eye(d)


def _draw(kind: str, seed: int, n: int, d: int):
    rng = np.random.default_rng([seed, n, d])
    X, x = rng.standard_normal((n, d)), rng.standard_normal(d) * (6.0 if kind == "nearly separable" else 1.5) / d**0.5
    if kind == "collinear":
        X = np.sqrt(0.05) * X + np.sqrt(0.95) * rng.standard_normal((n, 1))
    y = (rng.random(n) < Logistic(X, 0).mean(x)).astype(float)
    if kind == "flipped labels":
        y = np.where(rng.random(n) < 0.2, 1 - y, y)
    units, turn = coordinates(kind, rng, d)
    return X @ units @ turn, y


def regression(kind: str, seeds, n: int = 500, d: int = 8) -> Logistic:
    """Logistic regressions of one of the `KINDS`, one per seed; normal inputs, true weights of length about 1.5 (6 where nearly separable).

    'flipped labels': 20 %; 'collinear': correlation 0.95; 'unequal units': columns scaled from 0.1 to 10.
    """
    if kind not in KINDS:
        raise ShapeError(f"no regression is called {kind!r}; choose from {', '.join(KINDS)}")
    X, y = zip(*(_draw(kind, seed, n, d) for seed in seeds), strict=True)
    return Logistic(np.stack(X), np.stack(y))


def mixed(correlation: float, seed: int, n: int = 4000) -> Logistic:
    """One regression with two weights: inputs of the given correlation, the second on three times the scale of the first."""
    base = regression("unit scales", [seed], n, 2)
    mix = np.array([[1.0, correlation], [0.0, np.sqrt(1 - correlation**2)]]) * [1.0, 3.0]
    return Logistic(base.X @ mix, base.y)


def batch_moments(model: Linear, x, batches) -> tuple[Any, dict[int, Any]]:
    """diag F at x, and what v settles at there for each batch size, both (runs, d)."""
    scores = model.scores(x)
    return np.diagonal(model.fisher(x), axis1=-2, axis2=-1), {B: batch_second_moment(scores, B) for B in batches}


def spread(ratio):
    """Largest over smallest of a ratio over the coordinates, per run: 1 if the two agree up to a factor."""
    return ratio.max(-1) / ratio.min(-1)


def distant(distances, seeds, n: int = 200, d: int = 5) -> tuple[Linear, Any, Any]:
    """Linear regressions with unit noise, their minimisers, and starts at the given distances from them, (distances, seeds, d)."""
    rng = [np.random.default_rng([seed, n, d]) for seed in seeds]
    X = np.stack([r.standard_normal((n, d)) for r in rng])
    y = np.stack([r.standard_normal(n) for r in rng])
    model = Linear(X, y)
    best, u = model.minimiser(), np.stack([r.standard_normal(d) for r in rng])
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    return model, best, best + np.asarray(distances, float)[:, None, None] * u


def steps_to(rule, model: Linear, gap: float, cap: int, x0=None, best=None):
    """Number of steps until loss - minimum <= gap for the first time, per run; cap + 1 where `cap` steps were not enough.

    A rule whose hyper-parameters have more leading axes than the data runs them all at once. The loss is computed only where the
    gradient is small enough: within `gap` |g|^2 is at most 2 L gap, and L is at most the largest eigenvalue of X'X / n.
    """
    best = model.minimiser() if best is None else best
    level, x0 = model.loss(best) + gap, np.zeros_like(best) if x0 is None else x0
    # a little more, for rounding
    small = 2.002 * gap * np.linalg.eigvalsh(outer_mean(model.X))[..., -1]
    seen: list = [None, None]

    def grad(x, t):
        return seen[1] if x is seen[0] else model.grad(x)

    def inside(x):
        seen[:] = x, model.grad(x)
        near = (seen[1] ** 2).sum(-1) <= small
        at = np.nonzero(near)
        if at[0].size:
            near[at] = type(model)(model.X[at[-1]], model.y[at[-1]]).loss(x[at]) <= level[at[-1]]
        return near

    return np.minimum(first_hit(rule, grad, x0, inside, cap), cap + 1)


def _diagonal(metric):
    return lambda x: diagonal(np.diagonal(metric(x), axis1=-2, axis2=-1))


#: name -> (model, lr) -> rule. The damping keeps a diverged run from stopping the others.
RACERS: dict[str, Callable] = {
    "SGD": lambda model, lr: SGD(lr),
    "heavy ball": lambda model, lr: HeavyBall(lr),
    "sign": lambda model, lr: SignDescent(lr),
    "Adam": lambda model, lr: Adam(lr),
    "Adam without momentum": lambda model, lr: Adam(lr, beta1=0.0),
    "RMSProp": lambda model, lr: RMSProp(lr),
    "diagonal Fisher": lambda model, lr: Riemannian(_diagonal(model.fisher), lr, 1e-9),
    "empirical Fisher": lambda model, lr: Riemannian(model.empirical, lr, 1e-9),
    "natural gradient": lambda model, lr: Riemannian(model.fisher, lr, 1e-9),
}


def solved_first(steps, cap: int) -> float:
    """median(steps) within the cap, else cap + the share of data sets that take more: where no rate solves the median data set,
    the rate that solves most is the best."""  # fmt: skip
    steps = np.asarray(steps)
    middle = np.median(steps)
    return float(middle if middle <= cap else cap + np.mean(steps > cap))


def race(
    name: str, kind: str, lrs, tuning, reporting, gap: float = 1e-8, cap: int = 400, n: int = 200, d: int = 6
) -> Choice:
    """Steps to the gap, full batch, from 0, with the rate that is best by `solved_first` on the tuning seeds."""

    def run(lrs, seeds):
        model = regression(kind, seeds, n, d)
        return steps_to(RACERS[name](model, lrs[:, None, None]), model, gap, cap)

    return tune(run, lrs, tuning, reporting, lambda steps: solved_first(steps, cap))


#: The kinds that are raced; the last two are one data set in two coordinate systems.
RACED = ("unit scales", "nearly separable", "unequal units", "unequal units, rotated")


def races(lrs, tuning, reporting, cap: int) -> dict[tuple[str, str], Choice]:
    """`race` of every method on every kind that is raced: (method, kind) -> choice."""
    return {(name, kind): race(name, kind, lrs, tuning, reporting, cap=cap) for kind in RACED for name in RACERS}


def steps_from(distances, seeds, gap: float = 1e-8, cap: int = 4000) -> dict[str, Any]:
    """Steps of the empirical and of the exact Fisher rule to the minimum of `distant` regressions, at rate 1: name -> (distances, seeds)."""
    model, best, x0 = distant(distances, seeds)
    metrics = {"empirical Fisher": model.empirical, "natural gradient": model.fisher}
    return {name: steps_to(Riemannian(metric), model, gap, cap, x0, best) for name, metric in metrics.items()}


def predicted_steps(distances, gap: float = 1e-8):
    """Time in which D' = -D / (1 + 3 D^2) falls from D to e = sqrt(2 gap), where the gap is reached: 3/2 (D^2 - e^2) + log(D / e).

    That is how fast the empirical rule of `steps_from` approaches, for many examples: E of normal inputs and unit noise is
    (1 + D^2) I + 2 D^2 u u' at distance D along u, and F is I.
    """
    distances, near = np.asarray(distances, float), np.sqrt(2 * gap)
    return 1.5 * (distances**2 - near**2) + np.log(distances / near)


def stretched(rule, scales, snr: float, seeds, steps: int = 2000):
    """(rate, |step|) of each coordinate, averaged over the second half of a walk whose gradients are scales * (snr + noise).

    Shapes (seeds, d): the same noise law in every coordinate, in other units.
    """
    scales = np.asarray(scales, float)
    noise = np.stack([np.random.default_rng(seed).standard_normal((steps, scales.size)) for seed in seeds], 1)
    path = descend(rule, lambda x, t: scales * (snr + noise[t]), np.zeros((len(noise[0]), scales.size)), steps)
    late = slice(steps // 2, None)
    return path.rate[late].mean(0), np.abs(path.rate * path.direction)[late].mean(0)


def trained(rule, model: Linear, batch: int, steps: int, seed: int):
    """(root mean square gradient, 1 / rate) per coordinate after minibatch training: what the metric was built from, and the metric."""
    rng, n, seen = np.random.default_rng(seed), model.X.shape[-2], []

    def grad(x, t):
        pick = rng.integers(n, size=batch)
        seen.append(type(model)(model.X[..., pick, :], model.y[..., pick]).grad(x))
        return seen[-1]

    path = descend(rule, grad, np.zeros(model.X[..., 0, :].shape), steps)
    return np.sqrt(np.mean(np.square(seen), 0)), 1 / path.rate[-1]


def grown_metrics(model: Linear, batch: int, steps: int, seeds, lr: float = 1e-2) -> dict[str, Any]:
    """Exponent of the metric in the root mean square gradient after training, for Adam, RMSProp and AdaGrad: condition -> (runs,)."""
    return {
        f"trained with {type(rule).__name__}, batches of {batch}": log_slope(*trained(rule, model, batch, steps, seed))
        for rule, seed in zip((Adam(lr), RMSProp(lr), AdaGrad(lr)), seeds, strict=True)
    }


def two_roads(
    model: Linear, seed: int, steps: int = 1000, idle: int = 20000, beta: float = 0.999
) -> dict[str, np.ndarray]:
    """max / min over the coordinates of sqrt(v) after a detour against sqrt(v) after the straight path, to the same point.

    From 0 to half of the minimiser, at full gradients: condition -> (runs,), on arrival and after `idle` steps at the point.
    """
    end, share = 0.5 * model.minimiser(), np.linspace(0, 1, steps)[:, None, None]
    aside = np.random.default_rng(seed).standard_normal(end.shape)
    aside *= 2 * np.linalg.norm(end, axis=-1, keepdims=True) / np.linalg.norm(aside, axis=-1, keepdims=True)
    roads = np.stack([share * end, share * end + np.sin(np.pi * share) * aside], 1)
    gradients = model.grad(roads)
    v, still = second_moment(gradients, beta)[-1], gradients[-1] ** 2
    # an average of the road and then of the standstill: each counts with its share of the weight
    past, now = beta**idle * (1 - beta**steps), 1 - beta**idle
    moments = {
        "the iterate has just arrived": v,
        f"the iterate has stood still for {idle * (1 - beta):.0f} memories of v": (past * v + now * still)
        / (past + now),
    }
    return {condition: spread(np.sqrt(w[1] / w[0])) for condition, w in moments.items()}
