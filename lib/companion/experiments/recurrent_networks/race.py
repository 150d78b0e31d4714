"""Optimizer x clip x start on sequences: all rates and seeds of a cell at once, each cell tuned, the grid kept as a file.

python -m companion.experiments.recurrent_networks.race [cell ...]     # the cells that the file lacks, or those named
"""

import sys
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from companion.experiments.archive import GRIDS
from stepsize.rules import SGD, Adam, HeavyBall, RMSProp
from stepsize.transforms import ClipByNorm, chain
from stepsize.tuning import tune

from .network import orthogonality
from .tasks import Adding, Digits, Recall

RACES = GRIDS["recurrent_races"]


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


class Problem(NamedTuple):
    """A task, the starts that are tried on it, the number of training steps, the seeds that are reported."""

    task: Adding | Recall | Digits
    starts: tuple[str, ...]
    steps: int
    seeds: range = range(20)


PROBLEMS = {
    "adding": Problem(Adding(), tuple(STARTS), 1500),
    "digits": Problem(Digits(), ("gain 1", "gain 3", "orthogonal", "soft orthogonality"), 500, range(10)),
    "recall": Problem(Recall(T=20), ("gain 0.3", "orthogonal"), 1500),
    "recall, half as far": Problem(Recall(T=10), ("gain 0.3",), 1500),
}

TUNING = range(100, 103)


def train(rule, task, gain, seeds, steps: int, penalty: float = 0.0, watch=None):
    """x after `steps` steps, shape (rates, seeds, d); rates are the leading axis of the rule's lr (rates, 1, 1).

    Every rate meets the same start and the same sequences of a seed. A run that leaves the numbers goes on as NaN.
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
    """Scores (rates, seeds) after training; infinite where a run has left the numbers."""
    x = train(method.at(lrs, limit), problem.task, start.gain, seeds, problem.steps, penalty)
    scores = problem.task.score(x.reshape(-1, problem.task.net.d)).reshape(x.shape[:2])
    return np.where(x.isfinite().all(-1).numpy(), scores, np.inf)


def race(method: Method, problem: Problem, start: Start, tuning=TUNING) -> dict:
    """One cell: rate, limit and penalty with the least median on the tuning seeds, scores on the reporting seeds.

    `at_edge` says whether the rate is the first or last of its grid.
    """

    def run(lrs, seeds, setting):
        return losses(method, problem, start, *setting, lrs, seeds)

    settings = list(product(method.limits, start.penalties))
    chosen = tune(run, method.lrs, tuning, problem.seeds, np.median, settings)
    limit, penalty = chosen.setting
    return {
        "lr": float(f"{chosen.lr:.6g}"), "limit": limit, "penalty": penalty,
        "at_edge": chosen.at_edge, "scores": [round(s, 8) if np.isfinite(s) else None for s in chosen.scores.tolist()],
    }  # fmt: skip


def cells() -> list[tuple[str, str, str]]:
    """(problem, start, method) of the whole grid. The short memory runs on the adding problem alone, recall without clips."""
    grid = [(name, start, method) for name, p in PROBLEMS.items() for start in p.starts for method in METHODS]
    return sorted(
        (name, start, method)
        for name, start, method in grid
        if (name == "adding" or METHODS[method].beta2 is None)
        and not (name.startswith("recall") and method.startswith("clipped"))
    )


def recorded() -> dict[tuple[str, str, str], dict]:
    """The grid as the file has it: what `race` returned for every cell, scores as arrays, infinite where a run left the numbers."""
    return {
        tuple(cell.split(" | ")): entry | {"scores": np.array([np.inf if s is None else s for s in entry["scores"]])}
        for cell, entry in RACES.read().items()
    }


def compute(cell: str) -> dict:
    """One cell by its name in the file."""
    problem, start, method = cell.split(" | ")
    return race(METHODS[method], PROBLEMS[problem], STARTS[start])


if __name__ == "__main__":
    torch.set_num_threads(1)
    RACES.fill(map(" | ".join, cells()), compute, sys.argv[1:])
