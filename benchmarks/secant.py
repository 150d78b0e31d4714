"""BFGS against SciPy's BFGS, L-BFGS against torch's: CPU time to the same value of f on the extended Rosenbrock function.

python benchmarks/secant.py            # interleaved in one process, medians with least and most
"""

import statistics
import time

import numpy as np
import torch
from scipy import optimize

from companion.experiments.quasi_newton.secant import Dense, Limited, minimise

torch.set_num_threads(1)
TARGET = 1e-8  # every method runs until f <= TARGET; f(x0) is about 200 per coordinate
ROUNDS = {100: 5, 500: 3}


def start(n, seed):
    return np.where(np.arange(n) % 2, 1.0, -1.2) + 0.1 * np.random.default_rng(seed).normal(size=n)


def rosenbrock(x):
    """sum over pairs 100 (b - a^2)^2 + (1 - a)^2: its only minimum is 0, whatever n."""
    a, b = x[::2], x[1::2]
    r = b - a * a
    g = np.empty_like(x)
    g[::2], g[1::2] = -400 * a * r - 2 * (1 - a), 200 * r
    return 100 * (r @ r) + ((1 - a) ** 2).sum(), g


class ReachedTargetError(Exception):
    """Thrown out of a peer that has no stopping value of its own."""


def watched(x):
    f, g = rosenbrock(x)
    if f <= TARGET:
        raise ReachedTargetError
    return f, g


def scipy_bfgs(x0):
    try:
        optimize.minimize(watched, x0, jac=True, method="BFGS", options={"gtol": 0, "maxiter": 10**6})
    except ReachedTargetError:
        return True


def torch_lbfgs(x0):
    x = torch.tensor(x0, requires_grad=True)
    peer = torch.optim.LBFGS(
        [x], max_iter=10**5, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )

    def closure():
        f, g = watched(x.detach().numpy())
        x.grad = torch.from_numpy(g)
        return torch.tensor(f, dtype=torch.float64)

    try:
        peer.step(closure)
    except ReachedTargetError:
        return True


RACES = {
    "BFGS": (
        lambda x0: minimise(rosenbrock, x0, Dense(), gtol=0, target=TARGET).converged,
        scipy_bfgs,
        {100: 3.5, 500: 10},
    ),
    "L-BFGS": (
        lambda x0: minimise(rosenbrock, x0, Limited(10), gtol=0, target=TARGET).converged,
        torch_lbfgs,
        {100: 2, 500: 2},
    ),
}


def seconds(solve, x0):
    began = time.process_time()
    if not solve(x0):
        raise RuntimeError(f"{solve} did not reach f <= {TARGET}")
    return time.process_time() - began


def main():
    for name, (ours, peer, targets) in RACES.items():
        for n, target in targets.items():
            seconds(ours, start(n, ROUNDS[n])), seconds(peer, start(100, 0))  # what only the first call pays for
            pairs = [(seconds(ours, start(n, r)), seconds(peer, start(n, r))) for r in range(ROUNDS[n])]
            ratios = [b / a for a, b in pairs]
            mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(
                f"{name:7s} n = {n}: stepsize {mine * 1e3:8.1f} ms, peer {theirs * 1e3:8.1f} ms; "
                f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f}), target {target}"
            )


if __name__ == "__main__":
    main()
