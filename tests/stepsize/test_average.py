"""An average that knows how much it has seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from stepsize import Average

betas = st.lists(st.floats(0, 0.999), min_size=1, max_size=30)


def pushed(values, betas, cls=Average):
    average = cls.empty(np.zeros(1))
    for value, beta in zip(values, betas, strict=True):
        average = average.push(np.array([value]), beta)
    return average


def weighted_mean(values, betas):
    """sum w_k value_k / sum w_k with w_k = (1 - beta_k) product of the later betas."""
    later = np.append(np.cumprod(betas[::-1])[::-1][1:], 1.0)
    weights = (1 - np.array(betas)) * later
    return weights @ values / weights.sum()


@given(betas, st.integers(0, 99))
def test_the_mean_is_the_exact_weighted_mean_whatever_beta_does(betas, seed):
    values = np.random.default_rng(seed).standard_normal(len(betas))
    assert pushed(values, betas).mean[0] == pytest.approx(weighted_mean(values, betas), abs=1e-12)


@given(st.floats(0, 0.9999), st.integers(1, 500))
def test_the_weight_is_one_minus_beta_to_the_t(beta, t):
    assert pushed(np.ones(t), [beta] * t).weight[0] == pytest.approx(1 - beta**t, abs=1e-12)


@given(betas, st.floats(-1e6, 1e6))
def test_the_mean_of_a_constant_is_the_constant_from_the_first_value_on(betas, value):
    assert pushed([value] * len(betas), betas).mean[0] == pytest.approx(value, rel=1e-12, abs=1e-300)


def test_a_run_that_starts_late_has_its_own_correction():
    early, late = Average.empty(np.zeros((1, 2))), Average.empty(np.zeros((1, 2)))
    for t in range(50):
        early = early.push(np.full((1, 2), float(t)), 0.9)
    for t in range(3):
        late = late.push(np.full((1, 2), float(t)), 0.9)
    both = Average(np.concatenate([early.total, late.total]), np.concatenate([early.weight, late.weight]))
    both = both.push(np.ones((2, 2)), 0.9)
    np.testing.assert_array_equal(both.mean, np.concatenate([a.push(np.ones((1, 2)), 0.9).mean for a in (early, late)]))
    assert both.weight[:, 0].tolist() == pytest.approx([1 - 0.9**51, 1 - 0.9**4])


def test_the_mean_lies_between_the_least_and_the_largest_value():
    rng = np.random.default_rng(3)
    values = rng.uniform(-1, 1, 40)
    for t in range(1, 41):
        assert values[:t].min() - 1e-12 <= pushed(values[:t], rng.uniform(0, 1, t)).mean[0] <= values[:t].max() + 1e-12


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(1 - beta) * value", "value"),
        ("beta * self.weight + (1 - beta)", "self.weight + (1 - beta)"),
        ("self.total / self.weight", "self.total"),
        ("beta * self.total", "self.total"),
    ],
)
def test_a_broken_average_is_not_the_weighted_mean(old, new):
    values, betas = np.array([1.0, -2.0, 0.5]), [0.5, 0.9, 0.2]
    broken = pushed(values, betas, mutant(Average, old, new))
    # what `push` returns is found by name, so it is the sound class unless `mean` is asked of the broken one
    mean = mutant(Average, old, new)(*broken).mean[0]
    assert abs(mean - weighted_mean(values, betas)) > 1e-3
