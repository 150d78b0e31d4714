"""Optimizer x clip x start on sequences: all rates and seeds of a cell at once, each cell tuned, the grid kept as a file.

python -m companion.experiments.recurrent_networks.race [cell ...]     # the cells that the file lacks, or those named
"""

import sys
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from companion.experiments.archive import GRIDS
from stepsize.rules import SGD, Adam, HeavyBall, RMSProp
from stepsize.transforms import ClipByNorm, chain
from stepsize.tuning import Choice, choose, require_apart

from .memory import LSTM, DiagonalNet
from .network import orthogonality
from .tasks import Adding, Digits, Recall

#: Cells use the first so many of these seeds: `tuning` of a cell, and its problem's `seeds`.
SEEDS = {"tuning": [*range(100, 132)], "reporting": [*range(100)]}
RACES = replace(GRIDS["recurrent_races"], facts={"seeds": SEEDS})


class Start(NamedTuple):
    """How W starts (`TanhNet.start`), and the weights of the pull towards orthogonality among which tuning chooses."""

    gain: float | None
    penalties: tuple[float, ...] = (0.0,)


STARTS = {f"gain {gain:g}": Start(gain) for gain in (0.3, 0.5, 1.0, 1.5, 2.0, 3.0)} | {
    "orthogonal": Start(None),
    "soft orthogonality": Start(1.0, (0.01,)),
}


class Method(NamedTuple):
    """A rule as lr -> rule, its grid of rates, and the limits of the clip among which tuning chooses; None: no clip."""

    rule: type
    lrs: np.ndarray
    limits: tuple = (None,)
    beta2: float | None = None

    def at(self, lr, limit):
        """The rule with its rate and its clip; `lr` is a number or shape (rates,)."""
        lr = torch.as_tensor(np.asarray(lr, float))[..., None, None]
        rule = self.rule(lr) if self.beta2 is None else self.rule(lr, beta2=self.beta2)
        return rule if limit is None else chain(ClipByNorm(limit), rule)


def _half_decades(low, high):
    return 10.0 ** np.arange(low, high + 0.25, 0.5)


_PLAIN = {
    "SGD": Method(SGD, _half_decades(-2.5, 1)),
    "heavy ball": Method(HeavyBall, _half_decades(-4, -0.5)),
    "RMSProp": Method(RMSProp, _half_decades(-4, -0.5)),
    "Adam": Method(Adam, _half_decades(-4, -0.5)),
}
METHODS = (
    _PLAIN
    | {f"clipped {name}": method._replace(limits=(0.1, 1.0)) for name, method in _PLAIN.items()}
    | {"Adam, β₂ = 0.9": _PLAIN["Adam"]._replace(beta2=0.9)}
)
# The two largest rates were added for the one cell that chose the edge, digits from gain 3; the others had chosen inside.
METHODS["clipped heavy ball"] = METHODS["clipped heavy ball"]._replace(lrs=_half_decades(-4, 0.5))


class Problem(NamedTuple):
    """A task, the starts and methods that are tried on it, the number of training steps, the seeds that are reported.

    `rates` are the least and the largest that are tried, `tuning` the number of networks on which they are chosen.
    """

    task: Adding | Recall | Digits
    starts: tuple[str, ...]
    steps: int
    seeds: range = range(20)
    methods: tuple[str, ...] = tuple(METHODS)
    rates: tuple[float, float] = (0.0, np.inf)
    tuning: int = 8


