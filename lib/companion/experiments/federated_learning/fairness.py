"""How unequally a model serves its clients. Measures act on excess losses, from which each client's own noise was taken out."""

from collections.abc import Callable

import numpy as np

from companion.evidence import Interval
from stepsize.errors import EvidenceError


def spread(excess):
    """Standard deviation over the clients, the last axis.  Li et al. (2020), q-FFL, section 4, there of accuracies.

    Of raw losses it would mostly tell how noisy the clients are: a perfect model leaves every client its noise.
    """
    return np.std(excess, axis=-1)


def gini(excess):
    """sum_ij |x_i - x_j| / (2 n sum_i x_i), of values that are not negative; 0 is equal, 1 - 1/n one client bears it all.  Gini (1912).

    Equal misery has the value 0, too: never report it alone.
    """
    x = np.asarray(excess, float)
    if (x < 0).any():
        raise EvidenceError(f"gini needs values of at least 0, got {x.min():g}; take spread for values of both signs")
    pairs = np.abs(x[..., :, None] - x[..., None, :]).sum((-2, -1))
    return pairs / np.maximum(2 * x.shape[-1] * x.sum(-1), np.finfo(float).tiny)


def worst(excess):
    """The largest value over the clients."""
    return np.max(excess, axis=-1)


def macro(excess):
    """The mean over the clients, each counting the same."""
    return np.mean(excess, axis=-1)


def by_patient(
    losses: list[np.ndarray], statistic: Callable, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """statistic(means) with its percentile interval, patients resampled within their hospitals.  Efron & Tibshirani (1993), chapters 8 and 13.

    losses[k] (patients, ...) are the losses of hospital k's patients under several methods, which stay paired; means has
    shape (..., hospitals), with an axis of resamples in front. Patients are the independent units; trained models are held fixed.
    """
    rng, means = np.random.default_rng(seed), []
    for table in losses:
        counts = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=resamples)
        means.append(np.tensordot(counts / len(table), table, 1))
    resampled = statistic(np.stack(means, axis=-1))
    estimate = float(statistic(np.stack([table.mean(0) for table in losses], axis=-1)))
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    low, high = min(low, estimate), max(high, estimate)  # the largest of several is a skewed statistic
    method = f"percentile bootstrap over patients within hospitals, {level:.0%}"
    return Interval(estimate, float(low), float(high), method, sum(map(len, losses)))
