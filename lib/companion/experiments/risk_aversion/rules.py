"""Risk-averse rules: rates from a belief about the gradient, its mean and its spread."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from stepsize.average import Average
from stepsize.backend import maximum, minimum, positive, sqrt, zeros_like
from stepsize.contract import Elementwise, Wrapper
from stepsize.rules import Adam
from stepsize.wrappers import Clocked

from .filtering import Spread, mean_share


class Belief(NamedTuple):
    """The mean to walk along, with its short memory, and the spread of the gradients, with its long one."""

    m: Average
    spread: Spread


@dataclass(frozen=True, eq=False)
class RiskAverse(Elementwise):
    """s^2: unbiased variance of g;  rate = lr / (1 + lr aversion s^2) = 1 / (1 / lr + aversion s^2), direction = m.mean.

    `averse_rate` with 1 / lr in the place of the curvature, which nobody knows. aversion = 0 is SGD on an average.
    """

    lr: Any = 1e-2
    beta1: Any = 0.9
    beta2: Any = 0.999
    aversion: Any = 1.0

    def init(self, x):
        return Belief(Average.empty(x), Spread.empty(x))

    def step(self, state, g, x):
        m, spread = state.m.push(g, self.beta1), state.spread.push(g, self.beta2)
        return Belief(m, spread), self.lr / (1 + self.lr * self.aversion * spread.variance(self.beta2)), m.mean


@dataclass(frozen=True, eq=False)
class InverseVariance(Adam):
    """rate = lr / (s^2 + eps), direction = m.mean: the rate inverse to the variance, above a floor.

    RiskAverse(lr / eps, aversion=1 / lr) in other words. s^2 is the unbiased variance of `Spread`, not Adam's v - m^2,
    which can be negative.
    """

    def init(self, x):
        return Belief(Average.empty(x), Spread.empty(x))

    def step(self, state, g, x):
        m, spread = state.m.push(g, self.beta1), state.spread.push(g, self.beta2)
        return Belief(m, spread), self.lr / (spread.variance(self.beta2) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class InverseDeviation(InverseVariance):
    """rate = lr / sqrt(s^2 + eps), direction = m.mean: the same with a root."""

    def step(self, state, g, x):
        m, spread = state.m.push(g, self.beta1), state.spread.push(g, self.beta2)
        return Belief(m, spread), self.lr / sqrt(spread.variance(self.beta2) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class MSVAG(Elementwise):
    """rate = lr m^2 / (m^2 + rho s^2), direction = m, one beta.  Balles & Hennig (2018), momentum with variance adaptation.

    rho s^2 is the variance of m itself; the rate is between 0 and lr, with no root. Written with rho / (1 - rho) (v - m^2) as a scatter.
    """

    lr: Any = 1e-2
    beta: Any = 0.9

    def init(self, x):
        return Spread.empty(x)

    def step(self, spread, g, x):
        spread = spread.push(g, self.beta)
        noise = mean_share(self.beta, spread.weight) * spread.variance(self.beta)
        square = spread.mean * spread.mean
        return spread, self.lr * square / positive(square + noise), spread.mean


@dataclass(frozen=True, eq=False)
class AdaBayes(Adam):
    """rate = 2 lr / (damping + sqrt(damping^2 + 4 v.mean)), direction = m.mean.  Aitchison (2020), AdaBayes at its fixed point.

    The posterior variance at which Bayesian filtering of one weight settles, while all other weights move. `damping` is lr over
    the rate of SGD: far above sqrt(v) the rule is SGD with rate lr / damping, far below it is Adam. eps is not used.
    """

    damping: Any = 1e-2

    def step(self, state, g, x):
        state, _, direction = super().step(state, g, x)
        return state, 2 * self.lr / (self.damping + sqrt(self.damping**2 + 4 * state.v.mean)), direction


class Posterior(NamedTuple):
    """IVON's belief N(x, 1 / (ess h)) about the weights: `m` of the gradients, `h`, and the `noise` at which to look next."""

    m: Average
    h: Any
    noise: Any
    t: int


@dataclass(frozen=True, eq=False)
class IVON(Elementwise):
    """f = ess h noise g, h <- h + (1 - beta2)(f - h) + (1 - beta2)^2 (f - h)^2 / (2 h);  rate = lr initial / h, direction = m.mean.

    Shen et al. (2024), with a flat prior (no weight decay). The gradient g is taken at x + state.noise, noise ~ N(0, 1 / (ess h));
    `draws` of shape (steps + 1, ..., d) are standard normal, so that runs can share them. The mean of f is the curvature, and
    h stays positive, because the last term is there. On noise alone it balances at (1 - beta2) / 2 ess E g^2.
    """

    lr: Any = 1e-2
    ess: Any = 1e3
    beta1: Any = 0.9
    beta2: Any = 0.99
    initial: Any = 1.0
    draws: Any = None

    def init(self, x):
        h = zeros_like(x) + self.initial
        return Posterior(Average.empty(x), h, self.draws[0] / sqrt(self.ess * h), 0)

    def step(self, state, g, x):
        m, t = state.m.push(g, self.beta1), state.t + 1
        off = (1 - self.beta2) * (self.ess * state.h * state.noise * g - state.h)
        h = state.h + off + off * off / (2 * state.h)
        return Posterior(m, h, self.draws[t] / sqrt(self.ess * h), t), self.lr * self.initial / h, m.mean


@dataclass(frozen=True, eq=False)
class Observing(Wrapper):
    """rate = 0 for the first `horizon` steps: the rule's averages watch before it moves, for a variance needs two gradients at least."""

    rule: Any
    horizon: Any = 10

    def init(self, x):
        return Clocked(self.rule.init(x), zeros_like(x[..., :1]))

    def step(self, state, g, x):
        inner, rate, direction = self.rule.step(state.state, g, x)
        none = zeros_like(state.t)
        moves = minimum(maximum(state.t - self.horizon + 1, none), none + 1)
        return Clocked(inner, state.t + 1), rate * moves, direction
