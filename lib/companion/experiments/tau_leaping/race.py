"""Step-size rules of simulation and of learning against each other on a noisy quadratic that knows its curvatures."""

import numpy as np

from stepsize.descent import descend
from stepsize.rules import SGD, Adam
from stepsize.tuning import tune
from stepsize.wrappers import InverseRoot

from .rules import LeapRate, SmallestRate


def contestants(h: np.ndarray) -> dict:
    """name -> (lr -> rule). The last four are given the curvature h of every coordinate; the first three are not."""
    return {
        "SGD": SGD,
        "Adam": Adam,
        "Adam, 1/√t": lambda lr: InverseRoot(Adam(lr)),
        "constant share of 1/h": lambda lr: SGD(lr / h),
        "leap rule": lambda lr: LeapRate(lr, curvature=h),
        "leap rule, squared": lambda lr: LeapRate(lr, curvature=h, power=2.0),
        "leap rule, one for all": lambda lr: SmallestRate(LeapRate(lr, curvature=h)),
    }


def rate_race(
    tuning: int, reporting: int, steps: int = 1500, d: int = 20, condition: float = 1e3, noise: float = 1.0, seed: int = 0
) -> dict:  # fmt: skip
    """name -> Choice: mean loss sum h x^2 / 2 over the last tenth of `steps`, lr chosen on other seeds than reported.

    Gradients are h x + noise; all rules of a seed start at the same point and meet the same noise. The grid of learning rates
    has four to a factor of ten.
    """
    h = np.geomspace(1, condition, d)

    def runner(make):
        def run(lrs, seeds):
            rngs = [np.random.default_rng([seed, s]) for s in seeds]
            x0 = np.stack([rng.normal(size=d) for rng in rngs])
            shocks = noise * np.stack([rng.normal(size=(steps, d)) for rng in rngs], 1)
            start = np.broadcast_to(x0, (len(lrs), *x0.shape))
            tail = steps // 10
            path = descend(
                make(np.asarray(lrs)[:, None, None]), lambda x, t: h * x + shocks[t], start, steps,
                every=tail // 5, nonfinite="record",
            )  # fmt: skip
            with np.errstate(all="ignore"):
                return (h * path.x[-5:] ** 2 / 2).sum(-1).mean(0)

        return run

    grid = 10 ** np.arange(-4.0, 2.26, 0.25)
    seeds = range(tuning), range(tuning, tuning + reporting)
    return {name: tune(runner(make), grid, *seeds, np.median) for name, make in contestants(h).items()}
