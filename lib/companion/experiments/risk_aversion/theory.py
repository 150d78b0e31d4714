"""The rate of an agent that minimises E(loss) + aversion / 2 Var(loss), derived, and the rules that come of it.

One coordinate: the gradient is m, known with variance s^2; the curvature is h. `a` is the rate, the step is -a m.
"""

from typing import Any, NamedTuple

import numpy as np

from stepsize.errors import HyperparameterError, ShapeError

from .filtering import require


class Outlook(NamedTuple):
    """Mean and variance of the change of loss that a step brings."""

    mean: Any
    variance: Any

    def cost(self, aversion):
        """mean + aversion / 2 variance."""
        return self.mean + aversion / 2 * self.variance


def outlook(a, m, s, h) -> Outlook:
    """Step -a m along the belief, true gradient N(m, s^2): mean -a m^2 + h a^2 m^2 / 2, variance a^2 m^2 s^2."""
    return Outlook(-a * m**2 + h * a**2 * m**2 / 2, a**2 * m**2 * s**2)


def sampled_outlook(a, m, s, h) -> Outlook:
    """Step -a g along one observation g ~ N(m, s^2), true gradient m.

    mean -a m^2 + h a^2 (m^2 + s^2) / 2, variance a^2 m^2 s^2 (1 - h a)^2 + h^2 a^4 s^4 / 2.
    """
    mean = -a * m**2 + h * a**2 * (m**2 + s**2) / 2
    return Outlook(mean, a**2 * m**2 * s**2 * (1 - h * a) ** 2 + h**2 * a**4 * s**4 / 2)


def certainty_equivalent(a, m, s, h, aversion, nodes: int = 80):
    """log E exp(aversion dL) / aversion of the step -a m, by Gauss-Hermite quadrature: the sure loss an agent of constant aversion puts up with.

    Pratt (1964). Under a Gaussian belief the change of loss is Gaussian and this is `outlook(...).cost(aversion)`.
    """
    aversion = require("aversion", aversion)
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    exponent = aversion[..., None] * (-a * m)[..., None] * (np.asarray(m)[..., None] + np.asarray(s)[..., None] * z)
    top = exponent.max(-1, keepdims=True)
    mean = (np.exp(exponent - top) * w).sum(-1) / np.sqrt(2 * np.pi)
    return (np.log(mean) + top[..., 0]) / aversion + h * a**2 * m**2 / 2


def both_costs(a, s, h, aversion):
    """`outlook(...).cost` and `certainty_equivalent` of rates a, shape (n,), for a mean gradient of one known with variance s^2."""
    one = np.ones_like(a)
    return outlook(a, 1.0, s, h).cost(aversion), certainty_equivalent(a, one, s * one, h, aversion * one)


def averse_rate(s, h=0.0, aversion=1.0):
    """1 / (h + aversion s^2): the least cost of `outlook`, whatever m is.  Markowitz (1952) where h = 0."""
    s, h, aversion = require("s", s, "eps"), require("h", h, "eps"), require("aversion", aversion, "eps")
    bottom = h + aversion * s**2
    if not (bottom > 0).all():
        raise HyperparameterError(
            "h + aversion s^2 is 0: without curvature and without risk no step is too long; give one"
        )
    return 1 / bottom


def two_sided_rate(values, odds, aversion: float = 1.0) -> float:
    """The best rate a of an agent of constant aversion l that believes in `values` g with `odds` and steps along their mean m; no curvature.

    The bottom of log E exp(-l a m g) / l, where E[g exp(-l a m g)] = 0. It exists where some value has the other sign than
    m: else every longer step gains in all cases, and HyperparameterError is raised. Rothschild & Stiglitz (1971): it can
    *rise* under a spread of the values that keeps their mean.
    """
    from scipy.optimize import brentq

    values, odds = np.asarray(values, float), np.asarray(odds, float)
    m = odds @ values
    if not (values * m < 0).any():
        raise HyperparameterError(
            f"no value of {values} has another sign than their mean {m:g}: no step is too long; add one"
        )
    g, size = np.sign(m) * values, np.abs(values).max()

    def slope(x):  # E[g exp(-x g)], scaled by the largest exponential
        return odds @ (g * np.exp(-x * (g - g.min())))

    # slope(0) = |m| > 0, and where x is large the smallest g alone counts
    high = 1 / size
    while slope(high) > 0:
        high *= 2
    return brentq(slope, 0, high, xtol=1e-15, rtol=1e-14) / (aversion * abs(m))


#: A belief (values, odds), and the same with its larger value spread: the mean stays 9.5, the deviation grows from 10.5 to 12.7.
SPREAD = (((-1.0, 20.0), (0.5, 0.5)), ((-1.0, 10.0, 30.0), (0.5, 0.25, 0.25)))


def spread_power() -> float:
    """Power of the deviation s in `two_sided_rate` from the first belief of `SPREAD` to the second: positive."""

    def deviation(values, odds):
        values, odds = np.array(values), np.array(odds)
        return np.sqrt(odds @ (values - odds @ values) ** 2)

    rates, deviations = ([f(*belief) for belief in SPREAD] for f in (two_sided_rate, deviation))
    return np.log(rates[1] / rates[0]) / np.log(deviations[1] / deviations[0])


