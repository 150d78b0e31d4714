"""What may go wrong with an input, by kind, and every public place of the experiments where an input enters.

A place is `Place(call, good, right, names)`: `call(good)` works. What `REFUSED` lists of it is answered by an error of
ours that matches `names`, or else the last word of the place's name; every other kind of `KINDS` gives a value without NaN
for which `right` holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from companion.experiments.adversarial_training.attacks import (
    Box,
    Disc,
    Rival,
    Target,
    auto_pgd,
    checkpoints,
    confine,
    judge,
    walk_in_ball,
)
from companion.experiments.adversarial_training.classifiers import Classifier, Images, margin
from companion.experiments.federated_learning.aggregation import (
    Agnostic,
    ClientRate,
    Equal,
    FedAvg,
    InverseVariance,
    Krum,
    QFair,
    RandomEffects,
    TrimmedMean,
    Without,
    fed_yogi,
    shares,
    simplex,
)
from companion.experiments.federated_learning.clients import (
    LeastSquares,
    Logistic,
    Report,
    check,
    local_update,
)
from companion.experiments.federated_learning.clients import simulate as federate
from companion.experiments.federated_learning.defence import bounded
from companion.experiments.poisson_bursts.streams import (
    EWMA,
    ImplicitSGD,
    Stream,
    calendar_stream,
    deviance,
    follow,
    gradient,
    kl,
    level,
    mean,
    poisson_stream,
)
from companion.experiments.quasi_newton.rules import SQN, DampedBFGS, OnlineBFGS
from companion.experiments.quasi_newton.secant import (
    Dense,
    Limited,
    bfgs_inverse,
    bfgs_metric,
    dfp_inverse,
    divergence_margins,
    gaussian_divergence,
    minimise,
    powell_damping,
    two_loop,
)
from companion.experiments.tau_leaping import textbook
from companion.experiments.tau_leaping.leaping import Absolute, Activity, Cao, Fixed, leap, longest_step
from companion.experiments.tau_leaping.master_equation import MasterEquation
from companion.experiments.tau_leaping.network import Network
from companion.experiments.tau_leaping.ssa import simulate
from companion.experiments.tau_leaping.theory import stationary_inflation
from stepsize import SGD
from stepsize.descent import walk


def _first(value):
    """Put `value` in place of the first entry."""

    def change(good):
        bad = np.array(good, float)
        bad[(0,) * bad.ndim] = value
        return bad

    return change


#: kind -> what it makes of a good array; a number is an array without axes, and has no order and no first element.
KINDS: dict[str, Callable] = {
    "NaN": _first(np.nan),
    "infinite": _first(np.inf),
    "empty": lambda good: np.array(good)[:0] if np.ndim(good) else [],
    "zero": lambda good: 0 * np.array(good),
    "huge": _first(1e300),
    "negative": lambda good: -np.array(good) - (np.array(good) == 0),
    "one": lambda good: np.array(good)[:1] if np.ndim(good) else [good],
    "reversed": lambda good: np.array(good)[::-1],
    "text": lambda good: np.array(good).astype(str) if np.ndim(good) else str(good),
    "complex": lambda good: np.array(good) + 1j,
    "integers": lambda good: np.ceil(good).astype(int),
}


def kinds(good) -> dict[str, Any]:
    """kind -> the bad value made of a good one; numbers are given as Python's own."""
    made = {kind: make(good) for kind, make in KINDS.items() if np.ndim(good) or kind != "reversed"}
    return {
        k: v.item() if np.ndim(good) == 0 and hasattr(v, "item") and np.ndim(v) == 0 else v for k, v in made.items()
    }


class Place(NamedTuple):
    call: Callable
    good: Any
    right: Callable = lambda result: True
    names: str = ""


