"""Landscapes whose parameters are arrays, and the quadratic valley, turned against the axes."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .errors import HyperparameterError, ShapeError

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


def turn(x, angle):
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
        return (self.curvature * turn(x, -self.angle) ** 2).sum(-1) / 2

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
