"""Tables of which a step touches a few rows, and what a row owes for the time in which nobody touched it.

A row is a run: rule.step on the active rows alone is the lazy form of a rule. It equals the dense form where a zero
gradient changes nothing (SGD, AdaGrad). Elsewhere a rule may say in `idle(state, x, gap) -> state, x` what `gap` steps
without a gradient do to a row; they add up, idle(a + b) = idle(b) after idle(a).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .average import Average
from .backend import sqrt, zeros_like
from .contract import Elementwise, Wrapper, leaves, rebuild
from .errors import HyperparameterError
from .responses import reach
from .rules import Adam, HeavyBall, Moments, RMSProp

#: Keeps 0 / 0 at 0 where no gradient has come yet; it changes no digit of a root above 1e-21.
TINY = 1e-37


def wait(average: Average, beta, gap) -> Average:
    """The average after `gap` values of zero: total beta^gap, 1 - (1 - weight) beta^gap."""
    return Average(average.total * beta**gap, 1 - (1 - average.weight) * beta**gap)


@dataclass(frozen=True, eq=False)
class SharedClock(Adam):
    """Adam whose rows share one clock and keep their moments while idle: torch.optim.SparseAdam.

    rate = lr sqrt(v.weight) / (sqrt(v.total) + eps), direction = m.mean, with weights 1 - beta^t for the table's t. eps stands as
    in the last lines of section 2 of Kingma & Ba (2015), there called epsilon hat.
    """

    def idle(self, state, x, gap):
        m, v = (a._replace(weight=wait(a, b, gap).weight) for a, b in zip(state, (self.beta1, self.beta2), strict=True))
        return Moments(m, v), x

    def step(self, state, g, x):
        m, v = state.m.push(g, self.beta1), state.v.push(g * g, self.beta2)
        return Moments(m, v), self.lr * sqrt(v.weight) / (sqrt(v.total) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class Replayed(Wrapper):
    """Any rule, idle steps made up one by one with g = 0: equal to the dense rule, at a cost that grows with the gap."""

    rule: Any

    def idle(self, state, x, gap):
        for k in range(int(np.max(gap, initial=0))):
            owed = gap > k
            then, rate, direction = self.rule.step(state, zeros_like(x), x)
            pairs = zip(leaves(then), leaves(state), strict=True)
            state = rebuild(state, iter([np.where(owed, new, old) for (_, new), (_, old) in pairs]))
            x = np.where(owed, x - rate * direction, x)
        return state, x

    def step(self, state, g, x):
        return self.rule.step(state, g, x)


@dataclass(frozen=True, eq=False)
class IdleRMSProp(RMSProp):
    """RMSProp, idle steps at once: v beta^gap, and x stays. Equal to the dense rule."""

    def idle(self, v, x, gap):
        return v * self.beta**gap, x


@dataclass(frozen=True, eq=False)
class IdleHeavyBall(HeavyBall):
    """Heavy ball, idle steps at once: b momentum^gap, x - lr b momentum (1 - momentum^gap) / (1 - momentum). Equal to the dense rule."""

    def idle(self, b, x, gap):
        left = self.momentum**gap
        return b * left, x - self.lr * self.momentum * (1 - left) / (1 - self.momentum) * b


class Dated(NamedTuple):
    """Adam's moments and the number of steps of the table that the row has seen."""

    m: Average
    v: Average
    t: Any


@lru_cache
def _tails(beta1: float, beta2: float, n: int):
    """F(t) = sum over k >= 1 of rho^k c(t + k), t = 0 ... n, rho = beta1 / sqrt(beta2), c(s) = sqrt(1 - beta2^s) / (1 - beta1^s)."""
    rho, s = beta1 / beta2**0.5, np.arange(1, n + 2)
    c, tail = np.sqrt(-np.expm1(s * np.log(beta2))) / -np.expm1(s * np.log(beta1)), np.empty(n + 1)
    # beyond n the factors c stay what they are; n is so large that this is true to the last digit
    tail[n] = rho / (1 - rho) * c[n]
    for t in range(n - 1, -1, -1):
        tail[t] = rho * (c[t] + tail[t + 1])
    return tail


@dataclass(frozen=True, eq=False)
class IdleAdam(Elementwise):
    """Adam with eps = 0, idle steps at once:  x - lr m.total / sqrt(v.total) (F(t) - rho^gap F(t + gap)),  rho = beta1 / sqrt(beta2).

    F(t) = sum over k >= 1 of rho^k sqrt(1 - beta2^(t + k)) / (1 - beta1^(t + k)). Equal to the dense rule, whatever the gap, at the
    price of one step. With eps > 0 the sum depends on the coordinate; `Replayed(Adam())` takes any. The betas are plain numbers.
    """

    lr: Any = 1e-3
    beta1: Any = 0.9
    beta2: Any = 0.999

    def __post_init__(self):
        super().__post_init__()
        betas = [b for b in (self.beta1, self.beta2) if not hasattr(b, "free_symbols")]
        if any(map(np.ndim, betas)) or (betas and not 0 < self.beta1 < self.beta2**0.5):
            raise HyperparameterError(
                f"IdleAdam needs two numbers with 0 < beta1 < sqrt(beta2), got {self.beta1} and {self.beta2}"
            )

    def init(self, x):
        return Dated(Average.empty(x), Average.empty(x), zeros_like(x[..., :1]))

    def idle(self, state, x, gap):
        t, rho = np.asarray(state.t, int), self.beta1 / self.beta2**0.5
        last = int(40 / -np.log(self.beta2)) + 1  # beta2^last is below rounding
        tails = _tails(self.beta1, self.beta2, last)
        owed = tails[np.minimum(t, last)] - rho**gap * tails[np.minimum(t + gap, last).astype(int)]
        x = x - self.lr * owed * state.m.total / (sqrt(state.v.total) + TINY)
        return Dated(wait(state.m, self.beta1, gap), wait(state.v, self.beta2, gap), state.t + gap), x

    def step(self, state, g, x):
        m, v = state.m.push(g, self.beta1), state.v.push(g * g, self.beta2)
        return Dated(m, v, state.t + 1), self.lr / (sqrt(v.mean) + TINY), m.mean


class Awaited(NamedTuple):
    """Adam's moments on the row's own clock, and the steps that it has idled since its last."""

    m: Average
    v: Average
    gap: Any


@dataclass(frozen=True, eq=False)
class GapScaled(Adam):
    """Lazy Adam on the row's own clock, its rate times D(T), `reach`, T the steps since the row's last.  A closed form for skipped steps.

    Moments do not decay while a row idles. One factor per row; nothing that is idle is touched.
    """

    def init(self, x):
        return Awaited(Average.empty(x), Average.empty(x), zeros_like(x[..., :1]))

    def idle(self, state, x, gap):
        return state._replace(gap=state.gap + gap), x

    def step(self, state, g, x):
        m, v = state.m.push(g, self.beta1), state.v.push(g * g, self.beta2)
        rate = self.lr * reach(state.gap + 1, self.beta1, self.beta2) / (sqrt(v.mean) + self.eps)
        return Awaited(m, v, 0 * state.gap), rate, m.mean
