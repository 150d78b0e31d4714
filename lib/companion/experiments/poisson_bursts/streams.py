"""Counts that arrive one at a time: Poisson regression fitted online, by any rule and by two that statisticians use.

Time leads: a stream has x of shape (T, ..., d) and y of shape (T, ...); the axes between are independent members.
The first feature is the constant 1. A forecast is made before its count is seen.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numba
import numpy as np

from companion.experiments.inputs import number, numbers, whole
from stepsize.contract import Stateless, Wrapper, require_rule, scheduled
from stepsize.descent import walk
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError

#: |log mean| is kept below this for every method alike: a forecast per exposure stays between 6e-6 and 160,000.
ETA_LIMIT = 12.0
_COUNTS = "counts are finite and at least 0; fill the gap or leave the step out"
_FEATURES = "features are finite; fill the gap or leave the step out"
_EXPOSURE = "an exposure is a finite number above 0, such as hours of observation"


class Stream(NamedTuple):
    """Features x (T, ..., d), counts y (T, ...) and, where it is known, their true mean lam (T, ...).

    `exposure` (T, ...), such as the hours of observation or the persons at risk, is what a mean is proportional to: its
    logarithm is the offset of the linear predictor. Without one it is 1 everywhere.
    """

    x: np.ndarray
    y: np.ndarray
    lam: np.ndarray | None = None
    exposure: np.ndarray | None = None


def _mean(theta, x):
    return np.exp(np.clip((theta * x).sum(-1), -ETA_LIMIT, ETA_LIMIT))


@numba.njit(cache=True)
def _predict(theta, x, eta):
    """eta (runs, members) <- theta . x within the limit, theta (d, runs, members), x (d, members); terms are added in their order."""
    for r in range(eta.shape[0]):
        for m in range(eta.shape[1]):
            eta[r, m] = theta[0, r, m] * x[0, m]
        for k in range(1, x.shape[0]):
            for m in range(eta.shape[1]):
                eta[r, m] += theta[k, r, m] * x[k, m]
        for m in range(eta.shape[1]):
            if eta[r, m] > ETA_LIMIT:
                eta[r, m] = ETA_LIMIT
            elif eta[r, m] < -ETA_LIMIT:
                eta[r, m] = -ETA_LIMIT


@numba.njit(cache=True)
def _residuals_times(x, mu, y, g):
    """g (d, runs, members) <- (mu - y) x for mu (runs, members), x (d, members) and y (members,)."""
    for k in range(x.shape[0]):
        for r in range(mu.shape[0]):
            for m in range(mu.shape[1]):
                g[k, r, m] = (mu[r, m] - y[m]) * x[k, m]


class _Regression:
    """Means and gradients at every step of a stream for runs of shape (..., members): those of `_mean`, in fewer passes over memory."""

    def __init__(self, stream: Stream, runs: tuple):
        steps, *_, d = stream.x.shape
        members = runs[len(runs) - stream.y.ndim + 1 :]
        self.runs, self.d, self.size = runs, d, math.prod(members)
        self.x = np.broadcast_to(stream.x, (steps, *members, d))
        self.y = np.broadcast_to(stream.y, (steps, *members)).reshape(steps, -1).astype(float)

    def features(self, t):
        return np.ascontiguousarray(self.x[t].reshape(-1, self.d).T)  # a view where coordinates lead in memory

    def means(self, theta, t):
        eta = np.empty(self.runs)
        leading = np.ascontiguousarray(theta.transpose(-1, *range(theta.ndim - 1)))  # a view as well
        _predict(leading.reshape(self.d, -1, self.size), self.features(t), eta.reshape(-1, self.size))
        return np.exp(eta, out=eta)

    def gradient(self, mu, t):
        g = np.empty((self.d, *self.runs))
        _residuals_times(self.features(t), mu.reshape(-1, self.size), self.y[t], g.reshape(self.d, -1, self.size))
        return g.transpose(*range(1, g.ndim), 0)


def mean(theta, x, exposure=1.0):
    """mu = exposure exp(theta . x), the linear predictor clipped to +-`ETA_LIMIT`.  Nelder & Wedderburn (1972), log link."""
    theta, x = numbers(theta, "theta", "start from finite coefficients"), numbers(x, "x", _FEATURES)
    exposure = _exposure(exposure)
    _require_together(theta=theta, x=x)
    _require_together(exposure=exposure, forecast=np.empty(np.broadcast_shapes(theta.shape, x.shape)[:-1]))
    return exposure * _mean(theta, x)


def _require_together(**arrays):
    try:
        np.broadcast_shapes(*(a.shape for a in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ShapeError(f"{shapes} do not belong together; runs lead, coordinates are the last axis") from None


def _exposure(exposure):
    exposure = numbers(exposure, "exposure", _EXPOSURE, least=0)
    if (exposure == 0).any():
        raise HyperparameterError(f"exposure is 0 at {tuple(np.argwhere(exposure == 0)[0].tolist())}; {_EXPOSURE}")
    return exposure


def gradient(theta, x, y, exposure=1.0):
    """(mu - y) x, the gradient of the negative log-likelihood mu - y log(mu) in theta (where the clip does not act)."""
    mu, y = mean(theta, x, exposure), numbers(y, "y", _COUNTS, least=0)
    _require_together(mean=mu, y=y)
    return (mu - y)[..., None] * x


def kl(lam, mu):
    """lam log(lam / mu) - lam + mu = KL(Poisson(lam) | Poisson(mu)) >= 0.  Kullback & Leibler (1951).

    Written lam (e^d - 1 - d) with d = log(mu / lam), which loses no digits near lam = mu; lam = 0 gives mu, and mu = 0
    infinity where lam is not 0.
    """
    return recorded_kl(*(numbers(a, name, "a mean is at least 0", least=0) for a, name in ((lam, "lam"), (mu, "mu"))))


def recorded_kl(lam, mu):
    """`kl` unchecked: NaN where a run of a grid has diverged and mu is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = np.all(lam > 0)
        d = np.log(mu / (lam if plain else np.where(lam > 0, lam, mu)))
        cost = lam * (np.expm1(d) - d)
        return cost if plain else np.where(lam > 0, cost, mu)


