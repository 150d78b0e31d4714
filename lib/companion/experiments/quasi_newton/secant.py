"""Metrics learned from secants: BFGS and its inverse, damping, the limited-memory product, and two minimisers.

A pair (s, y) is a step and the change of gradient along it. Matrices have shape (..., n, n), vectors (..., n);
leading axes are independent runs.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import dsymv as symv
from scipy.linalg.blas import dsyr2 as syr2
from scipy.optimize import line_search

from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError
from stepsize.metric import apply


def _dot(a, b):
    return np.vecdot(a, b)[..., None]


def _pair(M, s, y):
    M, s, y = (np.asarray(a, float) for a in (M, s, y))
    if s.shape[-1:] != y.shape[-1:] or M.shape[-2:] != (s.shape[-1], s.shape[-1]):
        raise ShapeError(
            f"a metric of shape {M.shape} and a pair of shapes {s.shape}, {y.shape} do not fit; give (n, n), (n,), (n,)"
        )
    if not all(np.isfinite(a).all() for a in (M, s, y)):
        raise NonFiniteError("the metric or the pair (s, y) has NaN or infinite entries; skip this update")
    return M, s, y


def symmetric_rank_two(M, a, b):
    """M + a b' + b a': the only matrix operation of an update, n^2 additions and no matrix product."""
    return M + (a[..., :, None] * b[..., None, :] + b[..., :, None] * a[..., None, :])


def bfgs_inverse(H, s, y):
    """H + s w' + w s',  w = (1 + y'Hy / s'y) s / (2 s'y) - Hy / s'y.  Nocedal & Wright (2006), equation 6.17, as one rank-two term.

    The inverse metric after the pair (s, y): H y = s exactly. Positive definite if H is and s'y > 0;
    nothing here enforces that, see `powell_damping`. Raises where s'y = 0, for there the update is undefined.
    """
    H, s, y = _pair(H, s, y)
    sy, Hy = _dot(s, y), apply(H, y)
    if (sy == 0).any():
        raise HyperparameterError("s'y = 0: the secant update is undefined; skip the pair or damp it")
    return symmetric_rank_two(H, s, (1 + _dot(y, Hy) / sy) * s / (2 * sy) - Hy / sy)


def dfp_inverse(H, s, y):
    """H + s s' / s'y - Hy y'H / y'Hy.  Davidon (1959), Fletcher & Powell (1963).

    BFGS with the roles of (s, y) and of the metric and its inverse exchanged.
    """
    H, s, y = _pair(H, s, y)
    Hy = apply(H, y)
    return symmetric_rank_two(symmetric_rank_two(H, s, s / (2 * _dot(s, y))), Hy, -Hy / (2 * _dot(y, Hy)))


def bfgs_metric(B, s, y):
    """B + y y' / s'y - Bs s'B / s'Bs: the metric itself, whose inverse `bfgs_inverse` keeps.  Nocedal & Wright (2006), equation 6.19."""
    return dfp_inverse(B, y, s)


def gaussian_divergence(P, Q):
    """KL(N(0, P) || N(0, Q)) = (tr(Q^-1 P) - n - log det P / det Q) / 2.  Fletcher (1991) minimises twice this.

    P and Q symmetric positive definite, (..., n, n); returns (...).
    """
    product = np.linalg.solve(Q, P)
    trace = np.trace(product, axis1=-2, axis2=-1)
    return (trace - P.shape[-1] - np.linalg.slogdet(P)[1] + np.linalg.slogdet(Q)[1]) / 2


def divergence_margins(new, B, s, count: int, size: float, rng):
    """KL(N(0, B') || N(0, B)) - KL(N(0, new) || N(0, B)) for `count` random B' near `new` with B's = new s: (count, ...).

    Changes D = P S P, P the projection along s and S random symmetric, are all that keep the secant condition;
    their norm is `size` times the smallest eigenvalue of `new`, so that B' stays a metric for size < 1.
    """
    P = np.eye(s.shape[-1]) - s[..., :, None] * s[..., None, :] / _dot(s, s)[..., None]
    S = rng.normal(size=(count, *new.shape))
    D = P @ (S + np.swapaxes(S, -1, -2)) @ P
    D *= size * np.linalg.eigvalsh(new)[..., 0, None, None] / np.linalg.norm(D, 2, axis=(-2, -1), keepdims=True)
    return gaussian_divergence(new + D, B) - gaussian_divergence(new, B)


def powell_damping(s, y, Bs, share: float = 0.2):
    """theta y + (1 - theta) Bs with the largest theta <= 1 that keeps s'y >= share s'Bs.  Powell (1978); Nocedal & Wright (2006), procedure 18.2, with share 0.2.

    `Bs` is the metric times the step: for s = -lr H g it is -lr g, no matrix needed.
    """
    if not 0 < share < 1:
        raise HyperparameterError(f"powell_damping: share must be in (0, 1), got {share}")
    sy, sBs = _dot(s, y), _dot(s, Bs)
    short = sy < share * sBs
    theta = np.where(short, (1 - share) * sBs / np.where(short, sBs - sy, 1), 1)
    return theta * y + (1 - theta) * Bs


def two_loop(g, pairs):
    """H g from the last pairs (s, y) alone, H_0 = s'y / y'y of the newest.  Nocedal (1980); Nocedal & Wright (2006), algorithm 7.4.

    4 m n operations for m pairs, oldest first; without pairs, g itself.
    """
    alphas, curvatures = [], [_dot(s, y) for s, y in pairs]
    for (s, y), sy in zip(reversed(pairs), reversed(curvatures), strict=True):
        alphas.append(_dot(s, g) / sy)
        g = g - alphas[-1] * y
    if pairs:
        g = g * (curvatures[-1] / _dot(y := pairs[-1][1], y))
    for (s, y), sy in zip(pairs, curvatures, strict=True):
        g = g + (alphas.pop() - _dot(y, g) / sy) * s
    return g


class Minimum(NamedTuple):
    """Where a minimiser stopped: iterate (n,), value, gradient, counts, and whether the gradient test was met.

    `values` holds f after each iteration, `metric` the last inverse metric (None for limited memory).
    """

    x: np.ndarray
    f: float
    g: np.ndarray
    iterations: int
    evaluations: int
    converged: bool
    values: np.ndarray
    metric: np.ndarray | None


class Dense:
    """The full inverse metric of BFGS, H_0 = I: one symmetric rank-two update per step, O(n^2), in place.

    Only the lower triangle is stored and updated, by BLAS syr2, which is H + s w' + w s' itself.
    """

    def __init__(self):
        self._H = None

    def direction(self, g):
        return g if self._H is None else symv(1.0, self._H, g, lower=1)

    def learn(self, s, y):
        if self._H is None:
            self._H = np.eye(s.size, order="F")
        sy, Hy = s @ y, symv(1.0, self._H, y, lower=1)
        w = (1 + y @ Hy / sy) * s / (2 * sy) - Hy / sy
        self._H = syr2(1.0, s, w, a=self._H, lower=1, overwrite_a=1)

    @property
    def inverse(self):
        """The inverse metric as a full symmetric matrix; None before the first pair."""
        return None if self._H is None else np.tril(self._H) + np.tril(self._H, -1).T


class Limited:
    """The last `memory` pairs, applied by `two_loop`: O(memory n)."""

    inverse = None

    def __init__(self, memory: int = 10):
        if memory < 1:
            raise HyperparameterError(f"L-BFGS: memory must be at least 1, got {memory}")
        self.pairs = deque(maxlen=memory)

    def direction(self, g):
        return two_loop(g, self.pairs)

    def learn(self, s, y):
        self.pairs.append((s, y))


def minimise(
    value_and_grad: Callable, x0, metric=None, *, gtol: float = 1e-5, target: float = -np.inf, iterations: int = 100_000
) -> Minimum:
    """x <- x - a H g with a Wolfe step a, H learned from (s, y).  Nocedal & Wright (2006), algorithm 6.1.

    `value_and_grad(x)` returns f and its gradient (n,); `metric` is `Dense()` (BFGS) or `Limited(m)` (L-BFGS).
    Stops when max |g| <= gtol or f <= target. A step to a non-finite value is shortened; pairs with s'y <= 0
    are not learned. The search is SciPy's.
    """
    x = np.array(x0, float)
    if x.ndim != 1 or x.size == 0:
        raise ShapeError(f"x0 must be one point of shape (n,), got {x.shape}")
    metric = Dense() if metric is None else metric
    last = {}
    evaluations = 0

    def evaluate(point):
        nonlocal evaluations, last
        key = point.tobytes()
        if last.get("key") != key:
            evaluations += 1
            last = {"key": key, "pair": value_and_grad(point)}
        return last["pair"]

    f, g = evaluate(x)
    if not (np.isfinite(f) and np.isfinite(g).all()):
        raise NonFiniteError("f or its gradient is not finite at x0; start from a finite point")
    before, values = f + np.linalg.norm(g) / 2, [f]
    for _ in range(iterations):
        if np.abs(g).max() <= gtol or f <= target:
            break
        p = -metric.direction(g)
        a, *_ = line_search(lambda z: evaluate(z)[0], lambda z: evaluate(z)[1], x, p, g, f, before)
        if a is None:
            break
        s = a * p
        before = f
        f, g_new = evaluate(x + s)
        y = g_new - g
        if s @ y > 0:
            metric.learn(s, y)
        x, g = x + s, g_new
        values.append(f)
    done = bool(np.abs(g).max() <= gtol or f <= target)
    return Minimum(x, float(f), g, len(values) - 1, evaluations, done, np.array(values), metric.inverse)
