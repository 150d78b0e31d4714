"""What every rule must produce: as torch does it, or as a direct loop with a step counter, as the papers write it.

Each entry has settings under which every part of the formula matters (eps is large enough to see on which side of the
root it stands), and mutants: a whole term of the formula, and what it is broken to, which the comparison must notice.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from stepsize import (
    ADOPT,
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
    Lion,
    Pooled,
    Prodigy,
    RMSProp,
    RowAdaGrad,
    ScheduleFree,
    SignDescent,
    chain,
)

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


class Reference(NamedTuple):
    """A rule, its mutants (old, new), a function that returns the iterates (STEPS, D) it must produce, torch's optimizer."""

    rule: Any
    mutants: list[tuple[str, str]]
    iterates: Callable
    factory: Callable | None = None


REFERENCES: dict[str, Reference] = {}


def as_torch(rule, optimizer, settings, mutants, name=None):
    """The rule must equal a torch optimizer with these settings; `name` is that of its class where none is given."""
    factory = partial(optimizer, **settings)
    REFERENCES[name or type(rule).__name__] = Reference(rule, mutants, partial(torch_iterates, factory), factory)


def as_loop(rule, mutants, name=None):
    """The rule must equal the decorated loop, which yields the iterates from a start given as a list of D numbers."""

    def register(loop):
        REFERENCES[name or type(rule).__name__] = Reference(
            rule, mutants, lambda: np.array([list(x) for x in loop(list(START))])
        )
        return loop

    return register


# ---------------------------------------------------------------- rules

as_torch(
    SGD(0.05),
    torch.optim.SGD,
    {"lr": 0.05},
    [
        ("(state, constant(self.lr, g), g)", "(state, constant(self.lr, g), -g)"),
        ("constant(self.lr, g)", "constant(self.lr, g) ** 2"),
    ],
)

as_torch(
    HeavyBall(0.02, 0.8),
    torch.optim.SGD,
    {"lr": 0.02, "momentum": 0.8},
    [
        ("self.momentum * b + g", "self.momentum * b - g"),
        ("self.momentum * b + g", "self.momentum * b + (1 - self.momentum) * g"),
        ("return b, constant(self.lr, g), b", "return b, constant(self.lr, g), g"),
        ("b, constant(self.lr, g), b", "g, constant(self.lr, g), b"),
    ],
)


@as_loop(SignDescent(0.02), [("sign(g)", "g"), ("sign(g)", "-sign(g)")])
def sign_descent(x):
    for t in range(STEPS):
        x = [a - math.copysign(0.02, g) for a, g in zip(x, gradient(x, t), strict=True)]
        yield x


@as_loop(
    Lion(0.02, 0.7, 0.95),
    [
        ("sign(self.beta1 * m + (1 - self.beta1) * g)", "sign(self.beta2 * m + (1 - self.beta2) * g)"),
        ("sign(self.beta1 * m + (1 - self.beta1) * g)", "sign(g)"),
        ("sign(self.beta1 * m + (1 - self.beta1) * g)", "self.beta1 * m + (1 - self.beta1) * g"),
        ("self.beta2 * m + (1 - self.beta2) * g", "self.beta1 * m + (1 - self.beta1) * g"),
        ("self.beta2 * m + (1 - self.beta2) * g", "self.beta2 * m + g"),
        ("constant(self.lr, g)", "constant(self.lr, g) ** 2"),
    ],
)
def lion(x):
    """Chen et al. (2023), algorithm 2, coordinate by coordinate."""
    m = [0.0] * D
    for t in range(STEPS):
        for i, g in enumerate(gradient(x, t)):
            x[i] -= math.copysign(0.02, 0.7 * m[i] + 0.3 * g)
            m[i] = 0.95 * m[i] + 0.05 * g
        yield x


