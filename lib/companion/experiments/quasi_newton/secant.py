"""Metrics learned from secants: BFGS and its inverse, damping, the limited-memory product, and two minimisers.

A pair (s, y) is a step and the change of gradient along it. Matrices have shape (..., n, n), vectors (..., n);
leading axes are independent runs.
"""

import math
import warnings
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import dsymv as symv
from scipy.linalg.blas import dsyr2 as syr2
from scipy.optimize import line_search

from companion.experiments.inputs import number, numbers, whole
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError, short
from stepsize.metric import apply


def _dot(a, b):
    return np.vecdot(a, b)[..., None]


def _pair(M, s, y):
    M, s, y = (numbers(a, name, "skip this update") for a, name in ((M, "the metric"), (s, "s"), (y, "y")))
    _fit(s, y, M)
    return M, s, y


def _fit(s, y, *metrics):
    shapes = [a.shape for a in (*metrics, s, y)]
    n = s.shape[-1:]
    if not n or n == (0,) or y.shape[-1:] != n or any(m.shape[-2:] != (*n, *n) for m in metrics):
        raise ShapeError(
            f"shapes {', '.join(map(str, shapes))} do not fit; give (n, n) for a metric and (n,) for s and y"
        )


def _nonzero(curvature, what):
    if not (np.isfinite(curvature) & (curvature != 0)).all():
        raise HyperparameterError(f"{what} is 0 or overflows: the secant update is undefined; skip the pair or damp it")


def _rank_two(M, a, b):
    """M + a b' + b a': the only matrix operation of an update, O(n^2); as one product (n, 2) (2, n), it makes no temporaries of size n^2."""
    change = np.stack([a, b], -1) @ np.stack([b, a], -2)
    change += M
    return change


def bfgs_inverse(H, s, y):
    """H + s w' + w s',  w = (1 + y'Hy / s'y) s / (2 s'y) - Hy / s'y.  Nocedal & Wright (2006), equation 6.17, as one rank-two term.

    The inverse metric after the pair (s, y): H y = s exactly. Positive definite if H is and s'y > 0;
    nothing here enforces that, see `powell_damping`. Raises where s'y = 0, for there the update is undefined.
    """
    H, s, y = _pair(H, s, y)
    sy, Hy = _dot(s, y), apply(H, y)
    _nonzero(sy, "s'y")
    return _rank_two(H, s, (1 + _dot(y, Hy) / sy) * s / (2 * sy) - Hy / sy)


def dfp_inverse(H, s, y):
    """H + s s' / s'y - Hy y'H / y'Hy.  Davidon (1959), Fletcher & Powell (1963).

    BFGS with the roles of (s, y) and of the metric and its inverse exchanged.
    """
    H, s, y = _pair(H, s, y)
    Hy = apply(H, y)
    _nonzero(_dot(s, y), "s'y")
    _nonzero(_dot(y, Hy), "the length of y in the metric, y'Hy,")
    return _rank_two(_rank_two(H, s, s / (2 * _dot(s, y))), Hy, -Hy / (2 * _dot(y, Hy)))


def bfgs_metric(B, s, y):
    """B + y y' / s'y - Bs s'B / s'Bs: the metric itself, whose inverse `bfgs_inverse` keeps.  Nocedal & Wright (2006), equation 6.19."""
    B, s, y = _pair(B, s, y)
    return dfp_inverse(B, y, s)


def gaussian_divergence(P, Q):
    """KL(N(0, P) || N(0, Q)) = (tr(Q^-1 P) - n - log det P / det Q) / 2.  Fletcher (1991) minimises twice this.

    P and Q symmetric positive definite, (..., n, n); returns (...).
    """
    P, Q = (numbers(M, name, "give symmetric positive definite matrices") for M, name in ((P, "P"), (Q, "Q")))
    for M, name in ((P, "P"), (Q, "Q")):
        if M.ndim < 2 or M.shape[-2:] != Q.shape[-2:] or M.shape[-1] != M.shape[-2] or not M.size:
            raise ShapeError(f"{name} has shape {M.shape}; give P and Q as (..., n, n)")
        try:
            np.linalg.cholesky(M)
        except np.linalg.LinAlgError:
            raise HyperparameterError(f"{name} is not positive definite; a covariance must be") from None
    product = np.linalg.solve(Q, P)
    trace = np.trace(product, axis1=-2, axis2=-1)
    return (trace - P.shape[-1] - np.linalg.slogdet(P)[1] + np.linalg.slogdet(Q)[1]) / 2


