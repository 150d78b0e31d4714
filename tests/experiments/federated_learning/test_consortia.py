"""Consortia of many institutions: their files, the within estimator, and predictions of people that no model has seen."""

import numpy as np
import pytest

from companion.experiments.datasets import load
from companion.experiments.federated_learning import noise
from companion.experiments.federated_learning.consortia import about_common_slopes, shrunk, squared_errors, within
from companion.experiments.federated_learning.patients import Patients, length_of_stay, mathematics
from mutants import mutant


def consortium(levels, sd, rows=60, seed=0):
    """Institutions with these levels and standard deviations of the noise, slopes 1 and -2; the first has a constant covariate."""
    rng, shape = np.random.default_rng(seed), (len(levels), rows)
    X = rng.standard_normal((*shape, 2))
    X[0, :, 1] = 0.5
    y = X @ np.array([1.0, -2.0]) + np.asarray(levels, float)[:, None]
    return Patients(X, y + np.asarray(sd, float)[:, None] * rng.standard_normal(shape), np.ones(shape, bool))


def test_the_files_are_those_of_the_books_that_use_them():
    """Hilbe (2014), 1,495 stays; Raudenbush & Bryk (2002), table 4.1: mean 12.75, standard deviation 6.88."""
    stays, students = load("medpar"), load("mathematics")
    assert (len(stays["los"]), len(np.unique(stays["hospital"])), stays["los"].min()) == (1495, 54, 1)
    assert stays["los"].mean() == pytest.approx(9.854, abs=0.001)
    assert (students["score"].mean(), students["score"].std()) == pytest.approx((12.75, 6.88), abs=0.005)
    assert (students["ses"].mean(), students["ses"].std()) == pytest.approx((0.00, 0.78), abs=0.005)


def test_consortia_have_their_institutions():
    stays, students = length_of_stay(), mathematics()
    assert (len(stays.y), stays.present.sum(-1).min(), stays.present.sum()) == (36, 15, 1403)
    assert (len(students.y), students.present.sum()) == (160, 7185)
    assert len(length_of_stay(1).y) == 54


def test_the_within_estimator_is_least_squares_with_one_indicator_per_institution():
    p = consortium([0, 5, -3], [1, 2, 0.5])
    full = np.concatenate([p.X, np.repeat(np.eye(3), 60, axis=0).reshape(3, 60, 3)], axis=-1).reshape(-1, 5)
    expected = np.linalg.lstsq(full, p.y.ravel(), rcond=None)[0]
    got = within(p.X, p.y, p.present)
    np.testing.assert_allclose(got.slopes, expected[:2], rtol=1e-10)
    left = (p.y.ravel() - full @ expected).reshape(3, 60)
    np.testing.assert_allclose(got.noise[:, 0], left.var(-1, ddof=1), rtol=1e-10)
    broken = mutant(within, "together - means", "together")
    assert np.abs(broken(p.X, p.y, p.present).slopes - expected[:2]).max() > 1e-3


def test_the_spread_of_noise_of_many_institutions_is_what_was_put_in_whatever_their_levels():
    """Sixty institutions, log variance with sd 0.6; Q profile, checked at 99.9 %."""
    rng = np.random.default_rng(1)
    p = consortium(3 * rng.standard_normal(60), np.exp(0.3 * rng.standard_normal(60)))
    i = noise.spread(*noise.log_variances(about_common_slopes(p), 100, 5), level=0.999)
    assert i.low <= 0.6 <= i.high
    assert i.estimate == pytest.approx(0.6, abs=0.2)


def test_own_levels_pay_where_levels_differ_and_inverse_variances_where_noise_does():
    levels = squared_errors(consortium(3 * np.arange(8.0), [1] * 8), 1, 0)
    assert levels["own levels"].mean() == pytest.approx(1.0, abs=0.2)
    assert levels["FedAvg"].mean() > 20
    noisy = squared_errors(consortium([0] * 8, [0.1] * 7 + [20], rows=20), 2, 0)
    assert noisy["inverse variance"][:-1].mean() < 0.1 * noisy["FedAvg"][:-1].mean()


def test_levels_are_shrunk_by_what_their_sampling_errors_leave():
    """Four levels with v = 1 / 4 each and the sample variance 5 / 3: tau^2 = 5 / 3 - 1 / 4, and the factor 0.85."""
    present = np.ones((4, 16), bool)
    levels, noise_of = np.array([[0.0], [1.0], [2.0], [3.0]]), np.full((4, 1), 4.0)
    np.testing.assert_allclose(shrunk(levels, noise_of, present)[:, 0], 1.5 + 0.85 * np.array([-1.5, -0.5, 0.5, 1.5]))
    np.testing.assert_allclose(shrunk(levels, 100 * noise_of, present), 1.5)  # no more apart than by chance
    np.testing.assert_allclose(shrunk(levels, 1e-9 * noise_of, present), levels, atol=1e-6)
    assert abs(mutant(shrunk, "tau2 / (tau2 + v)", "1.0")(levels, noise_of, present) - levels).max() < 1e-12
    few = np.arange(16) < np.array([[16], [16], [16], [2]])
    by_size = shrunk(levels, noise_of, few)[:, 0]
    assert 3 - by_size[3] > 2 * (by_size[0] - 0)  # who has few patients is drawn further


def test_shrunk_levels_cost_no_more_than_common_ones_where_levels_are_equal():
    equal, apart = (squared_errors(consortium(np.arange(12) * by, [3] * 12, rows=10), 4, 0) for by in (0.0, 2.0))
    assert equal["shrunk levels"].mean() < equal["own levels"].mean()
    assert apart["shrunk levels"].mean() < 1.05 * apart["own levels"].mean() < 0.5 * apart["FedAvg"].mean()


def test_nobody_is_predicted_by_a_model_that_has_seen_them():
    p = consortium([0, 1, 2, 3], [1] * 4)
    honest = squared_errors(p, 1, 0)
    leaky = mutant(squared_errors, "patients.present & ~test", "np.broadcast_to(patients.present, test.shape)")
    assert leaky(p, 1, 0)["own levels"].mean() < honest["own levels"].mean()