def arrays(result) -> list[np.ndarray]:
    """Every number in a result."""
    if isinstance(result, (tuple, list)):
        return [a for part in result for a in arrays(part)]
    if isinstance(result, dict):
        return arrays(list(result.values()))
    if isinstance(result, torch.Tensor):
        return [result.numpy()]
    return [np.asarray(result)] if isinstance(result, (int, float, complex, np.ndarray, np.generic)) else []


_DECAY, _RNG = textbook.decay(10), np.random.default_rng(0)
_CHAIN = MasterEquation(_DECAY)
_LAW = _CHAIN.solve([0.5])[0]
_T = np.array([0.5, 1.0, 2.0])


def _ssa(**changes):
    return lambda bad: (
        simulate(*(changes.get("network", _DECAY),), **({"times": _T, "runs": 2} | {changes["at"]: bad})).x
    )


def _leaps(at):
    return lambda bad: leap(_DECAY, **({"times": _T, "step": Cao(), "runs": 2} | {at: bad})).x


def _stepping(rule):
    return lambda bad: leap(_DECAY, [1.0], rule(bad), 2).x


def _network(**parts):
    return lambda bad: (
        Network(
            **{
                k: f(bad)
                for k, f in ({"initial": lambda _: {"A": 5}, "reactions": lambda _: [("A ->", 1.0)]} | parts).items()
            }
        ).x0
    )


SIMULATORS = {
    "simulate: times": Place(_ssa(at="times"), _T),
    "simulate: runs": Place(_ssa(at="runs"), 2),
    "simulate: seed": Place(_ssa(at="seed"), 2),
    "simulate: initial": Place(_ssa(at="initial"), [10.0], names="initial|propensity"),
    "simulate: rates": Place(_ssa(at="rates"), [1.0], names="rates|propensity"),
    "simulate: max_events": Place(_ssa(at="max_events"), 1000),
    "leap: times": Place(_leaps("times"), _T),
    "leap: runs": Place(_leaps("runs"), 2),
    "leap: initial": Place(_leaps("initial"), [10.0], names="initial|propensity"),
    "leap: rates": Place(_leaps("rates"), [1.0], names="rates|propensity"),
    "leap: record": Place(_leaps("record"), 2),
    "Fixed: tau": Place(_stepping(Fixed), 0.1),
    "Cao: eps": Place(_stepping(Cao), 0.1),
    "Cao: critical": Place(_stepping(lambda v: Cao(critical=v)), 10),
    "Cao: burst": Place(_stepping(lambda v: Cao(burst=v)), 10),
    "Activity: size": Place(_stepping(Activity), 2.0),
    "Absolute: size": Place(_stepping(Absolute), 2.0),
    "longest_step: x": Place(lambda x: longest_step(_DECAY, Cao(), x), [10.0], names="states"),
    "Network: count": Place(_network(initial=lambda n: {"A": n}), 5),
    "Network: rate": Place(_network(reactions=lambda c: [("A ->", c)]), 1.5),
    "Network: copies": Place(_network(reactions=lambda n: [(f"{n} A ->", 1.0)]), 2, names="copies|stoichiometry|species"),
    "Network: time of a reset": Place(_network(resets=lambda t: [(t, "A", 3)]), 1.5, names="reset"),
    "Network: count of a reset": Place(_network(resets=lambda n: [(1.0, "A", n)]), 3, names="reset"),
    "Network: factor of a rule": Place(_network(rules=lambda f: {"r": {"A": f}}), 1.5, names="factor"),
    "MasterEquation: ceiling": Place(lambda n: MasterEquation(_DECAY, n).states, 20),
    "MasterEquation: max_states": Place(lambda n: MasterEquation(_DECAY, None, n).states, 100),
    "solve: times": Place(_CHAIN.solve, _T),
    "solve: start": Place(lambda p: _CHAIN.solve([1.0], p), _LAW),
    "moments: p": Place(lambda p: _CHAIN.moments(p, "X"), _LAW),
    "marginal: p": Place(lambda p: _CHAIN.marginal(p, "X"), _LAW),
    "find: x": Place(_CHAIN.find, [3], names="state"),
    "birth_death_moments: t": Place(lambda t: textbook.birth_death_moments(1.0, 1.0, 5, t), _T),
    "immigration_death_moments: death": Place(lambda d: textbook.immigration_death_moments(1.0, d, 5, 1, 2.0), 0.5),
    "decay_curve: t": Place(lambda t: textbook.decay_curve(10, 1.0, 2, t), _T),
    "stationary_inflation: z": Place(stationary_inflation, [0.5, 1.0]),
}  # fmt: skip