_BASIC = tuple(name for name in METHODS if METHODS[name].beta2 is None)
PROBLEMS = {
    "adding": Problem(Adding(), tuple(STARTS), 1500),
    "adding, 4,500 steps": Problem(
        Adding(),
        ("gain 2",),
        4500,
        range(100),
        ("Adam", "clipped heavy ball", "clipped Adam", "Adam, β₂ = 0.9"),
        (1e-3, 0.11),
        tuning=32,
    ),
    "digits": Problem(Digits(), ("gain 1", "gain 3", "orthogonal", "soft orthogonality"), 500, range(10), _BASIC),
    "digits from gain 2": Problem(
        Digits(), ("gain 2",), 500, range(10), ("RMSProp", "Adam", "clipped heavy ball", "SGD", "heavy ball")
    ),
    "digits, forty networks": Problem(Digits(), ("gain 2", "gain 3"), 500, range(40), ("Adam, β₂ = 0.9",)),
    "recall": Problem(Recall(T=20), ("gain 0.3", "orthogonal"), 1500, methods=tuple(_PLAIN)),
    "recall, half as far": Problem(Recall(T=10), ("gain 0.3",), 1500, methods=tuple(_PLAIN)),
    "recall, 24,000 steps": Problem(
        Recall(T=20), ("gain 0.3",), 24_000, methods=("RMSProp", "Adam"), rates=(1e-3, 1.1e-2)
    ),
    "recall, twice as far, 24,000 steps": Problem(
        Recall(T=40), ("gain 0.3",), 24_000, range(10), ("Adam",), (1e-3, 1.1e-2)
    ),
    "recall, twice as far, 48,000 steps": Problem(
        Recall(T=40), ("gain 0.3",), 48_000, range(20), ("Adam",), (3e-3, 1.1e-2)
    ),
}
for words, T in (("recall", 20), ("recall, half as far", 10)):
    PROBLEMS |= {
        f"{words}, LSTM": Problem(Recall(T, kind=LSTM), ("gain 0.3",), 1500, methods=("Adam",), rates=(1e-3, 0.032)),
        f"{words}, linear memory": Problem(
            Recall(T, kind=DiagonalNet), ("gain 0.3", "orthogonal"), 1500, methods=("Adam",), rates=(1e-3, 0.32)
        ),
    }

TUNING = SEEDS["tuning"]

#: Problems and starts whose gradient vanishes, with those that show what else can be learned, in the words of their condition.
VANISHING = {
    ("recall, half as far", "gain 0.3"): "recall over 9 steps",
    ("recall, 24,000 steps", "gain 0.3"): "recall over 19 steps",
    ("recall, twice as far, 48,000 steps", "gain 0.3"): "recall over 39 steps",
    ("recall", "gain 0.3"): "recall over 19 steps in 1,500 training steps",
    ("recall, twice as far, 24,000 steps", "gain 0.3"): "recall over 39 steps in 24,000 training steps",
    ("adding", "gain 0.3"): "adding problem",
    ("adding", "orthogonal"): "adding problem from a rotation",
    ("recall", "orthogonal"): "recall over 19 steps in 1,500 training steps from a rotation",
    ("recall, half as far, LSTM", "gain 0.3"): "an LSTM: recall over 9 steps",
    ("recall, LSTM", "gain 0.3"): "an LSTM: recall over 19 steps",
    ("recall, half as far, linear memory", "gain 0.3"): "a diagonal linear state space: recall over 9 steps",
    ("recall, linear memory", "gain 0.3"): "a diagonal linear state space: recall over 19 steps",
    ("recall, half as far, linear memory", "orthogonal"): (
        "a diagonal linear state space, eigenvalues near one: recall over 9 steps"
    ),
    (
        "recall, linear memory",
        "orthogonal",
    ): "a diagonal linear state space, eigenvalues near one: recall over 19 steps",
}

#: Starts from which networks neither vanish nor explode soon.
TAMED = "gain 1", "orthogonal", "soft orthogonality"
#: The cells there whose choice of a rate is part of a claim, and the number of networks on which it is made.
WHOLE = {
    (problem, start, name): tuning
    for problem, tuning in (("adding", 16), ("digits", 8))
    for start, name in product(TAMED, ("Adam", "clipped Adam"))
}