def deviance(y, mu):
    """2 (y log(y / mu) - y + mu) = 2 KL(y, mu): what one count costs.  Nelder & Wedderburn (1972)."""
    return 2 * kl(numbers(y, "y", _COUNTS, least=0), mu)


def poisson_stream(
    seeds, steps=6000, base=0.5, slopes=(0.5, -0.5, 0.5), burst=60.0, start=2000, stop=2100, flip=3000
) -> Stream:
    """Counts of mean base exp(slopes . x), times `burst` for start <= t < stop; from `flip` on the slopes change sign.

    Members = seeds. Features: 1 and standard normals clipped to +-2. Common random numbers: the burst is added on
    top, Poisson(lam) + Poisson((burst - 1) lam), so the twin with burst=1 has the same features and, outside the
    burst, the same counts. A longer stream begins with the shorter one.
    """
    numbers([base, burst], "[base, burst]", "poisson_stream needs burst >= 1 and base > 0")
    times = {"steps": steps, "start": start, "stop": stop, "flip": flip}
    for name, value in times.items():
        whole(value, f"poisson_stream: {name}", int(name == "steps"))
    if not (start <= stop <= steps and burst >= 1 and base > 0):
        raise HyperparameterError(
            f"poisson_stream needs 0 <= start <= stop <= steps, burst >= 1 and base > 0; "
            f"got start={start}, stop={stop}, steps={steps}, burst={burst}, base={base}"
        )
    seeds = [whole(seed, "a seed", 0) for seed in seeds]
    slopes = numbers(slopes, "slopes", "give a list of finite numbers")
    if not seeds or slopes.ndim != 1:
        raise ShapeError(
            f"poisson_stream needs a seed and a list of slopes; got {len(seeds)} seeds, {slopes.ndim} axes"
        )
    number(
        2 * abs(slopes).sum() + np.log(base * burst),
        "log of the highest mean, by base, burst and slopes,",
        "below 30",
        lambda v: v < 30,
    )
    members = []
    for seed in seeds:
        features, quiet, extra = (np.random.default_rng([part, seed]) for part in range(3))
        x = np.clip(features.standard_normal((steps, len(slopes))), -2, 2)
        lam = base * np.exp(np.where(np.arange(steps) < flip, 1, -1) * (x @ slopes))
        y = quiet.poisson(lam)
        y[start:stop] += extra.poisson((burst - 1) * lam[start:stop])
        lam[start:stop] *= burst
        members.append((np.insert(x, 0, 1.0, axis=1), y, lam))
    x, y, lam = (np.stack(part, axis=-1) for part in zip(*members, strict=True))
    return Stream(np.moveaxis(x, 1, -1), y, lam)  # a view of (T, d, members): see `follow`


