"""Tau-leaping and stochastic gradient descent as one linear recursion; what their step-size rules bound."""

import math
from typing import NamedTuple

import numpy as np

from companion.errors import NetworkError
from companion.experiments.inputs import numbers
from stepsize.descent import descend
from stepsize.rules import SGD, Adam

from .leaping import Activity, Cao, Fixed, leap, longest_step
from .textbook import decay_curve, immigration_death


def linear_law(z: float, noise: float, n, gap: float = 0.0, feed: float = 0.0, var: float = 0.0):
    """Gap and variance after n steps of x <- x - z (x - level) + e, Var e = noise + feed z gap.

    gap_n = r^n gap,  var_n = r^(2n) var + noise (1 - r^(2n)) / (1 - r^2) + feed gap r^(n-1) (1 - r^n),  r = 1 - z.
    A leap of nothing -> X (k), X -> nothing (c) is z = c tau, noise = 2 k tau, level = k / c, feed = 1, while counts
    stay positive; SGD on h x^2 / 2 with gradient noise s is z = lr h, noise = (lr s)^2, level = 0, feed = 0.
    """
    r, n = 1 - z, np.asarray(n, float)
    decay = np.sign(r) ** n * abs(r) ** n
    before = np.where(n > 0, decay / r if r else (n == 1) * 1.0, 0.0)
    return decay * gap, decay**2 * var + noise * (1 - decay**2) / (1 - r * r) + feed * gap * before * (1 - decay)


def stationary_inflation(z):
    """1 / (1 - z / 2): how much a step z = c tau = lr h inflates the variance of its small-step limit; infinite from 2 on."""
    z = numbers(z, "z", "give steps in units of the relaxation time", least=0, error=NetworkError)
    return np.where(z < 2, 1 / np.where(z < 2, 1 - z / 2, 1), np.inf)


def demanded_step(error, tolerance: float, longest: float) -> float:
    """The longest step with error(step) <= tolerance, by bisection in its logarithm; `error` must rise with the step."""
    low, high = math.log(longest) - 40.0, math.log(longest)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if error(math.exp(middle)) <= tolerance else (low, middle)
    return math.exp(low)


class Demand(NamedTuple):
    """How the longest admissible step depends on activity: both on a grid, and the slope between their logarithms."""

    activity: np.ndarray
    step: np.ndarray

    @property
    def slope(self) -> float:
        return float(np.polyfit(np.log(self.activity), np.log(self.step), 1)[0])


def demand_of_order(order: int, tolerance: float = 0.01, counts=(1e3, 1e4, 1e5)) -> Demand:
    """p X -> nothing: the leap after which x - x' tau misses the deterministic curve by a share `tolerance` of x."""
    speed = order / math.factorial(order)

    def longest(x):
        def error(tau):
            return abs(1 - speed * x ** (order - 1) * tau - decay_curve(x, 1.0, order, tau) / x)

        return demanded_step(error, tolerance, x ** (1.0 - order))

    counts = np.asarray(counts)
    return Demand(counts**order, np.array([longest(x) for x in counts]))


def demand_in_deviations(tolerance: float = 0.1, time: float = 1.0, counts=(1e4, 1e5, 1e6)) -> Demand:
    """X -> nothing, fixed leaps up to `time`: the mean may be off by a share `tolerance` of the standard deviation."""
    counts, p = np.asarray(counts), math.exp(-time)

    def longest(x):
        def error(tau):
            return x * abs((1 - tau) ** (time / tau) - p) / math.sqrt(x * p * (1 - p))

        return demanded_step(error, tolerance, 0.5)

    return Demand(counts, np.array([longest(x) for x in counts]))


def demand_at_rest(tolerance: float = 0.05, counts=(1e2, 1e4, 1e6), death=(1.0, 1.0, 1.0)) -> Demand:
    """nothing <-> X at its mean: the stationary standard deviation may be too large by a share `tolerance`."""
    steps = [
        demanded_step(lambda tau, c=c: float(np.sqrt(stationary_inflation(c * tau))) - 1, tolerance, 1.9 / c)
        for c in death
    ]
    return Demand(2 * np.asarray(counts) * np.asarray(death), np.array(steps))


def demand_of_cao(networks, eps: float = 0.03) -> Demand:
    """The leap that Cao, Gillespie & Petzold (2006) choose at the start of each network, against the sum of propensities."""
    steps = [float(longest_step(n, Cao(eps, critical=0))[0]) for n in networks]
    return Demand(np.array([1 / float(longest_step(n, Activity(1.0))[0]) for n in networks]), np.array(steps))


