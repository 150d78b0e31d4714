"""How unequally a model serves its clients. Measures act on excess losses, from which each client's own noise was taken out."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from companion.evidence import Interval
from companion.evidence.intervals import at_any_level, percent
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


@lru_cache(1)
def _resampled(patients: tuple[int, ...], resamples: int, seed) -> list[np.ndarray]:
    """What share of each hospital's resample every patient is, (resamples, patients) each: the same for all measures of one seed."""
    rng = np.random.default_rng(seed)
    return [rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n for n in patients]


@at_any_level
def by_patient(losses: list[np.ndarray], statistic: Callable, *, level, seed, resamples: int = 2000) -> Interval:
    """statistic(means) with its percentile interval, patients resampled within their hospitals.  Efron & Tibshirani (1993), chapters 8 and 13.

    losses[k] (patients, ...) are the losses of hospital k's patients under several methods, which stay paired; means has
    shape (..., hospitals), with an axis of resamples in front. Patients are the independent units; trained models are held fixed.
    """
    resamples = max(resamples, round(40 / (1 - level)))  # twenty in each tail
    shares = _resampled(tuple(map(len, losses)), resamples, seed)
    means = [np.tensordot(share, table, 1) for share, table in zip(shares, losses, strict=True)]
    estimate = float(statistic(np.stack([table.mean(0) for table in losses], axis=-1)))
    method = f"percentile bootstrap over patients within hospitals, {percent(level)}"
    return around(estimate, statistic(np.stack(means, axis=-1)), level, method, sum(map(len, losses)))


def around(estimate: float, resampled, level: float, method: str, n: int) -> Interval:
    """The middle `level` of the resampled values, widened to the estimate where a skewed statistic leaves it outside."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate), method, n)