def calendar_stream(counts, hour, weekend, constant=True) -> Stream:
    """Counts (T, members) by the 24 hours, working days and weekends apart: 48 indicators, after the constant 1 if wanted."""
    counts = np.asarray(counts)
    numbers(counts, "counts", _COUNTS, least=0, lead="step")
    hour, weekend = (numbers(a, name, "give one a step") for a, name in ((hour, "hour"), (weekend, "weekend")))
    if counts.ndim != 2 or hour.shape != counts.shape[:1] or weekend.shape != hour.shape:
        raise ShapeError(
            f"counts {counts.shape}, hour {hour.shape} and weekend {weekend.shape} do not belong together; "
            "give (T, members), (T,) and (T,)"
        )
    if not (np.isin(hour, range(24)).all() and np.isin(weekend, (0, 1)).all()):
        raise HyperparameterError("hour must be 0 to 23 and weekend 0 or 1 at every step; take them from the dates")
    x = np.eye(48)[(hour + 24 * weekend).astype(int)]
    x = np.insert(x, 0, 1.0, axis=1) if constant else x
    return Stream(np.broadcast_to(x[:, None], (*counts.shape, x.shape[-1])), counts)


def _checked(stream: Stream) -> np.ndarray | None:
    """The exposure (T, ...), or None; an error that names the step where the stream cannot be followed."""
    x, y = stream.x, numbers(stream.y, "y", _COUNTS, least=0, lead="step")
    numbers(x, "x", _FEATURES, lead="step")
    if x.shape[:-1] != y.shape:
        raise ShapeError(
            f"features {x.shape} and counts {y.shape} do not belong together; give x (T, ..., d), y (T, ...)"
        )
    if not y.size or not x.shape[-1]:
        raise ShapeError(f"the stream is empty: features {x.shape}, counts {y.shape}; give it a count and a feature")
    exposure = stream.exposure
    if exposure is not None:
        exposure = _exposure(exposure)
        _require_together(exposure=exposure, counts=y)
        exposure = np.broadcast_to(exposure, y.shape)
    rate = y if exposure is None else y / exposure
    if rate.max() > np.exp(ETA_LIMIT):
        t, *member = np.unravel_index(rate.argmax(), y.shape)
        raise HyperparameterError(
            f"count {y[(t, *member)]:g} at step {t} lies above e^{ETA_LIMIT:g}, the highest forecast for an exposure of 1; "
            "give the stream its exposure, or count in larger units"
        )
    return exposure


