"""What can be said of a federation before it runs: best weights, what local steps make of them, and who loses."""

import numpy as np

from stepsize.metric import apply

from .clients import LeastSquares


def aitken(clients: LeastSquares, variance):
    """(sum_k X_k'X_k / s_k^2)^-1 sum_k X_k'y_k / s_k^2, the best linear unbiased estimate of a common theta.  Aitken (1935).

    variance (clients, 1) or (..., clients, 1); returns (..., d).
    """
    w = clients.n / variance
    matrix = (w[..., None] * clients.gram).sum(-3)
    return np.linalg.solve(matrix, (w * clients.moment).sum(-2)[..., None])[..., 0]


def matrix_average(clients: LeastSquares, variance):
    """The same from the clients' own solutions theta_k, each weighted with the matrix X_k'X_k / s_k^2; (..., d)."""
    precision = (clients.n / variance)[..., None] * clients.gram
    weighted = apply(precision, clients.fit().theta).sum(-2)
    return np.linalg.solve(precision.sum(-3), weighted[..., None])[..., 0]


def resting_point(clients: LeastSquares, rates, steps: int, weights):
    """Where theta rests when client k takes `steps` steps with rates[k]: sum_k w_k (I - (I - rate_k H_k)^steps)(theta - theta_k) = 0; (..., d).

    rates and weights (..., clients, 1).
    """
    eye = np.eye(clients.moment.shape[-1])
    done = eye - np.linalg.matrix_power(eye - np.asarray(rates)[..., None] * clients.gram, steps)
    pull = np.asarray(weights)[..., None] * done
    return np.linalg.solve(pull.sum(-3), apply(pull, clients.fit().theta).sum(-2)[..., None])[..., 0]


def effective_share(rates, steps):
    """w_k ~ 1 - (1 - rate_k)^steps: the share of client k after `steps` local steps where all curvatures are 1; (..., clients)."""
    pull = 1 - (1 - np.asarray(rates, float)) ** np.asarray(steps)[..., None]
    return pull / pull.sum(-1, keepdims=True)


def noisy_error(shift, variance, d: int, n: int, weights):
    """d/n sum_k w_k^2 s_k^2 + (1 - w_K)^2 shift^2: expected squared error of the last client, who lies `shift` from the others."""
    w, variance = np.asarray(weights, float), np.asarray(variance, float)
    return d / n * (w**2 * variance).sum(-1) + (1 - w[..., -1]) ** 2 * np.square(shift)


def crossover(variance, d: int, n: int) -> float:
    """The shift up to which the last client gains from inverse variances over equal weights: where the two values of `noisy_error` are equal."""
    variance = np.asarray(variance, float)
    equal, inverse = np.full(variance.size, 1 / variance.size), (1 / variance) / (1 / variance).sum()
    saved = d / n * ((equal**2 - inverse**2) * variance).sum()
    return float(np.sqrt(saved / ((1 - inverse[-1]) ** 2 - (1 - equal[-1]) ** 2)))
