"""The update rules. One contract: x <- x - rate * direction, and every rule says both.

    state = rule.init(x)
    state, rate, direction = rule.step(state, g, x)

`rate` is the effective learning rate of every coordinate, `rate * direction` the step. Arrays have shape
(..., d): leading axes are independent runs, and every hyper-parameter broadcasts against them, so that
`lr` of shape (runs, 1) runs a whole grid at once. NumPy arrays, torch tensors and SymPy symbols alike.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from .average import Average
from .errors import HyperparameterError
from .operators import constant, maximum, sign, sqrt, zeros_like

_DOMAINS = {
    "lr": ("at least 0", lambda a: a >= 0),
    "eps": ("at least 0", lambda a: a >= 0),
    "decay": ("at least 0", lambda a: a >= 0),
    "initial": ("at least 0", lambda a: a >= 0),
    "limit": ("above 0", lambda a: a > 0),
    "beta": ("in [0, 1)", lambda a: (a >= 0) & (a < 1)),
    "beta1": ("in [0, 1)", lambda a: (a >= 0) & (a < 1)),
    "beta2": ("in [0, 1)", lambda a: (a >= 0) & (a < 1)),
    "momentum": ("in [0, 1)", lambda a: (a >= 0) & (a < 1)),
}


class Checked:
    """Validates hyper-parameters where they enter; fields are recognised by name, symbols pass."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in _DOMAINS or type(value).__module__.startswith("sympy"):
                continue
            domain, inside = _DOMAINS[field.name]
            try:
                number = np.asarray(value, dtype=float)
            except (TypeError, ValueError):
                raise HyperparameterError(
                    f"{type(self).__name__}: {field.name} must be a number {domain}, got {value!r}"
                ) from None
            if not np.all(inside(number) & np.isfinite(number)):
                raise HyperparameterError(
                    f"{type(self).__name__}: {field.name} must be finite and {domain}, got {value}"
                )


class Stateless:
    """For rules without a memory: the state is empty."""

    def init(self, x):
        return ()


@dataclass(frozen=True, eq=False)
class SGD(Stateless, Checked):
    """rate = lr, direction = g.  Robbins & Monro (1951)."""

    lr: Any = 1e-2

    def step(self, state, g, x):
        return state, constant(self.lr, g), g


@dataclass(frozen=True, eq=False)
class SignDescent(Stateless, Checked):
    """rate = lr, direction = sign(g).  Riedmiller & Braun (1993); Bernstein et al. (2018), signSGD.

    Steepest descent in the maximum norm. It has no accumulator: the control for what an accumulator adds.
    """

    lr: Any = 1e-2

    def step(self, state, g, x):
        return state, constant(self.lr, g), sign(g)


@dataclass(frozen=True, eq=False)
class HeavyBall(Checked):
    """b <- momentum b + g,  rate = lr, direction = b.  Polyak (1964), equation 9.

    The form of torch's SGD (dampening 0): b grows to g / (1 - momentum) under a constant gradient.
    """

    lr: Any = 1e-2
    momentum: Any = 0.9

    def init(self, x):
        return zeros_like(x)

    def step(self, b, g, x):
        b = self.momentum * b + g
        return b, constant(self.lr, g), b


@dataclass(frozen=True, eq=False)
class AdaGrad(Checked):
    """s <- s + g^2,  rate = lr / (sqrt(s) + eps), direction = g.  Duchi, Hazan & Singer (2011), section 1.1.

    eps stands outside the root, as in torch; `initial` is the value of s before the first gradient.
    """

    lr: Any = 1e-2
    eps: Any = 1e-10
    initial: Any = 0.0

    def init(self, x):
        return constant(self.initial, x)

    def step(self, s, g, x):
        s = s + g * g
        return s, self.lr / (sqrt(s) + self.eps), g


@dataclass(frozen=True, eq=False)
class RMSProp(Checked):
    """v <- beta v + (1 - beta) g^2,  rate = lr / (sqrt(v) + eps), direction = g.  Tieleman & Hinton (2012), lecture 6.5.

    eps stands outside the root, as in torch. No bias correction: the first step is lr / sqrt(1 - beta).
    """

    lr: Any = 1e-2
    beta: Any = 0.99
    eps: Any = 1e-8

    def init(self, x):
        return zeros_like(x)

    def step(self, v, g, x):
        v = self.beta * v + (1 - self.beta) * g * g
        return v, self.lr / (sqrt(v) + self.eps), g


class Moments(NamedTuple):
    """First and second moment of the gradient, each an `Average`."""

    m: Average
    v: Average


@dataclass(frozen=True, eq=False)
class Adam(Checked):
    """m, v: averages of g and g^2;  rate = lr / (sqrt(v.mean) + eps), direction = m.mean.  Kingma & Ba (2015), algorithm 1.

    The averages carry their own weight, which is the bias correction; there is no step counter.
    """

    lr: Any = 1e-3
    beta1: Any = 0.9
    beta2: Any = 0.999
    eps: Any = 1e-8

    def init(self, x):
        return Moments(Average.empty(x), Average.empty(x))

    def step(self, state, g, x):
        m, v = state.m.push(g, self.beta1), state.v.push(g * g, self.beta2)
        return Moments(m, v), self.lr / (sqrt(v.mean) + self.eps), m.mean


class PeakMoments(NamedTuple):
    """Adam's moments and the largest second moment so far."""

    m: Average
    v: Average
    peak: Any


@dataclass(frozen=True, eq=False)
class AMSGrad(Adam):
    """peak <- max(peak, v.total),  rate = lr / (sqrt(peak / v.weight) + eps), direction = m.mean.  Reddi, Kale & Kumar (2018), algorithm 2.

    As in torch, the maximum is taken before the bias correction, which the paper leaves out; so the rate
    can still rise while v.weight grows, and never after.
    """

    def init(self, x):
        return PeakMoments(*super().init(x), zeros_like(x))

    def step(self, state, g, x):
        m, v = state.m.push(g, self.beta1), state.v.push(g * g, self.beta2)
        peak = maximum(state.peak, v.total)
        return PeakMoments(m, v, peak), self.lr / (sqrt(peak / v.weight) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class AdaBelief(Adam):
    """v: average of (g - m.total)^2, plus eps;  rate = lr / (sqrt(v.mean) + eps), direction = m.mean.  Zhuang et al. (2020), algorithm 2.

    The second moment is taken about the uncorrected first moment, after its update; eps enters twice, as in the paper.
    """

    def step(self, state, g, x):
        m = state.m.push(g, self.beta1)
        v = state.v.push((g - m.total) ** 2, self.beta2)
        v = v._replace(total=v.total + self.eps)
        return Moments(m, v), self.lr / (sqrt(v.mean) + self.eps), m.mean


class Wrapper(Checked):
    """A rule around a rule; whatever it does not change (lr, init) is the inner rule's."""

    @property
    def lr(self):
        return self.rule.lr

    def init(self, x):
        return self.rule.init(x)


@dataclass(frozen=True, eq=False)
class Decoupled(Wrapper):
    """direction + decay (lr / rate) x: the weights shrink by lr * decay, whatever the rate.  Loshchilov & Hutter (2019), algorithm 2.

    Decoupled(Adam()) is AdamW.
    """

    rule: Any
    decay: Any = 1e-2

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        return state, rate, direction + self.decay * (self.lr / rate) * x


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
        inner, rate, direction = self.rule.step(state.state, g, x)
        return Clocked(inner, t), rate / sqrt(t), direction
