"""Step-size rules of simulation and of learning against each other on a noisy quadratic that knows its curvatures."""

import numpy as np

from stepsize.descent import descend
from stepsize.rules import SGD, Adam
from stepsize.tuning import Choice, tune
from stepsize.wrappers import InverseRoot

from .rules import LeapRate, SmallestRate

#: Floors of the leap rules, shares of the noise of one gradient. 0.07 is the standard error of a mean with the memory 0.99.
FLOORS = (0.0, 0.03, 0.07, 0.2, 0.5)


def contestants(h: np.ndarray) -> dict:
    """name -> ((lr, setting) -> rule, settings). The last four are given the curvature h of every coordinate; the first three are not."""
    return {
        "SGD": (lambda lr, _: SGD(lr), (None,)),
        "Adam": (lambda lr, _: Adam(lr), (None,)),
        "Adam, 1/√t": (lambda lr, _: InverseRoot(Adam(lr)), (None,)),
        "constant share of 1/h": (lambda lr, _: SGD(lr / h), (None,)),
        "leap rule": (lambda lr, floor: LeapRate(lr, curvature=h, floor=floor), FLOORS),
        "leap rule, squared": (lambda lr, floor: LeapRate(lr, curvature=h, floor=floor, power=2.0), FLOORS),
        "leap rule, one for all": (lambda lr, floor: SmallestRate(LeapRate(lr, curvature=h, floor=floor)), FLOORS),
    }


def rate_race(
    tuning, reporting, steps: int = 1500, d: int = 20, condition: float = 1e3, noise: float = 1.0
) -> dict[str, Choice]:
    """name -> Choice: mean loss sum h x^2 / 2 over the last tenth of `steps`; lr and floor chosen on other seeds than reported.

    Gradients are h x + noise; all rules of a seed start at the same point and meet the same noise. The grid of learning rates
    has four to a factor of ten.
    """
    h = np.geomspace(1, condition, d)

    def runner(make):
        def run(lrs, seeds, setting):
            rngs = [np.random.default_rng(s) for s in seeds]
            x0 = np.stack([rng.normal(size=d) for rng in rngs])
            shocks = noise * np.stack([rng.normal(size=(steps, d)) for rng in rngs], 1)
            start = np.broadcast_to(x0, (len(lrs), *x0.shape))
            tail = steps // 10
            path = descend(
                make(np.asarray(lrs)[:, None, None], setting), lambda x, t: h * x + shocks[t], start, steps,
                every=tail // 5, nonfinite="record",
            )  # fmt: skip
            with np.errstate(all="ignore"):
                return (h * path.x[-5:] ** 2 / 2).sum(-1).mean(0)

        return run

    grid = 10 ** np.arange(-4.0, 2.26, 0.25)
    return {
        name: tune(runner(make), grid, tuning, reporting, np.median, settings)
        for name, (make, settings) in contestants(h).items()
    }
