"""Thousands of trainings in machine code: Adam on noisy bowls, one bowl with all its rates after the other."""

import numba
import numpy as np

from companion.experiments.compiled import add_product
from stepsize.contract import hyperparameters
from stepsize.kernels import loop
from stepsize.rules import Adam

_step = loop(Adam())
_, BETA1, BETA2, EPS = hyperparameters(Adam()).values()


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
    for b in range(bowls):
        x, g, m, v = np.empty((rates, d)), np.empty((rates, d)), np.zeros((rates, d)), np.zeros((rates, d))
        w_m, w_v = np.zeros((rates, 1)), np.zeros((rates, 1))
        for k in range(rates):
            for i in range(d):
                x[k, i] = x0[b, i]
        for t in range(steps + 1):
            for k in range(rates):
                for i in range(d):
                    g[k, i] = 0
            add_product(x, A[b], g)
            for k in range(rates):
                if t > steps - last:
                    for i in range(d):
                        loss[k, b] += x[k, i] * g[k, i] / (2 * last)
                if t < steps:
                    square = 0.0
                    for i in range(d):
                        g[k, i] += noise[t, b, i]
                        square += g[k, i] * g[k, i]
                    if square > limit * limit:
                        share = limit / np.sqrt(square)
                        for i in range(d):
                            g[k, i] *= share
                    _step(x[k], g[k], m[k], w_m[k], v[k], w_v[k], lrs[k], BETA1, BETA2, EPS, True)
    return loss
