"""Rules around a rule: weight decay, schedules, one rate for all coordinates. Each is a rule again, and they nest."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from .backend import first, floored, maximum, positive, rms, sqrt, zeros_like
from .contract import Wrapper, rules_of, scheduled


@dataclass(frozen=True, eq=False)
class Decoupled(Wrapper):
    """direction + decay (lr / rate) x: the weights shrink by lr * decay, whatever the rate.  Loshchilov & Hutter (2019), algorithm 2.

    Decoupled(Adam()) is AdamW. A schedule outside scales the decay too, InverseRoot(Decoupled(rule)); inside it does not.
    Where lr is 0, lr / rate is 0 / 0 and counts as 0: a schedule may pause the weights.
    """

    rule: Any
    decay: Any = 1e-2

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        return state, rate, direction + self.decay * (self.lr / positive(rate)) * x


@dataclass(frozen=True, eq=False)
class Coupled(Wrapper):
    """g + decay x enters the rule: the gradient of the loss plus decay |x|^2 / 2.  Hanson & Pratt (1988).

    The `weight_decay` of torch's Adam, RMSprop, Adagrad and SGD.
    """

    rule: Any
    decay: Any = 1e-2

    def step(self, state, g, x):
        return self.rule.step(state, g + self.decay * x, x)


class Clocked(NamedTuple):
    """A rule's state and the number of steps that each run has made."""

    state: Any
    t: Any


@dataclass(frozen=True, eq=False)
class InverseRoot(Wrapper):
    """rate / sqrt(t) at step t = 1, 2, ...  Zinkevich (2003), theorem 1: the schedule of online gradient descent."""

    rule: Any

    def init(self, x):
        return Clocked(self.rule.init(x), zeros_like(x[..., :1]))

    def step(self, state, g, x):
        t = state.t + 1
        rule, root = scheduled(self.rule, 1 / sqrt(t), sqrt(t))
        inner, rate, direction = rule.step(state.state, g, x)
        return Clocked(inner, t), rate / root, direction


@dataclass(frozen=True, eq=False)
class LinearDecay(Wrapper):
    """rate (1 - t / horizon) at step t = 0, 1, ..., 0 from the horizon on.  Defazio et al. (2023): the schedule of choice for a fixed budget."""

    rule: Any
    horizon: Any

    def init(self, x):
        return Clocked(self.rule.init(x), zeros_like(x[..., :1]))

    def step(self, state, g, x):
        share = 1 - state.t / self.horizon
        share = maximum(share, zeros_like(share))
        rule, factor = scheduled(self.rule, share, share)
        inner, rate, direction = rule.step(state.state, g, x)
        return Clocked(inner, state.t + 1), rate * factor, direction


class Leading(NamedTuple):
    """A rule's state, by how much the walk of the rule is ahead of its average, u = z - average, and the steps made."""

    state: Any
    u: Any
    t: Any


@dataclass(frozen=True, eq=False)
class ScheduleFree(Wrapper):
    """z <- z - rate direction of the rule,  average <- mean of all z so far,  x <- (1 - beta) z + beta average.  Defazio et al. (2024).

    x, where gradients are taken, is the paper's y; its x is the average: `average(state, x)` is the model to evaluate. Of the
    three sequences one is kept, u = z - average, zero at first. All z weigh the same. The rate is the rule's, or 1e-30 where
    that is 0, since x moves on towards the average.
    """

    rule: Any
    beta: Any = 0.9

    def init(self, x):
        return Leading(self.rule.init(x), zeros_like(x), zeros_like(x[..., :1]))

    def step(self, state, g, x):
        inner, rate, direction = self.rule.step(state.state, g, x)
        t, rate = state.t + 1, floored(rate)
        u = t / (t + 1) * (state.u - rate * direction)
        moved = (1 - self.beta) * direction + self.beta * (direction - state.u / rate) / (t + 1)
        return Leading(inner, u, t), rate, moved

    def average(self, state, x):
        """The mean of the start and of all z after it, for the state and the x of any step: x - (1 - beta) u."""
        return x - (1 - self.beta) * state.u


class Shared(NamedTuple):
    """The state behind one rate for all coordinates, and the state behind each coordinate's direction."""

    size: Any
    each: Any


@dataclass(frozen=True, eq=False)
class Pooled(Wrapper):
    """The rate of the rule fed with rms(g) = |g| / sqrt(d), the direction of the rule fed with g.  AdaGrad: Ward, Wu & Bottou (2019), AdaGrad-Norm.

    One rate for all coordinates: the control for what "per parameter" adds. It has no axes: turn the problem and the path
    turns along. In one dimension it is the rule itself. Ward et al. leave out sqrt(d), which here keeps lr comparable.
    """

    rule: Any
    elementwise = False

    def init(self, x):
        return Shared(self.rule.init(first(x)), self.rule.init(x))

    def step(self, state, g, x):
        size, rate, _ = self.rule.step(state.size, rms(g), first(x))
        each, _, direction = self.rule.step(state.each, g, x)
        return Shared(size, each), rate, direction


__all__ = rules_of(globals())
