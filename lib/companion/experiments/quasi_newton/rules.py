"""Second-order rules for stochastic gradients: metrics from outer products, from random probes, and from noisy secants in four ways.

Each keeps the contract; all but AdaHessian have rate = lr in every coordinate, direction = H g. Matrices have shape (..., d, d).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from companion.experiments.inputs import number, numbers, whole
from stepsize.average import Average
from stepsize.backend import constant, zeros_like
from stepsize.contract import Checked, Wrapper
from stepsize.metric import apply

from .secant import bfgs_inverse, damp


@dataclass(frozen=True, eq=False)
class FullAdaGrad(Checked):
    """S <- S + g g',  rate = lr, direction = (S^(1/2) + eps I)^-1 g.  Duchi, Hazan & Singer (2011), figure 1.

    Equivariant under rotations: it sees no axes. One eigendecomposition of a d x d matrix per step and run.
    """

    lr: Any = 1e-2
    eps: Any = 1e-8

    def init(self, x):
        return zeros_like(x)[..., :, None] * x[..., None, :]

    def step(self, S, g, x):
        S = S + g[..., :, None] * g[..., None, :]
        sound = np.isfinite(S).all((-2, -1), keepdims=True)
        # LAPACK gives up on all runs where one has diverged; that one keeps its NaN in g
        w, Q = np.linalg.eigh(np.where(sound, S, np.eye(S.shape[-1])))
        # round-off leaves the null space of S a few ulps below zero
        root = np.sqrt(np.maximum(w, 0)) + self.eps
        return S, constant(self.lr, g), apply(Q, apply(np.swapaxes(Q, -1, -2), g) / root)


@dataclass(frozen=True, eq=False)
class OnlineNewton(Checked):
    """S <- S + g g', S_0 = ridge I,  rate = lr, direction = S^-1 g.  Hazan, Agarwal & Kale (2007), online Newton step.

    FullAdaGrad without the root. The inverse is kept, by Sherman and Morrison: O(d^2). No projection onto a bounded set.
    """

    lr: Any = 1e-2
    ridge: Any = 1.0

    def __post_init__(self):
        super().__post_init__()
        number(self.ridge, "OnlineNewton: ridge", "above 0", lambda v: 0 < v < np.inf)

    def init(self, x):
        return np.broadcast_to(np.eye(x.shape[-1]) / self.ridge, (*x.shape, x.shape[-1]))

    def step(self, H, g, x):
        Hg = apply(H, g)
        direction = Hg / (1 + np.vecdot(g, Hg)[..., None])
        return H - direction[..., :, None] * Hg[..., None, :], constant(self.lr, g), direction


class Probed(NamedTuple):
    """The averages of gradients and of squared probes, and the number of steps made."""

    m: Average
    v: Average
    t: int


@dataclass(frozen=True, eq=False)
class AdaHessian(Checked):
    """m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) (z H z)^2,  rate = lr / (sqrt(v) + eps), direction = m.  Yao et al. (2021), algorithm 1.

    Adam with z H z, entry by entry, for g in v: on a diagonal Hessian, its diagonal. z = probe(t), random signs like x; H z =
    grad(x + z, t) - g is exact for a quadratic loss and costs one gradient every `every` steps. No average over blocks.
    """

    grad: Callable
    probe: Callable
    lr: Any = 1e-1
    beta1: Any = 0.9
    beta2: Any = 0.999
    eps: Any = 1e-8
    every: int = 1

    def __post_init__(self):
        super().__post_init__()
        whole(self.every, "AdaHessian: every", 1)

    def init(self, x):
        return Probed(Average.empty(x), Average.empty(x), 0)

    def step(self, state, g, x):
        m, v, t = state
        m = m.push(g, self.beta1)
        if t % self.every == 0:
            z = self.probe(t)
            v = v.push((z * (self.grad(x + z, t) - g)) ** 2, self.beta2)
        return Probed(m, v, t + 1), self.lr / (np.sqrt(v.mean) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class Folded(Wrapper):
    """A rule for matrices (..., m, n) on vectors (..., m n), read row by row: `shape` is (m, n). Its hyper-parameters are (runs, 1, 1)."""

    rule: Any
    shape: tuple[int, int]

    def _fold(self, a):
        return a.reshape(*a.shape[:-1], *self.shape)

    def init(self, x):
        return self.rule.init(self._fold(x))

    def step(self, state, g, x):
        state, *matrices = self.rule.step(state, self._fold(g), self._fold(x))
        return state, *(M.reshape(*M.shape[:-2], -1) for M in matrices)


class Secant(NamedTuple):
    """The inverse metric, the iterate and gradient it was last shown, and the number of steps made."""

    H: Any
    x: Any
    g: Any
    t: int


def _first(x, g):
    H = np.zeros((*x.shape, x.shape[-1])) + np.eye(x.shape[-1])
    return Secant(H, zeros_like(x), zeros_like(g), 0)


def _learn(H, s, y, t):
    """BFGS for the runs whose pair has s'y > 0, the others keep their H; the first pair also sets the unit, H = s'y / y'y I."""
    one = np.ones(s.shape[-1])
    sound = np.isfinite(apply(H, one).sum(-1))
    if not sound.all():  # such a run has diverged, and its x with it
        H = np.where(sound[..., None, None], H, np.eye(one.size))
    sy, yy = (s * y).sum(-1), (y * y).sum(-1)
    usable = (np.isfinite(sy + yy) & (sy > 1e-12 * yy) & (yy > 0))[..., None]
    if t == 1:
        H = H * np.where(usable, (sy / yy)[..., None], 1)[..., None]
    # the pair (H y, y) leaves H as it is, whatever y: one formula for the whole batch
    s, y = np.where(usable, s, apply(H, one)), np.where(usable, y, one)
    curvature = np.vecdot(s, y)[..., None]
    lost = ~np.isfinite(curvature) | (
        curvature == 0
    )  # by rounding, in a run whose H has all but vanished or overflowed
    new = bfgs_inverse(H, np.where(lost, one, s), np.where(lost, one, y))
    return np.where(lost[..., None], H, new) if lost.any() else new


