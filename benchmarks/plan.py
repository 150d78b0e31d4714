"""Every comparison of the performance page: what is done, against whom, and which ratio of times is aimed at."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison. `package` is the distribution of the peer, whose version is recorded.

    `measure` says which times are divided; the target bounds that ratio, as in "≥ 4" or "≤ 1.1". Processor time is measured on
    one thread, the clock's on several.
    """

    work: str
    peer: str
    target: str
    package: str = "torch"
    measure: str = "time of the peer / time of stepsize"
    threads: int = 1


LONG, ALL = "one tensor of 10,000,000 float32", os.cpu_count() or 1
NETWORKS = ("decaying-dimerising", "Schloegl", "isomerisation", "Lotka-Volterra", "Vilar oscillator")

#: benchmark (a file of this folder) -> key of the row -> row
PLAN: dict[str, dict[str, Row]] = {
    "step": {
        "long, Adam": Row(f"Adam, {LONG}", "torch, fused", "≥ 1"),
        "long, AdamW": Row(f"AdamW, {LONG}", "torch, fused", "≥ 1"),
        "long, AdaGrad": Row(f"AdaGrad, {LONG}", "torch, fused", "≥ 1"),
        "long, heavy ball": Row(f"heavy ball, {LONG}", "torch, fused", "≥ 1"),
        "long, RMSProp": Row(f"RMSProp, {LONG}", "torch, which has no fused form", "≥ 1"),
        "floor": Row(
            f"Adam, {LONG}", "a loop that reads and writes the same arrays", "≤ 1.1", "numba",
            "time of stepsize / time of the loop",
        ),
        "network": Row("Adam, the 8 tensors (36,518 float32) of a small network", "torch, fused", "≥ 1"),
        "fifty": Row("Adam, 50 tensors of 4,000 float32", "torch, fused", "≥ 1"),
        "all threads": Row(f"Adam, {LONG}, all threads", "torch, fused", "≥ 1", threads=ALL),
    },
    # the keys name a work, a rule and a peer of benchmarks/gpu.py
    "gpu": {
        f"{name}, {rule}, {peer}": Row(f"{rule}, {work}", peer, target, threads=0)
        for name, work, fused in (
            ("long", "one tensor of 2^27 float32", "≥ 1.15"),
            ("GPT-2", "the 148 tensors of GPT-2 small", "≥ 1.4"),
            ("small", "a network of 6 small tensors", "≥ 2"),
        )
        for rule, peer, target in (
            ("Adam", "torch, fused", fused), ("AdamW", "torch, fused", fused),
            ("RMSProp", "torch, foreach", "≥ 2.5"), ("RMSProp", "torch.compile", "≥ 1.5"),
            ("AdaGrad", "torch, foreach", "≥ 2.5"), ("AdaGrad", "torch.compile", "≥ 1.5"),
        )
    } | {
        f"{name}, {rule}, floor": Row(
            f"{rule}, {work}", "a copy of as many bytes", "≤ 1.1", threads=0, measure="time of stepsize / time of the copy"
        )
        for name, work in (("long", "one tensor of 2^27 float32"), ("GPT-2", "the 148 tensors of GPT-2 small"))
        for rule in ("Adam", "AdamW", "RMSProp", "AdaGrad")
    },
    "ensembles": {
        "recurrent": Row("512 trainings of a recurrent network, 8 units", "a loop over torch.nn.RNN, autograd, torch.optim", "≥ 20"),
        "graph": Row("512 trainings of a graph convolution, 64 nodes", "a loop over torch.sparse, autograd, torch.optim", "≥ 20"),
        "adversarial": Row("512 adversarial trainings, 8 units", "a loop over torch.nn, autograd, torch.optim", "≥ 20"),
    },
    "lazy_rows": {
        "SparseAdam": Row("lazy Adam, 1,000,000 rows of 64, of which 1,000 are active", "torch, SparseAdam", "≥ 3"),
        "dense": Row("lazy Adam, 1,000,000 rows of 64, of which 1,000 are active", "torch, dense fused Adam", "≥ 50"),
        "growth": Row(
            "lazy Adam, 1,000 active rows", "itself", "≤ 1.6", measure="time at 1,000,000 rows / time at 10,000 rows"
        ),
    },
    "reactions": {
        f"{kind}, {network}": Row(f"{words}: {network}", peer, target, "gillespy2")
        for kind, words, peer, target in (
            ("exact", "exact simulation", "GillesPy2, SSACSolver", "≥ 4"),
            ("leaps", "leaps at equal errors", "GillesPy2, TauLeapingCSolver", "≥ 10"),
        )
        for network in NETWORKS
    },
    "streams": {
        "Adam": Row("Adam on a stream of Poisson counts, 1,008 models at once", "river", "≥ 50", "river"),
        "AdaGrad": Row("AdaGrad on a stream of Poisson counts, 1,008 models at once", "river", "≥ 50", "river"),
    },
    "gcn": {
        f"{n}, {form}": Row(f"an epoch of a graph convolution, {n:,} nodes", f"torch-geometric, {words}", target, "torch-geometric")
        for n in (10_000, 100_000)
        for form, words, target in (("default", "edge_index", "≥ 5"), ("csr", "CSR", "≥ 2.5"))
    },
    "secant": {
        "BFGS, 100": Row("BFGS to f ≤ 1e-8, Rosenbrock, n = 100", "SciPy, BFGS", "≥ 3.5", "scipy"),
        "BFGS, 500": Row("BFGS to f ≤ 1e-8, Rosenbrock, n = 500", "SciPy, BFGS", "≥ 10", "scipy"),
        "L-BFGS, 100": Row("L-BFGS to f ≤ 1e-8, Rosenbrock, n = 100", "torch, LBFGS", "≥ 2"),
        "L-BFGS, 500": Row("L-BFGS to f ≤ 1e-8, Rosenbrock, n = 500", "torch, LBFGS", "≥ 2"),
    },
}  # fmt: skip
