"""One optimizer step, ours against torch's, in turns in one process.

OMP_NUM_THREADS=1 python benchmarks/step.py

Three works: one long tensor, the eight tensors of a small network, fifty tensors of 4,000. On one thread it is the processor's
time, on several the clock's. The floor reads and writes the arrays that a step must read and write, and does nothing else.
"""

import os
import time

import torch
from numba import njit
from timing import interleaved, main, processor, ratio

from stepsize import AdaGrad, Adam, Decoupled, HeavyBall, RMSProp
from stepsize.optim import Optimizer

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
RULES = {
    "Adam": (Adam(), torch.optim.Adam, {"fused": True}),
    "AdamW": (Decoupled(Adam()), torch.optim.AdamW, {"fused": True}),
    "AdaGrad": (AdaGrad(), torch.optim.Adagrad, {"fused": True}),
    "heavy ball": (HeavyBall(), torch.optim.SGD, {"momentum": 0.9, "fused": True}),
    "RMSProp": (RMSProp(), torch.optim.RMSprop, {}),
}
#: Weights and biases of 64-128-128-84-10.
NETWORK = [(128, 64), (128,), (128, 128), (128,), (84, 128), (84,), (10, 84), (10,)]
FIFTY = [(4000,)] * 50


@njit(nogil=True)
def touch(x, g, m, v):
    """Adam's traffic: four arrays in, three out."""
    for i in range(x.size):
        a = x[i] + g[i] + m[i] + v[i]
        x[i], m[i], v[i] = a, a, a


def parameters(shapes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    made = [torch.nn.Parameter(torch.randn(shape, generator=rng)) for shape in shapes]
    for p in made:
        p.grad = torch.randn(p.shape, generator=rng)
    return made


def race(name, shapes, rounds, clock=processor, rest=0.0, **more):
    rule, peer, settings = RULES[name]
    jobs = {"ours": Optimizer(parameters(shapes), rule).step, "peer": peer(parameters(shapes), **settings).step}
    return interleaved(jobs | more, rounds, clock, rest=rest)


def measure(tiny):
    n, rounds, turns = (10**4, 2, 10) if tiny else (10**7, 25, 50)  # many turns make a round of a short step
    torch.set_num_threads(THREADS)
    if THREADS > 1:
        times = race("Adam", [(n,)], rounds, time.perf_counter, rest=0.05)
        yield "all threads", ratio(times["peer"], times["ours"])
        return
    # torch's memory, as for the others: NumPy asks for larger pages, which alone saves a quarter
    buffers = [torch.ones(n).numpy() for _ in range(4)]
    for name in RULES:
        more = {"floor": lambda: touch(*buffers)} if name == "Adam" else {}
        times = race(name, [(n,)], rounds, **more)
        yield f"long, {name}", ratio(times["peer"], times["ours"])
        if more:
            yield "floor", ratio(times["ours"], times["floor"])
    for key, shapes in (("network", NETWORK), ("fifty", FIFTY)):
        times = {who: s.reshape(-1, turns).sum(1) for who, s in race("Adam", shapes, rounds * turns).items()}
        yield key, ratio(times["peer"], times["ours"])


if __name__ == "__main__":
    main(measure)
