"""Landscapes whose gradient and minimiser are exact. Parameters broadcast: one object is a whole batch of landscapes.

`grad(x, t)` is the oracle that `descend` and `walk` ask; `x` has shape (..., d), and so has the answer.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from stepsize.errors import HyperparameterError, ShapeError

#: The smallest normal number: x + TINY is x unless |x| < 1e-291.
TINY = np.finfo(float).tiny


class Landscape:
    """Turns every field into an array and refuses what is not finite, and what is not positive unless it is an angle."""

    def __post_init__(self):
        for field in fields(self):
            value = np.asarray(getattr(self, field.name), float)
            object.__setattr__(self, field.name, value)
            domain, inside = ("finite", True) if field.name == "angle" else ("finite and above 0", value > 0)
            if not np.all(np.isfinite(value) & inside):
                raise HyperparameterError(f"{type(self).__name__}: {field.name} must be {domain}, got {value}")


@dataclass(frozen=True, eq=False)
class PlateauValley(Landscape):
    """f = curvature x^2 / 2 from the lip x = -width on; before the lip f goes on as a straight line of the given slope.

    The walk begins at `start`, `length` before the lip, and should end at 0. Where it enters the valley the gradient
    jumps from -slope to -curvature * width. One coordinate: parameters of shape (n, 1) are n landscapes.

    Two traps of floating-point numbers are closed. The minimiser is 0, where they are dense: elsewhere a run is rounded
    onto it and rests there. And at 0 the gradient is that of the smallest number, so that no run rests because it cancelled.
    """

    slope: Any
    curvature: Any
    length: Any
    width: Any

    @classmethod
    def sample(cls, n: int, seed: int) -> "PlateauValley":
        """n landscapes: slope 10^U(-4, -1), curvature 10^U(1, 4), length U(2, 10), width 10^U(-2, -1/2)."""
        u = np.random.default_rng(seed).random((4, n, 1))
        return cls(10 ** (3 * u[0] - 4), 10 ** (3 * u[1] + 1), 2 + 8 * u[2], 10 ** (1.5 * u[3] - 2))

    def __getitem__(self, rows) -> "PlateauValley":
        """Some of the landscapes, by slice or index array; every parameter has shape (n, 1)."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def start(self):
        return np.atleast_1d(-(self.length + self.width))

    @property
    def minimiser(self):
        return np.zeros_like(self.start)

    def f(self, x):
        lip = self.curvature * self.width**2 / 2 - self.slope * (x + self.width)
        return np.where(x < -self.width, lip, self.curvature * x**2 / 2)

    def grad(self, x, t=None):
        return np.where(x < -self.width, -self.slope, self.curvature * (x + TINY))

    def settled(self, x):
        """Within 5 % of the valley's width."""
        return np.abs(x) <= 0.05 * self.width


def _turn(x, angle):
    """x of shape (..., d) turned by `angle` (...) in the plane of the first two coordinates; memory keeps its order."""
    y = x + np.zeros_like(angle)[..., None]
    if np.any(angle):
        a, b, c, s = x[..., 0], x[..., 1], np.cos(angle), np.sin(angle)
        y[..., 0], y[..., 1] = c * a - s * b, s * a + c * b
    return y


@dataclass(frozen=True, eq=False)
class Quadratic(Landscape):
    """f = sum of curvature y^2 / 2, y = x turned back by `angle` (radians) in the plane of the first two coordinates.

    curvature: (..., d), the eigenvalues of the Hessian; angle: (...). The minimiser is 0. At angle 0 the valley lies along
    an axis; at any other angle the Hessian is not diagonal, and its eigenvalues are the same.
    """

    curvature: Any
    angle: Any = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.curvature.ndim == 0 or (self.curvature.shape[-1] < 2 and self.angle.any()):
            raise ShapeError(
                f"curvature has shape {self.curvature.shape}; it needs (..., d), and d >= 2 for a turned valley"
            )

    @property
    def condition(self):
        """Largest over smallest curvature, shape (...)."""
        return self.curvature.max(-1) / self.curvature.min(-1)

    @property
    def minimiser(self):
        return np.zeros(self.curvature.shape)

    def f(self, x):
        return (self.curvature * _turn(x, -self.angle) ** 2).sum(-1) / 2

    def grad(self, x, t=None):
        g = self.curvature * x + np.zeros_like(self.angle)[..., None]
        if self.angle.any():
            # the Hessian of the plane, entry by entry: half the work of turning back and forth
            c, s, flat, steep = np.cos(self.angle), np.sin(self.angle), self.curvature[..., 0], self.curvature[..., 1]
            a, b, cross = x[..., 0], x[..., 1], (flat - steep) * c * s
            g[..., 0], g[..., 1] = (
                (flat * c**2 + steep * s**2) * a + cross * b,
                cross * a + (flat * s**2 + steep * c**2) * b,
            )
        return g
