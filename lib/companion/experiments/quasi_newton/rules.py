"""Second-order rules for stochastic gradients: full-matrix AdaGrad, and four ways to feed BFGS with noisy secants.

Each keeps the contract: rate = lr in every coordinate, direction = H g. Matrices have shape (..., d, d).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from companion.experiments.inputs import number, numbers, whole
from stepsize.backend import constant, zeros_like
from stepsize.contract import Checked
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
    """BFGS for the runs whose pair has s'y > 0; the first pair also sets the unit, H = s'y / y'y I. Diverged runs are left alone."""
    sy, yy = ((a * y).sum(-1)[..., None, None] for a in (s, y))
    usable = (
        np.isfinite(sy) & np.isfinite(yy) & (sy > 1e-12 * yy) & (yy > 0) & np.isfinite(H).all((-2, -1), keepdims=True)
    )
    # an unusable run is updated with a harmless pair and then not used: one formula for the whole batch
    safe = np.where(usable, H, np.eye(s.shape[-1]))
    s, y = (np.where(usable[..., 0], a, 1) for a in (s, y))
    if t == 1:
        safe = safe * np.where(usable, sy, 1) / np.where(usable, yy, 1)
    return np.where(usable, bfgs_inverse(safe, s, y), H)


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


def _solved(H, s):
    """H^-1 s, NaN for the runs whose H is singular: they learn nothing, and the others go on."""
    try:
        return np.linalg.solve(H, s[..., None])[..., 0]
    except np.linalg.LinAlgError:
        if H.ndim == 2:
            return np.full_like(s, np.nan)
        return np.stack([_solved(*run) for run in zip(H, np.broadcast_to(s, H.shape[:-1]), strict=True)])


@dataclass(frozen=True, eq=False)
class DampedBFGS(LazyBFGS):
    """LazyBFGS with y damped so that s'y >= share s'Bs.  Powell (1978); for stochastic gradients, Goldfarb, Ren & Bahamou (2020)."""

    share: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        number(self.share, "DampedBFGS: share", "in (0, 1)", lambda v: 0 < v < 1)

    def pair(self, last, g, x):
        s, y = super().pair(last, g, x)
        return s, damp(s, y, _solved(last.H, s), self.share)


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
        numbers(self.ridge, "OnlineBFGS: ridge", "give a curvature of at least 0", least=0)

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
