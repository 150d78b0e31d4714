"""Fisher information: three ways to it, one matrix that is not, and what small batches make of it."""

from itertools import combinations

import numpy as np
import pytest

from companion.experiments import regression as fisher
from companion.experiments.regression import Linear, Logistic, batch_second_moment, outer_mean
from companion.experiments.riemannian_metric.natural_gradient import regression
from mutants import mutant
from stepsize.errors import NonFiniteError


@pytest.fixture(scope="module")
def model():
    return regression("unequal units", range(5), n=300, d=5)


def point(model, seed=0):
    return 0.5 * np.random.default_rng(seed).standard_normal(model.X[..., 0, :].shape)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def test_the_formula_is_the_expectation_over_both_labels(model):
    x = point(model)
    assert relative(model.fisher(x), model.enumerated(x)) < 1e-14


def complex_step(f, x, h=1e-30):
    """Jacobian of an analytic f at x, to rounding: derivative = Im f(x + ih) / h."""
    return np.stack([f(x + 1j * h * e).imag / h for e in np.eye(x.shape[-1])], -1)


def test_the_fisher_information_of_a_canonical_link_is_the_hessian(model):
    x = point(model)
    hessian = complex_step(model.grad, x)
    assert relative(model.fisher(x), hessian) < 1e-13


def test_the_gradient_is_the_derivative_of_the_loss_and_the_mean_of_the_scores(model):
    x, h = point(model), 1e-6
    slope = np.stack([(model.loss(x + h * e) - model.loss(x - h * e)) / (2 * h) for e in np.eye(5)], -1)
    assert relative(model.grad(x), slope) < 1e-8
    assert relative(model.grad(x), model.scores(x).mean(-2)) < 1e-13


@pytest.mark.parametrize(
    ("old", "new"),
    [("4", "3"), ("np.clip(apply(self.X, x) / 2, -300, 300)", "np.clip(apply(self.X, x) / 3, -300, 300)")],
)
def test_a_wrong_variance_is_noticed(old, new, model):
    broken = mutant(Logistic, old, new)(model.X, model.y)
    x = point(model)
    assert relative(broken.fisher(x), broken.enumerated(x)) > 0.05
    assert relative(broken.fisher(x), complex_step(broken.grad, x)) > 0.05


def test_at_the_start_of_a_logistic_regression_the_empirical_matrix_is_the_fisher_information(model):
    # at x = 0 every residual is +-1/2: the coincidence that makes zero a bad place to compare the two
    x = np.zeros((5, 5))
    assert relative(model.empirical(x), model.fisher(x)) < 1e-15
    assert relative(model.empirical(x + 0.5), model.fisher(x + 0.5)) > 0.01


def test_a_model_of_unit_variance_sees_the_sample_variance_as_information():
    y = np.random.default_rng(0).normal(3.0, 8.5**0.5, 2000)
    model = Linear(np.ones((2000, 1)), y)
    x = model.minimiser()
    assert model.fisher(x)[0, 0] == 1
    assert model.empirical(x)[0, 0] == pytest.approx(y.var(), rel=1e-13)


def test_the_empirical_step_shrinks_as_the_distance_grows_and_the_natural_one_arrives():
    rng = np.random.default_rng(0)
    X, best, u = rng.standard_normal((100, 4)), rng.standard_normal(4), rng.standard_normal(4)
    model = Linear(X, X @ best)

    def step(metric, distance):
        x = best + distance * u
        return np.linalg.solve(metric(x), model.grad(x))

    assert relative(step(model.empirical, 10.0), step(model.empirical, 1.0) / 10) < 1e-12
    assert relative(step(model.fisher, 10.0), 10 * u) < 1e-12


def test_the_minimiser_has_no_gradient_and_separable_data_have_no_minimiser(model):
    assert np.abs(model.grad(model.minimiser())).max() < 1e-11
    x = np.linspace(-1, 1, 10)[:, None]
    with pytest.raises(NonFiniteError):
        Logistic(x, (x[:, 0] > 0).astype(float)).minimiser()


def test_the_second_moment_of_a_batch_is_the_mean_over_all_batches():
    scores = np.random.default_rng(0).standard_normal((7, 3))
    for batch in (1, 3, 7):
        every = np.mean([scores[list(pick)].mean(0) ** 2 for pick in combinations(range(7), batch)], 0)
        assert np.abs(batch_second_moment(scores, batch) - every).max() < 1e-15


def test_at_one_example_it_is_the_empirical_diagonal_and_at_all_of_them_the_squared_gradient(model):
    x = point(model)
    scores = model.scores(x)
    assert relative(batch_second_moment(scores, 1), np.diagonal(model.empirical(x), axis1=-2, axis2=-1)) < 1e-14
    assert relative(batch_second_moment(scores, 300), model.grad(x) ** 2) < 1e-13


@pytest.mark.parametrize(
    ("old", "new"), [("(n - batch)", "(n - 1)"), ("(scores**2).mean(-2) - mean**2", "(scores**2).mean(-2)")]
)
def test_a_wrong_sampling_law_is_noticed(old, new):
    scores = np.random.default_rng(0).standard_normal((7, 3)) + 1
    every = np.mean([scores[list(pick)].mean(0) ** 2 for pick in combinations(range(7), 3)], 0)
    assert np.abs(mutant(batch_second_moment, old, new)(scores, 3) - every).max() > 1e-3


def test_outer_mean_is_a_mean_of_outer_products(monkeypatch):
    s = np.random.default_rng(0).standard_normal((2, 6, 3))
    expected = np.einsum("...ni,...nj->...ij", s, s) / 6
    assert np.abs(outer_mean(s) - expected).max() < 1e-15
    assert relative(mutant(fisher.outer_mean, "scores.shape[-2]", "scores.shape[-1]")(s), expected) > 0.5
