"""How long a step can get: closed forms for what the rules do on a plateau, on a cliff, and in the worst case.

All lengths are in units of lr, for eps = 0. `t` and `k` count steps from 1; everything broadcasts.
"""

import numpy as np

from .errors import HyperparameterError

#: zeta(1/2), the constant term of 1 + 1/sqrt(2) + ... + 1/sqrt(T) - 2 sqrt(T).
ZETA_HALF = -1.4603545088095868


def adam_cliff(k, beta1=0.9, beta2=0.999, plateau=np.inf, contrast=np.inf):
    """u_k = m / sqrt(v) at the k-th gradient G after `plateau` gradients g, G = contrast g.

    With s = plateau + k:  m = (1 - beta1^k + beta1^k (1 - beta1^plateau) / contrast) / (1 - beta1^s), v alike with
    beta2 and contrast^2. The default, an endless plateau and an infinite contrast, is (1 - beta1^k) / sqrt(1 - beta2^k).
    """
    k, plateau, contrast = (np.asarray(a, float) for a in (k, plateau, contrast))

    def moment(beta, past):
        return (1 - beta**k + beta**k * (1 - beta**plateau) * past) / (1 - beta ** (plateau + k))

    return moment(beta1, 1 / contrast) / np.sqrt(moment(beta2, contrast**-2.0))


def adam_cliff_peak(beta1=0.9, beta2=0.999):
    """(k, u_k) of the longest step that a cliff makes; k = 1 where nothing is gained by waiting."""
    # where beta2 remembers more than twice as long as beta1, u falls from 2.2 / (1 - beta1) on
    k = np.arange(1, 4 + int(min(20 / (1 - max(beta1, beta2)), 40 / (1 - beta1))))
    u = adam_cliff(k, beta1, beta2)
    return int(k[u.argmax()]), float(u.max())


def adam_spike(beta1=0.9, beta2=0.999):
    """max(1, (1 - beta1) / sqrt(1 - beta2)): the bound on a step given by Kingma & Ba (2015), section 2.1.

    It is the response to one gradient after none, and the first steep step of a cliff.
    """
    return np.maximum(1.0, (1 - np.asarray(beta1)) / np.sqrt(1 - np.asarray(beta2)))


def adam_worst(t=np.inf, beta1=0.9, beta2=0.999):
    """max of |m_t / sqrt(v_t)| over all gradients g_1 ... g_t; attained by `adam_worst_gradients`. Zhang, Zou & Cao (2024), lemma.

    With q = beta1^2 / beta2, by Cauchy and Schwarz,
    (1 - beta1) / sqrt(1 - beta2) * sqrt((1 - q^t) / (1 - q)) * sqrt(1 - beta2^t) / (1 - beta1^t).
    Infinite at t = inf where beta1^2 >= beta2.
    """
    t, beta1, beta2 = np.broadcast_arrays(*(np.asarray(a, float) for a in (t, beta1, beta2)))
    if not np.all((beta1 >= 0) & (beta1 < 1) & (beta2 > 0) & (beta2 < 1) & (t >= 1)):
        raise HyperparameterError("adam_worst needs beta1 in [0, 1), beta2 in (0, 1) and t >= 1")
    q = beta1**2 / beta2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # sum of q^i for i < t, also where q = 1
        total = np.where(q == 1, t, (1 - q**t) / (1 - q))
    return (1 - beta1) / np.sqrt(1 - beta2) * np.sqrt(total) * np.sqrt(1 - beta2**t) / (1 - beta1**t)


def adam_worst_gradients(t: int, beta1=0.9, beta2=0.999):
    """g_j = (beta2 / beta1)^(j - t), j = 1 ... t: gradients that grow geometrically make the longest step at t."""
    return (beta2 / beta1) ** (np.arange(1.0, t + 1) - t)


def adagrad_distance(T):
    """sum of 1/sqrt(t), t = 1 ... T: how far AdaGrad gets on a plateau, whatever its slope. 2 sqrt(T) + zeta(1/2) + O(1/sqrt(T))."""
    return (1 / np.sqrt(np.arange(1.0, T + 1))).sum()