_X = np.insert(_RNG.normal(size=(6, 2)), 0, 1.0, axis=1)
_Y = np.array([2, 0, 1, 4, 3, 1])
_THETA = np.array([0.5, 0.1, -0.2])
_E = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 0.5])


def _follow(rule, at):
    def call(bad):
        theta = bad if at == "theta" else 0.0
        return follow(rule, Stream(**({"x": _X, "y": _Y} | ({} if at == "theta" else {at: bad}))), theta)[0]

    return call


def _rule_on_stream(make):
    return lambda bad: follow(make(bad), Stream(_X[:, :1], _Y)).mu


_STREAM = {"seeds": [1, 2], "steps": 20, "start": 5, "stop": 8, "flip": 10}
STREAMS = {
    "mean: theta": Place(lambda a: mean(a, _X), _THETA),
    "mean: x": Place(lambda a: mean(_THETA, a), _X),
    "mean: exposure": Place(lambda a: mean(_THETA, _X, a), _E),
    "gradient: y": Place(lambda a: gradient(_THETA, _X, a), _Y),
    "kl: lam": Place(lambda a: kl(a, 2.0), _E, lambda r: (r >= 0).all()),
    "kl: mu": Place(lambda a: kl(2.0, a), _E, lambda r: (r >= 0).all()),
    "deviance: y": Place(lambda a: deviance(a, 2.0), _Y, lambda r: (r >= 0).all()),
    "poisson_stream: seeds": Place(lambda a: poisson_stream(**_STREAM | {"seeds": a})[:3], [1, 2], names="seed"),
    "poisson_stream: steps": Place(lambda a: poisson_stream(**_STREAM | {"steps": a})[:3], 20),
    "poisson_stream: base": Place(lambda a: poisson_stream(**_STREAM | {"base": a})[:3], 0.5),
    "poisson_stream: burst": Place(lambda a: poisson_stream(**_STREAM | {"burst": a})[:3], 5.5),
    "poisson_stream: slopes": Place(lambda a: poisson_stream(**_STREAM | {"slopes": a})[:3], [0.5, -0.5]),
    "calendar_stream: counts": Place(lambda a: calendar_stream(a, [1, 2], [0, 1])[:2], [[1, 2], [3, 4]]),
    "calendar_stream: hour": Place(lambda a: calendar_stream(np.ones((2, 1)), a, [0, 1])[:2], [1, 2]),
    "calendar_stream: weekend": Place(lambda a: calendar_stream(np.ones((2, 1)), [1, 2], a)[:2], [0, 1]),
    "level: y": Place(lambda a: level(Stream(_X, a), 3), _Y, names=r"y\[|y has|count"),
    "level: steps": Place(lambda a: level(Stream(_X, _Y), a), 3),
    "level: exposure": Place(lambda a: level(Stream(_X, _Y, exposure=a), 3), _E),
    **{
        f"follow {type(rule).__name__}: {at}": Place(_follow(rule, at), good, names=at + "|features|count")
        for rule in (SGD(0.01), ImplicitSGD(0.1))
        for at, good in {"x": _X, "y": _Y, "theta": _THETA, "exposure": _E}.items()
    },
    "follow EWMA: y": Place(lambda a: follow(EWMA(0.1), Stream(_X[:, :1], a)).mu, _Y, names=r"y\[|y has|count"),
    "ImplicitSGD: lr": Place(_rule_on_stream(ImplicitSGD), 0.1),
    "EWMA: lr": Place(_rule_on_stream(EWMA), 0.1, names="lr|rate"),
    "EWMA: cells": Place(_rule_on_stream(lambda c: EWMA(0.1, c)), [1.0], names="cells|rate"),
}  # fmt: skip

