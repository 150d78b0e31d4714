"""Real hospitals and schools: their patients, split and prepared; and one federation of the four in this process.

Needs NumPy alone, so that the template of a federation runs where the book's packages are not installed.
"""

from typing import NamedTuple

import numpy as np

from companion.experiments.datasets import load

from .aggregation import InverseVariance
from .clients import Logistic
from .defence import federate

NAMES = ("Cleveland", "Hungary", "Switzerland", "Long Beach")


class Patients(NamedTuple):
    """Patients by hospital, padded: X (hospitals, rows, covariates) with NaN where missing, y (hospitals, rows), present (hospitals, rows)."""

    X: np.ndarray
    y: np.ndarray
    present: np.ndarray


def _padded(X, y, hospital, least: int = 1) -> Patients:
    """Hospitals in the order of their numbers, those with fewer than `least` patients left out."""
    groups = [g for k in np.unique(hospital) if len(g := np.flatnonzero(hospital == k)) >= least]
    shape = len(groups), max(map(len, groups))
    out = Patients(np.full((*shape, X.shape[1]), np.nan), np.zeros(shape), np.zeros(shape, bool))
    for k, group in enumerate(groups):
        out.X[k, : len(group)], out.y[k, : len(group)], out.present[k, : len(group)] = X[group], y[group], True
    return out


def disease() -> Patients:
    """Heart disease, yes or no, from twelve covariates that most hospitals measured; chol, missing in a whole hospital, is left out."""
    d = load("heart_disease")
    X = [d[c] for c in ("age", "sex", "trestbps", "fbs", "thalach", "exang", "oldpeak")]
    X += [
        np.where(np.isnan(d[c]), np.nan, d[c] == v)
        for c, v in (("cp", 1), ("cp", 2), ("cp", 3), ("restecg", 1), ("restecg", 2))
    ]
    return _padded(np.column_stack(X), d["disease"], d["hospital"])


def heart_rate() -> Patients:
    """The highest heart rate under exercise, from age, blood pressure, angina under exercise and ST depression; who has none is left out."""
    d = load("heart_disease")
    X = np.column_stack([d[c] for c in ("age", "trestbps", "exang", "oldpeak")])
    seen = ~np.isnan(d["thalach"])
    return _padded(X[seen], d["thalach"][seen], d["hospital"][seen])


def length_of_stay(least: int = 15) -> Patients:
    """Log days in hospital, in the hospitals with at least `least` patients: 36 of 54; from insurance, age and kind of admission."""
    d = load("medpar")
    X = np.column_stack([d["hmo"], d["white"], d["age80"], d["type"] == 2, d["type"] == 3]).astype(float)
    return _padded(X, np.log(d["los"]), d["hospital"], least)


def mathematics() -> Patients:
    """Students as patients: the score in mathematics in 160 schools, from socio-economic status, minority and sex."""
    d = load("mathematics")
    return _padded(np.column_stack([d["ses"], d["minority"], d["female"]]), d["score"], d["school"])


def split(patients: Patients, repeats: int, seed: int, folds: int = 5) -> np.ndarray:
    """Test masks (repeats * folds, hospitals, rows); within a repeat every patient is tested once."""
    rng, masks = np.random.default_rng(seed), []
    for _ in range(repeats):
        fold = np.full(patients.y.shape, -1)
        for k, present in enumerate(patients.present):
            n = present.sum()
            fold[k, :n] = rng.permutation(n) % folds
        masks += [fold == f for f in range(folds)]
    return np.array(masks)


def prepare(patients: Patients, test):
    """Covariates (splits, hospitals, rows, d): filled with the training patients' medians, standardised by them, a 1 in front."""
    train = (patients.present & ~test)[..., None]
    X = np.where(train, patients.X, np.nan)
    X = X.reshape(len(test), patients.y.size, X.shape[-1])
    middle = np.nanmedian(X, axis=1)[:, None, None]
    filled = np.where(np.isnan(patients.X), middle, patients.X)
    n = train.sum((1, 2, 3))[:, None]
    mean = (filled * train).sum((1, 2)) / n
    sd = np.sqrt(((filled - mean[:, None, None]) ** 2 * train).sum((1, 2)) / n)
    Z = (filled - mean[:, None, None]) / sd[:, None, None]
    return np.concatenate([np.ones((*Z.shape[:-1], 1)), Z], axis=-1)


def one_hospital(k: int) -> Logistic:
    """All patients of one hospital, with covariates filled and scaled by what is public: medians, means and deviations of the table."""
    patients = disease()
    X = prepare(patients, np.zeros((1, *patients.y.shape), bool))[0]
    here = patients.present[k]
    return Logistic.of(X[k][here], patients.y[k][here])


def federation_alone(took_part, lr: float = 1.0, steps: int = 5, tamper=None) -> np.ndarray:
    """theta of every round of the template app, in this process: took_part (rounds, hospitals) says who answered; (rounds + 1, d).

    `tamper` as in `federate`.
    """
    clients = [one_hospital(k) for k in range(len(NAMES))]
    return federate(clients, InverseVariance(lr, steps), took_part, tamper=tamper).theta