def divergence_margins(new, B, s, count: int, size: float, rng):
    """KL(N(0, B') || N(0, B)) - KL(N(0, new) || N(0, B)) for `count` random B' near `new` with B's = new s: (count, ...).

    Changes D = P S P, P the projection along s and S random symmetric, are all that keep the secant condition;
    their norm is `size` times the smallest eigenvalue of `new`, so that B' stays a metric for size < 1.
    """
    new, B, s = (numbers(a, name, "give finite ones") for a, name in ((new, "new"), (B, "B"), (s, "s")))
    _fit(s, s, new, B)
    whole(count, "count", 1)
    number(size, "size", "above 0 and below 1", lambda v: 0 < v < 1)
    if s.shape[-1] < 2:
        raise ShapeError("with n = 1 the secant condition leaves one metric; give n of at least 2")
    _nonzero(_dot(s, s), "the length of s")
    P = np.eye(s.shape[-1]) - s[..., :, None] * s[..., None, :] / _dot(s, s)[..., None]
    S = rng.normal(size=(count, *new.shape))
    D = P @ (S + np.swapaxes(S, -1, -2)) @ P
    D *= size * np.linalg.eigvalsh(new)[..., 0, None, None] / np.linalg.norm(D, 2, axis=(-2, -1), keepdims=True)
    return gaussian_divergence(new + D, B) - gaussian_divergence(new, B)


def powell_damping(s, y, Bs, share: float = 0.2):
    """theta y + (1 - theta) Bs with the largest theta <= 1 that keeps s'y >= share s'Bs.  Powell (1978); Nocedal & Wright (2006), procedure 18.2, with share 0.2.

    `Bs` is the metric times the step: for s = -lr H g it is -lr g, no matrix needed.
    """
    number(share, "powell_damping: share", "in (0, 1)", lambda v: 0 < v < 1)
    s, y, Bs = (numbers(a, name, "skip this update") for a, name in ((s, "s"), (y, "y"), (Bs, "Bs")))
    _fit(s, y)
    _fit(s, Bs)
    if (_dot(s, Bs) < 0).any():
        raise HyperparameterError("s'Bs is below 0, so B is no metric; restart from the identity")
    return damp(s, y, Bs, share)


def damp(s, y, Bs, share: float = 0.2):
    """`powell_damping` unchecked, for batches in which a run that diverged stays NaN."""
    sy, sBs = _dot(s, y), _dot(s, Bs)
    short = sy < share * sBs
    theta = np.where(short, (1 - share) * sBs / np.where(short, sBs - sy, 1), 1)
    return theta * y + (1 - theta) * Bs


def two_loop(g, pairs):
    """H g from the last pairs (s, y) alone, H_0 = s'y / y'y of the newest.  Nocedal (1980); Nocedal & Wright (2006), algorithm 7.4.

    4 m n operations for m pairs, oldest first; without pairs, g itself.
    """
    g = numbers(g, "g", "give a finite gradient")
    pairs = [tuple(numbers(a, "a pair", "leave it out") for a in pair) for pair in pairs]
    for s, y in pairs:
        _fit(s, y)
        _fit(s, g)
        _nonzero(_dot(s, y), "s'y")
        _nonzero(_dot(y, y), "the length of y")
    return _two_loop(g, pairs)


