"""What an average of gradients knows: the filter it is, the variance it leaves, and what v - m^2 makes of that.

Gradients are g_t = (true gradient) + noise of variance r (or s^2); K = 1 - beta1 is the weight of the newest.
"""

from typing import Any, NamedTuple

import numpy as np

from stepsize.average import Average
from stepsize.backend import positive, zeros_like
from stepsize.contract import DOMAINS
from stepsize.errors import HyperparameterError, ShapeError


def require(name: str, value, domain: str = "limit") -> np.ndarray:
    """`value` as an array, if every entry is finite and in the domain of a hyper-parameter of that kind; an error otherwise."""
    words, inside = DOMAINS[domain]
    value = np.asarray(value, float)
    good = np.isfinite(value) & inside(value)
    if not good.all():
        raise HyperparameterError(f"{name} must be finite and {words}, got {value[~good].ravel()[0]:g}")
    return value


def weights(beta, t: int) -> np.ndarray:
    """(1 - beta) beta^(t - i) / (1 - beta^t), i = 1 ... t: what each gradient counts in the bias-corrected average, oldest first."""
    beta, t = require("beta", beta, "beta"), int(require("t", t))
    power = np.ones(t)
    power[:-1] = float(beta) ** np.arange(t - 1, 0, -1)
    return power / power.sum()


def mean_share(beta, weight=1.0):
    """rho = (1 - beta) / (1 + beta) (2 - w) / w: the variance of the average over that of a gradient, independent gradients.

    The sum of the squared weights. `weight` = 1 - beta^t is what the average has gathered; 1 in the long run. Balles & Hennig (2018).
    """
    return (1 - beta) / (1 + beta) * (2 - weight) / weight


class Spread(NamedTuple):
    """Weighted mean and scatter of all gradients so far, with one beta for both. West (1979), with weights that decay.

    scatter / weight is v - m^2 with bias correction, but as a sum of squares: never negative, no cancellation.
    """

    mean: Any
    scatter: Any
    weight: Any

    @classmethod
    def empty(cls, x):
        """Nothing seen yet, shaped like `x` of shape (..., d)."""
        return cls(zeros_like(x), zeros_like(x), zeros_like(x[..., :1]))

    def push(self, g, beta):
        """The spread after one more gradient, the past discounted by `beta`."""
        weight = beta * self.weight + (1 - beta)
        mean = self.mean + (1 - beta) / weight * (g - self.mean)
        return Spread(mean, beta * self.scatter + (1 - beta) * (g - self.mean) * (g - mean), weight)

    def variance(self, beta):
        """scatter / (weight (1 - rho)) = (1 + beta) scatter / (2 (weight - (1 - beta))): the variance of one gradient, without bias.

        0 after one gradient, which has no spread to show.
        """
        return (1 + beta) * self.scatter / positive(2 * (self.weight - (1 - beta)))


def expected_proxy(beta1=0.9, t=np.inf):
    """E[v - m^2] / s^2 = 1 - rho(beta1), for any beta2: bias-corrected averages of t gradients about a constant mean."""
    return 1 - mean_share(beta1, 1 - np.asarray(beta1, float) ** t)


def belief_moment(beta1=0.9):
    """2 beta1^2 / (1 + beta1): AdaBelief's E(g - m)^2 / s^2 in the long run. The deviation is taken about an m that holds g already."""
    return 2 * beta1**2 / (1 + beta1)


def proxies(g, beta1=0.9, beta2=0.999) -> dict[str, np.ndarray]:
    """Four readings of v - m^2 after every step, g of shape (steps, ..., d): with two betas or one, biased or not.

    'two betas': Adam's moments. 'uncorrected': the same without bias correction. 'one beta': beta2 for both.
    'one beta, unbiased': that over 1 - rho.
    """
    g = np.asarray(g, float)
    if g.ndim < 2:
        raise ShapeError(f"gradients need shape (steps, ..., d), got {g.shape}; write g[:, None]")
    require("beta1", beta1, "beta1")
    require("beta2", beta2, "beta2")
    m, v, spread = Average.empty(g[0]), Average.empty(g[0]), Spread.empty(g[0])
    rows = []
    for now in g:
        m, v, spread = m.push(now, beta1), v.push(now * now, beta2), spread.push(now, beta2)
        rows.append((v.mean - m.mean**2, v.total - m.total**2, spread.scatter / spread.weight, spread.variance(beta2)))
    names = ("two betas", "uncorrected", "one beta", "one beta, unbiased")
    return dict(zip(names, map(np.stack, zip(*rows, strict=True)), strict=True))


