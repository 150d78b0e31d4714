"""Estimates with their uncertainty. Units are independent: seeds, sensors, landscapes; never the steps of one run."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps

import numpy as np

from stepsize.errors import EvidenceError


@dataclass(frozen=True)
class Interval:
    """An estimate, the interval around it, how it was made and from how many independent units.

    `again(level, seed)` makes it at another level of confidence, which joint intervals need; None: there is no sampling error.
    """

    estimate: float
    low: float
    high: float
    method: str
    n: int
    again: Callable[..., "Interval"] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        if not self.low <= self.estimate <= self.high:
            raise EvidenceError(
                f"the estimate {self.estimate} is not inside its interval [{self.low}, {self.high}]; "
                "look for NaN, or for an interval of another quantity"
            )

    def map(self, rising: Callable[[float], float]) -> "Interval":
        """The interval of `rising` of the estimate, a function that never falls, such as an exponential."""
        estimate, low, high = (float(rising(a)) for a in (self.estimate, self.low, self.high))
        again = None if self.again is None else lambda level, seed: self.again(level, seed).map(rising)
        return Interval(estimate, low, high, self.method, self.n, again)

    def record(self) -> dict:
        """Plain data: estimate, low, high, method, n."""
        return {key: getattr(self, key) for key in ("estimate", "low", "high", "method", "n")}


def at_any_level(make: Callable[..., Interval]) -> Callable[..., Interval]:
    """Decorates a function (..., level, seed) -> Interval, so that its intervals can be made again at another level."""

    @wraps(make)
    def made(*args, level: float = 0.95, seed=0, **options):
        if not 0 < level < 1:
            raise EvidenceError(f"level must lie between 0 and 1, got {level}; 0.95 is 95 %")
        again = lambda level, seed: made(*args, level=level, seed=seed, **options)  # noqa: E731
        return replace(make(*args, level=level, seed=seed, **options), again=again)

    return made


def percent(level: float) -> str:
    """A level as a percentage, with as many digits as it needs: 95%, 99.58%."""
    return f"{100 * level:.4g}%"


def _sample(values, least=5):
    values = np.asarray(values, float).ravel()
    if values.size < least:
        raise EvidenceError(f"an interval needs at least {least} values, got {values.size}; run more seeds")
    if np.isnan(values).any():
        raise EvidenceError(f"{np.isnan(values).sum()} of {values.size} values are NaN; count them as failures first")
    return values


def geometric(values, axis=None):
    """exp(mean(log(values))): the typical value of ratios and of costs that spread over factors; 0 if one is 0, infinite if one is."""
    return np.exp(np.log(values).mean(axis))


@at_any_level
def bootstrap(values, statistic: Callable = np.mean, *, level, seed, resamples: int = 4000) -> Interval:
    """Percentile bootstrap over independent units (seeds, sensors, landscapes).  Efron & Tibshirani (1993), chapter 13.

    `statistic(values, axis)` maps the units to a number. Infinite values are allowed where the statistic
    is a quantile. Paired comparisons pass differences or log-ratios. The interval is widened to its estimate
    where a skewed statistic would leave it outside.
    """
    values = _sample(values)
    resamples = max(resamples, round(40 / (1 - level)))  # twenty estimates in each tail
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
    return Interval(estimate, low, high, f"percentile bootstrap, {percent(level)}", values.size)


@at_any_level
def student(values, *, level, seed) -> Interval:
    """mean +- t s / sqrt(n) over independent units.  Student (1908)."""
    from scipy import stats

    values = _sample(values)
    if not np.isfinite(values).all():
        raise EvidenceError("a mean of infinite values has no t interval; bootstrap the median instead")
    mean = values.mean()
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size)
    return Interval(float(mean), float(mean - half), float(mean + half), f"Student t, {percent(level)}", values.size)


@at_any_level
def proportion(successes: int, n: int, *, level, seed) -> Interval:
    """Share of successes with its score interval.  Wilson (1927)."""
    from scipy import stats

    if not 0 <= successes <= n or n < 5 or int(successes) != successes or int(n) != n:
        raise EvidenceError(f"{successes} successes of {n} is no sample; give two counts, successes <= n, n >= 5")
    ci = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    # rounding puts the end of the interval of 0 or n successes within 1e-17 of the estimate, on either side
    share = successes / n
    return Interval(share, min(ci.low, share), max(ci.high, share), f"Wilson score, {percent(level)}", int(n))


def exact(value: float, n: int = 1) -> Interval:
    """A number without sampling error: an identity's largest deviation over `n` cases, or a closed form."""
    return Interval(float(value), float(value), float(value), "exact computation", int(n))


def settled(times) -> Interval:
    """The share of runs that settled, with its interval."""
    return proportion(int(np.isfinite(times).sum()), np.size(times))


def middle(values) -> Interval:
    """The median with its interval."""
    return bootstrap(values, np.median)


def each(samples: dict, interval: Callable[..., Interval] = middle) -> dict[str, Interval]:
    """condition -> interval of its sample, for `Chapter.judge`."""
    return {condition: interval(values) for condition, values in samples.items()}