@dataclass(frozen=True, eq=False)
class LazyBFGS(Checked):
    """direction = H g with y = g_t - g_(t-1), gradients of different samples.  The naive port of BFGS to noise.

    One gradient a step. y mixes curvature with the difference of two noises, so s'y > 0 proves nothing.
    """

    lr: Any = 1e-2

    def init(self, x):
        return _first(x, x)

    def pair(self, last, g, x):
        return x - last.x, g - last.g

    def step(self, last, g, x):
        H = _learn(last.H, *self.pair(last, g, x), last.t) if last.t else last.H
        return Secant(H, x, g, last.t + 1), constant(self.lr, g), apply(H, g)


@dataclass(frozen=True, eq=False)
class DampedBFGS(LazyBFGS):
    """LazyBFGS with y damped so that s'y >= share s'Bs.  Powell (1978); for stochastic gradients, Goldfarb, Ren & Bahamou (2020).

    The last step was s = -a H g, with a schedule's a, and so B s = -a g: no matrix is inverted.
    """

    share: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        number(self.share, "DampedBFGS: share", "in (0, 1)", lambda v: 0 < v < 1)

    def pair(self, last, g, x):
        s, y = super().pair(last, g, x)
        Hg = apply(last.H, last.g)
        a = -(s * Hg).sum(-1, keepdims=True) / (Hg * Hg).sum(-1, keepdims=True)
        return s, damp(s, y, -a * last.g, self.share)


@dataclass(frozen=True, eq=False)
class OnlineBFGS(Checked):
    """direction = H g with y = grad(x + s, t) - grad(x, t) + ridge s on one sample.  Schraudolph, Yu & Günter (2007), algorithm 2.

    `grad(x, t)` must return the gradient on the sample of step t: every step costs two gradients. Their gain
    schedule and their factor c are left to `lr` and to a schedule around the rule.
    """

    grad: Callable
    lr: Any = 1e-2
    ridge: Any = 0.0

    def __post_init__(self):
        super().__post_init__()
        numbers(self.ridge, "OnlineBFGS: ridge", "give a curvature of at least 0", least=0, some=True)

    def init(self, x):
        return _first(x, x)

    def step(self, last, g, x):
        direction = apply(last.H, g)
        s = -self.lr * direction
        y = self.grad(x + s, last.t) - g + self.ridge * s
        H = _learn(last.H, s, y, last.t + 1)
        return Secant(H, x, g, last.t + 1), constant(self.lr, g), direction


class Blocked(NamedTuple):
    """The state of `SQN`: the secant state at the last block's mean iterate, the sum of iterates of this block, the pairs kept."""

    secant: Secant
    total: Any
    t: int
    pairs: tuple


@dataclass(frozen=True, eq=False)
class SQN(Checked):
    """direction = H g; every `block` steps s = change of the mean iterate, y = Hessian of one sample times s.  Byrd et al. (2016), algorithm 1.

    The product with the Hessian is the difference of two gradients on the sample of that step, exact for a
    quadratic loss. Two extra gradients a block. H is built anew from the last `memory` pairs, or keeps them all (None).
    """

    grad: Callable
    lr: Any = 1e-2
    block: int = 10
    memory: int | None = None

    def __post_init__(self):
        super().__post_init__()
        whole(self.block, "SQN: block", 1)
        if self.memory is not None:
            whole(self.memory, "SQN: memory", 1)

    def init(self, x):
        return Blocked(_first(x, x), zeros_like(x), 0, ())

    def step(self, state, g, x):
        last, total, t, pairs = state.secant, state.total + x, state.t + 1, state.pairs
        if t % self.block == 0:
            mean = total / self.block
            s = mean - last.x
            y = self.grad(mean, state.t) - self.grad(last.x, state.t)
            if last.t == 0:
                H = last.H
            elif self.memory is None:
                H = _learn(last.H, s, y, last.t)
            else:
                pairs = (*pairs, (s, y))[-self.memory :]
                H = _first(x, x).H
                for count, pair in enumerate(pairs, 1):
                    H = _learn(H, *pair, count)
            last, total = Secant(H, mean, g, last.t + 1), zeros_like(x)
        return Blocked(last, total, t, pairs), constant(self.lr, g), apply(last.H, g)
