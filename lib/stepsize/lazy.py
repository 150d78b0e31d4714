"""Tables of which a step touches a few rows, and what a row owes for the time in which nobody touched it.

A row is a run: rule.step on the active rows alone is the lazy form of a rule. It equals the dense form where a zero
gradient changes nothing (SGD, AdaGrad). Elsewhere a rule may say in `idle(state, x, gap) -> state, x` what `gap` steps
without a gradient do to a row; they add up, idle(a + b) = idle(b) after idle(a).
"""

from copy import copy
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .average import Average
from .contract import Elementwise, Wrapper, hyperparameters, leaves, named, rebuild, require_rule
from .errors import HyperparameterError, ShapeError
from .backend import sqrt, zeros_like
from .row_kernels import row_kernel
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


def reach(gap, beta1=0.9, beta2=0.999):
    """D(T) = (1 - beta1) / (1 - beta1^T) sqrt((1 - beta2^T) / (1 - beta2)) (1 - rho^T) / (1 - rho),  rho = beta1 / sqrt(beta2).

    How far dense Adam moves, in units of lr, between two visits T steps apart with equal gradients; about sqrt(T) for
    T << 1 / (1 - beta2). The limit T -> infinity, 31.77, is the whole journey of a row after one single gradient.
    """
    rho = beta1 / beta2**0.5
    return (1 - beta1) / (1 - beta1**gap) * ((1 - beta2**gap) / (1 - beta2)) ** 0.5 * (1 - rho**gap) / (1 - rho)


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


@njit(cache=True)
def _owing(rows, seen, now):
    """Those of `rows` that were seen before `now`, each once, and how long they idled; all are seen now."""
    found, gap, n = np.empty(rows.size, np.int64), np.empty(rows.size, np.int64), 0
    for row in rows:
        if seen[row] < now:
            found[n], gap[n] = row, now - seen[row]
            seen[row] = now
            n += 1
    return found[:n], gap[:n]


@njit(cache=True)
def _distinct(rows, seen, now):
    """Whether `rows` are different; they are then seen at `now`."""
    for k in range(rows.size):
        if seen[rows[k]] == now:
            for row in rows[:k]:
                seen[row] = now - 1
            return False
        seen[rows[k]] = now
    return True


def _for_rows(rule, rows):
    """The rule with the hyper-parameters of these rows; they were checked when it was made."""
    chosen = copy(rule)
    for field in fields(rule):
        value = getattr(rule, field.name)
        if field.name == "rule":
            object.__setattr__(chosen, "rule", _for_rows(value, rows))
        elif np.ndim(value):
            object.__setattr__(chosen, field.name, value[rows])
    return chosen


class Table:
    """A table x (rows, d), changed in place by `step(rows, g)`, each row named once; `read(rows)` gives them as they are now.

    A rule without `idle` leaves an untouched row alone. With it a row is brought up to date by `touch`, when it is read, and
    before it steps; `settle()` does so for all. Hyper-parameters may have shape (rows, 1).
    """

    def __init__(self, rule, x):
        if np.ndim(x) != 2 or not x.flags.c_contiguous:
            raise ShapeError(f"a table needs a contiguous array of shape (rows, d), got {np.shape(x)}")
        self.rule, self.x, self.now = require_rule(rule, "Table"), x, 0
        self.state = rule.init(x)
        self.memory = [np.array(leaf) for leaf in named(leaves(self.state)).values()]
        self.seen = np.zeros(len(x), np.int64)
        self.run, self.values = row_kernel(rule), list(hyperparameters(rule).values())

    def touch(self, rows):
        """Bring these rows up to date; a row may be named often."""
        if hasattr(self.rule, "idle"):
            owing, gap = _owing(np.asarray(rows), self.seen, self.now)
            if owing.size:
                self._idle(owing, gap[:, None].astype(self.x.dtype))

    def read(self, rows):
        """x[rows], up to date."""
        self.touch(rows)
        return self.x[rows]

    def _idle(self, rows, gap):
        old = [leaf[rows] for leaf in self.memory]
        state, x = _for_rows(self.rule, rows).idle(rebuild(self.state, iter(old)), before := self.x[rows], gap)
        for leaf, was, (_, becomes) in zip(
            [*self.memory, self.x], [*old, before], [*leaves(state), ("x", x)], strict=True
        ):
            if becomes is not was:
                leaf[rows] = becomes

    def step(self, rows, g):
        """One step of the table: `rows` get the gradients g (len(rows), d), all others none."""
        rows, g = np.asarray(rows, np.int64), np.ascontiguousarray(g, self.x.dtype)
        if g.shape != (len(rows), self.x.shape[1]):
            raise ShapeError(
                f"{len(rows)} rows of {self.x.shape[1]} got gradients of shape {g.shape}; give one for each"
            )
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self.x):
            raise ShapeError(f"rows must lie in 0 ... {len(self.x) - 1}, got {rows.min()} ... {rows.max()}")
        self.touch(rows)
        if not _distinct(rows, self.seen, self.now + 1):
            raise ShapeError("a row is named twice; sum its gradients with row_kernels.coalesce")
        self.run(self.x, g, rows, self.memory, self.values)
        self.now += 1

    def settle(self):
        """x with every row up to date."""
        return self.read(np.arange(len(self.x)))