_M = np.array([[2.0, 0.5], [0.5, 1.0]])
_S, _G = np.array([1.0, 0.5]), np.array([1.5, 1.0])


def _bowl(x):
    return (x @ x) / 2, x


def _step(rule):
    """Three steps of a rule on the bowl."""
    steps = walk(rule, lambda x, t: x, _S)
    return [next(steps).x for _ in range(3)][-1]


SECANT = {
    **{
        f"{update.__name__}: {name}": Place(
            lambda a, update=update, at=at: update(*(a if i == at else v for i, v in enumerate((_M, _S, _G)))), good,
            names=rf"metric|shapes|length of|s'y|\b{name}\b",
        )
        for update in (bfgs_inverse, dfp_inverse, bfgs_metric)
        for at, (name, good) in enumerate((("M", _M), ("s", _S), ("y", _G)))
    },
    "gaussian_divergence: P": Place(lambda a: gaussian_divergence(a, _M), _M),
    "gaussian_divergence: Q": Place(lambda a: gaussian_divergence(_M, a), _M),
    "divergence_margins: s": Place(lambda a: divergence_margins(_M, np.eye(2), a, 3, 0.1, np.random.default_rng(0)), _S),
    "divergence_margins: count": Place(lambda a: divergence_margins(_M, np.eye(2), _S, a, 0.1, np.random.default_rng(0)), 3),
    "divergence_margins: size": Place(lambda a: divergence_margins(_M, np.eye(2), _S, 3, a, np.random.default_rng(0)), 0.1),
    "powell_damping: s": Place(lambda a: powell_damping(a, _G, _M @ _S), _S),
    "powell_damping: y": Place(lambda a: powell_damping(_S, a, _M @ _S), _G),
    "powell_damping: Bs": Place(lambda a: powell_damping(_S, _G, a), _M @ _S, names="Bs|shapes"),
    "powell_damping: share": Place(lambda a: powell_damping(_S, _G, _M @ _S, a), 0.2),
    "two_loop: g": Place(lambda a: two_loop(a, [(_S, _G)]), _G),
    "two_loop: s": Place(lambda a: two_loop(_G, [(a, _G)]), _S, names="pair|s'y|shapes"),
    "two_loop: y": Place(lambda a: two_loop(_G, [(_S, a)]), _G, names="pair|s'y|length of y|shapes"),
    "Limited: memory": Place(lambda a: minimise(_bowl, _S, Limited(a)).x, 3),
    "minimise: x0": Place(lambda a: minimise(_bowl, a).x, _S, lambda x: abs(x).max() < 1e-5),
    "minimise: gtol": Place(lambda a: minimise(_bowl, _S, gtol=a).x, 1e-5),
    "minimise: target": Place(lambda a: minimise(_bowl, _S, target=a).x, 0.1),
    "minimise: iterations": Place(lambda a: minimise(_bowl, _S, iterations=a).x, 10),
    "minimise: f": Place(lambda a: minimise(lambda x: (a, x), _S).x, 2.0),
    "minimise: gradient": Place(lambda a: minimise(lambda x: (1.0, a), _S).x, _G),
    "DampedBFGS: share": Place(lambda a: _step(DampedBFGS(0.1, a)), 0.2),
    "OnlineBFGS: ridge": Place(lambda a: _step(OnlineBFGS(lambda x, t: x, 0.1, a)), 0.1),
    "SQN: block": Place(lambda a: _step(SQN(lambda x, t: x, 0.1, a)), 2),
    "SQN: memory": Place(lambda a: _step(SQN(lambda x, t: x, 0.1, 1, a)), 2),
    **{
        f"{metric.__name__}.learn: {name}": Place(
            lambda a, metric=metric, at=at: metric().learn(*((a, _G), (_S, a))[at]), good, names="pair|s'y",
        )
        for metric in (Dense, Limited)
        for at, (name, good) in enumerate((("s", _S), ("y", _G)))
    },
}  # fmt: skip

