"""Ways to clip: nothing, one moment alone, the step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepsize.backend import constant, maximum, norm, sqrt
from stepsize.contract import Wrapper
from stepsize.rules import Adam, Moments


def unclipped(g):
    """g: the transform that does nothing."""
    return g


@dataclass(frozen=True, eq=False)
class SplitAdam(Adam):
    """Adam whose first moment averages mean(g) and whose second averages square(g)^2: a clip in one of the two alone.

    SplitAdam(mean=clip, square=clip) is chain(clip, Adam()).
    """

    mean: Callable = unclipped
    square: Callable = unclipped

    def step(self, state, g, x):
        m, v = state.m.push(self.mean(g), self.beta1), state.v.push(self.square(g) ** 2, self.beta2)
        return Moments(m, v), self.lr / (sqrt(v.mean) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class ClippedStep(Wrapper):
    """direction min(1, limit lr / |rate direction|): the clip behind the rule.  Shazeer & Stern (2018), section 6, with the norm for the root mean square."""

    rule: Any
    limit: Any

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        length, bound = norm(rate * direction), constant(self.limit, x[..., :1]) * self.lr
        return state, rate, direction * (bound / maximum(length, bound))
