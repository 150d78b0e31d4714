"""Plays of the bilinear game follow their exact laws; Adam ends on the predicted circle."""

import numpy as np
import pytest

from companion.experiments.adversarial_training import bilinear_game
from companion.experiments.adversarial_training.bilinear_game import (
    Bilinear,
    alternate,
    alternating_invariant,
    circle_numbers,
    cycle_drift,
    cycle_radius,
    extragradient_law,
    far_contraction,
    gda_law,
    looking_ahead,
    radius,
)
from mutants import mutant
from stepsize import SGD, Adam, RMSProp, descend
from stepsize.errors import HyperparameterError, ShapeError

STARTS = np.random.default_rng(0).normal(size=(5, 2))
LR, B = np.array([[0.05], [0.1], [0.3], [0.5], [0.7]]), 1.7


def growth(path):
    return radius(path[1:]) / radius(path[:-1])


def turn(path):
    z = path[..., 0] + 1j * path[..., 1]
    return np.angle(z[1:] / z[:-1])


def test_gradient_play_at_the_same_moment_follows_its_law():
    path = descend(SGD(LR), Bilinear(B), STARTS, 40).x
    by, angle = gda_law(LR[:, 0], B)
    assert np.abs(growth(path) / by - 1).max() < 1e-12
    assert np.abs(turn(path) - angle).max() < 1e-12
    wrong, _ = mutant(gda_law, "1 + h**2", "1 + h")(LR[:, 0], B)
    assert np.abs(growth(path) / wrong - 1).max() > 1e-3


def test_play_in_turns_conserves_its_form():
    path = alternate(SGD(LR), Bilinear(B), STARTS, 2000)
    form = alternating_invariant(path, LR[:, 0], B)
    assert np.abs(form / form[0] - 1).max() < 1e-12
    wrong = mutant(alternating_invariant, "np.multiply(lr, strength)", "-np.multiply(lr, strength)")(path, LR[:, 0], B)
    assert np.abs(wrong / wrong[0] - 1).max() > 1e-3


def test_looking_ahead_contracts_by_its_law():
    path = np.stack([descend(SGD(lr), looking_ahead(Bilinear(B), lr), STARTS, 40).x for lr in LR[:, 0]], 1)
    law = extragradient_law(LR[:, 0], B)
    assert np.abs(growth(path) / law[:, None] - 1).max() < 1e-12
    wrong = mutant(extragradient_law, "h**4", "h**3")(LR[:, 0], B)
    assert np.abs(growth(path) / wrong[:, None] - 1).max() > 1e-3


def test_play_in_turns_answers_the_new_move():
    one = alternate(SGD(0.1), Bilinear(2.0), [1.0, 1.0], 1)[1]
    assert np.allclose(one, [0.8, 1.16], atol=1e-15)


def test_a_game_of_many_pairs_is_its_pairs_side_by_side():
    strengths = np.array([0.5, 1.0, 2.0])
    z0 = np.random.default_rng(1).normal(size=6)
    whole = descend(Adam(0.1), Bilinear(np.diag(strengths)), z0, 50).x
    for i, b in enumerate(strengths):
        alone = descend(Adam(0.1), Bilinear(b), z0[[i, 3 + i]], 50).x
        assert np.abs(whole[:, [i, 3 + i]] - alone).max() < 1e-13


