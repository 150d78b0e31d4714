"""Moments of a closed network from its master equation, and how far a sample is from them."""

import numpy as np

from companion.experiments.tau_leaping.master_equation import MasterEquation


def oracle(network, name, times):
    """Mean and variance of a closed network from its master equation."""
    chain = MasterEquation(network)
    return chain.moments(chain.solve(times), name)


def scores(x, mean, var):
    """Z of the mean, and of the variance with the sample's own kurtosis; each (times,), standard normal if all is well."""
    n = len(x)
    deviation = x - x.mean(0)
    with np.errstate(invalid="ignore"):
        kurtosis = (deviation**4).mean(0) / (deviation**2).mean(0) ** 2
    z_mean = (x.mean(0) - mean) / np.sqrt(var / n)
    return z_mean, (x.var(0, ddof=1) / var - 1) / np.sqrt((kurtosis - 1) / n)
