"""Products and tanh for compiled loops are NumPy's, to rounding."""

import numpy as np
import pytest

from companion.experiments import compiled as small_products
from companion.experiments.compiled import add_product, tanh
from mutants import mutant

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (16, 16, 16), (5, 7, 2), (9, 2, 16)])
def test_a_product_is_added_whatever_the_sizes(shape):
    n, m, k = shape
    a, M, out = RNG.normal(size=(n, m)), RNG.normal(size=(m, k)), RNG.normal(size=(n, k))
    expected = out + a @ M
    for form in (a, np.asfortranarray(a)):
        found = out.copy()
        add_product(form, M, found)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    broken, found = mutant(small_products._add_product, "range(whole, m)", "range(whole, m - 1)"), out.copy()
    broken(a, M, found)
    assert m % 4 == 0 or np.abs(found - expected).max() > 1e-6


def test_tanh_is_numpys_to_a_few_units_of_rounding():
    z = np.concatenate([RNG.uniform(-25, 25, 2000), 10.0 ** RNG.uniform(-12, 0, 2000)])[None]
    found = z.copy()
    tanh(found)
    np.testing.assert_allclose(found, np.tanh(z), rtol=2e-15)


def test_tanh_keeps_what_is_no_number_and_ends_at_one():
    z = np.array([[np.nan, np.inf, -np.inf, 0.0, 1e-300, 400.0]])
    tanh(z)
    np.testing.assert_array_equal(z, [[np.nan, 1.0, -1.0, 0.0, 1e-300, 1.0]])


def test_the_series_is_that_of_the_exponential():
    constants = [getattr(small_products, f"_C{n}") for n in range(1, 11)]
    np.testing.assert_allclose(constants, 1 / np.cumprod(np.arange(1.0, 11)), rtol=1e-15)
