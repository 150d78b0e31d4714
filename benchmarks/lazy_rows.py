"""One step on a table of which 1000 rows are active: our lazy Adam against torch's SparseAdam and dense fused Adam.

python benchmarks/lazy_rows.py            # interleaved in one process, CPU time, medians with least and most
python benchmarks/lazy_rows.py --record   # and writes lib/companion/experiments/sparse_embeddings/lazy_rows.json, which a chapter shows

A batch has 4096 look-ups, 1000 different rows, 64 columns, float32; every step has other rows. Summing look-ups of the same
row is part of a step. The dense step is charged for clearing and filling its gradient too.
"""

import statistics
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from companion.experiments.archive import GRIDS
from stepsize import Adam
from stepsize.kernels import coalesce
from stepsize.lazy import IdleAdam
from stepsize.optim import Optimizer
from stepsize.tables import Table

torch.set_num_threads(1)
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


def dense(V):
    p = nn.Parameter(torch.zeros(V, D))
    p.grad = torch.zeros(V, D)
    optimizer = torch.optim.Adam([p], fused=True)

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
    "dense Adam, fused (torch)": dense,
}


def measure(V):
    """CPU milliseconds per step, name -> rounds. The dense step has fewer rounds on the large table: it takes longest."""
    steps, drawn = {name: make(V) for name, make in METHODS.items()}, list(batches(V))
    times = {name: [] for name in steps}
    for k in range(ROUNDS + 2):
        names = list(steps)
        for name in names[k % len(names) :] + names[: k % len(names)]:
            if name.startswith("dense") and V > 100_000 and k > 10:
                continue
            start = time.process_time()
            steps[name](*drawn[k % BATCHES])
            if k >= 2:  # compiled, and the memory is there
                times[name].append(1e3 * (time.process_time() - start))
    return times


def main():
    found = {}
    for V in SIZES:
        found[V] = measure(V)
        for name, t in found[V].items():
            print(f"{V:>9,} rows  {name:28} {statistics.median(t):8.3f} ms ({min(t):.3f}-{max(t):.3f})", flush=True)
    middle = {(V, name): statistics.median(t) for V, times in found.items() for name, t in times.items()}
    large, ours = SIZES[-1], "lazy Adam"
    for peer in ("SparseAdam (torch)", "dense Adam, fused (torch)"):
        print(f"{peer} / ours at {large:,} rows: {middle[large, peer] / middle[large, ours]:.1f}")
    for name in METHODS:
        print(f"growth from {SIZES[0]:,} to {large:,} rows, {name}: {middle[large, name] / middle[SIZES[0], name]:.2f}")
    if "--record" in sys.argv:
        times = {name: {str(V): [round(t, 4) for t in found[V][name]] for V in SIZES} for name in METHODS}
        replace(GRIDS["lazy_rows"], facts=FACTS).write(times)


if __name__ == "__main__":
    main()