_RAW = np.array([[1.0], [2.0], [3.0], [4.0]])
_D = 2
_DATA, _TARGETS = _RNG.normal(size=(4, 9, _D)), _RNG.normal(size=(4, 9))
_CLIENTS = LeastSquares.of(_DATA, _TARGETS)
_REPORT = Report(_RNG.normal(size=(4, _D)), 10 * _RAW, _RAW, _RAW / 2, _RAW / 9, _RNG.normal(size=(4, _D)))
_RULES = [FedAvg(), Equal(), InverseVariance(), RandomEffects(), QFair(), QFair(q=-1.0), QFair(q=0.5), Agnostic(), TrimmedMean(), Krum(), Without(), ClientRate(), fed_yogi()]  # fmt: skip
_READS = {
    FedAvg: "n", InverseVariance: "noise", RandomEffects: "spread", QFair: "loss", Agnostic: "loss", Krum: "theta",
    TrimmedMean: "theta", Without: "n", Equal: "theta", ClientRate: "theta",
}  # fmt: skip


def _aggregate(rule, field):
    def call(bad):
        theta = np.zeros(_D)
        with np.errstate(all="ignore"):
            return rule.aggregate(rule.init(theta), theta, _REPORT._replace(**{field: bad}))[1:]

    return call


def _sums_to_1(result):
    return np.allclose(result.sum(-2), 1) and (result >= 0).all()


AGGREGATION = {
    "shares: raw": Place(shares, _RAW, _sums_to_1, names="weight"),
    "shares: cap": Place(lambda a: shares(_RAW, a), 0.5, _sums_to_1),
    "simplex: v": Place(simplex, _RAW, _sums_to_1),
    **{
        f"{type(rule).__name__}{f' q={rule.q:g}' if isinstance(rule, QFair) else ''}: {_READS[type(rule)]}": Place(
            _aggregate(rule, _READS[type(rule)]), getattr(_REPORT, _READS[type(rule)]),
            names=_READS[type(rule)] + "|model|weight|point",
        )
        for rule in _RULES
    },
    "RandomEffects: own": Place(_aggregate(RandomEffects(), "own"), _REPORT.own, names="own|weight"),
    "FedAvg: lr": Place(lambda a: federate(_CLIENTS, FedAvg(a), 2).theta, 0.1, names="lr|rate"),
    "FedAvg: steps": Place(lambda a: federate(_CLIENTS, FedAvg(0.1, a), 2).theta, 2),
    "FedAvg: prox": Place(lambda a: federate(_CLIENTS, FedAvg(0.1, 2, a), 2).theta, 0.1, names="prox|rate"),
    "InverseVariance: cap": Place(lambda a: federate(_CLIENTS, InverseVariance(cap=a), 2).theta, 0.5),
    "QFair: q": Place(lambda a: federate(_CLIENTS, QFair(q=a), 2).theta, 0.5),
    "Agnostic: ascent": Place(lambda a: federate(_CLIENTS, Agnostic(ascent=a), 2).theta, 0.1),
    "TrimmedMean: cut": Place(lambda a: federate(_CLIENTS, TrimmedMean(cut=a), 2).theta, 1),
    "Krum: bad": Place(lambda a: federate(_CLIENTS, Krum(bad=a), 2).theta, 1),
    "bounded: hostile": Place(lambda a: bounded(_REPORT, a).theta, 1),
    "Without: client": Place(lambda a: federate(_CLIENTS, Without(client=a), 2).theta, 1),
    "simulate a federation: rounds": Place(lambda a: federate(_CLIENTS, FedAvg(), a).theta, 2),
    "simulate a federation: theta": Place(lambda a: federate(_CLIENTS, FedAvg(), 2, a).theta, [0.5, 1.0]),
    "local_update: steps": Place(lambda a: local_update(_CLIENTS, np.zeros((4, _D)), SGD(0.1), a), 2),
    "local_update: prox": Place(lambda a: local_update(_CLIENTS, np.zeros((4, _D)), SGD(0.1), 2, a), 0.1),
    "LeastSquares.of: X": Place(lambda a: LeastSquares.of(a, _TARGETS).fit(), _DATA, names="X|covariates"),
    "LeastSquares.of: y": Place(lambda a: LeastSquares.of(_DATA, a).fit(), _TARGETS),
    "LeastSquares.of: present": Place(lambda a: LeastSquares.of(_DATA, _TARGETS, a).fit(), np.ones((4, 9)), names="present|examples"),
    "Logistic.of: X": Place(lambda a: Logistic.of(a, _TARGETS > 0).fit(), _DATA),
    "Logistic.of: y": Place(lambda a: Logistic.of(_DATA, a).fit(), (_TARGETS > 0) * 1.0),
    "Logistic.of: ridge": Place(lambda a: Logistic.of(_DATA, _TARGETS > 0, ridge=a).fit(), 0.1),
    **{
        f"check: {name}": Place(
            lambda a, name=name: check(Report(*(v[0] for v in _REPORT))._replace(**{name: a}), _D, "Hungary"),
            getattr(_REPORT, name)[0],
        )
        for name in Report._fields
    },
}  # fmt: skip

