"""Thousands of trainings in machine code: Adam on noisy bowls, one bowl with all its rates after the other."""

import numba
import numpy as np

from companion.experiments.compiled import add_product
from stepsize.contract import hyperparameters
from stepsize.kernels import loop
from stepsize.rules import Adam

_step = loop(Adam())
_, BETA1, BETA2, EPS = hyperparameters(Adam()).values()


#: Bowls whose steps are made in one call, side by side in memory: so many that vector units are full, so few that the cache holds them.
BLOCK = 32


# not cached: numba would not notice that the formula of the rule has changed
@numba.njit(error_model="numpy", no_cfunc_wrapper=True)
def adam_late_losses(A, x0, noise, lrs, limit, last):
    """Means of f = x'A x / 2 over the `last` steps, (lrs, bowls): Adam, its gradients A x + noise scaled to a norm of at most `limit`.

    A (bowls, d, d), x0 (bowls, d), noise (steps, bowls, d), lrs (rates,). Arrays are filled entry by entry: for x[:] = y numba
    compiles for seconds.
    """
    steps, bowls, d = noise.shape
    rates = lrs.size
    loss = np.zeros((rates, bowls))
    x_b, g_b = np.empty((rates, d)), np.empty((rates, d))
    for first in range(0, bowls, BLOCK):
        n = min(BLOCK, bowls - first)
        x, g = np.empty((rates, n * d)), np.empty((rates, n * d))
        m, v = np.zeros((rates, n * d)), np.zeros((rates, n * d))
        w_m, w_v = np.zeros((rates, 1)), np.zeros((rates, 1))
        for k in range(rates):
            for b in range(n):
                for i in range(d):
                    x[k, b * d + i] = x0[first + b, i]
        for t in range(steps + 1):
            for b in range(n):
                for k in range(rates):
                    for i in range(d):
                        x_b[k, i] = x[k, b * d + i]
                        g_b[k, i] = 0
                add_product(x_b, A[first + b], g_b)
                for k in range(rates):
                    if t > steps - last:
                        for i in range(d):
                            loss[k, first + b] += x_b[k, i] * g_b[k, i] / (2 * last)
                    if t < steps:
                        for i in range(d):
                            g_b[k, i] += noise[t, first + b, i]
                        share = 1.0
                        if limit < np.inf:
                            square = 0.0
                            for i in range(d):
                                square += g_b[k, i] * g_b[k, i]
                            if square > limit * limit:
                                share = limit / np.sqrt(square)
                        for i in range(d):
                            g[k, b * d + i] = g_b[k, i] * share
            if t < steps:
                for k in range(rates):
                    _step(x[k], g[k], m[k], w_m[k], v[k], w_v[k], lrs[k], BETA1, BETA2, EPS, True)
    return loss
