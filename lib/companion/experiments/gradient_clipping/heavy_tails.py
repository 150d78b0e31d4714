"""Gradients with heavy tails, and what clipping keeps of them."""

import numpy as np
from scipy.special import ndtri, stdtrit

from stepsize.errors import HyperparameterError

TAILS = ("normal", "t3", "t2", "t1.5", "t1.1", "spikes")


SPIKE_SHARE, SPIKE_SIZE = 0.005, 1000.0


def require_tail(tail: str) -> str:
    if tail not in TAILS:
        raise HyperparameterError(f"unknown tail {tail!r}; use one of {', '.join(TAILS)}")
    return tail


def heavy_tailed(tail: str, shape, rng) -> np.ndarray:
    """Symmetric noise with median |g| = 1: normal, Student t with 3 ... 1.1 degrees of freedom, or a normal whose whole vector (last axis) is 1000 times larger in 0.5 % of the cases."""
    if require_tail(tail) in ("normal", "spikes"):
        g = rng.standard_normal(shape)
        g /= ndtri(0.75)
        if tail == "spikes":
            # a spike hits the whole vector: the exploding batch, not the odd coordinate
            g[rng.random(shape[:-1]) < SPIKE_SHARE] *= SPIKE_SIZE
        return g
    nu = float(tail[1:])
    g = rng.standard_t(nu, shape)
    g /= stdtrit(nu, 0.75)
    return g


def kept_share(tail: str, c):
    """E min(|g|, c)^2 / E g^2 for a unit normal, a unit Laplace or a Pareto(a > 2) variable above 1 ("pareto3": a = 3).

    Normal: 2 Phi(c) - 1 - 2 c phi(c) + 2 c^2 (1 - Phi(c)). Laplace: 1 - (1 + c) e^-c. Pareto: 1 - 2 c^(2 - a) / a, c >= 1.
    """
    from scipy import stats

    c = np.asarray(c, float)
    if tail == "normal":
        return 2 * stats.norm.cdf(c) - 1 - 2 * c * stats.norm.pdf(c) + 2 * c**2 * stats.norm.sf(c)
    if tail == "laplace":
        return 1 - (1 + c) * np.exp(-c)
    if tail.startswith("pareto") and float(tail[6:]) > 2 and (c >= 1).all():
        a = float(tail[6:])
        return 1 - 2 * c ** (2 - a) / a
    raise HyperparameterError(f"kept_share knows normal, laplace and pareto with a > 2 for c >= 1, got {tail!r}")


def rms_step(index=2.0, beta1=0.9, beta2=0.999):
    """(1 - beta1) sqrt(r / (1 - beta1^2 beta2^(a - 1))), r = (1 - beta2^a) / (1 - beta2), a = index / 2: Adam's root mean square step in lr.

    For symmetric independent noise whose square is stable with exponent a, as Student's t with `index` < 2 degrees of freedom
    nearly is; index = 2 is the limit of light tails, sqrt((1 - beta1) / (1 + beta1)).
    """
    a = np.asarray(index, float) / 2
    return (1 - beta1) * np.sqrt((1 - beta2**a) / (1 - beta2) / (1 - beta1**2 * beta2 ** (a - 1)))


def rms_ceiling(beta1=0.9, beta2=0.999):
    """(1 - beta1) / sqrt(1 - beta1^2 / beta2): no symmetric independent noise, clipped or not, has a longer root mean square step, in lr."""
    return (1 - beta1) / np.sqrt(1 - beta1**2 / beta2)
