"""One spelling for NumPy, torch and SymPy."""

import math
import sys

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from stepsize import backend
from stepsize.backend import constant, first, maximum, minimum, norm, positive, rms, sign, sqrt, zeros_like

numbers = st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=6)


@given(numbers, numbers)
def test_arrays_and_tensors_agree(a, b):
    """Bit for bit, but for torch's square root, which is off by up to one unit in the last place."""
    n = min(len(a), len(b))
    a, b = np.array(a[:n]), np.array(b[:n])
    s, t = torch.tensor(a), torch.tensor(b)
    for ours, theirs in [
        (sign(a), sign(s)),
        (maximum(a, b), maximum(s, t)),
        (minimum(a, b), minimum(s, t)),
        (zeros_like(a), zeros_like(s)),
        (constant(2.5, a), constant(2.5, s)),
        (positive(a), positive(s)),
    ]:
        np.testing.assert_array_equal(ours, theirs.numpy())
    np.testing.assert_array_max_ulp(sqrt(abs(a)), sqrt(abs(s)).numpy(), 1)


@pytest.mark.parametrize(("a", "b"), [(-2.0, 3.0), (0.0, -1.0), (4.0, 4.0)])
def test_symbols_mean_the_same_numbers(a, b):
    p, q = sympy.Float(a), sympy.Float(b)
    assert float(sqrt(abs(p))) == math.sqrt(abs(a))
    assert (float(sign(p)), float(maximum(p, q)), float(minimum(p, q))) == (np.sign(a), max(a, b), min(a, b))
    assert (zeros_like(sympy.Symbol("x")), constant(2, sympy.Symbol("x"))) == (0, 2)


def test_a_constant_stays_finite_where_its_model_is_not():
    assert constant(3.0, np.array([np.inf, np.nan, 1.0])).tolist() == [3, 3, 3]


def test_a_constant_of_shape_runs_by_1_makes_every_run_its_own():
    assert constant(np.array([[1.0], [2.0]]), np.zeros(3)).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_float32_stays_float32_under_python_numbers():
    a = np.ones(3, np.float32)
    assert all(f.dtype == np.float32 for f in (constant(0.1, a), positive(a), sqrt(a), norm(a)))


def test_the_norm_is_euclidean_over_the_last_axis():
    a = np.random.default_rng(0).standard_normal((4, 3, 5))
    np.testing.assert_allclose(norm(a)[..., 0], np.linalg.norm(a, axis=-1), rtol=1e-15)
    np.testing.assert_allclose(norm(torch.tensor(a)), norm(a), rtol=1e-15)
    assert norm(a).shape == (4, 3, 1)


def test_the_root_mean_square_of_equal_coordinates_is_their_size():
    assert rms(np.full((2, 5), -3.0)).tolist() == [[3.0], [3.0]]
    assert first(np.arange(6.0).reshape(2, 3)).tolist() == [[0.0], [3.0]]


def test_norms_of_a_symbol_are_left_unevaluated():
    g = sympy.Symbol("g")
    for operator in (norm, rms):
        assert operator(g).args == (g,)
        assert str(operator(g).func) == operator.__name__
    assert first(g) is g


def test_zero_divided_by_a_positive_zero_is_zero_and_all_else_is_unchanged():
    a = np.array([0.0, 1e-300, 2.0])
    assert (np.zeros(3) / positive(a)).tolist() == [0, 0, 0]
    assert positive(a)[1:].tolist() == a[1:].tolist()
    unguarded = mutant(positive, "namespace(a).finfo(a.dtype).tiny", "namespace(a).finfo(a.dtype).min")
    with np.errstate(invalid="ignore"):
        assert np.isnan((np.zeros(3) / unguarded(a))[0])


def test_no_operator_imports_what_its_caller_has_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert backend.namespace(np.zeros(1)) is np