as_torch(
    AdaGrad(0.3, 1e-3, 0.2),
    torch.optim.Adagrad,
    {"lr": 0.3, "eps": 1e-3, "initial_accumulator_value": 0.2},
    [
        ("sqrt(s) + self.eps", "sqrt(s + self.eps)"),
        ("s + g * g", "s + abs(g)"),
        ("s = s + g * g", "s = g * g"),
        ("constant(self.initial, x)", "zeros_like(x)"),
        ("self.lr / (sqrt(s) + self.eps)", "-self.lr / (sqrt(s) + self.eps)"),
    ],
)


@as_loop(
    RowAdaGrad(0.3, 1e-3, 0.2),
    [
        ("rms(g) ** 2", "rms(g)"),
        ("rms(g) ** 2", "g * g"),
        ("rms(g) ** 2", "g.shape[-1] * rms(g) ** 2"),
        ("s = s + rms(g) ** 2", "s = rms(g) ** 2"),
        ("constant(self.initial, first(x))", "zeros_like(first(x))"),
        ("sqrt(s) + self.eps", "sqrt(s + self.eps)"),
        ("self.lr / (sqrt(s) + self.eps)", "-self.lr / (sqrt(s) + self.eps)"),
    ],
)
def row_adagrad(x):
    """The x of this test is one row."""
    total = 0.2
    for t in range(STEPS):
        g = gradient(x, t)
        total += sum(b * b for b in g) / D
        x = [a - 0.3 * b / (math.sqrt(total) + 1e-3) for a, b in zip(x, g, strict=True)]
        yield x


as_torch(
    RMSProp(0.03, 0.95, 1e-3),
    torch.optim.RMSprop,
    {"lr": 0.03, "alpha": 0.95, "eps": 1e-3},
    [
        ("sqrt(v) + self.eps", "sqrt(v + self.eps)"),
        ("sqrt(v)", "v"),
        ("self.beta * v + (1 - self.beta) * g * g", "(1 - self.beta) * v + self.beta * g * g"),
        ("(1 - self.beta) * g * g", "g * g"),
        ("self.lr / (sqrt(v) + self.eps)", "-self.lr / (sqrt(v) + self.eps)"),
    ],
)

as_torch(
    Adam(0.05, 0.8, 0.99, 1e-3),
    torch.optim.Adam,
    {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3},
    [
        ("sqrt(v.mean) + self.eps", "sqrt(v.mean + self.eps)"),
        ("sqrt(v.mean) + self.eps", "sqrt(v.mean) - self.eps"),
        ("sqrt(v.mean) + self.eps", "sqrt(v.total) + self.eps"),
        ("m.mean", "m.total"),
        ("m.mean", "g"),
        ("state.m.push(g, self.beta1)", "state.m.push(g, self.beta2)"),
        ("state.v.push(g * g, self.beta2)", "state.v.push(g * g, self.beta1)"),
        ("g * g", "abs(g)"),
        ("self.lr / (sqrt(v.mean) + self.eps)", "-self.lr / (sqrt(v.mean) + self.eps)"),
    ],
)

as_torch(
    AMSGrad(0.05, 0.8, 0.99, 1e-3),
    torch.optim.Adam,
    {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3, "amsgrad": True},
    [
        ("maximum(state.peak, v.total)", "v.total"),
        ("maximum(state.peak, v.total)", "maximum(state.peak, v.mean)"),
        ("sqrt(peak / v.weight) + self.eps", "sqrt(peak) + self.eps"),
        ("PeakMoments(m, v, peak)", "PeakMoments(m, v, state.peak)"),
        ("sqrt(peak / v.weight) + self.eps", "sqrt(peak / v.weight + self.eps)"),
        ("m.mean", "m.total"),
        ("state.m.push(g, self.beta1)", "state.m.push(g, self.beta2)"),
    ],
)


