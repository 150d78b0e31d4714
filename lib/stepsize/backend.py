"""The few operators that NumPy, torch and SymPy spell differently, so that a rule is written once.

`namespace(a)` finds the library from the operand; nothing is imported that the caller has not imported already.
"""

import sys
from types import SimpleNamespace

import numpy as np


def _is_symbol(a):
    return hasattr(a, "free_symbols")


def _sympy():
    import sympy

    return SimpleNamespace(
        sqrt=sympy.sqrt, sign=sympy.sign, maximum=sympy.Max, minimum=sympy.Min, zeros_like=lambda a: 0 * a
    )


def namespace(a):
    """The module whose functions act on `a`: torch for tensors, SymPy for expressions, NumPy for the rest."""
    if _is_symbol(a):
        return _sympy()
    torch = sys.modules.get("torch")
    return np if torch is None or not isinstance(a, torch.Tensor) else torch


def sqrt(a):
    return namespace(a).sqrt(a)


def sign(a):
    """-1, 0 or 1."""
    return namespace(a).sign(a)


def maximum(a, b):
    """The larger of two operands of the same library; `a` decides which."""
    return namespace(a).maximum(a, b)


def minimum(a, b):
    """The smaller of two operands of the same library; `a` decides which."""
    return namespace(a).minimum(a, b)


def zeros_like(a):
    return namespace(a).zeros_like(a)


def constant(value, a):
    """`value` in every coordinate of `a`; stays finite where `a` is not."""
    return zeros_like(a) + value


def positive(a):
    """`a`, and where it is 0 the smallest normal number instead: the divisor of a 0 / 0 that should be 0. Symbols pass."""
    return a if _is_symbol(a) else namespace(a).clip(a, namespace(a).finfo(a.dtype).tiny, None)


#: What `floored` puts in the place of 0: far below any rate, and in float32 far above the smallest number.
FLOOR = 1e-30


def floored(a):
    """max(a, 1e-30): a rate that may divide. Code keeps the floor, printed formulas leave it out."""
    return maximum(a, constant(FLOOR, a))


def norm(a):
    """Euclidean norm over the last axis, which is kept: shape (..., d) -> (..., 1). Of a symbol: unevaluated."""
    if _is_symbol(a):
        return sys.modules["sympy"].Function("norm", nonnegative=True)(a)
    return (a * a).sum(-1)[..., None] ** 0.5


def norm1(a):
    """Sum of absolute values over the last axis, which is kept. Of a symbol: unevaluated."""
    if _is_symbol(a):
        return sys.modules["sympy"].Function("norm1", nonnegative=True)(a)
    return abs(a).sum(-1)[..., None]


def inner(a, b):
    """Sum of a b over the last axis, which is kept: shape (..., d) -> (..., 1). Of symbols: unevaluated."""
    if _is_symbol(a):
        return sys.modules["sympy"].Function("inner", real=True)(a, b)
    return (a * b).sum(-1)[..., None]


def rms(a):
    """Root mean square over the last axis, which is kept: |a| / sqrt(d). Of a symbol: unevaluated."""
    if _is_symbol(a):
        return sys.modules["sympy"].Function("rms", nonnegative=True)(a)
    return norm(a) / a.shape[-1] ** 0.5


def first(a):
    """The first coordinate, with its axis: shape (..., d) -> (..., 1). A symbol stands for any coordinate: itself."""
    return a if _is_symbol(a) else a[..., :1]
