"""Independent references: what torch does, and direct loops that keep a step counter as the papers write them."""

import math
from functools import partial

import numpy as np
import torch

from stepsize import (
    SGD,
    AdaBelief,
    AdaGrad,
    Adam,
    AMSGrad,
    ClipByNorm,
    ClipByValue,
    Coupled,
    Decoupled,
    HeavyBall,
    InverseRoot,
    LinearDecay,
    RMSProp,
    SignDescent,
    chain,
)
from stepsize.wrappers import Pooled

STEPS, D = 200, 7
# powers of ten between the coordinates, and noise, so that eps, the correction and the averages all matter
CURVATURE = np.logspace(-2, 1, D)
NOISE = np.random.default_rng(20).standard_normal((STEPS, D)) * CURVATURE
START = np.random.default_rng(21).standard_normal(D)


def gradient(x, t):
    """Of a noisy quadratic; `x` may be an array or a tensor of shape (..., D)."""
    h, noise = CURVATURE, NOISE[t]
    return torch.as_tensor(h) * x + torch.as_tensor(noise) if isinstance(x, torch.Tensor) else h * x + noise


def iterates(rule, x):
    """The iterates of `rule` from `x`, an array or a tensor, by the contract alone."""
    state, path = rule.init(x), []
    for t in range(STEPS):
        state, rate, direction = rule.step(state, gradient(x, t), x)
        x = x - rate * direction
        path.append(np.asarray(x))
    return np.stack(path)


def torch_iterates(factory):
    """The iterates of a torch optimizer on the same gradients."""
    p = torch.nn.Parameter(torch.tensor(START))
    optimizer, path = factory([p]), []
    for t in range(STEPS):
        p.grad = gradient(p.detach(), t)
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.stack(path)


BETAS = {"betas": (0.8, 0.99)}
#: rule, and the torch optimizer that it must equal. eps is large enough to see on which side of the root it stands.
TORCH = {
    "SGD": (SGD(0.05), partial(torch.optim.SGD, lr=0.05)),
    "HeavyBall": (HeavyBall(0.02, 0.8), partial(torch.optim.SGD, lr=0.02, momentum=0.8)),
    "AdaGrad": (AdaGrad(0.3, 1e-3, 0.2), partial(torch.optim.Adagrad, lr=0.3, eps=1e-3, initial_accumulator_value=0.2)),
    "RMSProp": (RMSProp(0.03, 0.95, 1e-3), partial(torch.optim.RMSprop, lr=0.03, alpha=0.95, eps=1e-3)),
    "Adam": (Adam(0.05, 0.8, 0.99, 1e-3), partial(torch.optim.Adam, lr=0.05, eps=1e-3, **BETAS)),
    "AMSGrad": (
        AMSGrad(0.05, 0.8, 0.99, 1e-3),
        partial(torch.optim.Adam, lr=0.05, eps=1e-3, amsgrad=True, **BETAS),
    ),
    "AdamW": (
        Decoupled(Adam(0.05, 0.8, 0.99, 1e-3), 0.1),
        partial(torch.optim.AdamW, lr=0.05, eps=1e-3, weight_decay=0.1, **BETAS),
    ),
    "Adam, coupled": (
        Coupled(Adam(0.05, 0.8, 0.99, 1e-3), 0.1),
        partial(torch.optim.Adam, lr=0.05, eps=1e-3, weight_decay=0.1, **BETAS),
    ),
    "SGD, coupled": (Coupled(SGD(0.05), 0.1), partial(torch.optim.SGD, lr=0.05, weight_decay=0.1)),
    "HeavyBall, coupled": (
        Coupled(HeavyBall(0.02, 0.8), 0.1),
        partial(torch.optim.SGD, lr=0.02, momentum=0.8, weight_decay=0.1),
    ),
    "AdaGrad, coupled": (
        Coupled(AdaGrad(0.3, 1e-3), 0.1),
        partial(torch.optim.Adagrad, lr=0.3, eps=1e-3, weight_decay=0.1),
    ),
    "RMSProp, coupled": (
        Coupled(RMSProp(0.03, 0.95, 1e-3), 0.1),
        partial(torch.optim.RMSprop, lr=0.03, alpha=0.95, eps=1e-3, weight_decay=0.1),
    ),
}


def sign_loop(x):
    for t in range(STEPS):
        x = [a - math.copysign(0.02, g) for a, g in zip(x, gradient(x, t), strict=True)]
        yield x


def adabelief_loop(x):
    """Zhuang et al. (2020), algorithm 2, coordinate by coordinate with a step counter."""
    m, s = [0.0] * D, [0.0] * D
    for t in range(1, STEPS + 1):
        for i, g in enumerate(gradient(x, t - 1)):
            m[i] = 0.8 * m[i] + 0.2 * g
            s[i] = 0.99 * s[i] + 0.01 * (g - m[i]) ** 2 + 1e-3
            x[i] -= 0.05 * (m[i] / (1 - 0.8**t)) / (math.sqrt(s[i] / (1 - 0.99**t)) + 1e-3)
        yield x


def inverse_root_loop(x):
    for t in range(1, STEPS + 1):
        x = [a - 0.1 / math.sqrt(t) * g for a, g in zip(x, gradient(x, t - 1), strict=True)]
        yield x


def linear_decay_loop(x):
    for t in range(1, STEPS + 1):
        lr = 0.1 * max(0.0, 1 - (t - 1) / 150)
        x = [a - lr * g for a, g in zip(x, gradient(x, t - 1), strict=True)]
        yield x


def pooled_loop(x):
    total = 0.0
    for t in range(STEPS):
        g = gradient(x, t)
        total += sum(b * b for b in g) / D
        x = [a - 0.3 * b / (math.sqrt(total) + 1e-3) for a, b in zip(x, g, strict=True)]
        yield x


def clip_by_norm_loop(x):
    for t in range(STEPS):
        g = gradient(x, t)
        length = math.hypot(*g)
        x = [a - 0.05 * (b * 2.0 / length if length > 2.0 else b) for a, b in zip(x, g, strict=True)]
        yield x


def clip_by_value_loop(x):
    for t in range(STEPS):
        x = [a - 0.05 * min(max(b, -0.5), 0.5) for a, b in zip(x, gradient(x, t), strict=True)]
        yield x


#: rule, and a direct loop for what torch has not.
LOOPS = {
    "SignDescent": (SignDescent(0.02), sign_loop),
    "AdaBelief": (AdaBelief(0.05, 0.8, 0.99, 1e-3), adabelief_loop),
    "InverseRoot": (InverseRoot(SGD(0.1)), inverse_root_loop),
    "LinearDecay": (LinearDecay(SGD(0.1), 150), linear_decay_loop),
    "Pooled": (Pooled(AdaGrad(0.3, 1e-3)), pooled_loop),
    "ClipByNorm": (chain(ClipByNorm(2.0), SGD(0.05)), clip_by_norm_loop),
    "ClipByValue": (chain(ClipByValue(0.5), SGD(0.05)), clip_by_value_loop),
}

RULES = {name: rule for name, (rule, _) in (TORCH | LOOPS).items()}


def reference(name):
    """The iterates that the rule of this name must produce, shape (STEPS, D)."""
    if name in TORCH:
        return torch_iterates(TORCH[name][1])
    return np.array([list(x) for x in LOOPS[name][1](list(START))])
