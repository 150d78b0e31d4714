"""Noisy problems whose gradients, minimisers and noise are what they say."""

import numpy as np
import pytest

from companion.experiments.risk_aversion.problems import (
    PROBLEMS,
    noise_law,
    noise_laws,
    quadratic,
    side_by_side,
    through,
)
from mutants import mutant
from stepsize.errors import HyperparameterError


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_full_gradient_is_the_derivative_of_the_excess_and_vanishes_at_the_minimum(name):
    problem = PROBLEMS[name]([3, 4], 5)
    x = problem.best + 0.1
    numeric = np.stack([(problem.excess(x + e) - problem.excess(x - e)) / 2e-5 for e in 1e-5 * np.eye(10)], axis=-1)
    np.testing.assert_allclose(problem.full(x), numeric, atol=1e-6)
    np.testing.assert_allclose(problem.full(problem.best), 0, atol=1e-10)
    np.testing.assert_allclose(problem.excess(problem.best), 0, atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_noisy_gradients_are_unbiased(name):
    # 20 coordinates, five standard errors each
    steps = 4000
    problem = PROBLEMS[name]([3, 4], steps)
    x = problem.best + 0.3
    wrong = np.stack([problem.grad(x, t) for t in range(steps)]) - problem.full(x)
    assert (np.abs(wrong.mean(0)) < 5 * wrong.std(0) / np.sqrt(steps)).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_noise_depends_on_seed_and_step_alone(name):
    one, two = PROBLEMS[name]([7, 8], 20), PROBLEMS[name]([8], 20)
    x = np.full((1, 10), 0.2)
    np.testing.assert_allclose(one.grad(np.full((2, 10), 0.2), 11)[1], two.grad(x, 11)[0], rtol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_seeds_side_by_side_are_the_same_problem(name):
    problem = PROBLEMS[name]([3, 4], 20)
    x = np.random.default_rng(0).standard_normal((5, 3, 2, 10))
    long, flat = side_by_side(problem), x.reshape(5, 3, 20)
    np.testing.assert_allclose(long.grad(flat, 7).reshape(x.shape), problem.grad(x, 7), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(long.full(flat).reshape(x.shape), problem.full(x), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(long.excess(flat), problem.excess(x))
    np.testing.assert_array_equal(long.x0.reshape(2, 10), problem.x0)


def test_gradients_of_a_seed_s_runs_are_one_product():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((2, 4, 3)), rng.standard_normal((5, 6, 2, 3))
    expected = np.einsum("sbi,...sb->...si", A, np.tanh(np.einsum("sbi,...si->...sb", A, x)))
    np.testing.assert_allclose(through(A, x, np.tanh), expected, rtol=1e-12)
    np.testing.assert_allclose(through(A, x[0, 0], np.tanh), expected[0, 0], rtol=1e-12)
    assert through(A, x, np.tanh).flags.c_contiguous


def test_heavy_tailed_noise_has_the_same_variance():
    # t3 has no fourth moment: a tenth is what 40 000 draws of its square are known to
    problem = quadratic("constant", "t3")(range(20), 2000)
    assert np.mean([problem.grad(problem.best, t) ** 2 for t in range(2000)]) == pytest.approx(1, abs=0.1)


def test_noise_follows_curvature_with_the_power_that_theory_says():
    # quadratics by construction; regressions by the information identity: variance of the noise = Fisher / batch = curvature / batch
    expected = {
        "noise constant": 0,
        "noise proportional to curvature": 1,
        "least squares, stream": 0.5,
        "logistic regression": 0.5,
    }
    found = noise_laws(range(10))
    assert list(found) == list(PROBLEMS)
    for name, power in expected.items():
        assert found[name].mean() == pytest.approx(power, abs=0.02)
    broken = mutant(noise_law, "log_slope(problem.curvature, s)", "log_slope(s, problem.curvature)")
    assert broken(PROBLEMS["least squares, stream"], range(10)).mean() != pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: quadratic("pink"), "'pink'"),
        (lambda: quadratic("constant", "cauchy"), "'cauchy'"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(HyperparameterError) as caught:
        call()
    assert names in str(caught.value)
    assert "choose from" in str(caught.value)
