"""Estimates with their uncertainty. Units are independent: seeds, sensors, landscapes; never the steps of one run."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stepsize.errors import EvidenceError


@dataclass(frozen=True)
class Interval:
    """An estimate, the interval around it, how it was made and from how many independent units."""

    estimate: float
    low: float
    high: float
    method: str
    n: int

    def __post_init__(self):
        if not self.low <= self.estimate <= self.high:
            raise EvidenceError(
                f"the estimate {self.estimate} is not inside its interval [{self.low}, {self.high}]; "
                "look for NaN, or for an interval of another quantity"
            )


def _sample(values, level, least=5):
    if not 0 < level < 1:
        raise EvidenceError(f"level must lie between 0 and 1, got {level}; 0.95 is 95 %")
    values = np.asarray(values, float).ravel()
    if values.size < least:
        raise EvidenceError(f"an interval needs at least {least} values, got {values.size}; run more seeds")
    if np.isnan(values).any():
        raise EvidenceError(f"{np.isnan(values).sum()} of {values.size} values are NaN; count them as failures first")
    return values


def geometric(values, axis=None):
    """exp(mean(log(values))): the typical value of ratios and of costs that spread over factors; 0 if one is 0, infinite if one is."""
    return np.exp(np.log(values).mean(axis))


def bootstrap(
    values, statistic: Callable = np.mean, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """Percentile bootstrap over independent units (seeds, sensors, landscapes).  Efron & Tibshirani (1993), chapter 13.

    `statistic(values, axis)` maps the units to a number. Infinite values are allowed where the statistic
    is a quantile. Paired comparisons pass differences or log-ratios. The interval is widened to its estimate
    where a skewed statistic would leave it outside.
    """
    values = _sample(values, level)
    rng, rows = np.random.default_rng(seed), max(1, 2**23 // values.size)  # at most 64 MB of indices at once
    with np.errstate(invalid="ignore"):
        estimates = np.concatenate(
            [
                statistic(values[rng.integers(values.size, size=(min(rows, resamples - done), values.size))], axis=1)
                for done in range(0, resamples, rows)
            ]
        )
        estimate = float(statistic(values[None], axis=1)[0])
    if np.isnan(estimates).any() or math.isnan(estimate):
        raise EvidenceError("the statistic is NaN on some resamples; use a quantile where values are infinite")
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    low, high = min(float(low), estimate), max(float(high), estimate)
    return Interval(estimate, low, high, f"percentile bootstrap, {level:.0%}", values.size)


def student(values, level: float = 0.95) -> Interval:
    """mean +- t s / sqrt(n) over independent units.  Student (1908)."""
    from scipy import stats

    values = _sample(values, level)
    if not np.isfinite(values).all():
        raise EvidenceError("a mean of infinite values has no t interval; bootstrap the median instead")
    mean = values.mean()
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size)
    return Interval(float(mean), float(mean - half), float(mean + half), f"Student t, {level:.0%}", values.size)


def proportion(successes: int, n: int, level: float = 0.95) -> Interval:
    """Share of successes with its score interval.  Wilson (1927)."""
    from scipy import stats

    if not 0 <= successes <= n or n < 5 or int(successes) != successes or int(n) != n:
        raise EvidenceError(f"{successes} successes of {n} is no sample; give two counts, successes <= n, n >= 5")
    ci = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    # rounding puts the end of the interval of 0 or n successes within 1e-17 of the estimate, on either side
    share = successes / n
    return Interval(share, min(ci.low, share), max(ci.high, share), f"Wilson score, {level:.0%}", int(n))


def exact(value: float, n: int = 1) -> Interval:
    """A number without sampling error: an identity's largest deviation over `n` cases, or a closed form."""
    return Interval(float(value), float(value), float(value), "exact computation", int(n))


def settled(times) -> Interval:
    """The share of runs that settled, with its interval."""
    return proportion(int(np.isfinite(times).sum()), np.size(times))


def middle(values) -> Interval:
    """The median with its interval."""
    return bootstrap(values, np.median)
