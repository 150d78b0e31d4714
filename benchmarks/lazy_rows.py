"""One step on a table of which 1000 rows are active: our lazy Adam against torch's SparseAdam and dense fused Adam.

python benchmarks/lazy_rows.py --record   # writes lib/companion/experiments/sparse_embeddings/lazy_rows.json, which a chapter shows
python benchmarks/lazy_rows.py --record-large   # writes large_tables.json beside it: rules that keep little, on a million rows

A batch has 4096 look-ups, 1000 different rows, 64 columns, float32; every step has other rows. Summing look-ups of the same
row is part of a step. The dense step is charged for clearing and filling its gradient too.
"""

import sys
from dataclasses import replace
from itertools import cycle

import numpy as np
import torch
from timing import curve, interleaved, main, ratio
from torch import nn

from companion.experiments.archive import GRIDS
from stepsize import Adam, RowAdaGrad
from stepsize.kernels import coalesce
from stepsize.lazy import IdleAdam
from stepsize.optim import Optimizer
from stepsize.tables import Table

SIZES, ACTIVE, LOOKUPS, D = (10_000, 100_000, 1_000_000), 1000, 4096, 64
ROUNDS, BATCHES = 31, 8
FACTS = {"unit": "milliseconds", "active rows": ACTIVE, "look-ups": LOOKUPS, "columns": D, "threads": 1}


def batches(V):
    """Look-ups with exactly `ACTIVE` different rows, and their gradients."""
    rng = np.random.default_rng(V)
    for _ in range(BATCHES):
        rows = rng.choice(V, ACTIVE, replace=False)
        indices = np.concatenate([rows, rng.choice(rows, LOOKUPS - ACTIVE)])
        yield (
            torch.as_tensor(rng.permutation(indices)),
            torch.as_tensor(rng.normal(size=(LOOKUPS, D)), dtype=torch.float32),
        )


def sparse(make, V):
    p = nn.Parameter(torch.zeros(V, D))
    optimizer = make([p])

    def step(indices, values):
        p.grad = torch.sparse_coo_tensor(indices[None], values, (V, D), check_invariants=False)
        optimizer.step()

    return step


def dense(make, V):
    p = nn.Parameter(torch.zeros(V, D))
    p.grad = torch.zeros(V, D)
    optimizer = make([p])

    def step(indices, values):
        p.grad.zero_()
        p.grad.index_add_(0, indices, values)
        optimizer.step()

    return step


def paid(V):
    """Lazy Adam that is equal to the dense one: idle steps in closed form."""
    table = Table(IdleAdam(), np.zeros((V, D), np.float32))
    return lambda indices, values: table.step(*coalesce(indices.numpy(), values.numpy()))


METHODS = {
    "lazy Adam": lambda V: sparse(lambda ps: Optimizer(ps, Adam(), compiled=True), V),
    "lazy Adam, idle steps paid": paid,
    "SparseAdam (torch)": lambda V: sparse(torch.optim.SparseAdam, V),
    "Adagrad, sparse (torch)": lambda V: sparse(torch.optim.Adagrad, V),
    "dense Adam, fused (torch)": lambda V: dense(lambda ps: torch.optim.Adam(ps, fused=True), V),
    "row-wise AdaGrad": lambda V: sparse(lambda ps: Optimizer(ps, RowAdaGrad()), V),
    "Adafactor (torch)": lambda V: dense(torch.optim.Adafactor, V),
}


OURS, PEER, DENSE = "lazy Adam", "SparseAdam (torch)", "dense Adam, fused (torch)"
THRIFTY = "row-wise AdaGrad", "Adafactor (torch)"


def races(names, sizes, rounds):
    """name -> table size -> seconds of every round; a size at a time, so that a large table empties no cache of a small one."""
    times = {name: {} for name in names}
    for V in sizes:
        drawn, jobs = list(batches(V)), {}
        for name in names:
            step, turn = METHODS[name](V), cycle(drawn)
            jobs[name] = lambda step=step, turn=turn: step(*next(turn))
        for name, seconds in interleaved(jobs, rounds).items():
            times[name][V] = seconds
    return times


def measure(tiny):
    torch.set_num_threads(1)
    rounds, (small, middle, large) = (2, (2000, 4000, 8000)) if tiny else (20, SIZES)

    def raced(names, sizes):
        """A round is a step on every batch."""
        steps = races(names, sizes, BATCHES * rounds)
        return {name: {V: t.reshape(-1, BATCHES).mean(1) for V, t in of.items()} for name, of in steps.items()}

    lazy, dense = raced((OURS, PEER), (small, middle, large)), raced((OURS, DENSE), (small, middle, large))
    yield "SparseAdam", ratio(lazy[PEER][large], lazy[OURS][large])
    yield "dense", ratio(dense[DENSE][large], dense[OURS][large])
    grown = curve("rows of the table", "a step", lazy | {DENSE: dense[DENSE]})
    yield "growth", ratio(lazy[OURS][large], lazy[OURS][small], curve=grown)


def record():
    """The times, in milliseconds, that a chapter shows; the dense step, which leaves the others no cache, in a race of its own."""
    torch.set_num_threads(1)
    lazy = [name for name in METHODS if name not in (DENSE, *THRIFTY)]
    times = races(lazy, SIZES, ROUNDS) | races([DENSE], SIZES, ROUNDS)
    ms = {name: {str(V): [round(1e3 * t, 4) for t in s] for V, s in of.items()} for name, of in times.items()}
    replace(GRIDS["lazy_rows"], facts=FACTS).write(ms)


def record_large():
    """The times, in milliseconds, of rules that keep little state, and of those that they are held against, round by round."""
    torch.set_num_threads(1)
    times = races([DENSE, PEER, OURS, "Adagrad, sparse (torch)", *THRIFTY], SIZES[-1:], ROUNDS)
    ms = {name: [round(1e3 * t, 4) for t in of[SIZES[-1]]] for name, of in times.items()}
    replace(GRIDS["large_tables"], facts=FACTS | {"rows": SIZES[-1]}).write(ms)


if __name__ == "__main__":
    if "--record-large" in sys.argv:
        record_large()
    elif "--record" in sys.argv:
        record()
    else:
        main(measure)