def ends(rules, predicted, steps, start=(0.3, 2.0), in_turns=False):
    z0 = predicted[..., None, None] * np.array(start)[:, None] * np.array([0.8, 0.6])
    if in_turns:
        path = alternate(rules, Bilinear(3.0), z0, steps, every=7)
    else:
        path = descend(rules, Bilinear(3.0), z0, steps, every=7).x
    return radius(path)[-len(path) // 5 :].mean(0) / predicted[..., None]


def test_adam_ends_on_the_predicted_circle_from_inside_and_outside():
    beta1 = np.array([0.0, 0.9])
    off = ends(Adam(0.2, beta1[:, None, None], 0.999, 0.0), cycle_radius(0.2, beta1, 0.999), 40_000) - 1
    assert np.abs(off[0]).max() < 1e-3
    assert np.abs(off[1]).max() < 5e-3
    wrong = mutant(cycle_radius, "8 * (1 + beta1)", "9 * (1 + beta1)")(0.2, beta1, 0.999)
    assert np.abs((1 + off) * cycle_radius(0.2, beta1, 0.999)[:, None] / wrong[:, None] - 1).min() > 0.05


def test_rmsprop_ends_on_the_circle_of_adam_without_momentum():
    predicted = cycle_radius(0.2, np.zeros(1), 0.99)
    assert np.abs(ends(RMSProp(0.2, 0.99, 0.0), predicted, 5000) - 1).max() < 5e-3


def test_in_turns_the_circle_is_smaller():
    beta1 = np.array([0.5, 0.9])
    predicted = cycle_radius(1.0, beta1, 0.999, in_turns=True)
    off = ends(Adam(1.0, beta1[:, None, None], 0.999, 0.0), predicted, 40_000, in_turns=True) - 1
    assert np.abs(off).max() < 5e-3
    wrong = mutant(cycle_radius, "16 * beta1", "8 * (1 + beta1)")(1.0, beta1, 0.999, True)
    assert (predicted / wrong < 0.99).all()


def test_in_turns_without_momentum_it_shrinks_to_one_learning_rate():
    path = alternate(Adam(1.0, 0.0, 0.99, 0.0), Bilinear(), [8.0, 6.0], 6000)
    assert radius(path)[-2000:].mean() == pytest.approx(0.97, abs=0.03)


def test_the_drift_vanishes_on_the_circle_alone():
    R = cycle_radius(0.3, 0.9, 0.999)
    assert abs(cycle_drift(R, 0.3, 0.9, 0.999)) < 1e-15
    assert cycle_drift(0.99 * R, 0.3, 0.9, 0.999) > 0 > cycle_drift(1.01 * R, 0.3, 0.9, 0.999)


def test_far_outside_the_radius_shrinks_by_a_tenth_of_the_forgetting():
    r = radius(alternate(Adam(1.0, 0.0, 0.999, 0.0), Bilinear(), [80.0, 60.0], 9000))
    rate = np.log(r[3000] / r[9000]) / 6000
    assert rate == pytest.approx(far_contraction(0.999), rel=0.03)
    assert rate < 0.9 * 0.001 / 8  # what one gets who forgets that v lags


def test_a_hundred_plays_at_once_are_the_plays_apart():
    rates = np.geomspace(0.01, 1.0, 100)[:, None]
    z0 = np.random.default_rng(2).normal(size=(100, 2))
    together = descend(Adam(rates), Bilinear(), z0, 60).x
    apart = np.stack([descend(Adam(rates[k]), Bilinear(), z0[k], 60).x for k in range(100)], 1)
    assert np.array_equal(together, apart)


def test_bad_games_are_refused():
    with pytest.raises(ShapeError, match="square matrix"):
        Bilinear(np.ones((2, 3)))(np.ones(4))
    with pytest.raises(ShapeError, match="4 coordinates"):
        Bilinear(np.eye(2))(np.ones(3))
    with pytest.raises(HyperparameterError, match="beta1 < 1"):
        bilinear_game.cycle_radius(1.0, 1.0, 0.9)


def test_the_prose_is_told_the_worse_start_at_the_longest_memory():
    beta1s, beta2s = [0.0, 0.5, 0.9], [0.9, 0.999]
    R = cycle_radius(1.0, np.array(beta1s), np.array(beta2s)[:, None])
    assert R[1, 2] == pytest.approx(np.sqrt(8 * 1.9 / (0.1 * 0.001)))
    off = np.array([[[0.5, 0.5]] * 3, [[0.01, -0.02], [0.3, 0.3], [0.04, 0.03]]])
    found = {key: value for key, (value, _) in circle_numbers(beta1s, beta2s, R[..., None] * (1 + off)).items()}
    assert found == pytest.approx({"default-radius": 1e-3 * R[1, 2], "beta2": 0.999, "off-0": 0.02, "off-9": 0.04})