@as_loop(
    AdaBelief(0.05, 0.8, 0.99, 1e-3),
    [
        ("(g - m.total) ** 2", "g * g"),
        ("(g - m.total) ** 2", "(g - m.mean) ** 2"),
        ("(g - m.total) ** 2", "(g - state.m.total) ** 2"),
        ("v.total + self.eps", "v.total"),
        ("sqrt(v.mean) + self.eps", "sqrt(v.mean)"),
        ("state.m.push(g, self.beta1)", "state.m.push(g, self.beta2)"),
    ],
)
def adabelief(x):
    """Zhuang et al. (2020), algorithm 2, coordinate by coordinate with a step counter."""
    m, s = [0.0] * D, [0.0] * D
    for t in range(1, STEPS + 1):
        for i, g in enumerate(gradient(x, t - 1)):
            m[i] = 0.8 * m[i] + 0.2 * g
            s[i] = 0.99 * s[i] + 0.01 * (g - m[i]) ** 2 + 1e-3
            x[i] -= 0.05 * (m[i] / (1 - 0.8**t)) / (math.sqrt(s[i] / (1 - 0.99**t)) + 1e-3)
        yield x


@as_loop(
    ADOPT(0.05, 0.8, 0.95, 0.05),
    [
        ("maximum(sqrt(state.v.total), constant(self.eps, g))", "sqrt(state.v.total) + self.eps"),
        ("maximum(sqrt(state.v.total), constant(self.eps, g))", "maximum(state.v.total, constant(self.eps, g))"),
        ("maximum(sqrt(state.v.total), constant(self.eps, g))", "maximum(sqrt(g * g), constant(self.eps, g))"),
        ("(1 - self.beta1) * seen * g / size", "(1 - self.beta1) * g / size"),
        ("(1 - self.beta1) * seen * g / size", "(1 - self.beta1) * seen * g"),
        ("(1 - self.beta1) * seen * g / size", "seen * g / size"),
        ("self.beta1 * state.m", "self.beta2 * state.m"),
        ("self.beta2 * seen * state.v.total", "self.beta1 * seen * state.v.total"),
        ("(1 - self.beta2 * seen) * g * g", "(1 - self.beta2) * g * g"),
        ("(1 - self.beta2 * seen) * g * g", "(1 - self.beta2 * seen) * abs(g)"),
        ("constant(1, seen)", "seen"),
        ("self.lr / size", "self.lr"),
        ("m * size", "m"),
    ],
)
def adopt(x):
    """Taniguchi et al. (2024), algorithm 2, coordinate by coordinate; the first gradient makes v and no step."""
    m, v = [0.0] * D, [g * g for g in gradient(x, 0)]
    yield x
    for t in range(1, STEPS):
        for i, g in enumerate(gradient(x, t)):
            m[i] = 0.8 * m[i] + 0.2 * g / max(math.sqrt(v[i]), 0.05)
            x[i] -= 0.05 * m[i]
            v[i] = 0.95 * v[i] + 0.05 * g * g
        yield x


