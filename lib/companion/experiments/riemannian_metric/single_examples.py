"""Many walks of Adam from one start on the surface of normal distributions, each on single examples, in machine code."""

import numpy as np

from companion.experiments.compiled import compiled


@compiled
def adam_on_singles(y, x, m, v, seen, log, lr, beta1, beta2, eps, means):
    """The next len(y) steps of Adam on the examples y ~ N(0, 1) of shape (steps, runs), after `seen` steps; x, m, v (2, runs) in place.

    x is (mu, sigma) or, with `log`, (mu, log sigma); the gradient is that of -log N(y; mu, sigma^2). `means` (steps, 2) takes the
    mean of (mu, sigma) over the runs after each step. `stepsize.rules.Adam`, with the two weights divided out beforehand.
    """
    steps, runs = y.shape
    sigma, g = np.empty(runs), np.empty((2, runs))
    for k in range(runs):
        sigma[k] = np.exp(x[1, k]) if log else x[1, k]
    for t in range(steps):
        age = seen + t + 1
        rate, weight = lr / (1 - beta1**age), 1 / (1 - beta2**age)
        for k in range(runs):
            inverse = 1 / sigma[k]
            z = (y[t, k] - x[0, k]) * inverse
            g[0, k] = -z * inverse
            g[1, k] = 1 - z * z if log else (1 - z * z) * inverse
        for i in range(2):
            for k in range(runs):
                m[i, k] = beta1 * m[i, k] + (1 - beta1) * g[i, k]
                v[i, k] = beta2 * v[i, k] + (1 - beta2) * g[i, k] * g[i, k]
                x[i, k] -= rate * m[i, k] / (np.sqrt(weight * v[i, k]) + eps)
        mu, deviation = 0.0, 0.0
        for k in range(runs):
            sigma[k] = np.exp(x[1, k]) if log else x[1, k]
        for k in range(runs):
            mu += x[0, k]
            deviation += sigma[k]
        means[t, 0], means[t, 1] = mu / runs, deviation / runs
