"""The bilinear game min over x, max over y of x . B y: who moves when, the exact law of each play, and Adam's limit cycle.

A point of the game is z = (x, y) of shape (..., 2n). Both players descend: x on the value, y on minus the value. So a game
is a field F(z), simultaneous play is a rule that walks along it (`descend`), and the rest of the library fits as it is.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stepsize.contract import require_rule
from stepsize.descent import descend
from stepsize.errors import HyperparameterError, ShapeError
from stepsize.rules import SGD, Adam


@dataclass(frozen=True, eq=False)
class Bilinear:
    """value x . B y with equilibrium 0;  F(z) = (B y, -B^T x).  `strength` is B: (n, n), or a number for n = 1."""

    strength: Any = 1.0

    @property
    def matrix(self) -> np.ndarray:
        B = np.atleast_2d(np.asarray(self.strength, float))
        if B.ndim != 2 or B.shape[0] != B.shape[1]:
            raise ShapeError(f"Bilinear needs a square matrix, got shape {B.shape}; as many moves for x as for y")
        return B

    def split(self, z):
        n = len(self.matrix)
        if z.shape[-1] != 2 * n:
            raise ShapeError(f"a point of this game has {2 * n} coordinates, x before y; got {z.shape[-1]}")
        return z[..., :n], z[..., n:]

    def __call__(self, z, t=0):
        x, y = self.split(z)
        return np.concatenate([y @ self.matrix.T, -(x @ self.matrix)], -1)


def looking_ahead(field, lr):
    """z -> F(z - lr F(z)).  Korpelevich (1976): SGD(lr) along it is the extragradient method."""
    return lambda z, t=0: field(z - lr * field(z, t), t)


def radius(z) -> np.ndarray:
    """|z|, the distance from the equilibrium, over the last axis."""
    return np.linalg.norm(z, axis=-1)


def alternate(rule, game: Bilinear, z0, steps: int, every: int = 1) -> np.ndarray:
    """z at every `every`-th step, z0 first, of play in turns: x moves, then y answers the x that it sees.

    `rule` moves both, with a state for each. Shape (n + 1, ..., 2n).
    """
    x, y = game.split(np.asarray(z0, float))
    require_rule(rule, "alternate")
    states, B, path = [rule.init(x), rule.init(y)], game.matrix, [np.concatenate([x, y], -1)]
    for t in range(1, steps + 1):
        states[0], rate, direction = rule.step(states[0], y @ B.T, x)
        x = x - rate * direction
        states[1], rate, direction = rule.step(states[1], -(x @ B), y)
        y = y - rate * direction
        if t % every == 0 or t == steps:
            path.append(np.concatenate(np.broadcast_arrays(x, y), -1))
    return np.stack([np.broadcast_to(z, path[-1].shape) for z in path])


def gda_law(lr, strength=1.0):
    """(growth, turn) per step of simultaneous gradient play: sqrt(1 + h^2) and arctan h, h = lr |B|."""
    h = np.multiply(lr, strength)
    return np.sqrt(1 + h**2), np.arctan(h)


def alternating_invariant(z, lr, strength=1.0):
    """x^2 + y^2 - h x y, h = lr B, which gradient play in turns conserves.  Orbits are ellipses while h < 2."""
    x, y = z[..., 0], z[..., 1]
    return x**2 + y**2 - np.multiply(lr, strength) * x * y


def extragradient_law(lr, strength=1.0):
    """Contraction per step of the extragradient method: sqrt(1 - h^2 + h^4), below 1 for 0 < h < 1."""
    h = np.multiply(lr, strength)
    return np.sqrt(1 - h**2 + h**4)


def cycle_radius(lr, beta1, beta2, in_turns: bool = False):
    """lr sqrt(8 (1 + beta1) / ((1 - beta1)(1 - beta2))): where Adam ends in the bilinear game; RMSProp with beta1 = 0.

    In turns: lr sqrt(16 beta1 / ((1 - beta1)(1 - beta2))). Leading order as beta2 -> 1 with eps = 0; neither the start nor the
    strength of the game enters. Derived in the chapter `adversarial_training`.
    """
    lr, beta1, beta2 = (np.asarray(a, float) for a in (lr, beta1, beta2))
    if not ((beta1 < 1) & (beta2 < 1) & (beta2 >= 0)).all():
        raise HyperparameterError(f"a cycle needs beta1 < 1 and 0 <= beta2 < 1, got {beta1} and {beta2}")
    expansion = 16 * beta1 if in_turns else 8 * (1 + beta1)
    return lr * np.sqrt(expansion / ((1 - beta1) * (1 - beta2)))


def cycle_drift(z_radius, lr, beta1, beta2):
    """d log R / dt = -(1 - beta2) / 8 + (lr / R)^2 (1 + beta1) / (1 - beta1): zero at `cycle_radius`. Adiabatic: R nearly at rest."""
    return -(1 - beta2) / 8 + (lr / z_radius) ** 2 * (1 + beta1) / (1 - beta1)


def far_contraction(beta2):
    """(1 - beta2) / 10: rate of log R far outside the cycle, where R itself falls during one memory of v.

    v lags by the factor 1 / (1 - 2r / (1 - beta2)); r = (1 - beta2)/8 (1 - 2r / (1 - beta2)) has this solution.
    """
    return (1 - np.asarray(beta2, float)) / 10


def plays(lr: float = 0.15, turns: int = 60):
    """The three gradient plays of the first figure from one start, name: path (n, 2)."""
    z0 = np.array([1.0, 0.0])
    game = Bilinear()
    return {
        "both at once": descend(SGD(lr), game, z0, turns).x,
        "in turns": alternate(SGD(lr), game, z0, turns),
        "looking ahead": descend(SGD(lr), looking_ahead(game, lr), z0, 4 * turns).x,
    }


@cache
def cycles(beta1: float = 0.9, beta2: float = 0.999, turns: int = 40_000, every: int = 7, inside=0.05, outside=2.0):
    """Adam with lr = 1 from inside and outside its cycle: points (n, 2 starts, 2), and the predicted radius. Kept, since a figure and a row ask for it."""
    R = float(cycle_radius(1.0, beta1, beta2))
    z0 = R * np.array([[inside], [outside]]) * np.array([0.8, 0.6])
    return descend(Adam(1.0, beta1, beta2, 0.0), Bilinear(), z0, turns, every=every).x, R


def final_distances(turns: int) -> dict[str, float]:
    """Distance from the equilibrium after play, over that before it; of Adam, whose circle is not a point, its mean over the last fifth."""
    paths = {f"gradient steps, {name}": path for name, path in plays(turns=500).items()}
    ratios = {name: radius(path[-1]) / radius(path[0]) for name, path in paths.items()}
    path, _ = cycles(turns=turns, every=7)
    inside, outside = radius(path[-len(path) // 5 :]).mean(0) / radius(path[0])
    return ratios | {"both play Adam, from inside its circle": inside, "both play Adam, from outside": outside}


def settled_radii(beta1s, beta2s, memories: int = 40) -> np.ndarray:
    """Mean radius over the last fifth of `memories` memories 1 / (1 - beta2), from 0.3 and 2 predicted radii: (beta2, beta1, 2)."""
    beta1 = np.asarray(beta1s, float)[:, None, None]
    out = []
    for beta2 in beta2s:
        R = cycle_radius(1.0, beta1, beta2)
        z0 = R * np.array([0.3, 2.0])[:, None] * np.array([0.8, 0.6])  # no gradient may be 0 with eps = 0
        steps = int(memories / (1 - beta2))
        path = descend(Adam(1.0, beta1, beta2, 0.0), Bilinear(), z0, steps, every=max(1, steps // 6007)).x
        out.append(radius(path)[-len(path) // 5 :].mean(0))
    return np.stack(out)


def circle_numbers(beta1s, beta2s, measured: np.ndarray) -> dict:
    """For the prose, key -> (number, format): Adam's default radius, and how far `measured`, from `settled_radii`, is off the formula.

    The worse of the two starts counts; at the last beta2, for the first and for the last beta1.
    """
    predicted = cycle_radius(1.0, np.array(beta1s)[:, None], np.array(beta2s)[:, None, None])
    off = np.abs(measured / predicted - 1).max(-1)[-1]
    return {
        "default-radius": (cycle_radius(1e-3, 0.9, 0.999), ".2f"),
        "beta2": (beta2s[-1], "g"),
        "off-0": (off[0], ".2%"),
        "off-9": (off[-1], ".2%"),
    }
