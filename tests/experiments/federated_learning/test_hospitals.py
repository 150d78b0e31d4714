"""Real hospitals: every patient predicted by models trained on others; fairness without the noise floor."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from companion.experiments.datasets import load
from companion.experiments.federated_learning import hospitals, noise
from companion.experiments.federated_learning.fairness import by_patient, gini, macro, spread, worst
from companion.experiments.federated_learning.patients import Patients, disease, prepare, split
from mutants import mutant
from stepsize.errors import EvidenceError


def test_the_four_hospitals_have_their_patients_and_switzerland_no_cholesterol():
    d = load("heart_disease")
    np.testing.assert_array_equal(np.bincount(d["hospital"]), [303, 294, 123, 200])
    assert np.isnan(d["chol"][d["hospital"] == 2]).all()
    assert (d["disease"][d["hospital"] == 2]).mean() == pytest.approx(115 / 123)
    first = np.flatnonzero(d["hospital"] == 1)[0]  # the row that was moved: 28 years old, blood pressure 130
    assert (d["age"][first], d["trestbps"][first], d["chol"][first]) == (28, 130, 132)


def test_every_patient_is_tested_once_per_repeat_and_never_trained_on():
    patients = disease()
    test = split(patients, 2, 0)
    np.testing.assert_array_equal(test[:5].sum(0), patients.present)
    np.testing.assert_array_equal(test[5:].sum(0), patients.present)
    assert not np.array_equal(test[0], test[5])


def test_covariates_are_filled_and_scaled_by_training_patients_alone():
    patients = disease()
    test = split(patients, 1, 0)
    X = prepare(patients, test)
    corrupted = patients._replace(X=np.where(test[0][..., None], 1e6, patients.X))
    train = patients.present & ~test[0]
    np.testing.assert_allclose(prepare(corrupted, test)[0][train], X[0][train])
    np.testing.assert_allclose(X[0][train].mean(0)[1:], 0, atol=1e-12)
    np.testing.assert_allclose(X[0][train].std(0)[1:], 1, rtol=1e-12)


def test_labels_are_corrupted_in_one_hospital_only():
    patients = disease()
    y = hospitals.flip(patients, 1, 0.4, 50, 0)
    wrong = (y != patients.y).mean(0)
    assert wrong[1, :294].mean() == pytest.approx(0.4, abs=0.02)
    assert (wrong[[0, 2, 3]] == 0).all()


def test_own_intercepts_are_fitted_to_each_hospital_s_share_of_the_ill():
    found = hospitals.predict_disease(1, 400, 0)
    swiss = found.losses[2][:, [found.methods.index(m) for m in ("FedAvg", "own intercept")]].mean(0)
    assert swiss[1] < swiss[0] - 0.05
    assert sum(map(len, found.losses)) == 920
    assert found.residual < 1e-5


def hospitals_with(sd, rows=400, seed=0):
    """Linear hospitals whose noise has the standard deviations `sd`."""
    rng, sd = np.random.default_rng(seed), np.asarray(sd, float)
    X = rng.standard_normal((len(sd), rows, 2))
    y = X.sum(-1) + sd[:, None] * rng.standard_normal((len(sd), rows))
    return Patients(X, y, np.ones((len(sd), rows), bool))


def test_the_ratio_of_the_noisiest_to_the_quietest_is_what_was_put_in():
    i = noise.ratio_of_extremes(hospitals_with([1, 1, 1, 2], 2000), resamples=100, seed=1)
    assert i.low < 4 < i.high
    assert i.estimate == pytest.approx(4, rel=0.15)
    same = noise.ratio_of_extremes(hospitals_with([1, 1, 1, 1]), resamples=200, seed=1)
    assert same.low < 1 < same.high  # the pair is chosen on other patients than those that measure it
    in_sample = noise.clients(hospitals_with([1, 1, 1, 1], 100)).fit().noise
    assert in_sample.max() / in_sample.min() > 1.1


def test_the_ratio_of_extremes_does_not_depend_on_how_patients_are_written():
    """Sufficient statistics against least squares on the rows themselves."""
    p = hospitals_with([1, 2, 3])
    one = noise.ratio_of_extremes(p, resamples=20, splits=3, seed=2)
    padded = Patients(
        np.concatenate([p.X, np.full((3, 5, 2), np.nan)], 1),
        np.concatenate([p.y, np.zeros((3, 5))], 1),
        np.concatenate([p.present, np.zeros((3, 5), bool)], 1),
    )
    assert noise.ratio_of_extremes(padded, splits=200, resamples=20, seed=2).estimate == pytest.approx(
        noise.ratio_of_extremes(p, splits=200, resamples=20, seed=2).estimate, rel=0.02
    )
    assert one.estimate > 4


def test_the_between_hospital_spread_is_what_was_put_in_and_none_where_noise_is_shared():
    """Forty hospitals, log variance with sd 0.6 or 0; Q profile at 95 %, checked at 99.9 %."""
    rng = np.random.default_rng(3)
    for tau in (0.0, 0.6):
        p = hospitals_with(np.exp(tau * rng.standard_normal(40) / 2), 60, seed=4)
        i = noise.spread(*noise.log_variances(p, 100, 5), level=0.999)
        assert i.low <= tau <= i.high
        assert abs(i.estimate - tau) < 0.2


def test_bystanders_are_the_sound_hospitals_under_the_rules_that_are_named():
    """The corrupted hospital loses 100 by either rule, the others 1 under FedAvg and 3 under equal weights."""
    methods = ("FedAvg", "without it", "equal weights", "equal weights without it")
    settings: dict = {"as recorded": None}
    for turn in range(4):
        lost = [np.tile([1.0, 0.0, 3.5, 0.5], (6, 1)) if k != turn else np.full((6, 4), 100.0) for k in range(4)]
        settings[f"{turn}"] = hospitals.Predicted(lost, {}, methods, 0.0)
    made = hospitals.Study([], [], methods, settings)
    assert hospitals.bystanders(made).estimate == pytest.approx(1)
    assert hospitals.bystanders(made, "equal weights", "equal weights without it").estimate == pytest.approx(3)


def test_the_true_extremes_are_those_that_were_put_in_and_not_those_of_the_samples():
    """300 draws of 60 hospitals with the spread 0.3 of log sigma^2 and the sampling variances of 20 and 90 degrees of freedom."""
    rng, v = np.random.default_rng(5), np.repeat([2 / 20, 2 / 90], 30)
    truth = 0.3 * rng.standard_normal((300, 60))
    seen = truth + np.sqrt(v) * rng.standard_normal(truth.shape)
    real = np.exp(np.ptp(truth, axis=-1))
    found = [noise.true_extremes(y, v, draws=1000, seed=k) for k, y in enumerate(seen)]
    covered = np.mean([i.low <= r <= i.high for i, r in zip(found, real, strict=True)])
    assert 0.90 <= covered <= 0.99
    assert np.mean([np.log(i.estimate) for i in found]) == pytest.approx(np.log(real).mean(), abs=0.05)
    assert np.ptp(seen, axis=-1).mean() > 1.2 * np.log(real).mean()  # the luckiest samples lie further apart
    drawn = "rng.standard_normal((drawn, len(y))) / np.sqrt(precision)"
    certain = mutant(noise.true_extremes, drawn, "0 * precision")  # posterior means lie too close together
    assert np.mean([np.log(certain(y, v, draws=1000).estimate) for y in seen[:50]]) < 0.9 * np.log(real).mean()
    free = mutant(noise.true_extremes, "(y / v + mu[:, None] * prior) / precision", "y")
    assert np.mean([np.log(free(y, v, draws=1000).estimate) for y in seen[:50]]) > 1.2 * np.log(real).mean()


def test_without_sampling_errors_the_true_extremes_are_those_of_the_sample():
    y = np.array([0.0, 0.1, -0.3, 0.9])
    i = noise.true_extremes(y, np.full(4, 1e-8))
    np.testing.assert_allclose([i.low, i.estimate, i.high], np.exp(1.2), rtol=1e-3)


def test_hospitals_without_a_spread_have_one_noise():
    rng = np.random.default_rng(6)
    y = 0.1 * rng.standard_normal(200)
    assert noise.true_extremes(y, np.full(200, 0.01), level=0.999).low < 1.3 < np.exp(np.ptp(y))


def test_sampling_variances_of_log_variances_follow_the_tails():
    """Normal noise: trigamma(df / 2), near 2 / df; heavy tails: more."""
    p = hospitals_with([1, 1, 1], 100)
    centred, variance = noise.log_variances(p, 1000, 0)
    np.testing.assert_allclose(variance, 2 / 97, rtol=0.3)
    heavy = np.random.default_rng(1).standard_t(4, p.y.shape)
    assert (noise.log_variances(p._replace(y=p.X.sum(-1) + heavy), 1000, 0)[1] > 1.3 * 2 / 97).all()
    assert abs(centred - np.log(noise.clients(p).fit().noise[:, 0])).max() < 0.05


def test_the_q_profile_is_that_of_the_published_example():
    """Nine trials of diuretics in pregnancy; Viechtbauer (2007), section 5, from log odds ratios rounded to two digits."""
    y = [0.04, -0.92, -1.12, -1.47, -1.39, -0.30, -0.26, 1.09, 0.14]
    v = [0.16, 0.12, 0.18, 0.30, 0.11, 0.01, 0.12, 0.69, 0.07]
    i = noise.spread(y, v)
    np.testing.assert_allclose([i.low**2, i.high**2], [0.072, 2.20], rtol=0.01)
    broken = mutant(noise.heterogeneity, "1 / (v + tau2)", "1 / (v + tau2) ** 2")
    assert broken(y, v, 8) != pytest.approx(i.estimate**2, rel=0.1)


def test_equal_values_are_fair_and_one_bearer_of_all_is_not():
    assert gini([2.0, 2.0, 2.0]) == 0
    assert gini([0.0, 0.0, 0.0, 8.0]) == pytest.approx(0.75)
    assert (spread([1.0, 3.0]), worst([1.0, 3.0]), macro([1.0, 3.0])) == (1, 3, 2)
    with pytest.raises(EvidenceError, match="values of at least 0"):
        gini([-1.0, 2.0])


def test_intervals_over_patients_cover_and_keep_methods_paired():
    rng, hits = np.random.default_rng(0), 0
    for seed in range(200):
        losses = [rng.exponential(1 + k, (80, 1)) for k in range(3)]
        i = by_patient(losses, lambda means: means[..., 0, :].mean(-1), resamples=300, seed=seed)
        hits += i.low <= 2 <= i.high
    assert 178 <= hits <= 199  # 95 % of 200, six standard errors below, and not always
    same = [rng.exponential(1, (50, 1)) + np.array([0.0, 0.25]) for _ in range(3)]
    i = by_patient(same, lambda means: (means[..., 1, :] - means[..., 0, :]).mean(-1))
    assert i.low == pytest.approx(0.25)
    assert i.high == pytest.approx(0.25)


def test_the_template_imports_nothing_but_its_pins():
    """A process that refuses every package that requirements-federated.txt does not name."""
    code = """
        import re, sys
        from importlib.metadata import packages_distributions

        plain = lambda name: re.sub("[-_.]+", "-", name).lower()
        pinned = {plain(line.partition("==")[0]) for line in open("requirements-federated.txt")} | {"stepsize"}
        installed = packages_distributions()

        class Pins:
            def find_spec(name, path=None, target=None):
                if not pinned & set(map(plain, installed.get(name.partition(".")[0], pinned))):
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Pins)
        from companion.experiments.federated_learning import deployment
        print(deployment.federation_alone([[True] * 4]).shape)
        import torch
    """
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", dedent(code)], cwd=root, capture_output=True, text=True)
    assert run.stdout == "(2, 13)\n", run.stderr
    assert run.stderr.endswith("ModuleNotFoundError: torch\n")