@as_loop(
    Prodigy(0.5, 0.8, 0.95, 1e-2, 0.05),
    [
        ("(1 - self.beta1) * d * g", "(1 - self.beta1) * g"),
        ("(1 - self.beta2) * d**2 * g**2", "(1 - self.beta2) * g**2"),
        ("self.beta1 * m", "self.beta2 * m"),
        ("self.beta2 * v", "self.beta1 * v"),
        ("inner(g, x0 - x)", "inner(g, x - x0)"),
        ("inner(g, x0 - x)", "g * (x0 - x)"),
        ("sqrt(self.beta2) * r", "self.beta2 * r"),
        ("sqrt(self.beta2) * s", "self.beta2 * s"),
        ("self.lr * d**2 * g", "self.lr * d * g"),
        ("self.lr * d**2 * g", "self.lr * d**2 * g**2"),
        ("maximum(d, r / positive(norm1(s)))", "d"),
        ("maximum(d, r / positive(norm1(s)))", "r / positive(norm1(s))"),
        ("norm1(s)", "inner(s, s) ** 0.5"),
        ("constant(x, x)", "each"),
        ("constant(self.d0, zero)", "zero + 1"),
        ("d * self.eps", "self.eps"),
        ("self.lr * d**2 / (sqrt(v) + d * self.eps)", "self.lr * d / (sqrt(v) + d * self.eps)"),
        ("m / d", "m"),
    ],
)
def prodigy(x):
    """Mishchenko & Defazio (2024), the Adam version, coordinate by coordinate."""
    start, d, r = list(x), 0.05, 0.0
    m, v, s = [0.0] * D, [0.0] * D, [0.0] * D
    for t in range(STEPS):
        g = gradient(x, t)
        r = math.sqrt(0.95) * r + 0.5 * d**2 * math.fsum(b * (a0 - a) for a0, a, b in zip(start, x, g, strict=True))
        for i, b in enumerate(g):
            m[i] = 0.8 * m[i] + 0.2 * d * b
            v[i] = 0.95 * v[i] + 0.05 * (d * b) ** 2
            s[i] = math.sqrt(0.95) * s[i] + 0.5 * d**2 * b
            x[i] -= 0.5 * d * m[i] / (math.sqrt(v[i]) + d * 1e-2)
        d = max(d, r / math.fsum(map(abs, s)))
        yield x


# ---------------------------------------------------------------- wrappers

as_torch(
    Decoupled(Adam(0.05, 0.8, 0.99, 1e-3), 0.1),
    torch.optim.AdamW,
    {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1},
    [
        (
            "direction + self.decay * (self.lr / positive(rate)) * x",
            "direction - self.decay * (self.lr / positive(rate)) * x",
        ),
        ("self.decay * (self.lr / positive(rate)) * x", "self.decay * x"),
        ("self.decay * (self.lr / positive(rate)) * x", "self.decay * (self.lr / positive(rate))"),
        ("direction + self.decay * (self.lr / positive(rate)) * x", "direction"),
    ],
    name="AdamW",
)

as_torch(
    Coupled(Adam(0.05, 0.8, 0.99, 1e-3), 0.1),
    torch.optim.Adam,
    {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1},
    [
        ("g + self.decay * x", "g - self.decay * x"),
        ("g + self.decay * x", "g + self.decay * self.lr * x"),
    ],
    name="Adam, coupled",
)

as_torch(
    Coupled(SGD(0.05), 0.1),
    torch.optim.SGD,
    {"lr": 0.05, "weight_decay": 0.1},
    [("g + self.decay * x", "g")],
    name="SGD, coupled",
)

as_torch(
    Coupled(HeavyBall(0.02, 0.8), 0.1),
    torch.optim.SGD,
    {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.1},
    [("g + self.decay * x", "g")],
    name="HeavyBall, coupled",
)

as_torch(
    Coupled(AdaGrad(0.3, 1e-3), 0.1),
    torch.optim.Adagrad,
    {"lr": 0.3, "eps": 1e-3, "weight_decay": 0.1},
    [("g + self.decay * x", "g")],
    name="AdaGrad, coupled",
)

as_torch(
    Coupled(RMSProp(0.03, 0.95, 1e-3), 0.1),
    torch.optim.RMSprop,
    {"lr": 0.03, "alpha": 0.95, "eps": 1e-3, "weight_decay": 0.1},
    [("g + self.decay * x", "g")],
    name="RMSProp, coupled",
)


@as_loop(
    InverseRoot(SGD(0.1)),
    [
        ("rate / root", "rate / t"),
        ("rate / root", "rate / sqrt(state.t + 2)"),
        ("rate / root", "rate"),
    ],
)
def inverse_root(x):
    for t in range(1, STEPS + 1):
        x = [a - 0.1 / math.sqrt(t) * g for a, g in zip(x, gradient(x, t - 1), strict=True)]
        yield x


