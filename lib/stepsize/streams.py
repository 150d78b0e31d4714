"""Counts that arrive one at a time: a Poisson regression fitted online, its bursts, and the laws of recovery after one.

Time leads: a stream has x of shape (T, ..., d) and y of shape (T, ...); the axes between are independent members.
The first feature is the constant 1. A forecast is made before its count is seen.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .contract import Stateless
from .descent import Tuned, tune, walk
from .errors import HyperparameterError, ShapeError

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
    seeds, steps=6000, base=0.5, slopes=(0.6, -0.4, 0.3), burst=60.0, start=2000, stop=2100, flip=3000
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
    return Stream(*(np.stack(part, axis=1) for part in zip(*members, strict=True)))


def calendar_stream(counts, hour, weekend) -> Stream:
    """Counts (T, members) by hour of the day, working day and weekend apart: the constant 1 and 48 indicators, d = 49."""
    cell = np.asarray(hour) + 24 * np.asarray(weekend, int)
    x = np.zeros((len(cell), 49))
    x[:, 0] = x[np.arange(len(cell)), 1 + cell] = 1
    return Stream(np.broadcast_to(x[:, None], (*counts.shape, 49)), np.asarray(counts))


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

    shape = np.broadcast_shapes(np.shape(rule.lr), stream.x[0].shape)
    steps = walk(rule, grad, np.broadcast_to(np.asarray(theta, float), shape))
    for _, now in zip(stream.y, steps, strict=False):
        if watch:
            watched.append(watch(now))
    return Forecast(np.stack(mu), np.stack(watched) if watch else None, now.x)


def log_rate(step):
    """Logarithm of the rate, averaged over the coordinates: what a stream is `watch`ed for."""
    return np.log(step.rate).mean(-1)


def log_step(step):
    """Logarithm of the length of the step, rate * direction."""
    return np.log(np.linalg.norm(step.rate * step.direction, axis=-1))


@dataclass(frozen=True, eq=False)
class ImplicitSGD(Stateless):
    """theta' = theta - lr (exp(theta' . x) - y) x: the gradient is taken where the step ends.  Toulis & Airoldi (2017).

    Along x this is eta' + a exp(eta') = eta + a y with a = lr |x|^2, solved in closed form by the Wright omega
    function: eta' = c - omega(c + log a), c = eta + a y. In the contract it is SGD with the smaller
    rate (eta - eta') / (|x|^2 (mu - y)). x and y are read off g = (mu - y) x, whose first feature is 1.
    """

    lr: Any = 1e-2

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


def at_rate(rule, lr):
    """`rule` with another learning rate, however deep it is wrapped."""
    return replace(rule, rule=at_rate(rule.rule, lr)) if hasattr(rule, "rule") else replace(rule, lr=lr)


class Raced(NamedTuple):
    """A method after a race: its `Tuned` rate and scores, and the KL per step in every window, name -> (members,)."""

    tuned: Tuned
    windows: dict[str, np.ndarray]


def geometric(values, axis=None):
    """exp(mean(log(values))): the typical value of costs that spread over factors."""
    return np.exp(np.log(values).mean(axis))


def race(methods: dict, lrs, tuning, reporting, windows: dict[str, slice], goals, statistic=geometric, **kind):
    """KL(lam, mu) per step of each method; goal by goal its rate is chosen on tuning seeds and reported on others.

    `goals` name the windows that are tuned for, each for itself; `kind` goes to `poisson_stream`.
    Returns results[goal][method], a `Raced`.
    """
    kind = {"steps": max(w.stop for w in windows.values())} | kind
    streams = {tuple(seeds): poisson_stream(seeds, **kind) for seeds in (tuning, reporting)}
    results = {goal: {} for goal in goals}
    for name, method in methods.items():
        seen = {}

        def costs(rates, seeds, method=method, seen=seen):
            key = (*rates, *seeds)
            if key not in seen:
                stream = streams[tuple(seeds)]
                cost = kl(stream.lam[:, None], follow(at_rate(method, np.reshape(rates, (-1, 1, 1))), stream).mu)
                seen[key] = {window: cost[at].mean(0) for window, at in windows.items()}
            return seen[key]

        for goal in goals:
            tuned = tune(lambda rates, seeds: costs(rates, seeds)[goal], lrs, tuning, reporting, statistic)  # noqa: B023
            results[goal][name] = Raced(tuned, {w: c[0] for w, c in costs([tuned.lr], reporting).items()})
    return results


def adagrad_ratio(quiet, burst):
    """sqrt(S / (S + B)): AdaGrad's rate after a burst over its rate without one; S, B sums of squared gradients."""
    return np.sqrt(quiet / (quiet + burst))


def time_debt(burst, quiet_per_step):
    """B / E[g^2]: AdaGrad after the burst is where the quiet stream brings it this many steps later."""
    return burst / quiet_per_step


def adam_ratio(ratio, beta2, steps):
    """1 / sqrt(1 + (1/ratio^2 - 1) beta2^k): the rate relative to the quiet rate, k steps after it was `ratio`.

    From v_k = v_q + (v_b - v_q) beta2^k. While v_b >> v_q the excess of v halves every ln 2 / ln(1/beta2) steps,
    the rate doubles every two of them.
    """
    return 1 / np.sqrt(1 + (1 / np.square(ratio) - 1) * np.power(beta2, steps))


def steps_until(restored, ratio, beta2):
    """ln((1/ratio^2 - 1) / (1/restored^2 - 1)) / ln(1/beta2): when `adam_ratio` reaches `restored`."""
    return np.log((1 / np.square(ratio) - 1) / (1 / np.square(restored) - 1)) / -np.log(beta2)
