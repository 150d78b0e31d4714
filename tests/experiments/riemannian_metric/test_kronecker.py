"""Softmax regressions, whose weights are a matrix: their Fisher information, its Kronecker factors, and who notices a change of inputs."""

import numpy as np
import pytest

from companion.experiments.riemannian_metric import kronecker
from companion.experiments.riemannian_metric.kronecker import (
    FACTORED,
    Softmax,
    angles_by_kind,
    directions,
    matrix_angles,
    polar,
    power,
    softmax_regression,
)
from mutants import mutant
from stepsize import Shampoo
from stepsize.matrix_rules import Sides

MODEL, TRUE = softmax_regression("unequal units", range(3), n=60, d=4, k=2)
W = TRUE / 2


def enumerated(W):
    """Sum over the classes of p(class) s s', by the definition."""
    p = MODEL.probabilities(W)
    p = np.concatenate([p, 1 - p.sum(-1, keepdims=True)], -1)
    classes = np.concatenate([np.eye(2), np.zeros((1, 2))])
    total = 0
    for k, label in enumerate(classes):
        s = Softmax(MODEL.X, np.broadcast_to(label, MODEL.Y.shape)).scores(W).reshape(3, 60, 8)
        total = total + np.einsum("rn,rni,rnj->rij", p[..., k], s, s)
    return total / 60


def test_the_fisher_information_is_the_mean_over_the_classes_of_the_score_products():
    np.testing.assert_allclose(MODEL.fisher(W), enumerated(W), rtol=1e-11, atol=1e-13)
    broken = mutant(Softmax, "p[..., :, None] * p[..., None, :]", "0")(MODEL.X, MODEL.Y)
    assert np.abs(broken.fisher(W) - enumerated(W)).max() > 0.1


def test_the_scores_are_the_gradient_of_the_negative_log_likelihood():
    def loss(W):
        p = MODEL.probabilities(W)
        p = np.concatenate([p, 1 - p.sum(-1, keepdims=True)], -1)
        Y = np.concatenate([MODEL.Y, 1 - MODEL.Y.sum(-1, keepdims=True)], -1)
        return -np.log((p * Y).sum(-1)).mean(-1)

    for i, a in np.ndindex(2, 4):
        h = np.zeros((2, 4))
        h[i, a] = 1e-5
        slope = (loss(W + h) - loss(W - h)) / 2e-5
        np.testing.assert_allclose(MODEL.scores(W).mean(1)[:, i, a], slope, atol=1e-7)


def test_probabilities_do_not_overflow():
    p = MODEL.probabilities(1e4 * W)
    assert np.isfinite(p).all()
    assert p.max() <= 1


def test_the_kronecker_factors_are_exact_where_all_examples_are_predicted_alike():
    u = directions(MODEL, 0 * W)
    np.testing.assert_allclose(u["K-FAC"], u["natural gradient"], rtol=1e-8, atol=1e-10)
    assert np.abs(directions(MODEL, W)["K-FAC"] / u["natural gradient"] - 1).max() > 0.01
    broken = mutant(directions, "power(A, -1)", "power(A, -0.5)")(MODEL, 0 * W)
    assert np.abs(broken["K-FAC"] - u["natural gradient"]).max() > 0.01


def test_shampoo_is_the_librarys_with_the_sums_of_single_examples():
    s = MODEL.scores(W)
    g, transposed = s.mean(1), np.swapaxes(s, -1, -2)
    sums = Sides(
        (s @ transposed).mean(1) - g @ np.swapaxes(g, -1, -2), (transposed @ s).mean(1) - np.swapaxes(g, -1, -2) @ g
    )
    _, _, direction = Shampoo(eps=1e-14).step(sums, g, W)
    np.testing.assert_allclose(directions(MODEL, W)["Shampoo"], direction, rtol=1e-8)


def test_after_one_gradient_shampoo_is_the_polar_factor_and_on_a_diagonal_the_sign():
    G = np.random.default_rng(0).standard_normal((5, 4, 4))
    _, _, direction = Shampoo(eps=1e-14).step(Shampoo().init(G), G, G)
    np.testing.assert_allclose(direction, polar(G), atol=1e-8)
    g = np.array([[2.0, 0.0], [0.0, -0.3]])
    np.testing.assert_allclose(polar(g), np.sign(g), atol=1e-14)


def test_no_step_with_singular_values_of_one_descends_faster_than_the_polar_factor():
    G, rng = W[0], np.random.default_rng(1)
    for _ in range(50):
        assert (G * polar(rng.standard_normal(G.shape))).sum() < (G * polar(G)).sum()
    assert (G * polar(G)).sum() == pytest.approx(np.linalg.svd(G, compute_uv=False).sum())


def test_a_power_of_a_matrix_is_that_of_its_eigenvalues():
    M = MODEL.fisher(W)
    np.testing.assert_allclose(power(power(M, -0.25), -4), M, rtol=1e-8)


def test_two_kronecker_factors_turn_with_the_inputs_and_a_diagonal_does_not():
    apart = [
        matrix_angles(*softmax_regression(kind, range(4), n=80, d=4))
        for kind in ("unequal units", "unequal units, rotated")
    ]
    for name in ("K-FAC", "Shampoo", "Shampoo, twice the power", "polar factor, as Muon", "SGD"):
        np.testing.assert_allclose(apart[0][name], apart[1][name], atol=1e-4)
    for name in ("Adam, g / √v", "diagonal Fisher", "sign"):
        assert np.abs(apart[0][name] - apart[1][name]).max() > 1


def test_only_the_factors_without_a_root_survive_a_change_of_units():
    # K-FAC's two factors obey the law of a metric for every change of the inputs; a root of them does not
    plain, other = (
        directions(*softmax_regression(kind, range(4), n=80, d=4)) for kind in ("unit scales", "unequal units")
    )
    units = np.logspace(-1, 1, 4)
    for name in ("natural gradient", "K-FAC", "diagonal Fisher"):
        np.testing.assert_allclose(other[name] * units, plain[name], rtol=1e-8)
    for name in ("Shampoo", "Shampoo, twice the power", "Adam, g / √v"):
        assert np.abs(other[name] * units / plain[name] - 1).max() > 0.1


def test_in_other_units_the_true_weights_predict_the_same_and_the_labels_are_the_same():
    (plain, one), (other, two) = (softmax_regression(kind, [7]) for kind in ("unit scales", "unequal units, rotated"))
    assert np.array_equal(plain.Y, other.Y)
    np.testing.assert_allclose(plain.probabilities(one), other.probabilities(two), rtol=1e-10)
    wrong = mutant(kronecker.softmax_regression, "np.linalg.solve(units @ turn, W.T).T", "W")("unequal units", [7])
    assert np.abs(wrong[0].probabilities(wrong[1]) - plain.probabilities(one)).max() > 0.1


def test_directions_are_compared_at_half_of_the_true_weights():
    found = angles_by_kind(range(2))
    assert tuple(found) == FACTORED
    model, true = softmax_regression("unequal units", range(2))
    np.testing.assert_array_equal(found["unequal units"]["K-FAC"], matrix_angles(model, true / 2)["K-FAC"])
    assert np.abs(found["unequal units"]["K-FAC"] - matrix_angles(model, true)["K-FAC"]).max() > 0.1