def level(stream: Stream, steps: int):
    """theta (members, d) that forecasts each member's mean over its first `steps` counts, whatever the features.

    With an exposure it is the counts over the exposure of these steps. The logarithm of no count at all is refused.
    """
    exposure = _checked(stream)
    whole(steps, "level: steps", 1, len(stream.y))
    first = stream.y[:steps].mean(0) if exposure is None else stream.y[:steps].sum(0) / exposure[:steps].sum(0)
    if (first == 0).any():
        raise HyperparameterError(
            f"member {tuple(np.argwhere(first == 0)[0].tolist())} has no count in its first {steps} steps, so their mean "
            "has no logarithm; warm up for longer or start from theta = 0"
        )
    constant = (stream.x[..., 0] == 1).all()
    return np.log(first)[..., None] * (np.arange(stream.x.shape[-1]) == 0 if constant else 1.0)


class Forecast(NamedTuple):
    """mu (T, ...): every count's forecast, made before it was seen; `watched`: what was recorded at every step.

    `exposure` is the stream's, or 1.
    """

    mu: np.ndarray
    watched: np.ndarray | None
    theta: np.ndarray
    exposure: Any = 1.0

    @property
    def clipped(self) -> np.ndarray:
        """The step of the first forecast at the limit e^+-`ETA_LIMIT`, -1 where there was none; a sign of too high a rate."""
        at_limit = abs(np.log(self.mu / self.exposure)) > ETA_LIMIT * (1 - 1e-12)
        return np.where(at_limit.any(0), at_limit.argmax(0), -1)


def follow(rule, stream: Stream, theta=0.0, watch: Callable | None = None, *, nonfinite: str = "raise") -> Forecast:
    """Fit the regression online by `rule` from `theta`, one count at a time.

    A learning rate of shape (n, 1, 1) runs n copies of every member at once: mu gets the shape (T, n, members).
    `watch(step)` maps each step of the walk to what is to be recorded of it. A rule with an `average`, such as ScheduleFree,
    forecasts with that and takes its gradient where it stands. A run whose theta becomes NaN or infinite is
    an error, or with nonfinite="record", for grids of rates, has NaN for forecasts; a rate that drives forecasts to the
    limit e^+-`ETA_LIMIT` shows in `Forecast.clipped`.
    """
    if nonfinite not in ("raise", "record"):
        raise HyperparameterError(f"nonfinite must be 'raise' or 'record', got {nonfinite!r}")
    exposure, watched = _checked(stream), []
    if isinstance(_innermost(require_rule(rule, "follow")), ImplicitSGD) and not (stream.x[..., 0] == 1).all():
        raise ShapeError("ImplicitSGD reads the features x off the gradient; put the constant 1 in front of them")
    if exposure is not None:
        rule = _exposed(rule, iter(exposure[..., None]))

    def means(theta, t):
        return regression.means(theta, t) if exposure is None else exposure[t] * regression.means(theta, t)

    def grad(theta, t):
        here = means(theta, t)
        mu[t] = means(rule.average(now.state, theta), t) if averaged and t else here
        return regression.gradient(here, t)

    averaged = hasattr(rule, "average")
    *runs, d = np.broadcast_shapes(np.shape(rule.lr), stream.x[0].shape)
    start = np.moveaxis(np.empty((d, *runs)), 0, -1)  # members contiguous in memory: inner loops run over them, not d
    theta = numbers(theta, "theta", "start from finite coefficients")
    try:
        start[...] = theta
    except ValueError:
        raise ShapeError(
            f"theta {theta.shape} does not fit runs of shape {start.shape}; give one start for each"
        ) from None
    steps, regression, mu = walk(rule, grad, start), _Regression(stream, tuple(runs)), np.empty((len(stream.y), *runs))
    for _, now in zip(stream.y, steps, strict=False):
        if watch:
            watched.append(watch(now))
    if nonfinite == "raise" and not np.isfinite(now.x).all():
        run = tuple(np.argwhere(~np.isfinite(now.x))[0, :-1].tolist())
        lost = ~np.isfinite(mu[(slice(None), *run)])
        raise NonFiniteError(
            f"theta of run {run} is NaN or infinite from step {lost.argmax() if lost.any() else len(mu)} on; lower the rate"
        )
    return Forecast(mu, np.stack(watched) if watch else None, now.x, 1.0 if exposure is None else exposure)


