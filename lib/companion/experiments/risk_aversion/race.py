"""Risk-averse rules against the others: two numbers tuned for every rule, by the mean or by the tail; and what single gradients teach."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from companion.evidence import bootstrap, geometric
from stepsize.descent import descend
from stepsize.measures import late_loss
from stepsize.rules import SGD, AdaBelief, Adam, HeavyBall
from stepsize.signals import respond
from stepsize.tuning import Choice, tune

from .filtering import averaged
from .problems import Problem
from .rules import MSVAG, InverseDeviation, Observing, RiskAverse


class Entry(NamedTuple):
    """A rule make(lr, second) with the seven values from which its second number is chosen."""

    make: Callable
    second: str
    values: tuple


#: Every rule has its rate and one more number to choose. Long memories are 0.99, short ones 0.9, unless they are that number.
ENTRIES = {
    "SGD": Entry(HeavyBall, "momentum", (0.0, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)),
    "Adam": Entry(lambda lr, eps: Adam(lr, beta2=0.99, eps=eps), "ε", (1e-8, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)),
    "AdaBelief": Entry(lambda lr, eps: AdaBelief(lr, beta2=0.99, eps=eps), "ε", (1e-16, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)),
    "M-SVAG": Entry(MSVAG, "β", (0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)),
    "risk-averse": Entry(lambda lr, a: RiskAverse(lr, beta2=0.99, aversion=a), "λ", (0.1, 1.0, 3.0, 30.0, 300.0, 3e3, 3e4)),
    "inverse deviation": Entry(lambda lr, eps: InverseDeviation(lr, beta2=0.99, eps=eps), "ε", (1e-8, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)),
}  # fmt: skip

RATES = 10 ** np.arange(-5, 2.01, 0.25)


def late_excess(rule, problem: Problem, steps: int):
    """Mean excess over the last tenth of the steps, at every fifth of them: (..., seeds), infinite where a run diverged."""
    return late_loss(rule, problem.grad, problem.x0, problem.excess, steps, last=steps // 10, every=5)


def race(
    sample: Callable, tuning, reporting, steps: int, entries=tuple(ENTRIES), statistic=geometric, rates=RATES
) -> dict[str, Choice]:
    """Each entry's late excess on `sample`: rate and second number of least `statistic` on tuning seeds, scores on the reporting seeds."""
    problems = {tuple(seeds): sample(seeds, steps) for seeds in (tuning, reporting)}

    def run(make):
        return lambda lrs, seeds, second: late_excess(
            Observing(make(lrs[:, None, None], second)), problems[tuple(seeds)], steps
        )

    return {
        name: tune(run(ENTRIES[name].make), rates, tuning, reporting, statistic, ENTRIES[name].values)
        for name in entries
    }


def tail(values, axis=None):
    """The 90 % quantile: nine seeds in ten do better. Infinite values are allowed."""
    return np.quantile(values, 0.9, axis=axis, method="inverted_cdf")


def tail_ratio(scores, rival):
    """Log of the ratio of two tails over the same seeds, with a bootstrap interval that keeps the pairs together."""

    def statistic(rows, axis):
        a, b = (tail(np.asarray(s)[rows.astype(int)], axis) for s in (scores, rival))
        return np.log(a / b)

    return bootstrap(np.arange(len(scores)), statistic)


def as_ratio(i) -> str:
    """An interval of a logarithm as the ratio, with its ends: "1.08 [0.95, 1.23]"."""
    return f"{np.exp(i.estimate):.2f} [{np.exp(i.low):.2f}, {np.exp(i.high):.2f}]"


class Lesson(NamedTuple):
    """What single gradients teach on the way of SGD: `informed` is the share of the squared error of m that the next one can remove,
    `excess` the squared error of m beyond that of the best average, both (reporting seeds,); `beta` is that average's."""

    informed: np.ndarray
    excess: np.ndarray
    beta: float


#: Averages among which the best one is looked for.
BETAS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


def lesson(sample: Callable, lr: float, tuning, reporting, steps: int, beta1: float = 0.9) -> Lesson:
    """Train with SGD and compare averages of the gradients with the true gradient; the gain and the best beta come from tuning seeds."""

    def errors(seeds):
        problem = sample(seeds, steps)
        walked = descend(SGD(lr), problem.grad, problem.x0, steps).x[:-1]
        g = np.stack([problem.grad(x, t) for t, x in enumerate(walked)])
        true = np.stack([problem.full(x) for x in walked])
        m = {beta: averaged(g, beta) for beta in {*BETAS, beta1}}
        wrong, news = (a[1:] - m[beta1][:-1] for a in (true, g))
        return wrong, news, {beta: ((m[beta] - true) ** 2).mean((0, 2)) for beta in m}

    wrong, news, error = errors(tuning)
    gain = (wrong * news).sum() / (news * news).sum()
    beta = min(BETAS, key=lambda b: error[b].mean())
    wrong, news, error = errors(reporting)
    informed = 1 - ((wrong - gain * news) ** 2).sum((0, 2)) / (wrong**2).sum((0, 2))
    return Lesson(informed, error[beta1] / error[beta] - 1, beta)


def log_rates(rule, sizes, runs: int, steps: int, seed: int) -> np.ndarray:
    """Log of a rule's rate under gradients N(1, s^2), mean of the second half of the steps: (sizes, runs)."""
    z = np.random.default_rng(seed).standard_normal((steps, 1, runs, 1))
    path = respond(rule, 1 + np.asarray(sizes, float)[:, None, None] * z)
    return np.log(path.rate[steps // 2 :, ..., 0]).mean(0)


def rate_exponent(rule, low: float, high: float, runs: int, steps: int, seed: int) -> np.ndarray:
    """Slope of `log_rates` in log s between s = low and high: (runs,)."""
    first, last = log_rates(rule, (low, high), runs, steps, seed)
    return (last - first) / np.log(high / low)


def misfit(rates, sizes, grid: int = 2001) -> np.ndarray:
    """max_i |log rate_i - log 1 / (h + l s_i^2)| of the best agent, curvature h and aversion l free, as a factor: logs (sizes, runs) -> (runs,).

    Minimax: for each ratio l / h of a fine grid the best scale lies midway between the largest and smallest deviation.
    """
    s2 = np.square(np.asarray(sizes, float))
    ratio = np.geomspace(1e-3 / s2.max(), 1e3 / s2.min(), grid)
    off = rates + np.log1p(ratio[:, None, None] * s2[:, None])
    return np.exp(np.ptp(off, axis=1).min(0) / 2)
