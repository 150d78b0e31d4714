"""Consortia of many institutions: how much they differ in level and in noise, and what weights and own levels are worth.

Institutions are small, and a covariate may be constant in one, so that slopes are common and only levels are own.
"""

from typing import NamedTuple

import numpy as np

from companion.evidence import Interval, bootstrap

from .clients import LeastSquares
from .patients import Patients, prepare, split
from .theory import aitken


class Within(NamedTuple):
    """Common slopes about own levels: slopes (..., d), means (..., institutions, 1, d + 1) of covariates and outcome, and
    the residual variance of every institution about them, (..., institutions, 1)."""

    slopes: np.ndarray
    means: np.ndarray
    noise: np.ndarray


def within(X, y, present) -> Within:
    """Least squares of y on X, both less their means in the institution. The within, or fixed-effects, estimator.

    X (..., institutions, rows, d) without a constant, y and present (..., institutions, rows).
    """
    together = np.concatenate([X, np.broadcast_to(y, X.shape[:-1])[..., None]], axis=-1)
    n = present.sum(-1, keepdims=True)
    means = (together * present[..., None]).sum(-2, keepdims=True) / n[..., None]
    centred = together - means
    clients = LeastSquares.of(centred[..., :-1], centred[..., -1], present)
    slopes = aitken(clients, np.ones_like(n))
    return Within(slopes, means, 2 * clients.loss(slopes[..., None, :]) * n / (n - 1))


def about_common_slopes(patients: Patients) -> Patients:
    """The patients with what common slopes leave of the outcome, and no covariate: all that is left is level and noise."""
    X = prepare(patients, np.zeros((1, *patients.y.shape), bool))[0][..., 1:]
    slopes = within(X, patients.y, patients.present).slopes
    return Patients(X[..., :0], patients.y - X @ slopes, patients.present)


def shrunk(levels, noise, present):
    """Levels (..., institutions, 1) drawn towards their weighted mean, by tau^2 / (tau^2 + s^2 / n_k) each.

    s^2 is the `noise` within institutions, pooled; tau^2 is by the method of moments, DerSimonian & Laird (1986). Where levels do
    not differ beyond their sampling errors, all become the mean.
    """
    n = present.sum(-1, keepdims=True)
    v = ((noise * (n - 1)).sum(-2, keepdims=True) / (n - 1).sum(-2, keepdims=True)) / n
    w = 1 / v
    total, k = w.sum(-2, keepdims=True), levels.shape[-2]
    q = (w * (levels - (w * levels).sum(-2, keepdims=True) / total) ** 2).sum(-2, keepdims=True)
    tau2 = np.maximum(q - (k - 1), 0) / (total - (w * w).sum(-2, keepdims=True) / total)
    w = 1 / (v + tau2)
    middle = (w * levels).sum(-2, keepdims=True) / w.sum(-2, keepdims=True)
    return middle + tau2 / (tau2 + v) * (levels - middle)


def squared_errors(patients: Patients, repeats: int, seed: int) -> dict[str, np.ndarray]:
    """Mean squared test error of every institution, (institutions,), under four ways to share one model; five-fold cross-validation.

    FedAvg and inverse variances rest where weighted least squares does (`theory.aitken`); "own levels" has common slopes,
    "shrunk levels" the same slopes and `shrunk` levels.
    """
    test = split(patients, repeats, seed)
    X, train = prepare(patients, test), patients.present & ~test
    y = np.broadcast_to(patients.y, test.shape)
    clients, local = LeastSquares.of(X, y, train), within(X[..., 1:], y, train)
    shared = {"FedAvg": np.ones_like(local.noise), "inverse variance": local.noise}
    scores = {name: (X @ aitken(clients, v)[:, None, :, None])[..., 0] for name, v in shared.items()}
    centred = X[..., 1:] - local.means[..., :-1]
    moved = (centred @ local.slopes[:, None, :, None])[..., 0]
    scores["own levels"] = moved + local.means[..., -1]
    at_zero = (local.means[..., :-1] @ local.slopes[:, None, :, None])[..., 0]
    scores["shrunk levels"] = moved + at_zero + shrunk(local.means[..., -1] - at_zero, local.noise, train)
    counts = patients.present.sum(-1) * repeats
    return {name: ((score - y) ** 2 * test).sum((0, -1)) / counts for name, score in scores.items()}


def log_ratio(errors: dict[str, np.ndarray], method: str, rival: str = "FedAvg") -> Interval:
    """log of the mean error over the institutions of `method` over that of `rival`; institutions are a sample and are resampled."""
    a, b = errors[method], errors[rival]

    def statistic(rows, axis=None):
        rows = rows.astype(int)
        return np.log(a[rows].mean(axis) / b[rows].mean(axis))

    return bootstrap(np.arange(len(a)), statistic)