def _two_loop(g, pairs):
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
    """Where a minimiser stopped: iterate (n,), value, gradient, counts, whether that point meets the tolerance, and why it stopped.

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
    reason: str


def _learnable(s, y):
    if s.ndim != 1 or s.shape != y.shape or s.dtype.kind not in "iuf" or y.dtype.kind not in "iuf":
        raise ShapeError(f"a pair {s.dtype} {s.shape}, {y.dtype} {y.shape} does not fit; give real numbers (n,), (n,)")
    if not 0 < (sy := s @ y) < np.inf:
        raise HyperparameterError(f"s'y is {sy:g}, so the pair has no positive curvature; skip it or damp it")
    return sy


class Dense:
    """The full inverse metric of BFGS, H_0 = I: one symmetric rank-two update per step, O(n^2), in place.

    Only the lower triangle is stored and updated, by BLAS syr2, which is H + s w' + w s' itself.
    """

    def __init__(self):
        self._H = None

    def direction(self, g):
        if self._H is None:
            return g
        if g.shape != self._H.shape[:1]:
            raise ShapeError(f"g has shape {g.shape} and the metric {self._H.shape}; take a new one for a new problem")
        return symv(1.0, self._H, g, lower=1)

    def learn(self, s, y):
        sy = _learnable(s, y)
        if self._H is None:
            self._H = np.eye(s.size, order="F")
        if s.shape != self._H.shape[:1]:
            raise ShapeError(f"s has shape {s.shape} and the metric {self._H.shape}; take a new one for a new problem")
        Hy = symv(1.0, self._H, y, lower=1)
        w = (1 + y @ Hy / sy) * s / (2 * sy) - Hy / sy
        self._H = syr2(1.0, s, w, a=self._H, lower=1, overwrite_a=1)

    def forget(self):
        """Back to the identity."""
        self._H = None

    @property
    def inverse(self):
        """The inverse metric as a full symmetric matrix; None before the first pair."""
        return None if self._H is None else np.tril(self._H) + np.tril(self._H, -1).T


class Limited:
    """The last `memory` pairs, applied by `two_loop`: O(memory n)."""

    inverse = None

    def __init__(self, memory: int = 10):
        self.pairs = deque(maxlen=whole(memory, "L-BFGS: memory", 1, 10**6))

    def direction(self, g):
        if self.pairs and g.shape != self.pairs[-1][0].shape:
            raise ShapeError(f"g has shape {g.shape} and the pairs {self.pairs[-1][0].shape}; take a new metric")
        return _two_loop(g, self.pairs)

    def learn(self, s, y):
        _learnable(s, y)
        self.pairs.append((s, y))

    def forget(self):
        """Back to the identity."""
        self.pairs.clear()


def weak_wolfe(value_and_grad: Callable, x, p, f, g) -> float | None:
    """A step a with f(x + a p) <= f + a g'p / 10^4 and a slope there of at least 0.9 g'p.  Lewis & Overton (2013), algorithm 2.6.

    Doubling, then bisection; a value that is NaN or infinite is a step too long. Where no step has both in a hundred
    trials the longest with the first; None where there is none that moves x.
    """
    slope, low, high, a = g @ p, 0.0, np.inf, 1.0
    for _ in range(100):
        value, gradient = value_and_grad(x + a * p)
        if not (-np.inf < value <= f + 1e-4 * a * slope and value < f):  # where the slope is lost in rounding, too
            high = a
        elif gradient @ p < 0.9 * slope:
            low = a
        else:
            return a
        a = 2 * low if high == np.inf else (low + high) / 2
        if (x + a * p == x + low * p).all():
            break
    return low if (x + low * p != x).any() else None


def _real(value, gradient, shape):
    """A value as a float and a gradient as floats of that shape, or an error that says what they are."""
    value, gradient = np.asarray(value), np.asarray(gradient)
    real = value.dtype.kind in "biuf" and gradient.dtype.kind in "biuf"
    if not real or value.size != 1 or gradient.shape != shape:
        raise ShapeError(
            f"f is {value.dtype} of shape {value.shape} and its gradient {gradient.dtype} of shape {gradient.shape} at "
            f"a point of shape {shape}; return one real number and a gradient like the point"
        )
    return float(value.item()), gradient.astype(float)


@np.errstate(all="ignore")  # a step outside the domain of f is no accident
def minimise(
    value_and_grad: Callable, x0, metric=None, *, gtol: float = 1e-5, target: float = -np.inf, iterations: int = 100_000
) -> Minimum:
    """x <- x - a H g with a Wolfe step a, H learned from (s, y).  Nocedal & Wright (2006), algorithm 6.1.

    `value_and_grad(x)` returns f and its gradient (n,); `metric` is `Dense()` (BFGS) or `Limited(m)` (L-BFGS).
    Stops when max |g| <= gtol or f <= target. A step to where f or its gradient is NaN or infinite is shortened; pairs
    with s'y <= 0 are not learned. The search is SciPy's; where it finds nothing, `weak_wolfe` along the same line, then
    along steepest descent with the metric forgotten. `reason` says which end it was.
    """
    x = np.atleast_1d(numbers(x0, "x0", "start from a finite point")).copy()
    if x.ndim != 1 or x.size == 0:
        raise ShapeError(f"x0 must be one point of shape (n,), got {x.shape}")
    number(gtol, "gtol", "at least 0", lambda v: v >= 0)
    number(target, "target", "a number", lambda v: v == v)
    whole(iterations, "iterations", 0)
    metric = Dense() if metric is None else metric
    if not hasattr(metric, "learn"):
        raise HyperparameterError(f"metric is {short(metric)}; give Dense() or Limited(10)")
    last, evaluations, unbounded = {}, 0, False

    def evaluate(point):
        nonlocal evaluations, last, unbounded
        key = point.tobytes()
        if last.get("key") != key:
            evaluations += 1
            value, gradient = value_and_grad(point)
            if not (
                isinstance(value, float) and getattr(gradient, "dtype", None) is x.dtype and gradient.shape == x.shape
            ):
                value, gradient = _real(value, gradient, x.shape)
            unbounded = unbounded or value == -np.inf
            # the square is finite where all is; where it overflows, the entries are looked at
            inside = math.isfinite(value) and (math.isfinite(gradient @ gradient) or np.isfinite(gradient).all())
            last = {"key": key, "pair": (value if inside else np.inf, gradient)}
        return last["pair"]

    def search(p):
        if not g @ p < 0:
            return None
        a, _, _, value, *_ = line_search(lambda z: evaluate(z)[0], lambda z: evaluate(z)[1], x, p, g, f, before)
        return a if a is not None and value <= f else weak_wolfe(evaluate, x, p, f, g)

    f, g = evaluate(x)
    if not np.isfinite(f):
        raise NonFiniteError("f or its gradient is not finite at x0; start from a finite point")
    before, values, stuck, lowered = f + np.linalg.norm(g) / 2, [f], False, 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The line search algorithm|Rounding errors prevent")  # `reason` says it
        for _ in range(iterations):
            if np.abs(g).max() <= gtol or f <= target:
                break
            p = -metric.direction(g)
            if (a := search(p)) is None:
                metric.forget()
                p = -g / np.abs(g).max() * max(1.0, np.abs(x).max())  # as long as x: f may have any unit
                a = weak_wolfe(evaluate, x, p, f, g)
            if stuck := a is None or len(values) > lowered + 100:
                break
            s = a * p
            before = f
            f, g_new = evaluate(x + s)
            y = g_new - g
            if 0 < s @ y < np.inf:
                metric.learn(s, y)
            x, g = x + s, g_new
            values.append(f)
            lowered = len(values) if f < before else lowered
    if np.abs(g).max() <= gtol:
        reason = "the gradient is within gtol"
    elif f <= target:
        reason = "f has reached the target"
    elif unbounded:
        reason = "f falls to -inf: it has no minimum there"
    elif stuck:
        reason = "no lower point is found: f is at its rounding, or the gradient is not that of f"
    else:
        reason = f"the {iterations} iterations are spent"
    done = bool(np.abs(g).max() <= gtol or f <= target)
    return Minimum(x, float(f), g, len(values) - 1, evaluations, done, np.array(values), metric.inverse, reason)
