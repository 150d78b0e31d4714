"""Does a rule walk the same path when the problem is written in other units, other coordinates, or scaled?

theta = A phi + b is the same point in other coordinates; there the gradient is A'g and a metric A'GA. A rule is
*invariant* under the change if its path, mapped back, is the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from stepsize.descent import descend
from stepsize.errors import ShapeError
from stepsize.metric import DiagonalPower, FullPower, Riemannian, apply, pull_back, solve

from .natural_gradient import regression


class Action(NamedTuple):
    """theta = A phi + b and loss -> scale * loss. A: (..., d, d), b: (..., d)."""

    name: str
    A: Any
    b: Any
    scale: float = 1.0

    def point(self, phi):
        """phi -> theta."""
        return apply(self.A, phi) + self.b

    def coordinates(self, theta):
        """theta -> phi."""
        return solve(self.A, (theta - self.b))


def actions(rng, runs: int, d: int, scale: float = 37.0) -> list[Action]:
    """One random action of each kind for each of `runs` runs, from the smallest group to the largest."""
    eye, zero = np.broadcast_to(np.eye(d), (runs, d, d)), np.zeros((runs, d))
    order = rng.permuted(np.broadcast_to(np.arange(d), (runs, d)), axis=-1)
    signs = rng.choice([-1.0, 1.0], (runs, d))
    units = np.exp(rng.uniform(-1.5, 1.5, (runs, d)))
    rotation = np.linalg.qr(rng.standard_normal((runs, d, d)))[0]
    # singular values between e^-1/2 and e^1/2 apart: far from a rotation, still well conditioned
    other = np.linalg.qr(rng.standard_normal((runs, d, d)))[0]
    stretch = np.exp(rng.uniform(-1, 1, (runs, d)))
    return [
        Action("loss × 37" if scale == 37.0 else f"loss × {scale:g}", eye, zero, scale),
        Action("permutation, signs", eye[..., order, :][np.arange(runs), np.arange(runs)] * signs[..., None], zero),
        Action("units", eye * units[..., None], zero),
        Action("rotation", rotation, zero),
        Action("affine map", (rotation * stretch[..., None, :]) @ other, rng.standard_normal((runs, d))),
    ]


class Problem(NamedTuple):
    """What a rule is given: grad(x, t), a start (runs, d), a metric of the model, and points at which V is warmed up."""

    grad: Callable
    x0: Any
    metric: Callable
    probes: Any

    def under(self, action: Action) -> "Problem":
        """The same problem as seen from phi."""
        A, transposed = action.A, np.swapaxes(action.A, -1, -2)
        return Problem(
            lambda phi, t: action.scale * apply(transposed, self.grad(action.point(phi), t)),
            action.coordinates(self.x0),
            lambda phi: pull_back(self.metric(action.point(phi)), A),
            action.coordinates(self.probes),
        )

    def warm(self):
        """Mean of g g' over the probes, of shape (runs, d, d)."""
        g = np.stack([self.grad(probe, t) for t, probe in enumerate(self.probes)])
        return (g[..., :, None] * g[..., None, :]).mean(0)


def logistic_problem(seeds, order: int, n: int = 200, d: int = 6, batch: int = 20, epochs: int = 50) -> Problem:
    """Minibatch logistic regressions, one per seed, all with the same order of batches, drawn by `order`; started near 0, V warmed up at 5 d points."""
    model, rng = regression("unit scales", seeds, n, d), np.random.default_rng(order)
    batches = np.stack([rng.permutation(n)[:batch] for _ in range(epochs)])

    def grad(x, t):
        pick = batches[t % epochs]
        return type(model)(model.X[:, pick], model.y[:, pick]).grad(x)

    runs = len(model.X)
    start, probes = 0.3 * rng.standard_normal((runs, d)), 0.5 * rng.standard_normal((5 * d, runs, d))
    return Problem(grad, start, model.fisher, probes)


#: name -> rule for a problem; `lr` is chosen by the caller so that the walks are stable and of similar length.
PRECONDITIONERS: dict[str, Callable] = {
    "1 (gradient descent)": lambda problem, lr: DiagonalPower(lr, power=0.0),
    "diag v^¼": lambda problem, lr: DiagonalPower(lr, power=0.25),
    "diag v^½ (Adam)": lambda problem, lr: DiagonalPower(lr, power=0.5),
    "diag v^¾": lambda problem, lr: DiagonalPower(lr, power=0.75),
    "diag v": lambda problem, lr: DiagonalPower(lr, power=1.0),
    "full V^½ (AdaGrad type)": lambda problem, lr: FullPower(problem.warm(), lr, power=0.5),
    "full V": lambda problem, lr: FullPower(problem.warm(), lr, power=1.0),
    "Fisher (natural gradient)": lambda problem, lr: Riemannian(problem.metric, lr),
}

#: One learning rate for each of them, small enough for a loss 37 times as steep.
RATES = (0.05, 0.05, 0.02, 0.01, 0.005, 0.02, 0.01, 0.002)


def defect(make: Callable, problem: Problem, action: Action, steps: int):
    """max_t |theta_t(mapped back) - theta_t| / max_t |theta_t - theta_0|, per run; `make(problem)` is the rule."""
    shape = problem.x0.shape
    if np.shape(action.A) not in ((*shape, shape[-1]), (shape[-1], shape[-1])):
        raise ShapeError(f"A has shape {np.shape(action.A)}, the problem {shape}; give one action, or one per run")
    there = problem.under(action)
    home = descend(make(problem), problem.grad, problem.x0, steps).x
    away = action.point(descend(make(there), there.grad, there.x0, steps).x)
    reach = np.linalg.norm(home - home[0], axis=-1).max(0)
    return np.linalg.norm(away - home, axis=-1).max(0) / reach


def table(problem: Problem, steps: int, seed: int):
    """The defect of every preconditioner under every action: (names, names of actions, defects (preconditioners, actions, runs))."""
    group = actions(np.random.default_rng(seed), *problem.x0.shape)
    rows = [
        [defect(lambda seen, make=make, lr=lr: make(seen, lr), problem, action, steps) for action in group]
        for make, lr in zip(PRECONDITIONERS.values(), RATES, strict=True)
    ]
    return list(PRECONDITIONERS), [action.name for action in group], np.array(rows)