def train(rule, task, gain, seeds, steps: int, penalty: float = 0.0, watch=None):
    """x after `steps` steps, shape (rates, seeds, d); rates are the leading axis of the rule's lr (rates, 1, 1).

    Every rate meets the same start and the same sequences of a seed. A run that overflows goes on as NaN.
    `watch(t, x, gradient, rate, direction)` sees every step before it is made, arrays of shape (rates, seeds, d).
    """
    net, stream = task.net, task.stream(seeds)
    rates = np.broadcast_shapes(np.shape(rule.lr), (1, 1, 1))[0]
    x = net.start(gain, seeds).expand(rates, -1, -1)
    state = rule.init(x)
    for t, batch in zip(range(steps), stream, strict=False):
        flat = x.reshape(-1, net.d)
        inputs, targets = (a.expand(rates, *a.shape).flatten(0, 1) for a in batch)
        g = net.backward(flat, inputs, targets, task.loss).gradient
        g = (g + orthogonality(net, flat, penalty) if penalty else g).reshape(x.shape)
        state, rate, direction = rule.step(state, g, x)
        if watch is not None:
            watch(t, x, g, rate, direction)
        x = x - rate * direction
    return x


def losses(method: Method, problem: Problem, start: Start, limit, penalty, lrs, seeds) -> np.ndarray:
    """Scores (rates, seeds) after training; infinite where a run has overflowed."""
    x = train(method.at(lrs, limit), problem.task, start.gain, seeds, problem.steps, penalty)
    scores = problem.task.score(x.reshape(-1, problem.task.net.d)).reshape(x.shape[:2])
    return np.where(x.isfinite().all(-1).numpy(), scores, np.inf)


def race(method: Method, problem: Problem, start: Start, tuning=None, whole: bool = False) -> dict:
    """One cell: rate, limit and penalty with the least median on the tuning seeds, scores on the reporting seeds.

    Where less than half of the networks learn at every rate it is the least mean, a score counting as at most chance level.
    `at_edge` says whether the rate is the first or last of its grid, `tuning` on how many networks it was chosen, and `learned`
    how many of these learned with it: a choice among networks none of which learned would be no choice. `whole` adds the
    scores at all settings and rates, of shape (settings, rates, networks), so that the choice can be made again on others.
    """
    tuning = TUNING[: problem.tuning] if tuning is None else tuning
    require_apart(tuning, problem.seeds)
    settings = list(product(method.limits, start.penalties))
    lrs = method.lrs[(method.lrs >= problem.rates[0] * 0.99) & (method.lrs <= problem.rates[1])]
    scores = np.stack([losses(method, problem, start, *setting, lrs, tuning) for setting in settings])
    curve = np.median(scores, axis=-1)
    if failed(curve, problem.task.chance).all():  # the median of networks that do not learn says nothing of a rate
        curve = np.minimum(scores, problem.task.chance).mean(axis=-1)
    chosen = choose(curve, lrs, settings)
    limit, penalty = chosen.setting
    learned = ~failed(scores[chosen.index], problem.task.chance)
    reported = losses(method, problem, start, limit, penalty, [chosen.lr], problem.seeds)[0]
    entry = {
        "lr": float(f"{chosen.lr:.6g}"), "limit": limit, "penalty": penalty, "at_edge": bool(chosen.at_edge),
        "tuning": len(tuning), "learned": int(learned.sum()), "scores": _listed(reported),
    }  # fmt: skip
    if whole:
        others = [losses(method, problem, start, *setting, lrs, problem.seeds) for setting in settings]
        entry |= {"tuning scores": _listed(scores), "reported scores": _listed(np.stack(others))}
    return entry


def _listed(scores: np.ndarray) -> list:
    """As JSON has it: eight decimals, and None for what is not finite."""
    if scores.ndim > 1:
        return [_listed(row) for row in scores]
    return [round(s, 8) if np.isfinite(s) else None for s in scores.tolist()]


def _array(scores: list) -> np.ndarray:
    """The opposite of `_listed`, infinite for None."""
    return np.where(np.equal(scores, None), np.inf, scores).astype(float)