@as_loop(
    LinearDecay(SGD(0.1), 150),
    [
        ("maximum(share, zeros_like(share))", "share"),
        ("1 - state.t / self.horizon", "1 - (state.t + 1) / self.horizon"),
        ("rate * factor", "rate + factor"),
    ],
)
def linear_decay(x):
    for t in range(1, STEPS + 1):
        lr = 0.1 * max(0.0, 1 - (t - 1) / 150)
        x = [a - lr * g for a, g in zip(x, gradient(x, t - 1), strict=True)]
        yield x


@as_loop(
    ScheduleFree(RMSProp(0.03, 0.95, 1e-3), 0.8),
    [
        ("t / (t + 1) * (state.u - rate * direction)", "state.u - rate * direction"),
        ("t / (t + 1) * (state.u - rate * direction)", "t / (t + 1) * (state.u + rate * direction)"),
        ("direction - state.u / rate", "direction + state.u / rate"),
        ("direction - state.u / rate", "-state.u / rate"),
        ("direction - state.u / rate", "direction - u / rate"),
        ("(1 - self.beta) * direction", "direction"),
        (
            "self.beta * (direction - state.u / rate) / (t + 1)",
            "self.beta * (direction - state.u / rate) / t",
        ),
        ("state.t + 1", "state.t + 2"),
    ],
)
def schedule_free(x):
    """Defazio et al. (2024): the three sequences x (where gradients are taken), z and their average, kept apart."""
    z, average, v = list(x), list(x), [0.0] * D
    for t in range(1, STEPS + 1):
        for i, g in enumerate(gradient(x, t - 1)):
            v[i] = 0.95 * v[i] + 0.05 * g * g
            z[i] -= 0.03 * g / (math.sqrt(v[i]) + 1e-3)
            average[i] += (z[i] - average[i]) / (t + 1)
            x[i] = 0.2 * z[i] + 0.8 * average[i]
        yield x


@as_loop(
    Pooled(AdaGrad(0.3, 1e-3)),
    [
        ("rms(g)", "g"),
        (
            "each, _, direction = self.rule.step(state.each, g, x)",
            "each, rate, direction = self.rule.step(state.each, g, x)",
        ),
        ("state.size", "self.rule.init(first(x))"),
    ],
)
def pooled(x):
    total = 0.0
    for t in range(STEPS):
        g = gradient(x, t)
        total += sum(b * b for b in g) / D
        x = [a - 0.3 * b / (math.sqrt(total) + 1e-3) for a, b in zip(x, g, strict=True)]
        yield x


# ---------------------------------------------------------------- transforms, before gradient descent


@as_loop(
    chain(ClipByNorm(2.0), SGD(0.05)),
    [
        ("maximum(length, constant(self.limit, length))", "length"),
        (
            "self.limit / maximum(length, constant(self.limit, length))",
            "1 / maximum(length, constant(self.limit, length))",
        ),
    ],
    name="ClipByNorm",
)
def clip_by_norm(x):
    for t in range(STEPS):
        g = gradient(x, t)
        length = math.hypot(*g)
        x = [a - 0.05 * (b * 2.0 / length if length > 2.0 else b) for a, b in zip(x, g, strict=True)]
        yield x


@as_loop(
    chain(ClipByValue(0.5), SGD(0.05)),
    [("maximum(g, -bound)", "g"), ("minimum(maximum(g, -bound), bound)", "maximum(g, -bound)")],
    name="ClipByValue",
)
def clip_by_value(x):
    for t in range(STEPS):
        x = [a - 0.05 * min(max(b, -0.5), 0.5) for a, b in zip(x, gradient(x, t), strict=True)]
        yield x


RULES = {name: reference.rule for name, reference in REFERENCES.items()}
#: The rule and the factory of the torch optimizer that it must equal.
TORCH = {name: (each.rule, each.factory) for name, each in REFERENCES.items() if each.factory}


@cache
def reference(name):
    """The iterates that the rule of this name must produce, shape (STEPS, D)."""
    return REFERENCES[name].iterates()
