"""Rules that see a weight matrix as a matrix: x of shape (..., m, n), leading axes are runs, hyper-parameters of shape (runs, 1, 1).

The contract is that of `rules`: x <- x - rate * direction. A rule that turns the axes has no rate per entry: there the
rate is the learning rate, and the direction the gradient preconditioned. NumPy arrays and torch tensors, no symbols.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from .average import Average
from .backend import constant, maximum, minimum, namespace, positive, sign, sqrt, zeros_like
from .contract import Checked, require_matrix, rules_of
from .rules import Moments
from .wrappers import Clocked


def _rms(M):
    return sqrt((M * M).mean((-1, -2)))[..., None, None]


def _eigh(M):
    # LAPACK refuses a whole batch for one run that has diverged; the gradient of that run keeps its step non-finite
    xp = namespace(M)
    return xp.linalg.eigh(xp.nan_to_num(M, nan=0.0, posinf=0.0, neginf=0.0))


class Sides(NamedTuple):
    """What a rule remembers of the rows, g g' (..., m, m) or its diagonal (..., m, 1), and of the columns, g' g."""

    left: Any
    right: Any


@dataclass(frozen=True, eq=False)
class Adafactor(Checked):
    """V = row column / mean of row,  rate = alpha / (sqrt(V) max(1, rms(g / sqrt(V)) / limit)), direction = g.  Shazeer & Stern (2018), algorithm 4.

    row, column: averages of g^2 + eps1 over rows and over columns, with beta = 1 - t^-power. alpha = max(eps2, rms(x)) min(lr,
    1 / sqrt(t)). Memory of m + n numbers for Adam's 2 m n. Means for sums, as in torch, which has a floor of V in place of eps1.
    """

    lr: Any = 1e-2
    power: Any = 0.8
    limit: Any = 1.0
    eps1: Any = 1e-30
    eps2: Any = 1e-3

    def init(self, x):
        x = zeros_like(require_matrix(x, self))
        return Clocked(Sides(x[..., :1], x[..., :1, :]), x[..., :1, :1])

    def step(self, state, g, x):
        (row, column), t, square = state.state, state.t + 1, g * g + self.eps1
        row = row + t**-self.power * (square.mean(-1)[..., None] - row)
        column = column + t**-self.power * (square.mean(-2)[..., None, :] - column)
        root = sqrt(row * column / row.mean(-2)[..., None, :])
        alpha = maximum(_rms(x), constant(self.eps2, t)) * minimum(constant(self.lr, t), t**-0.5)
        rate = alpha / (root * maximum(_rms(g / root) / self.limit, constant(1, t)))
        return Clocked(Sides(row, column), t), rate, g


#: a, b, c of each step of `orthogonalized`: singular values of 0.002 |G| and more go to 0.68 ... 1.21.  Jordan et al. (2024).
NEWTON_SCHULZ = 5 * ((3.4445, -4.775, 2.0315),)


def orthogonalized(G, eps=1e-7):
    """U V' of G = U S V', nearly: X <- a X + (b X X' + c (X X')^2) X, five times, from G / max(|G|, eps), |G| the Frobenius norm."""
    xp, axes = namespace(G), sorted((-2, -1), key=lambda axis: G.shape[axis])  # X X' is smaller over the shorter axis
    size = sqrt((G * G).sum((-1, -2)))[..., None, None]
    X = xp.moveaxis(G / maximum(size, constant(eps, size)), axes, (-2, -1))
    for a, b, c in NEWTON_SCHULZ:
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return xp.moveaxis(X, (-2, -1), axes)


@dataclass(frozen=True, eq=False)
class Muon(Checked):
    """b <- momentum b + (1 - momentum) g,  rate = lr sqrt(max(1, m / n)), direction = orthogonalized(momentum b + (1 - momentum) g).  Jordan et al. (2024).

    In the arithmetic of x, where torch and the authors compute in bfloat16. torch's weight decay is `Decoupled(Muon())`.
    """

    lr: Any = 1e-3
    momentum: Any = 0.95
    eps: Any = 1e-7

    def init(self, x):
        return zeros_like(require_matrix(x, self))

    def step(self, b, g, x):
        b = self.momentum * b + (1 - self.momentum) * g
        ahead = self.momentum * b + (1 - self.momentum) * g
        return b, constant(self.lr * max(1, g.shape[-2] / g.shape[-1]) ** 0.5, g), orthogonalized(ahead, self.eps)


@dataclass(frozen=True, eq=False)
class Shampoo(Checked):
    """L <- L + g g', R <- R + g' g,  rate = lr, direction = (L + eps I)^-1/4 g (R + eps I)^-1/4.  Gupta, Koren & Singer (2018), algorithm 1.

    eps must be positive. The roots are new at every step. No momentum and no grafting, which later versions add.
    """

    lr: Any = 1e-2
    eps: Any = 1e-4

    def init(self, x):
        x = zeros_like(require_matrix(x, self))
        return Sides(x @ x.mT, x.mT @ x)

    def step(self, state, g, x):
        left, right = state.left + g @ g.mT, state.right + g.mT @ g
        return Sides(left, right), constant(self.lr, g), self._root(left) @ g @ self._root(right)

    def _root(self, M):
        w, Q = _eigh(M)
        w = maximum(w, zeros_like(w))[..., None, :] + self.eps  # none is negative, but for rounding
        return Q * w**-0.25 @ Q.mT


@dataclass(frozen=True, eq=False)
class SOAP(Checked):
    """Adam in Shampoo's eigenbasis: v averages (P' g Q)^2,  rate = lr, direction = P (P' m Q / (sqrt(v) + eps)) Q'.  Vyas et al. (2025), algorithm 3.

    P, Q: eigenvectors of the averages of g g' and of g' g before g, arbitrary where these lack full rank. The first gradient
    makes a basis and no step, as in the authors' code. New at every step, where the paper makes one power iteration every few.
    """

    lr: Any = 3e-3
    beta1: Any = 0.95
    beta2: Any = 0.95
    eps: Any = 1e-8

    def init(self, x):
        x = zeros_like(require_matrix(x, self))
        m, v, left, right = (Average(a, x[..., :1, :1]) for a in (x, x, x @ x.mT, x.mT @ x))
        return Moments(m, v), Sides(left, right)

    def step(self, state, g, x):
        (m, v), (left, right) = state
        (_, P), (_, Q), seen = _eigh(left.total), _eigh(right.total), sign(left.weight)  # seen: 0 at first, then 1
        m = m.push(g, 1 - seen * (1 - self.beta1))
        v = v.push((P.mT @ g @ Q) ** 2, 1 - seen * (1 - self.beta2))
        sides = Sides(left.push(g @ g.mT, self.beta2), right.push(g.mT @ g, self.beta2))
        m_mean, v_mean = (a.total / positive(a.weight) for a in (m, v))
        direction = P @ (P.mT @ m_mean @ Q / (sqrt(v_mean) + self.eps)) @ Q.mT
        return (Moments(m, v), sides), constant(self.lr, g), direction


__all__ = rules_of(globals())
