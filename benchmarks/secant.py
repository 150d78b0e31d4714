"""BFGS against SciPy's BFGS, L-BFGS against torch's: processor time to the same value of f on the extended Rosenbrock function."""

import numpy as np
import torch
from scipy import optimize
from timing import curve, interleaved, main, ratio

from companion.experiments.quasi_newton.secant import Dense, Limited, minimise

TARGET = 1e-8  # every method runs until f <= TARGET; f(x0) is about 200 per coordinate


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
    "BFGS": (lambda x0: minimise(rosenbrock, x0, Dense(), gtol=0, target=TARGET).converged, scipy_bfgs, "SciPy"),
    "L-BFGS": (lambda x0: minimise(rosenbrock, x0, Limited(10), gtol=0, target=TARGET).converged, torch_lbfgs, "torch"),
}


def solver(solve, n):
    """A job: solve from the next start each time it is called."""
    seeds = iter(range(1000))

    def job():
        if not solve(start(n, next(seeds))):
            raise RuntimeError(f"{solve} did not reach f <= {TARGET}")

    return job


def measure(tiny):
    torch.set_num_threads(1)
    for name, (ours, peer, who) in RACES.items():
        times = {"stepsize": {}, who: {}}
        for n in (10, 20) if tiny else (50, 100, 200, 500):
            # SciPy takes seconds at n = 500
            rounds = 2 if tiny else 3 if n == 500 else 9
            jobs = {"stepsize": solver(ours, n), who: solver(peer, n)}
            for method, seconds in interleaved(jobs, rounds, warm=1).items():
                times[method][n] = seconds
        found = {n: (times[who][n], times["stepsize"][n]) for n in times[who]}
        small, large = (10, 20) if tiny else (100, 500)
        yield f"{name}, 100", ratio(*found[small])
        grown = curve("coordinates", f"{name} to f ≤ 1e-8", times)
        yield f"{name}, 500", ratio(*found[large], curve=grown)


if __name__ == "__main__":
    main(measure)
