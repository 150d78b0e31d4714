"""Metrics: steepest descent in one, the tensor law that makes one, and the rules that precondition with a power of the second moment.

Matrices have shape (..., d, d), vectors (..., d); leading axes are independent runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .average import Average
from .backend import constant, namespace, zeros_like
from .contract import Checked, Elementwise
from .errors import HyperparameterError, NonFiniteError, ShapeError


def apply(M, a):
    """M a: a matrix times a vector, run by run."""
    return (M @ a[..., None])[..., 0]


def solve(G, g):
    """G^-1 g, run by run; a singular metric is an error that says what to do."""
    try:
        return namespace(g).linalg.solve(G, g[..., None])[..., 0]
    except (np.linalg.LinAlgError, RuntimeError) as error:
        raise NonFiniteError(
            "the metric is singular in at least one run; lower the rate, or give it damping"
        ) from error


def checked_metric(G, d: int):
    """`G` as an array, if it is symmetric and positive definite of size d; an error that says which it is not otherwise."""
    G = np.asarray(G, float)
    if G.shape[-2:] != (d, d):
        raise ShapeError(
            f"a metric of shape {G.shape} and a vector of {d} coordinates do not fit; give (..., {d}, {d})"
        )
    if not np.allclose(G, np.swapaxes(G, -1, -2), rtol=1e-10, atol=0):
        raise HyperparameterError("the metric is not symmetric; pass (G + G') / 2")
    smallest = float(np.linalg.eigvalsh(G).min())
    if not smallest > 0:
        raise HyperparameterError(
            f"the metric has the eigenvalue {smallest:.3g}, so some directions have no length; start it at full rank or damp it"
        )
    return G


def inner(G, a, b):
    """a'G b, the inner product of the metric G."""
    return (a * apply(G, b)).sum(-1)


def steepest(G, g, radius=1.0):
    """-radius G^-1 g / sqrt(g' G^-1 g): the lowest point of g'D on the sphere D'GD = radius^2.  Amari (1998), theorem 1.

    Its value there is -radius sqrt(g' G^-1 g). Undefined where g = 0.
    """
    g = np.asarray(g, float)
    ascent = solve(checked_metric(G, g.shape[-1]), g)
    return -radius * ascent / np.sqrt((g * ascent).sum(-1, keepdims=True))


def pull_back(G, J):
    """J'G J: the same metric in coordinates phi with J = d theta / d phi, the law of a covariant tensor."""
    return np.swapaxes(J, -1, -2) @ G @ J


def diagonal(v):
    """The matrix with `v` on its diagonal, run by run."""
    return v[..., None] * np.eye(v.shape[-1])


def unit_circle(G, n: int = 200):
    """n points D with D'GD = 1, for d = 2: what the metric calls one step away. Scaled to the area of the Euclidean circle."""
    angle = np.linspace(0, 2 * np.pi, n)
    root = np.linalg.inv(np.linalg.cholesky(checked_metric(G, 2)))
    return np.stack([np.cos(angle), np.sin(angle)], -1) @ root * np.linalg.det(G) ** 0.25


def law_defect(G, pulled):
    """sqrt(largest / smallest eigenvalue of pulled^-1 G) - 1: zero if and only if the two metrics agree up to a factor.

    A length is then measured too long in some direction by that share, after the best change of unit.
    """
    d = np.shape(G)[-1]
    root = np.linalg.inv(np.linalg.cholesky(checked_metric(pulled, d)))
    ratio = np.linalg.eigvalsh(root @ checked_metric(G, d) @ np.swapaxes(root, -1, -2))
    return np.sqrt(ratio[..., -1] / ratio[..., 0]) - 1


@dataclass(frozen=True, eq=False)
class Riemannian(Checked):
    """rate = lr, direction = (G(x) + damping I)^-1 g.  Amari (1998), section 2; natural gradient if G is the Fisher information.

    `metric` maps x of shape (..., d) to G of shape (..., d, d). Damping is Levenberg's; it breaks the invariance.
    """

    metric: Callable
    lr: Any = 1.0
    damping: Any = 0.0

    def init(self, x):
        return ()

    def step(self, state, g, x):
        G = self.metric(x) + self.damping * np.eye(x.shape[-1])
        return state, constant(self.lr, g), solve(G, g)


@dataclass(frozen=True, eq=False)
class DiagonalPower(Elementwise):
    """v <- beta v + (1 - beta) g^2,  rate = lr / v.mean^power, direction = g.

    power 0: gradient descent; 1/2: Adam without momentum, RMSProp with bias correction (Tieleman & Hinton 2012);
    1: root-free (Lin et al. 2024). No eps, for it would spoil the invariances: the first gradient must not be 0.
    """

    lr: Any = 1e-2
    beta: Any = 0.9
    power: Any = 0.5

    def init(self, x):
        return Average.empty(x)

    def step(self, v, g, x):
        v = v.push(g * g, self.beta)
        return v, self.lr / v.mean**self.power, g


@dataclass(frozen=True, eq=False)
class FullPower(Checked):
    """V <- beta V + (1 - beta) g g',  rate = lr, direction = V^-power g.  With power 1/2 and a sum: full-matrix AdaGrad, Duchi et al. (2011), section 1.1.

    `start` of shape (..., d, d) is V before the first gradient. It must be positive definite: the pseudo-inverse
    of a V of low rank is not covariant, so a cold start loses the invariance that the rule is about.
    """

    start: Any
    lr: Any = 1e-2
    beta: Any = 0.9
    power: Any = 0.5

    def init(self, x):
        start = checked_metric(self.start, x.shape[-1])
        return np.broadcast_to(start, np.broadcast_shapes(start.shape, (*x.shape, x.shape[-1]))).copy()

    def step(self, V, g, x):
        V = self.beta * V + (1 - self.beta) * g[..., :, None] * g[..., None, :]
        w, Q = np.linalg.eigh(V)
        return V, constant(self.lr, g), apply(Q, w**-self.power * apply(np.swapaxes(Q, -1, -2), g))


def second_moment(gradients, beta=0.999):
    """v.mean after each of the gradients of shape (n, ..., d): the state of Adam, without the walk."""
    v, history = Average.empty(zeros_like(gradients[0])), []
    for g in gradients:
        v = v.push(g * g, beta)
        history.append(v.mean)
    return np.stack(history)
