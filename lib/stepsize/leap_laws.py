"""Tau-leaping and stochastic gradient descent as one linear recursion; what their step-size rules bound."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .contract import Checked
from .leaping import Cao, longest_step
from .operators import maximum
from .rules import Adam


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
    z = np.asarray(z, float)
    return np.where(z < 2, 1 / np.where(z < 2, 1 - z / 2, 1), np.inf)


def activity_slope(network, states, eps: float = 0.03) -> float:
    """Slope of log tau against log sum_j a_j over states (n, S), tau chosen by Cao, Gillespie & Petzold (2006)."""
    from .reaction_kernels import propensities

    a = np.empty(network.rates.size)
    activity = [propensities(*network.program, network.rates, np.asarray(x, float), a) for x in states]
    return float(np.polyfit(np.log(activity), np.log(longest_step(network, Cao(eps, critical=0), states)), 1)[0])


def demanded_step(error, tolerance: float, longest: float) -> float:
    """The longest step with error(step) <= tolerance, by bisection in its logarithm; `error` must rise with the step."""
    low, high = math.log(longest) - 40.0, math.log(longest)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if error(math.exp(middle)) <= tolerance else (low, middle)
    return math.exp(low)


@dataclass(frozen=True, eq=False)
class LeapRate(Adam):
    """rate = (lr / h) |m| / max(|m|, s), s^2 = v - m^2: the leap condition asked of a gradient.

    Cao, Gillespie & Petzold (2006) bound the relative change of every propensity in one leap by drift and by noise.
    Here the gradient h x takes the place of the propensity: its change h lr m stays below a share of m, and its noise
    h lr s below the same. `curvature` h broadcasts against x. Powers differ: the noise of a step is lr s, not sqrt(lr) s.
    The rate has the shape of the step-size rule of Schaul, Zhang & LeCun (2013), m^2 / (h v). lr is the tolerance.
    """

    curvature: Any = 1.0

    def step(self, state, g, x):
        state = type(state)(state.m.push(g, self.beta1), state.v.push(g * g, self.beta2))
        m = state.m.mean
        size = (m * m) ** 0.5
        spread = maximum(state.v.mean - m * m, 0 * m) ** 0.5
        return state, self.lr / self.curvature * size / (maximum(size, spread) + self.eps), g


@dataclass(frozen=True, eq=False)
class SmallestRate(Checked):
    """min over the coordinates of the inner rule's rate: one step for all, as one tau serves all reactions. NumPy only."""

    rule: Any

    @property
    def lr(self):
        return self.rule.lr

    def init(self, x):
        return self.rule.init(x)

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        return state, np.broadcast_to(rate.min(-1, keepdims=True), rate.shape), direction
