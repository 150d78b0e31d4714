"""A network small enough for its whole Hessian, and the curvature that an adaptive rule meets in it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stepsize.descent import walk


@dataclass(frozen=True, eq=False)
class TanhRegression:
    """Half the mean square error of b + w . tanh(u s + c) on points (s, y), both of shape (n,).  Full batch, no noise.

    theta (..., 3 hidden + 1) holds u, c, w of one entry for each hidden unit, and b; leading axes are independent networks.
    Only analytic operations are used, so that theta may be complex: `hessian` asks for that.
    """

    s: np.ndarray
    y: np.ndarray
    hidden: int

    def start(self, runs: int, rng: np.random.Generator) -> np.ndarray:
        """Weights normal with variance 1 / inputs, biases 0, shape (runs, 3 hidden + 1)."""
        u, w = rng.standard_normal((2, runs, self.hidden))
        return np.concatenate([u, 0 * u, w / np.sqrt(self.hidden), np.zeros((runs, 1))], -1)

    def _forward(self, theta):
        u, c, w = np.moveaxis(theta[..., :-1].reshape(*theta.shape[:-1], 3, self.hidden), -2, 0)
        unit = np.tanh(u[..., None, :] * self.s[:, None] + c[..., None, :])  # (..., n, hidden)
        return w, unit, (unit @ w[..., None])[..., 0] + theta[..., -1:] - self.y

    def f(self, theta):
        return (self._forward(theta)[-1] ** 2).mean(-1) / 2

    def grad(self, theta, t=None):
        w, unit, error = self._forward(theta)
        error = error / len(self.s)
        inner = error[..., None] * (1 - unit**2) * w[..., None, :]  # d loss / d (u s + c)
        parts = (inner * self.s[:, None]).sum(-2), inner.sum(-2), (error[..., None] * unit).sum(-2)
        return np.concatenate([*parts, error.sum(-1, keepdims=True)], -1)


def chebyshev_fit(hidden: int = 16, n: int = 20) -> TanhRegression:
    """The network on n equidistant points of the Chebyshev polynomial of degree four, 8 s^4 - 8 s^2 + 1."""
    s = np.linspace(-1, 1, n)
    return TanhRegression(s, 8 * s**4 - 8 * s**2 + 1, hidden)


def hessian(grad, x, h: float = 1e-30) -> np.ndarray:
    """Im grad(x + i h e_j) / h, shape (..., d, d): exact to rounding, since nothing cancels.  Squire & Trapp (1998)."""
    return np.imag(grad(x[..., None, :] + 1j * h * np.eye(x.shape[-1]))) / h


def preconditioned_sharpness(grad, x, rate) -> np.ndarray:
    """Largest eigenvalue of diag(rate) H, shape (...): rate times curvature, in many coordinates.  Cohen et al. (2022).

    `rate` (..., d) is the effective rate of every coordinate. With roots on both sides of H the matrix is symmetric.
    """
    root = np.sqrt(rate)
    return np.linalg.eigvalsh(root[..., :, None] * hessian(grad, x) * root[..., None, :])[..., -1]


class Training(NamedTuple):
    """Along a training, at the steps `time` (n,): preconditioned sharpness and loss, both (n, ...)."""

    time: np.ndarray
    sharpness: np.ndarray
    loss: np.ndarray


def watch_sharpness(rule, network: TanhRegression, theta, steps: int, every: int) -> Training:
    """Train by `rule` from `theta` and record every `every`-th step; the rate is that of the step that has just been made."""
    seen = []
    for t, now in zip(range(1, steps + 1), walk(rule, network.grad, theta), strict=False):
        if t % every == 0:
            seen.append((t, preconditioned_sharpness(network.grad, now.x, now.rate), network.f(now.x)))
    return Training(*map(np.array, zip(*seen, strict=True)))
