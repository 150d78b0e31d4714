"""One optimizer step, ours against torch's, side by side in one process:  python benchmarks/step.py [--n 10000000]

Calls alternate in rotated order on one thread; a row gives the median of the processor's time with the least and the
largest, and the ratio of medians. "floor" copies the arrays that a step must read and write, and nothing else.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import argparse
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


@njit
def floor_7(x, g, m, v):
    for i in range(x.size):
        a = x[i] + g[i] + m[i] + v[i]
        x[i], m[i], v[i] = a, a, a


@njit
def floor_5(x, g, s):
    for i in range(x.size):
        a = x[i] + g[i] + s[i]
        x[i], s[i] = a, a


def parameter(n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    p = torch.nn.Parameter(torch.randn(n, generator=rng))
    p.grad = torch.randn(n, generator=rng)
    return p


def contenders(name, n):
    """name -> a call that makes one step."""
    rule, theirs, settings, arrays = CASES[name]
    jobs = {"ours, eager": Optimizer([parameter(n)], rule).step}
    jobs["ours, compiled"] = Optimizer([parameter(n)], rule, compiled=True).step
    for peer, how in PEERS.items():
        try:
            jobs[peer] = theirs([parameter(n)], **settings, **how).step
        except TypeError:
            continue  # RMSprop has no fused form
    # torch's memory, as for the others: NumPy asks for larger pages, which alone saves a quarter
    buffers = [torch.ones(n).numpy() for _ in range(arrays // 2 + 1)]
    jobs["floor"] = lambda: (floor_7 if arrays == 7 else floor_5)(*buffers)
    return jobs


def interleaved(jobs, rounds):
    """Seconds of every call, (rounds) each, after two rounds that do not count."""
    names, seconds = list(jobs), {name: [] for name in jobs}
    for r in range(rounds + 2):
        for name in names[r % len(names) :] + names[: r % len(names)]:
            start = time.process_time()
            jobs[name]()
            seconds[name].append(time.process_time() - start)
    return {name: s[2:] for name, s in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10**7, help="coordinates, float32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rules", nargs="+", choices=list(CASES), default=list(CASES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.rules:
        seconds = interleaved(contenders(name, args.n), args.rounds)
        compiled = statistics.median(seconds["ours, compiled"])
        eager = statistics.median(seconds["ours, eager"])
        print(f"\n{name}, {args.n:,} float32, one thread; ms: median [least, largest]; times slower than ours")
        for who, s in seconds.items():
            median = statistics.median(s)
            print(
                f"  {who:15} {median * 1e3:9.3f} [{min(s) * 1e3:.3f}, {max(s) * 1e3:.3f}]"
                f"   eager x {median / eager:5.2f}   compiled x {median / compiled:5.2f}"
            )


if __name__ == "__main__":
    main()
