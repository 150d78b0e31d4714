"""Fisher information of logistic and linear regression: exact, enumerated, and the 'empirical' matrix that is none.

X has shape (..., n, d), y (..., n), parameters (..., d); leading axes are independent data sets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepsize.errors import NonFiniteError
from stepsize.metric import apply, solve


def outer_mean(scores):
    """Mean of s s' over the examples: scores (..., n, d) -> (..., d, d)."""
    return np.swapaxes(scores, -1, -2) @ scores / scores.shape[-2]


@dataclass(frozen=True, eq=False)
class Linear:
    """y ~ N(X x, 1); the loss is the mean of (X x - y)^2 / 2."""

    X: Any
    y: Any

    def mean(self, x):
        """E[y] of the model, of shape (..., n)."""
        return apply(self.X, x)

    def variance(self, x):
        """Var[y] of the model, of shape (..., n)."""
        return np.ones_like(self.mean(x))

    def loss(self, x):
        return ((self.mean(x) - self.y) ** 2).mean(-1) / 2

    def grad(self, x, t=None):
        """(E[y] - y) averaged with the inputs; `t` is ignored, so that `descend` can call it."""
        return apply(np.swapaxes(self.X, -1, -2), self.mean(x) - self.y) / self.X.shape[-2]

    def scores(self, x):
        """Gradient of every example's loss, of shape (..., n, d)."""
        return (self.mean(x) - self.y)[..., None] * self.X

    def fisher(self, x):
        """E_y[s s'] with y drawn from the *model*: X' Var[y] X / n.  Also the Hessian, the link being canonical."""
        return np.swapaxes(self.X, -1, -2) @ (self.variance(x)[..., None] * self.X) / self.X.shape[-2]

    def empirical(self, x):
        """Mean of s s' with the y that were *observed*; Kunstner, Hennig & Balles (2019) say why it isn't the Fisher information."""
        return outer_mean(self.scores(x))

    def minimiser(self, steps: int = 50, tolerance: float = 1e-11):
        """Newton's method with halved steps from 0; raises where the data have no finite minimiser."""
        x = np.zeros((*self.X.shape[:-2], self.X.shape[-1]))
        for _ in range(steps):
            g = self.grad(x)
            if np.abs(g).max() < tolerance and (self.variance(x).max(-1) > 1e-6).all():
                return x
            newton = solve(self.fisher(x), g)
            length = np.ones_like(newton[..., :1])
            for _ in range(30):
                worse = self.loss(x - length * newton) > self.loss(x) + 1e-12
                if not worse.any():
                    break
                length = np.where(worse[..., None], length / 2, length)
            x = x - length * newton
        raise NonFiniteError("Newton's method found no minimiser; are the two classes separable? draw more examples")


class Logistic(Linear):
    """y ~ Bernoulli(sigmoid(X x)), y in {0, 1}; the loss is the mean negative log-likelihood."""

    def mean(self, x):
        return (1 + np.tanh(apply(self.X, x) / 2)) / 2

    def variance(self, x):
        return 1 / (4 * np.cosh(np.clip(apply(self.X, x) / 2, -300, 300)) ** 2)

    def loss(self, x):
        z = apply(self.X, x)
        return (np.logaddexp(0, z) - self.y * z).mean(-1)

    def enumerated(self, x):
        """sum over y in {0, 1} of p(y) s s', example by example: the definition, without a formula for the variance."""
        p = self.mean(x)
        terms = ((p if y else 1 - p)[..., None] ** 0.5 * type(self)(self.X, y).scores(x) for y in (0.0, 1.0))
        return sum(outer_mean(term) for term in terms)


def batch_second_moment(scores, batch: int):
    """E[g_B^2] = mean^2 + (n - B) / (n - 1) (mean of s^2 - mean^2) / B, batches drawn without replacement.  Cochran (1977), theorem 2.2.

    What v settles at when x stands still. At B = 1 the diagonal of the empirical matrix, at B = n the squared gradient.
    """
    n, mean = scores.shape[-2], scores.mean(-2)
    return mean**2 + (n - batch) / max(n - 1, 1) * ((scores**2).mean(-2) - mean**2) / batch