def demand_of_adam(scales=(1.0, 10.0, 100.0)) -> Demand:
    """Adam's rate after 100 gradients of constant size, against that size; eps = 0."""
    g = np.asarray(scales)[:, None]
    path = descend(Adam(lr=1e-3, eps=0.0), lambda x, t: np.broadcast_to(g, (g.size, 1)), np.zeros((g.size, 1)), 100)
    return Demand(g[:, 0], path.rate[-1, :, 0])


#: Activities, relative to the lowest: ten thousandfold.
SPAN = np.array([1.0, 1e2, 1e4])


def demands() -> dict[str, Demand]:
    """The six ways in which activity rises over `SPAN`, by name: what accuracy demands in each."""
    return {
        "X → ∅, more molecules": demand_of_order(1, counts=1e3 * SPAN),
        "2 X → ∅, more molecules": demand_of_order(2, counts=1e3 * SPAN ** (1 / 2)),
        "3 X → ∅, more molecules": demand_of_order(3, counts=1e3 * SPAN ** (1 / 3)),
        "∅ ⇄ X at rest, a larger system": demand_at_rest(counts=1e2 * SPAN),
        "∅ ⇄ X at rest, faster reactions": demand_at_rest(counts=(1e3,) * 3, death=SPAN),
        "X → ∅, more molecules, error in standard deviations": demand_in_deviations(counts=1e4 * SPAN),
    }


def chosen() -> dict[str, Demand]:
    """What two rules choose, by name: Adam over `SPAN`, Cao's rule in a larger and larger system at rest."""
    at_rest = [immigration_death(n, 1.0, n) for n in (1e4, 1e6, 1e8)]
    return {
        "Adam's rate, larger gradients": demand_of_adam(SPAN),
        "Cao's rule at rest, a larger system": demand_of_cao(at_rest),
    }


class Spread(NamedTuple):
    """Sample variances over z, each with its standard error, relative to the small-step limit, (len(z),); the runs (len(z), runs).

    `x` is in units of the limit's standard deviation.
    """

    ratio: np.ndarray
    error: np.ndarray
    x: np.ndarray


def _spread(x, limit):
    x = x / np.sqrt(np.asarray(limit))[..., None]
    squares = (x - x.mean(-1, keepdims=True)) ** 2
    return Spread(squares.mean(-1), squares.std(-1) / math.sqrt(x.shape[-1]), x)


def leap_spread(zs, level: int, runs: int, seed: int, steps: int = 200) -> Spread:
    """Variance over the Poisson variance `level` of nothing <-> X after `steps` fixed leaps of length z."""
    network, seeds = immigration_death(level, 1.0, level), np.random.SeedSequence(seed).generate_state(len(zs))
    ends = [leap(network, [steps * z], Fixed(z), runs, int(s)).x[:, 0, 0] for z, s in zip(zs, seeds, strict=True)]
    return _spread(np.array(ends, float), np.full(len(zs), level))


def sgd_spread(zs, runs: int, seed: int, steps: int = 200) -> Spread:
    """Variance of SGD on x^2 / 2 with gradient noise of variance 1, over its limit lr / 2, after `steps` steps of lr = z."""
    rng, lr = np.random.default_rng(seed), np.asarray(zs, float)[:, None, None]
    path = descend(SGD(lr), lambda x, t: x + rng.normal(size=x.shape), np.zeros((lr.size, runs, 1)), steps, every=steps)
    return _spread(path.x[-1, ..., 0], lr[:, 0, 0] / 2)


def log_ratio_of_variances(one, other, batches: int = 40) -> np.ndarray:
    """log Var(one) - log Var(other) within each of so many batches of independent runs, (batches,)."""
    variance = [[part.var(ddof=1) for part in np.array_split(x, batches)] for x in (one, other)]
    return np.log(variance[0]) - np.log(variance[1])


class Rest(NamedTuple):
    """Cao's rule on nothing <-> X at its mean: leaps in units of 1 / death (n,), and the variance over the Poisson law's."""

    z: np.ndarray
    ratio: float
    error: float


def cao_at_rest(level: int, eps: float, runs: int, seed: int, time: float = 30.0) -> Rest:
    """Started at x = level, where the drift is zero. The last leap of a run, cut short by its end, is left out."""
    ensemble = leap(immigration_death(level, 1.0, level), [time], Cao(eps), runs, seed, record=2000)
    taus = np.where(np.arange(2000) < ensemble.leaps[:, None] - 1, ensemble.taus, np.nan)
    spread = _spread(ensemble.x[:, 0, 0], level)
    return Rest(taus[np.isfinite(taus)], float(spread.ratio), float(spread.error))