def _innermost(rule):
    return _innermost(rule.rule) if hasattr(rule, "rule") else rule


def _exposed(rule, exposures):
    """`rule`, but the rules that read a forecast off the gradient get the gradient of one unit of exposure, and its weight."""
    if hasattr(rule, "rule"):
        return replace(rule, rule=_exposed(rule.rule, exposures))
    return _Exposed(rule, exposures) if isinstance(rule, (ImplicitSGD, EWMA)) else rule


@dataclass(frozen=True, eq=False)
class _Exposed(Wrapper):
    """The loss e (exp(theta . x) - y / e theta . x): the rule meets the count y / e, an implicit one with lr e."""

    rule: Any
    exposures: Iterator

    @property
    def scaled(self):
        inside = self.rule.scaled  # AttributeError where the rule has none
        return lambda share: replace(self, rule=inside(share))

    def step(self, state, g, x):
        exposure = next(self.exposures)
        return scheduled(self.rule, exposure, 1.0)[0].step(state, g / exposure, x)


def log_rate(step):
    """Logarithm of the rate, averaged over the coordinates: what a stream is `watch`ed for."""
    return np.log(step.rate).mean(-1)


def length(step):
    """Length of the step, |rate * direction|."""
    return np.linalg.norm(step.rate * step.direction, axis=-1)


@dataclass(frozen=True, eq=False)
class ImplicitSGD(Stateless):
    """theta' = theta - lr (exp(theta' . x) - y) x: the gradient is taken where the step ends.  Toulis & Airoldi (2017).

    Along x this is eta' + a exp(eta') = eta + a y with a = lr |x|^2, solved in closed form by the Wright omega
    function: eta' = c - omega(c + log a), c = eta + a y. In the contract it is SGD with the smaller
    rate (eta - eta') / (|x|^2 (mu - y)). x and y are read off g = (mu - y) x, whose first feature is 1.
    A schedule around it scales lr, not the finished step: `scaled`.
    """

    lr: Any = 1e-2
    elementwise = False

    def scaled(self, share):
        return replace(self, lr=self.lr * share)

    def step(self, state, g, x):
        from scipy.special import wrightomega

        residual = g[..., :1]
        feature = g / np.where(residual == 0, 1, residual)
        eta = (x * feature).sum(-1, keepdims=True)
        length = np.maximum((feature * feature).sum(-1, keepdims=True), 1)
        y = np.exp(np.clip(eta, -ETA_LIMIT, ETA_LIMIT)) - residual
        a = self.lr * length
        c = eta + a * y
        with np.errstate(divide="ignore"):  # lr = 0 moves nothing
            there = c - wrightomega(c + np.log(a))
        rate = np.where(residual == 0, self.lr, (eta - there) / (length * np.where(residual == 0, 1, residual)))
        return state, rate + 0 * g, g


@dataclass(frozen=True, eq=False)
class EWMA(Stateless):
    """mu <- mu - w (mu - y), w = lr / (1 + lr): the exponentially weighted mean of the counts.  Roberts (1959).

    Natural gradient in mu, whose Fisher information is 1 / mu. On log means it is theta <- theta + log(1 - w g / mu),
    an average for every coordinate that is an indicator; `cells` is 1 for those and 0 for the others, which rest.
    One cell, the constant feature, knows no covariate.
    """

    lr: Any = 1e-2
    cells: Any = 1.0

    def __post_init__(self):
        super().__post_init__()
        numbers(self.cells, "EWMA: cells", "give 1 for an indicator and 0 for another coordinate", least=0, some=True)

    def step(self, state, g, x):
        log_mean = np.clip(x, -ETA_LIMIT, ETA_LIMIT)
        weight = np.divide(self.lr, np.add(1, self.lr))
        there = log_mean + np.log1p(-weight * g * self.cells / np.exp(log_mean))
        return state, weight + 0 * g, (x - there) / np.where(weight == 0, 1, weight)  # lr = 0 moves nothing
