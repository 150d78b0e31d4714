"""Landscapes whose gradient and minimiser are exact. Parameters broadcast: one object is a whole batch of landscapes.

`grad(x, t)` is the oracle that `descend` and `walk` ask; `x` has shape (..., d), and so has the answer.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numba
import numpy as np

from stepsize.quadratic import TINY, Landscape, Quadratic, turn


@numba.vectorize(["float64(float64, float64, float64, float64)"], cache=True)
def _gradient(x, slope, curvature, width):
    # one pass through memory instead of five: this is the inner loop of every race
    return -slope if x < -width else curvature * (x + TINY)


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
        return _gradient(x, self.slope, self.curvature, self.width)

    def settled(self, x):
        """Within 5 % of the valley's width."""
        return np.abs(x) <= 0.05 * self.width


@dataclass(frozen=True, eq=False)
class PlateauValleyInPlane:
    """f = along.f(u) + across.f(v), where (u, v) is x of shape (..., 2) turned back by `angle` (radians).

    A plateau and valley in one direction of the plane and a parabola in the other: `along` and `across` are n landscapes of
    one coordinate each, `offset` (n, 1) is where v starts. An angle of shape (angles, 1) makes (angles, n) landscapes.
    """

    along: PlateauValley
    across: Quadratic
    offset: Any
    angle: Any = 0.0

    @classmethod
    def sample(cls, n: int, seed: int, degrees=0.0) -> "PlateauValleyInPlane":
        """n landscapes for each angle: `along` as `PlateauValley.sample`, curvature of `across` 10^U(0, 2), offset length U(-1, 1)."""
        rng = np.random.default_rng(seed)
        along = PlateauValley.sample(n, rng)
        across, offset = Quadratic(10 ** (2 * rng.random((n, 1)))), along.length * rng.uniform(-1, 1, (n, 1))
        return cls(along, across, offset, np.deg2rad(np.asarray(degrees, float))[..., None])

    @property
    def start(self):
        return turn(np.concatenate([self.along.start, self.offset], -1), self.angle)

    def _parts(self, x):
        """u and v, each (..., 1): x turned back."""
        a, b, c, s = x[..., 0], x[..., 1], np.cos(self.angle), np.sin(self.angle)
        return (c * a + s * b)[..., None], (c * b - s * a)[..., None]

    def f(self, x):
        u, v = self._parts(x)
        return self.along.f(u)[..., 0] + self.across.f(v)

    def grad(self, x, t=None):
        u, v = self._parts(x)
        a, b, c, s = self.along.grad(u)[..., 0], self.across.grad(v)[..., 0], np.cos(self.angle), np.sin(self.angle)
        return np.stack([c * a - s * b, s * a + c * b], -1)

    def settled(self, x):
        """Within 5 % of the valley's width in both directions, shape (...)."""
        u, v = self._parts(x)
        return (self.along.settled(u) & self.along.settled(v))[..., 0]