def failed(scores, chance: float, share: float = 0.9) -> np.ndarray:
    """Networks that ended no better than `share` of the score at chance level: dead, thrown far away, or not finite."""
    return ~(np.asarray(scores) < share * chance)


def cells() -> list[tuple[str, str, str]]:
    """(problem, start, method) of the whole grid."""
    return sorted((name, start, method) for name, p in PROBLEMS.items() for start in p.starts for method in p.methods)


def recorded() -> dict[tuple[str, str, str], dict]:
    """The grid as the file has it: what `race` returned for every cell, scores as arrays, infinite where a run overflowed."""
    return {
        tuple(cell.split(" | ")): entry | {key: _array(value) for key, value in entry.items() if "scores" in key}
        for cell, entry in RACES.read().items()
    }


def trained_again(races: dict, cell: tuple[str, str, str], networks: int) -> np.ndarray:
    """Scores (2, networks) of the first networks of a recorded cell, computed anew; and those of twins whose rate differs in the 13th digit.

    What the twins differ by is what the training itself makes of a difference in rounding.
    """
    (problem, start, name), entry = cell, races[cell]
    lrs, seeds = entry["lr"] * np.array([1.0, 1 + 1e-13]), PROBLEMS[problem].seeds[:networks]
    return losses(METHODS[name], PROBLEMS[problem], STARTS[start], entry["limit"], entry["penalty"], lrs, seeds)


def chosen_on(entry: dict, few: int) -> dict:
    """A cell of `WHOLE` as it would be if its settings and rate had been chosen on the first `few` of its tuning networks."""
    curve, scores = np.median(entry["tuning scores"][..., :few], axis=-1), entry["reported scores"]
    return entry | {"tuning": few, "scores": scores.reshape(-1, scores.shape[-1])[curve.argmin()]}


def over_chance(races: dict, problem: str, start: str, method: str) -> np.ndarray:
    """Scores of a cell over the score at chance level."""
    return races[problem, start, method]["scores"] / PROBLEMS[problem].task.chance


def over_constant(races: dict, problem: str, start: str, method: str) -> np.ndarray:
    """Scores of a cell over that of the best constant answer on the same test sequences."""
    return races[problem, start, method]["scores"] / PROBLEMS[problem].task.score_of_constant()


def vanishing(races: dict) -> dict[str, np.ndarray]:
    """`over_chance` of RMSProp and Adam for all of `VANISHING`, by condition and rule; and of a control without adaptive rates.

    Where a score lies near chance level it is also held against the constant answer's on the same sequences.
    """
    shares = {
        f"{words}, the rule is {name}": over_chance(races, *cell, name)
        for cell, words in VANISHING.items()
        for name in ("RMSProp", "Adam")
        if (*cell, name) in races
    }
    near, words = ("recall", "gain 0.3"), "recall over 19 steps in 1,500 training steps"
    shares |= {
        f"over the constant answer on the same sequences: {words}, the rule is {name}": over_constant(
            races, *near, name
        )
        for name in ("RMSProp", "Adam")
    }
    control = over_chance(races, "adding", "gain 0.3", "clipped heavy ball")
    return shares | {"adding problem, heavy ball with a clip": control}


def choices(races: dict, problem: str, start: str) -> dict[str, tuple[Choice, list]]:
    """method -> (its `Choice` of a rate, no grid of rates), as `Chapter.race` asks, for all methods of a problem and a start."""
    return {
        name: (Choice(entry["lr"], None, (), entry["at_edge"], np.empty(0), entry["scores"]), [])
        for (*cell, name), entry in races.items()
        if cell == [problem, start]
    }


def compute(cell: str) -> dict:
    """One cell by its name in the file."""
    problem, start, method = cell.split(" | ")
    where, whole = PROBLEMS[problem], WHOLE.get((problem, start, method))
    return race(METHODS[method], where._replace(tuning=whole or where.tuning), STARTS[start], whole=whole is not None)


if __name__ == "__main__":
    torch.set_num_threads(1)
    RACES.fill(map(" | ".join, cells()), compute, sys.argv[1:])
