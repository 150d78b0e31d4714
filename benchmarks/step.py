"""One optimizer step, ours against torch's, side by side in one process:  python benchmarks/step.py [--n 10000000] [--threads 1]

Three works: one long tensor, the eight tensors of a small network, fifty tensors of 4,000. Calls alternate in random order; a
row gives the median time with the least and the largest, and the ratio of medians. On one thread it is the processor's time, on
several the clock's. "floor" copies the arrays that a step must read and write, and nothing else.
"""

# ruff: noqa: E402
import os
import sys

# before torch and numba are imported
THREADS = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else 1
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(THREADS)

import argparse
import random
import statistics
import time

import torch
from numba import njit

from stepsize import AdaGrad, Adam, Decoupled, HeavyBall, RMSProp
from stepsize.optim import Optimizer

#: rule, torch's name and settings, arrays read and written by a step: x, g and each state once in, x and state once out
CASES = {
    "Adam": (Adam(), torch.optim.Adam, {}, 7),
    "AdamW": (Decoupled(Adam()), torch.optim.AdamW, {}, 7),
    "RMSProp": (RMSProp(), torch.optim.RMSprop, {}, 5),
    "AdaGrad": (AdaGrad(), torch.optim.Adagrad, {}, 5),
    "HeavyBall": (HeavyBall(), torch.optim.SGD, {"momentum": 0.9}, 5),
}
PEERS = {"torch default": {"foreach": False}, "torch foreach": {"foreach": True}, "torch fused": {"fused": True}}

#: Weights and biases of 64-128-128-84-10.
NETWORK = [(128, 64), (128,), (128, 128), (128,), (84, 128), (84,), (10, 84), (10,)]
CLOCK = time.process_time if THREADS == 1 else time.perf_counter


@njit(nogil=True)
def floor_7(x, g, m, v):
    for i in range(x.size):
        a = x[i] + g[i] + m[i] + v[i]
        x[i], m[i], v[i] = a, a, a


@njit(nogil=True)
def floor_5(x, g, s):
    for i in range(x.size):
        a = x[i] + g[i] + s[i]
        x[i], s[i] = a, a


def parameters(shapes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    made = [torch.nn.Parameter(torch.randn(shape, generator=rng)) for shape in shapes]
    for p in made:
        p.grad = torch.randn(p.shape, generator=rng)
    return made


def contenders(name, shapes):
    """name -> a call that makes one step."""
    rule, theirs, settings, arrays = CASES[name]
    jobs = {"ours, NumPy": Optimizer(parameters(shapes), rule, compiled=False).step}
    jobs["ours"] = Optimizer(parameters(shapes), rule).step
    for peer, how in PEERS.items():
        try:
            jobs[peer] = theirs(parameters(shapes), **settings, **how).step
        except TypeError:
            continue  # RMSprop has no fused form
    if len(shapes) == 1 and THREADS == 1:
        # torch's memory, as for the others: NumPy asks for larger pages, which alone saves a quarter
        buffers = [torch.ones(shapes[0]).numpy() for _ in range(arrays // 2 + 1)]
        jobs["floor"] = lambda: (floor_7 if arrays == 7 else floor_5)(*buffers)
    return jobs


def interleaved(jobs, rounds):
    """Seconds of every call, (rounds) each, after two rounds that do not count."""
    rng, seconds = random.Random(0), {name: [] for name in jobs}
    for _ in range(rounds + 2):
        for name in rng.sample(
            list(jobs), len(jobs)
        ):  # nobody profits from what the same predecessor left in the caches
            start = CLOCK()
            jobs[name]()
            seconds[name].append(CLOCK() - start)
    return {name: s[2:] for name, s in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10**7, help="coordinates of the long tensor, float32")
    parser.add_argument("--rounds", type=int, default=15, help="of the long tensor; short ones have 20 times as many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rules", nargs="+", choices=list(CASES), default=list(CASES))
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    works = {
        f"one tensor of {args.n:,}": ([(args.n,)], args.rounds),
        "a network: 8 tensors, 36,518 in all": (NETWORK, 20 * args.rounds),
        "50 tensors of 4,000": ([(4000,)] * 50, 20 * args.rounds),
    }
    for name in args.rules:
        for work, (shapes, rounds) in works.items():
            seconds = interleaved(contenders(name, shapes), rounds)
            ours = statistics.median(seconds["ours"])
            print(f"\n{name}, {work}, float32, {THREADS} threads; microseconds: median [least, largest]; ratio to ours")
            for who, s in seconds.items():
                median = statistics.median(s)
                print(
                    f"  {who:15} {median * 1e6:10.1f} [{min(s) * 1e6:.1f}, {max(s) * 1e6:.1f}]   x {median / ours:5.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
