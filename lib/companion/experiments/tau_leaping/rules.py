"""Rules made for the study of leaps: rates set by the activity or by the smallest signal-to-noise ratio."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepsize.average import Average
from stepsize.backend import maximum, sqrt
from stepsize.contract import Elementwise, Wrapper
from stepsize.rules import Moments


@dataclass(frozen=True, eq=False)
class LeapRate(Elementwise):
    """rate = (lr / h) (max(|m|, floor s) / max(|m|, s))^power, s^2 = v - m^2: the leap condition asked of a gradient.

    Cao, Gillespie & Petzold (2006) bound the relative change of every propensity in one leap by drift and by noise.
    Here the gradient h x takes the place of the propensity: its change by drift, h rate |m|, stays below a share lr of
    |m|, its change by noise, h rate s, below the same. Power 1 follows; theirs is 2, as the noise of a leap is
    s sqrt(tau), not s tau. Power 2 has the shape of the step size of Schaul, Zhang & LeCun (2013), m^2 / (h v). m and v share
    one memory, or v - m^2 is no variance; the curvature h is given; the direction is the gradient itself.
    Their floor, one molecule, the least by which a count can change, is here a share of the noise of one gradient:
    |m| counts as at least `floor` s, as no mean of noisy gradients is known better.
    """

    lr: Any = 1e-2
    beta: Any = 0.99
    eps: Any = 1e-12
    curvature: Any = 1.0
    power: Any = 1.0
    floor: Any = 0.0

    def init(self, x):
        return Moments(Average.empty(x), Average.empty(x))

    def step(self, state, g, x):
        m, v = state.m.push(g, self.beta), state.v.push(g * g, self.beta)
        size = sqrt(m.mean * m.mean)
        spread = sqrt(maximum(v.mean - m.mean * m.mean, 0 * size))
        share = maximum(size, self.floor * spread) / (maximum(size, spread) + self.eps)
        return Moments(m, v), self.lr / self.curvature * share**self.power, g


@dataclass(frozen=True, eq=False)
class SmallestRate(Wrapper):
    """min over the coordinates of the inner rule's rate: one step for all, as one tau serves all reactions. NumPy only."""

    rule: Any
    elementwise = False

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        return state, np.broadcast_to(rate.min(-1, keepdims=True), rate.shape), direction
