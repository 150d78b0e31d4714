"""The update rules. One contract: x <- x - rate * direction, and every rule says both.

    state = rule.init(x)
    state, rate, direction = rule.step(state, g, x)

`rate` is the effective learning rate of every coordinate, `rate * direction` the step. Arrays have shape
(..., d): leading axes are independent runs, and every hyper-parameter broadcasts against them, so that
`lr` of shape (runs, 1) runs a whole grid at once. NumPy arrays, torch tensors and SymPy symbols alike. Figures
call a rule by its `label`, where it has one, and else by its class.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from .average import Average
from .backend import constant, first, inner, maximum, norm1, positive, rms, sign, sqrt, zeros_like
from .contract import Accumulator, Elementwise, Stateless, rules_of


@dataclass(frozen=True, eq=False)
class SGD(Stateless):
    """rate = lr, direction = g.  Robbins & Monro (1951)."""

    lr: Any = 1e-2

    def step(self, state, g, x):
        return state, constant(self.lr, g), g


@dataclass(frozen=True, eq=False)
class HeavyBall(Accumulator):
    """b <- momentum b + g,  rate = lr, direction = b.  Polyak (1964).

    The form of torch's SGD (dampening 0): b grows to g / (1 - momentum) under a constant gradient.
    """

    label = "heavy ball"
    lr: Any = 1e-2
    momentum: Any = 0.9

    def step(self, b, g, x):
        b = self.momentum * b + g
        return b, constant(self.lr, g), b


@dataclass(frozen=True, eq=False)
class SignDescent(Stateless):
    """rate = lr, direction = sign(g).  Riedmiller & Braun (1993); Bernstein et al. (2018), signSGD.

    Steepest descent in the maximum norm. It has no accumulator: the control for what an accumulator adds.
    """

    label = "sign"
    lr: Any = 1e-2

    def step(self, state, g, x):
        return state, constant(self.lr, g), sign(g)


@dataclass(frozen=True, eq=False)
class Lion(Accumulator):
    """rate = lr, direction = sign(beta1 m + (1 - beta1) g),  m <- beta2 m + (1 - beta2) g.  Chen et al. (2023), algorithm 2.

    The direction weighs g more than the memory does, and is taken first. The paper's weight decay is `Decoupled`.
    """

    lr: Any = 1e-4
    beta1: Any = 0.9
    beta2: Any = 0.99

    def step(self, m, g, x):
        direction = sign(self.beta1 * m + (1 - self.beta1) * g)
        return self.beta2 * m + (1 - self.beta2) * g, constant(self.lr, g), direction


@dataclass(frozen=True, eq=False)
class AdaGrad(Elementwise):
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
class RowAdaGrad(AdaGrad):
    """s <- s + mean of g^2 over the last axis,  rate = lr / (sqrt(s) + eps), direction = g: one number per row of a table.  Lerer et al. (2019)."""

    label = "row-wise AdaGrad"
    elementwise = False

    def init(self, x):
        return constant(self.initial, first(x))

    def step(self, s, g, x):
        s = s + rms(g) ** 2
        return s, self.lr / (sqrt(s) + self.eps), g


@dataclass(frozen=True, eq=False)
class RMSProp(Accumulator):
    """v <- beta v + (1 - beta) g^2,  rate = lr / (sqrt(v) + eps), direction = g.  Tieleman & Hinton (2012), lecture 6.5.

    eps stands outside the root, as in torch. No bias correction: the first step is lr / sqrt(1 - beta).
    """

    lr: Any = 1e-2
    beta: Any = 0.99
    eps: Any = 1e-8

    def step(self, v, g, x):
        v = self.beta * v + (1 - self.beta) * g * g
        return v, self.lr / (sqrt(v) + self.eps), g


class Moments(NamedTuple):
    """First and second moment of the gradient, each an `Average` but where a rule says otherwise."""

    m: Average
    v: Average


@dataclass(frozen=True, eq=False)
class Adam(Elementwise):
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


@dataclass(frozen=True, eq=False)
class ADOPT(Adam):
    """m <- beta1 m + (1 - beta1) g / size,  size = max(sqrt(v), eps) of the gradients *before* g;  v as in Adam.  Taniguchi et al. (2024), algorithm 2.

    rate = lr / size, direction = m size, so that a step is lr m and no gradient has a part in its own rate. The first gradient
    makes v = g^2 and no step; eps must be positive. Not the clip of g / size at t^(1/4) that later versions of the paper add.
    """

    beta2: Any = 0.9999
    eps: Any = 1e-6

    def init(self, x):
        return Moments(zeros_like(x), Average.empty(x))

    def step(self, state, g, x):
        seen, size = state.v.weight, maximum(sqrt(state.v.total), constant(self.eps, g))  # seen: 0 at first, then 1
        m = self.beta1 * state.m + (1 - self.beta1) * seen * g / size
        v = Average(self.beta2 * seen * state.v.total + (1 - self.beta2 * seen) * g * g, constant(1, seen))
        return Moments(m, v), self.lr / size, m * size


class Distance(NamedTuple):
    """Adam's moments of d g, the start, and the sums r and s whose ratio is a lower bound of the distance; the estimate d of it."""

    m: Any
    v: Any
    r: Any
    s: Any
    x0: Any
    d: Any


@dataclass(frozen=True, eq=False)
class Prodigy(Adam):
    """m, v: averages of d g and (d g)^2;  rate = lr d^2 / (sqrt(v) + d eps), direction = m / d;  d <- max(d, r / |s|_1).  Mishchenko & Defazio (2024), section 5.

    r and s: sums of d^2 <g, x0 - x> and d^2 g that fade by sqrt(beta2). d estimates the distance from the start x0 to the
    solution; d0, a guess far too short, is its first value. Inner product and norm take the whole vector: not elementwise.
    """

    lr: Any = 1.0
    d0: Any = 1e-6
    elementwise = False

    def init(self, x):
        zero, each = zeros_like(x[..., :1]), zeros_like(x)
        return Distance(each, each, zero, each, constant(x, x), constant(self.d0, zero))

    def step(self, state, g, x):
        m, v, r, s, x0, d = state
        m, v = self.beta1 * m + (1 - self.beta1) * d * g, self.beta2 * v + (1 - self.beta2) * d**2 * g**2
        r = sqrt(self.beta2) * r + self.lr * d**2 * inner(g, x0 - x)
        s = sqrt(self.beta2) * s + self.lr * d**2 * g
        after = Distance(m, v, r, s, x0, maximum(d, r / positive(norm1(s))))
        return after, self.lr * d**2 / (sqrt(v) + d * self.eps), m / d


__all__ = rules_of(globals())