def walk_ratio(K):
    """q / r = K^2 / (1 - K): how fast the true gradient must wander for K to be the steady gain.  Muth (1960)."""
    K = require("K", K)
    if not (K < 1).all():
        raise HyperparameterError(f"K must be below 1, got {K.max():g}; it is 1 - beta1")
    return K**2 / (1 - K)


class Filtered(NamedTuple):
    """The exact posterior of a wandering gradient, given g_1 ... g_t: `mean` of the shape of g, `variance` and `gain` (steps,)."""

    mean: np.ndarray
    variance: np.ndarray
    gain: np.ndarray


def kalman(g, q, r=1.0, mean=0.0, variance=np.inf) -> Filtered:
    """P <- P + q, K = P / (P + r), mean <- mean + K (g - mean), P <- K r.  Kalman (1960), for a random walk seen through noise.

    g has shape (steps, ...); q and r are the variances of a step of the walk and of an observation; `mean` and
    `variance` are the belief before the first, by default none at all.
    """
    g, q, r = np.asarray(g, float), float(require("q", q, "eps")), float(require("r", r))
    if g.ndim == 0:
        raise ShapeError("observations need shape (steps, ...), got one number; write [g]")
    means, variances, gains = [], [], []
    for now in g:
        prior = variance + q
        K = 1.0 if np.isinf(prior) else prior / (prior + r)
        mean, variance = mean + K * (now - mean), K * r
        means.append(mean * np.ones_like(now))
        variances.append(variance)
        gains.append(K)
    return Filtered(np.stack(means), np.array(variances), np.array(gains))


def wandering(steps: int, runs: int, q, r=1.0, start=0.0, *, seed: int):
    """(true, g), each (steps, runs): a random walk with steps of variance q from `start`, and the walk seen through noise of variance r."""
    require("q", q, "eps")
    require("r", r)
    rng = np.random.default_rng(seed)
    true = start + np.cumsum(rng.normal(size=(steps, runs)) * np.sqrt(q), axis=0)
    return true, true + rng.normal(size=(steps, runs)) * np.sqrt(r)


def averaged(g, beta, start=None):
    """The average after every step, g of shape (steps, ...): bias-corrected from nothing, or, from `start`, as in its steady state."""
    g = np.asarray(g, float)
    average = Average.empty(g[0][..., None])
    if start is not None:
        average = Average(average.total + start, average.weight + 1.0)
    means = []
    for now in g:
        average = average.push(now[..., None], beta)
        means.append(average.mean[..., 0])
    return np.stack(means)


def excess(q, beta1=0.9, r=1.0, steps: int = 2000, runs: int = 32, *, seed: int) -> np.ndarray:
    """Mean squared error of m over that of the exact posterior mean, minus 1, of each run, second half: shape (runs,)."""
    true, g = wandering(steps, runs, q, r, seed=seed)
    half = slice(steps // 2, None)
    errors = [((m[half] - true[half]) ** 2).mean(0) for m in (averaged(g, beta1), kalman(g, q, r).mean)]
    return errors[0] / errors[1] - 1


def overstatement(
    q, r=1.0, beta1=0.9, beta2=0.999, steps: int = 4000, runs: int = 64, *, seed: int
) -> dict[str, np.ndarray]:
    """Each of the `proxies` over the squared error of m, of each run, second half; 'share of it' multiplies the last by the weight m needs,
    'over the noise' is Adam's proxy over r, the variance of one gradient.

    That weight is rho in front of a gradient that stands still (q = 0), and 1 - beta1 in front of a walk with q / r = `walk_ratio`.
    """
    true, g = wandering(steps, runs, q, r, start=1.0, seed=seed)
    half = slice(steps // 2, None)
    error = ((averaged(g, beta1)[half] - true[half]) ** 2).mean(0)
    level = {name: p[half, :, 0].mean(0) for name, p in proxies(g[..., None], beta1, beta2).items()}
    over = {name: p / error for name, p in level.items()}
    share = mean_share(beta1) if q == 0 else 1 - beta1
    return over | {"share of it": over["one beta, unbiased"] * share, "over the noise": level["two betas"] / r}