_NET = Classifier((4, 5, 3))
_WEIGHTS = _NET.start([0, 1]).numpy()
_PIXELS = _RNG.random((3, 4))
_LABELS = np.array([0, 2, 1])


def _torch(a):
    """Whatever it is as a tensor, if torch has such a thing."""
    try:
        return torch.as_tensor(np.ascontiguousarray(a))
    except TypeError:
        return a


def _target(x=_WEIGHTS, u=_PIXELS, y=_LABELS):
    return Target.of(_NET, _torch(x), Images(_torch(u), _torch(y)))


def _generators(n=2):
    return [np.random.default_rng(k) for k in range(n)]


_BOX = Box(0.1)


def _attacked(ball=_BOX, steps=2, **parts):
    return walk_in_ball(SGD(0.1), _target(**parts), ball, steps, _generators(len(parts.get("x", _WEIGHTS))))


def _judged(**changes):
    images = Images(torch.tensor(_PIXELS), torch.tensor(_LABELS))
    parts = {
        "classifier": _NET,
        "x": torch.tensor(_WEIGHTS),
        "images": images,
        "ball": Box(0.1),
        "seed": 0,
        "steps": 2,
        "rivals": 1,
    }
    return judge(**parts | changes)


ATTACKS = {
    "Box: radius": Place(lambda a: _attacked(Box(a)), 0.1),
    "Disc: radius": Place(lambda a: _attacked(Disc(a)), 0.1),
    "judge, Disc: radius": Place(lambda a: _judged(ball=Disc(a)), 0.1),
    "confine: delta": Place(lambda a: confine(Box(0.1), torch.tensor(_PIXELS), _torch(a)), _PIXELS / 5, names="delta|perturbation"),
    "confine: u": Place(lambda a: confine(Disc(0.1), _torch(a), torch.zeros(3, 4).double()), _PIXELS),
    "Disc.project: delta": Place(lambda a: Disc(0.1).project(_torch(a)), _PIXELS, names="delta|perturbation"),
    "Disc.project_in_metric: delta": Place(lambda a: Disc(0.1).project_in_metric(_torch(a), torch.ones(1).double()), _PIXELS, names="delta|perturbation"),
    "walk_in_ball: steps": Place(lambda a: _attacked(steps=a), 2),
    "walk_in_ball: weights": Place(lambda a: _attacked(x=a), _WEIGHTS, names="weights|x must|model|no images"),
    "walk_in_ball: images": Place(lambda a: _attacked(u=a), _PIXELS, names="pixels|u must|images|labels"),
    "walk_in_ball: labels": Place(lambda a: _attacked(y=a), _LABELS),
    "walk_in_ball: lr": Place(lambda a: walk_in_ball(SGD(_torch(a)), _target(), Box(0.1), 2, _generators()), 0.1, names="lr|rate"),
    "auto_pgd: steps": Place(lambda a: auto_pgd(_target(), Box(0.1), a, _generators()), 3),
    "auto_pgd: inertia": Place(lambda a: auto_pgd(_target(), Box(0.1), 3, _generators(), a), 0.75),
    "auto_pgd: rho": Place(lambda a: auto_pgd(_target(), Box(0.1), 3, _generators(), rho=a), 0.75),
    "checkpoints: steps": Place(checkpoints, 10),
    "judge: seed": Place(lambda a: _judged(seed=a), 1),
    "judge: steps": Place(lambda a: _judged(steps=a), 2),
    "judge: rivals": Place(lambda a: _judged(rivals=a), 2),
    "Rival.ranked: rank": Place(lambda a: Rival.ranked(_NET, torch.tensor(_WEIGHTS), Images(torch.tensor(_PIXELS), torch.tensor(_LABELS)), a).chosen, 1),
    "margin: labels": Place(lambda a: margin(torch.tensor(_PIXELS), _torch(a)), _LABELS),
}  # fmt: skip

