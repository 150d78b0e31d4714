"""Counts that arrive one at a time: Poisson regression fitted online, by any rule and by two that statisticians use.

Time leads: a stream has x of shape (T, ..., d) and y of shape (T, ...); the axes between are independent members.
The first feature is the constant 1. A forecast is made before its count is seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stepsize.contract import Stateless
from stepsize.descent import walk
from stepsize.errors import HyperparameterError, ShapeError

#: |log mean| is kept below this for every method alike: a forecast stays between 6e-6 and 160,000.
ETA_LIMIT = 12.0


class Stream(NamedTuple):
    """Features x (T, ..., d), counts y (T, ...) and, where it is known, their true mean lam (T, ...)."""

    x: np.ndarray
    y: np.ndarray
    lam: np.ndarray | None = None


def mean(theta, x):
    """mu = exp(theta . x), the linear predictor clipped to +-`ETA_LIMIT`.  Nelder & Wedderburn (1972), log link."""
    return np.exp(np.clip((theta * x).sum(-1), -ETA_LIMIT, ETA_LIMIT))


def gradient(theta, x, y):
    """(mu - y) x, the gradient of the negative log-likelihood mu - y log(mu) in theta (where the clip does not act)."""
    return (mean(theta, x) - y)[..., None] * x


def kl(lam, mu):
    """lam log(lam / mu) - lam + mu = KL(Poisson(lam) | Poisson(mu)) >= 0.  Kullback & Leibler (1951).

    Written lam (e^d - 1 - d) with d = log(mu / lam), which loses no digits near lam = mu; lam = 0 gives mu.
    """
    lam, mu = np.asarray(lam, float), np.asarray(mu, float)
    d = np.log(mu / np.where(lam > 0, lam, mu))
    return np.where(lam > 0, lam * (np.expm1(d) - d), mu)


def deviance(y, mu):
    """2 (y log(y / mu) - y + mu) = 2 KL(y, mu): what one count costs.  Nelder & Wedderburn (1972)."""
    return 2 * kl(y, mu)


def poisson_stream(
    seeds, steps=6000, base=0.5, slopes=(0.5, -0.5, 0.5), burst=60.0, start=2000, stop=2100, flip=3000
) -> Stream:
    """Counts of mean base exp(slopes . x), times `burst` for start <= t < stop; from `flip` on the slopes change sign.

    Members = seeds. Features: 1 and standard normals clipped to +-2. Common random numbers: the burst is added on
    top, Poisson(lam) + Poisson((burst - 1) lam), so the twin with burst=1 has the same features and, outside the
    burst, the same counts. A longer stream begins with the shorter one.
    """
    if not (0 <= start <= stop <= steps and burst >= 1 and base > 0):
        raise HyperparameterError(
            f"poisson_stream needs 0 <= start <= stop <= steps, burst >= 1 and base > 0; "
            f"got start={start}, stop={stop}, steps={steps}, burst={burst}, base={base}"
        )
    members = []
    for seed in seeds:
        features, quiet, extra = (np.random.default_rng([part, seed]) for part in range(3))
        x = np.clip(features.standard_normal((steps, len(slopes))), -2, 2)
        lam = base * np.exp(np.where(np.arange(steps) < flip, 1, -1) * (x @ np.asarray(slopes, float)))
        y = quiet.poisson(lam)
        y[start:stop] += extra.poisson((burst - 1) * lam[start:stop])
        lam[start:stop] *= burst
        members.append((np.insert(x, 0, 1.0, axis=1), y, lam))
    x, y, lam = (np.stack(part, axis=-1) for part in zip(*members, strict=True))
    return Stream(np.moveaxis(x, 1, -1), y, lam)  # a view of (T, d, members): see `follow`


def calendar_stream(counts, hour, weekend, constant=True) -> Stream:
    """Counts (T, members) by the 24 hours, working days and weekends apart: 48 indicators, after the constant 1 if wanted."""
    cell = np.asarray(hour) + 24 * np.asarray(weekend, int)
    x = np.eye(48)[cell]
    x = np.insert(x, 0, 1.0, axis=1) if constant else x
    return Stream(np.broadcast_to(x[:, None], (*counts.shape, x.shape[-1])), np.asarray(counts))


def level(stream: Stream, steps: int):
    """theta (members, d) that forecasts each member's mean over its first `steps` counts, whatever the features."""
    constant = (stream.x[..., 0] == 1).all()
    return np.log(stream.y[:steps].mean(0))[..., None] * (np.arange(stream.x.shape[-1]) == 0 if constant else 1.0)


class Forecast(NamedTuple):
    """mu (T, ...): every count's forecast, made before it was seen; `watched`: what was recorded at every step."""

    mu: np.ndarray
    watched: np.ndarray | None
    theta: np.ndarray


def follow(rule, stream: Stream, theta=0.0, watch: Callable | None = None) -> Forecast:
    """Fit the regression online by `rule` from `theta`, one count at a time.

    A learning rate of shape (n, 1, 1) runs n copies of every member at once: mu gets the shape (T, n, members).
    `watch(step)` maps each step of the walk to what is to be recorded of it.
    """
    if stream.x.shape[:-1] != stream.y.shape:
        raise ShapeError(f"features {stream.x.shape} and counts {stream.y.shape} do not belong together")
    mu, watched = [], []

    def grad(theta, t):
        mu.append(mean(theta, stream.x[t]))
        return (mu[-1] - stream.y[t])[..., None] * stream.x[t]

    *runs, d = np.broadcast_shapes(np.shape(rule.lr), stream.x[0].shape)
    start = np.moveaxis(np.empty((d, *runs)), 0, -1)  # members contiguous in memory: inner loops run over them, not d
    start[...] = theta
    steps = walk(rule, grad, start)
    for _, now in zip(stream.y, steps, strict=False):
        if watch:
            watched.append(watch(now))
    return Forecast(np.stack(mu), np.stack(watched) if watch else None, now.x)


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
    """

    lr: Any = 1e-2
    elementwise = False

    def step(self, state, g, x):
        from scipy.special import wrightomega

        residual = g[..., :1]
        feature = g / np.where(residual == 0, 1, residual)
        eta = (x * feature).sum(-1, keepdims=True)
        length = np.maximum((feature * feature).sum(-1, keepdims=True), 1)
        y = np.exp(np.clip(eta, -ETA_LIMIT, ETA_LIMIT)) - residual
        a = self.lr * length
        c = eta + a * y
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

    def step(self, state, g, x):
        log_mean = np.clip(x, -ETA_LIMIT, ETA_LIMIT)
        weight = self.lr / (1 + self.lr)
        there = log_mean + np.log1p(-weight * g * self.cells / np.exp(log_mean))
        return state, weight + 0 * g, (x - there) / weight