def powers_of_uncertainty() -> dict[str, np.ndarray]:
    """Powers of s in the best rate of five agents, m = 1 and aversion 1; over three sizes of noise, but for the last."""
    s = np.array([0.1, 1.0, 10.0])
    return {
        "the loss has no curvature": elasticity(averse_rate, s),
        "the loss has curvature": elasticity(lambda s: averse_rate(s, 1.0), s),
        "the agent walks along the gradient itself": elasticity(lambda s: sampled_rate(1.0, s, 1.0, 1.0), s),
        "the belief is two-valued and the aversion constant": elasticity(
            lambda s: np.array([two_sided_rate((1 - each, 1 + each), (0.5, 0.5)) for each in s]),
            1.5 * np.array([1.0, 3.0, 10.0]),
        ),
        "the belief is two-valued and the larger value is spread, aversion constant": np.array([spread_power()]),
    }


def powers_of_variance() -> dict[str, float]:
    """Power of the variance in the best rate of six agents, m = 1 and aversion 1, curvature 1 where there is one."""
    curved, sampled = (lambda s: averse_rate(s, 1.0)), (lambda s: sampled_rate(1.0, s, 1.0, 1.0))
    alone = "the agent walks along the gradient itself and the noise"
    agents = {
        "the loss has no curvature": (averse_rate, 1.0),
        "λs² is a hundred times the curvature": (curved, 10.0),
        "λs² equals the curvature": (curved, 1.0),
        "λs² is a hundredth of the curvature": (curved, 0.1),
        f"{alone} is ten times the signal": (sampled, 10.0),
        f"{alone} equals the signal": (sampled, 1.0),
    }
    return {condition: elasticity(rate, s) / 2 for condition, (rate, s) in agents.items()}


def averse_step(m, H, S, aversion=1.0):
    """(H + aversion S)^-1 m: the best step of many coordinates, belief N(m, S), Hessian H of shape (..., d, d)."""
    m, H, S = (np.asarray(a, float) for a in (m, H, S))
    if not H.shape[-2:] == S.shape[-2:] == (m.shape[-1:] * 2):
        raise ShapeError(f"shapes {m.shape}, {H.shape}, {S.shape} do not fit; give (..., d), (..., d, d), (..., d, d)")
    return np.linalg.solve(H + require("aversion", aversion, "eps") * S, m[..., None])[..., 0]


def averse_shared_rate(m, H, S, aversion=1.0):
    """m'm / m'(H + aversion S) m: the best rate when all coordinates must share one."""
    return (m * m).sum(-1) / np.einsum("...i,...ij,...j", m, H + aversion * S, m)


def sampled_rate(m, s, h, aversion):
    """The exact least cost of `sampled_outlook`, the best positive root of its derivative, a cubic in a:

    -m^2 + B a + C a^2 + D a^3,  B = h (m^2 + s^2) + l m^2 s^2,  C = -3 l h m^2 s^2,  D = l h^2 (2 m^2 s^2 + s^4), l the aversion.
    """
    m, s, h, aversion = np.broadcast_arrays(
        require("|m|", np.abs(m)), require("s", s, "eps"), require("h", h, "eps"), require("aversion", aversion, "eps")
    )
    noise = m**2 * s**2
    coefficients = (-(m**2), h * (m**2 + s**2) + aversion * noise, -3 * aversion * h * noise,
                    aversion * h**2 * (2 * noise + s**4))  # fmt: skip
    rate = np.empty(m.shape)
    for at in np.ndindex(m.shape):
        roots = np.roots([c[at] for c in coefficients[::-1]])
        real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
        if real.size == 0:
            raise HyperparameterError("h, s and aversion leave the cost without a minimum; give curvature or risk")
        cost = sampled_outlook(real, m[at], s[at], h[at]).cost(aversion[at])
        rate[at] = real[np.argmin(cost)]
    return rate


def quoted_rate(m, s, h, aversion):
    """m^2 / (h (m^2 + s^2) + aversion m^2 s^2): `sampled_rate` to leading order in h a; with aversion 0 exact, Schaul, Zhang & LeCun (2013)."""
    return m**2 / (h * (m**2 + s**2) + aversion * m**2 * s**2)


def implied_aversion(m, s, lr=1.0):
    """sqrt(m^2 + s^2) / (lr s^2): the aversion at which Adam's rate lr / sqrt(v), v = m^2 + s^2, would be `averse_rate` with h = 0."""
    return np.sqrt(np.square(m) + np.square(s)) / (lr * np.square(require("s", s)))


def elasticity(rate, s, step: float = 1e-5):
    """d log rate / d log s by central differences: -2 where the rate is inverse to the variance, -1 to the deviation."""
    up, down = rate(s * np.exp(step)), rate(s * np.exp(-step))
    return (np.log(up) - np.log(down)) / (2 * step)