PLACES = SIMULATORS | STREAMS | SECANT | AGGREGATION | ATTACKS

#: Kinds -> the places that refuse these and no others.
_GROUPS = {
    "NaN infinite empty zero huge negative one text complex": (
        "simulate: runs", "simulate: max_events", "leap: runs", "MasterEquation: ceiling",
        "MasterEquation: max_states", "poisson_stream: steps", "poisson_stream: base", "poisson_stream: burst",
        "level: y", "level: steps", "follow ImplicitSGD: x", "divergence_margins: count", "Limited: memory",
        "SQN: block", "SQN: memory", "shares: cap", "FedAvg: steps", "InverseVariance: cap",
        "simulate a federation: rounds", "local_update: steps", "walk_in_ball: steps", "auto_pgd: steps",
        "checkpoints: steps", "judge: steps",
    ),
    "NaN infinite empty huge negative one text complex": (
        "simulate: seed", "leap: record", "Cao: critical", "Cao: burst", "Network: count",
        "Network: count of a reset", "calendar_stream: hour", "calendar_stream: weekend", "follow SGD: y",
        "follow ImplicitSGD: y", "follow EWMA: y", "minimise: iterations", "TrimmedMean: cut", "Krum: bad",
        "bounded: hostile",
        "Logistic.of: y", "walk_in_ball: labels", "auto_pgd: inertia", "auto_pgd: rho", "judge: seed",
        "judge: rivals", "Rival.ranked: rank",
    ),
    "NaN infinite empty negative one text complex": (
        "Network: rate", "Network: time of a reset", "calendar_stream: counts", "powell_damping: s",
        "powell_damping: Bs", "InverseVariance: noise", "RandomEffects: spread", "QFair q=1: loss",
        "QFair q=-1: loss", "QFair q=0.5: loss", "Agnostic: ascent", "Logistic.of: ridge", "Box: radius",
        "Disc: radius", "judge, Disc: radius",
    ),
    "NaN infinite empty one text complex": (
        "Network: factor of a rule", "follow SGD: x", "bfgs_inverse: M", "powell_damping: y", "two_loop: g",
        "minimise: gradient", "Equal: theta", "Agnostic: loss", "Krum: theta", "ClientRate: theta",
        "RandomEffects: own", "QFair: q", "Logistic.of: X", "check: theta", "check: own",
    ),
    "NaN infinite empty zero negative text complex": (
        "simulate: rates", "leap: rates", "mean: exposure", "level: exposure", "follow SGD: exposure",
        "follow ImplicitSGD: exposure", "shares: raw", "LeastSquares.of: present", "check: n",
    ),
    "NaN infinite empty zero negative one text complex": (
        "Fixed: tau", "Activity: size", "Absolute: size", "Dense.learn: s", "Dense.learn: y", "Limited.learn: s",
        "Limited.learn: y", "FedAvg: n", "Without: n",
    ),
    "NaN infinite empty negative text complex": (
        "longest_step: x", "gradient: y", "ImplicitSGD: lr", "OnlineBFGS: ridge", "local_update: prox",
        "check: noise", "check: spread", "walk_in_ball: lr",
    ),
    "NaN infinite empty huge negative text complex": (
        "find: x", "poisson_stream: seeds", "EWMA: lr", "EWMA: cells", "FedAvg: lr", "FedAvg: prox",
        "margin: labels",
    ),
    "NaN infinite empty text complex": (
        "mean: theta", "follow SGD: theta", "follow ImplicitSGD: theta", "minimise: f", "simplex: v",
        "simulate a federation: theta", "check: loss",
    ),
    "NaN infinite empty zero one text complex": (
        "bfgs_inverse: s", "bfgs_inverse: y", "dfp_inverse: M", "dfp_inverse: s", "bfgs_metric: M", "bfgs_metric: y",
        "two_loop: s",
    ),
    "NaN infinite negative text complex": (
        "birth_death_moments: t", "decay_curve: t", "stationary_inflation: z", "kl: lam", "kl: mu", "deviance: y",
    ),
    "NaN infinite empty zero huge one text complex": (
        "dfp_inverse: y", "bfgs_metric: s", "divergence_margins: s", "two_loop: y", "LeastSquares.of: X",
    ),
    "NaN infinite empty zero huge negative one text complex integers": (
        "Cao: eps", "divergence_margins: size", "powell_damping: share", "DampedBFGS: share",
    ),
    "NaN infinite empty huge negative one text complex integers": (
        "solve: start", "moments: p", "marginal: p", "walk_in_ball: images",
    ),
    "NaN infinite empty zero huge negative reversed text complex integers": (
        "simulate: times", "leap: times",
    ),
    "NaN infinite empty zero huge negative text complex": (
        "simulate: initial", "leap: initial",
    ),
    "NaN infinite empty zero negative one reversed text complex": (
        "gaussian_divergence: P", "gaussian_divergence: Q",
    ),
    "NaN infinite empty huge one text complex": (
        "Without: client", "LeastSquares.of: y",
    ),
    "NaN infinite empty text complex integers": (
        "confine: delta", "walk_in_ball: weights",
    ),
    "NaN infinite text complex integers": (
        "Disc.project: delta", "Disc.project_in_metric: delta",
    ),
    "NaN infinite empty zero huge negative one complex": (
        "Network: copies",
    ),
    "NaN infinite empty huge negative reversed text complex": (
        "solve: times",
    ),
    "NaN infinite zero negative text complex": (
        "immigration_death_moments: death",
    ),
    "NaN infinite text complex": (
        "mean: x",
    ),
    "NaN infinite huge text complex": (
        "poisson_stream: slopes",
    ),
    "NaN infinite empty huge text complex": (
        "minimise: x0",
    ),
    "NaN empty negative one text complex": (
        "minimise: gtol",
    ),
    "NaN empty one text complex": (
        "minimise: target",
    ),
    "empty one text complex": (
        "TrimmedMean: theta",
    ),
    "NaN infinite empty huge negative text complex integers": (
        "confine: u",
    ),
}  # fmt: skip
REFUSED = {place: set(kinds.split()) for kinds, places in _GROUPS.items() for place in places}
