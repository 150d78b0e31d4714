"""Real hospitals: every patient predicted by models that never saw him; fairness without the noise floor."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from companion.experiments.datasets import load
from companion.experiments.federated_learning import hospitals
from companion.experiments.federated_learning.fairness import by_patient, gini, macro, spread, worst
from companion.experiments.federated_learning.patients import Patients, disease, prepare, split
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
    test = split(patients, 2)
    np.testing.assert_array_equal(test[:5].sum(0), patients.present)
    np.testing.assert_array_equal(test[5:].sum(0), patients.present)
    assert not np.array_equal(test[0], test[5])


def test_covariates_are_filled_and_scaled_by_training_patients_alone():
    patients = disease()
    test = split(patients, 1)
    X = prepare(patients, test)
    spoiled = patients._replace(X=np.where(test[0][..., None], 1e6, patients.X))
    train = patients.present & ~test[0]
    np.testing.assert_allclose(prepare(spoiled, test)[0][train], X[0][train])
    np.testing.assert_allclose(X[0][train].mean(0)[1:], 0, atol=1e-12)
    np.testing.assert_allclose(X[0][train].std(0)[1:], 1, rtol=1e-12)


def test_labels_are_spoiled_in_one_hospital_only():
    patients = disease()
    y = hospitals.flip(patients, 1, 0.4, 50)
    wrong = (y != patients.y).mean(0)
    assert wrong[1, :294].mean() == pytest.approx(0.4, abs=0.02)
    assert (wrong[[0, 2, 3]] == 0).all()


def test_own_intercepts_are_fitted_to_each_hospital_s_share_of_the_ill():
    found = hospitals.predict_disease(1, 400, rules=("FedAvg",))
    swiss = found.losses[2][:, [found.methods.index(m) for m in ("FedAvg", "own intercept")]].mean(0)
    assert swiss[1] < swiss[0] - 0.05
    assert sum(map(len, found.losses)) == 920
    assert found.residual < 1e-2


def test_the_noise_of_two_equal_halves_of_one_law_has_ratio_one():
    rng = np.random.default_rng(0)
    X, present = rng.standard_normal((4, 2000, 2)), np.ones((4, 2000), bool)
    y = X.sum(-1) + np.array([1.0, 1.0, 1.0, 2.0])[:, None] * rng.standard_normal((4, 2000))
    found = hospitals.noise_ratio(Patients(X, y, present), "linear", 50)
    assert found.ratio == pytest.approx(4, rel=0.15)
    assert all(top == "Long Beach" for top, _ in found.pairs)


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