def adagrad_cliff(plateau, contrast=np.inf):
    """AdaGrad's first steep step after `plateau` gradients g, G = contrast g: 1 / sqrt(1 + plateau / contrast^2)."""
    return 1 / np.sqrt(1 + np.asarray(plateau) / np.asarray(contrast, float) ** 2)


def rmsprop_cliff(k, beta=0.99):
    """RMSProp's k-th steep step after an endless plateau: 1 / sqrt(1 - beta^k)."""
    return 1 / np.sqrt(1 - np.asarray(beta) ** k)


def ema_threshold(beta1=0.9):
    """rate * curvature above which an averaged gradient oscillates out of a parabola: 2 (1 + beta1) / (1 - beta1).  Cohen et al. (2022), equation 2."""
    return 2 * (1 + beta1) / (1 - beta1)


def spike_brake(size, beta2=0.999):
    """1 / sqrt(beta2 + (1 - beta2) size^2): the rate in the very step of a spike over the rate before it, gradients of size 1 before."""
    return 1 / np.sqrt(beta2 + (1 - beta2) * np.square(np.asarray(size, float)))


def spike_step(size, beta1=0.9, beta2=0.999):
    """(1 - beta1) size / sqrt(beta2 + (1 - beta2) size^2): Adam's step at a spike, where m was 0 before."""
    return (1 - beta1) * np.asarray(size, float) * spike_brake(size, beta2)


def spike_knee(beta2=0.999):
    """1 / sqrt(1 - beta2): the spike from which on the step stops growing; its brake is 1 / sqrt(1 + beta2)."""
    return 1 / np.sqrt(1 - beta2)


def spike_halved(beta2=0.999):
    """sqrt((4 - beta2) / (1 - beta2)): the smallest spike whose step v at least halves."""
    return np.sqrt((4 - beta2) / (1 - beta2))


def adam_ratio(ratio, beta2, steps):
    """1 / sqrt(1 + (1/ratio^2 - 1) beta2^k): the rate relative to the quiet rate, k steps after it was `ratio`.

    From v_k = v_q + (v_b - v_q) beta2^k, whatever raised v: a burst, or a spike, after which ratio = `spike_brake`. While
    v_b >> v_q the excess of v halves every ln 2 / ln(1/beta2) steps, the rate doubles every two of them.
    """
    return 1 / np.sqrt(1 + (1 / np.square(ratio) - 1) * np.power(beta2, steps))


def steps_until(restored, ratio, beta2):
    """ln((1/ratio^2 - 1) / (1/restored^2 - 1)) / ln(1/beta2): when `adam_ratio` reaches `restored`."""
    return np.log((1 / np.square(ratio) - 1) / (1 / np.square(restored) - 1)) / -np.log(beta2)


def reach(gap=np.inf, beta1=0.9, beta2=0.999):
    """D(T) = (1 - beta1) / (1 - beta1^T) sqrt((1 - beta2^T) / (1 - beta2)) (1 - rho^T) / (1 - rho),  rho = beta1 / sqrt(beta2).

    How far dense Adam moves, in units of lr, between two visits T steps apart with equal gradients; about sqrt(T) for
    T << 1 / (1 - beta2). T = inf, 31.77, is all that follows one huge or one single gradient: its own step and the rest.
    """
    rho = beta1 / beta2**0.5
    return (1 - beta1) / (1 - beta1**gap) * ((1 - beta2**gap) / (1 - beta2)) ** 0.5 * (1 - rho**gap) / (1 - rho)


def adagrad_ratio(quiet, burst):
    """sqrt(S / (S + B)): AdaGrad's rate after a burst over its rate without one; S, B sums of squared gradients."""
    return np.sqrt(quiet / (quiet + burst))


def time_debt(burst, quiet_per_step):
    """B / E[g^2]: AdaGrad after the burst is where the quiet stream brings it this many steps later."""
    return burst / quiet_per_step
