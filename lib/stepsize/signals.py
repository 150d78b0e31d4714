"""Gradients that are known beforehand, to see what a rule makes of them; and a noisy bowl to tune on."""

import numpy as np

from . import rules
from .descent import Path, descend
from .errors import ShapeError
from .measures import late_loss

#: The rules without wrappers, in the order of their file, by the names under which figures know them.
ZOO = {vars(rule).get("label", rule.__name__): rule for rule in map(vars(rules).get, rules.__all__)}


def signals(steps: int, runs: int = 1, seed: int = 0, height: float = 100.0) -> dict[str, np.ndarray]:
    """Four gradients of shape (steps, runs, 1), each of size 1 at every step but one.

    constant: 1. impulse: 1, and `height` once, after a quarter of the steps. random signs: -1 or 1, a fair coin.
    alternating: 1, -1, 1, ... No average of g^2 can tell the first, the third and the fourth apart.
    """
    t = np.arange(steps)[:, None, None]
    shape = (steps, runs, 1)
    return {
        "constant": np.ones(shape),
        "impulse": np.broadcast_to(np.where(t == steps // 4, height, 1.0), shape),
        "random signs": np.random.default_rng(seed).choice([-1.0, 1.0], size=shape),
        "alternating": np.broadcast_to(np.where(t % 2, -1.0, 1.0), shape),
    }


def respond(rule, signal) -> Path:
    """The walk of `rule` whose gradient at step t is signal[t], wherever it is; signal has shape (steps, ..., d)."""
    signal = np.asarray(signal, float)
    if signal.ndim < 2:
        raise ShapeError(f"a signal needs shape (steps, ..., d), got {signal.shape}; write signal[:, None]")
    return descend(rule, lambda x, t: signal[t], np.zeros(signal.shape[1:]), len(signal))


def step_size(path: Path) -> np.ndarray:
    """|rate * direction| at every step, root mean square over runs and coordinates; shape (steps,)."""
    square = (path.rate * path.direction) ** 2
    return np.sqrt(square.mean(tuple(range(1, square.ndim))))


def noisy_bowl(rule, lrs, seeds, steps: int = 400, condition: float = 100.0, noise: float = 1.0, d: int = 10):
    """Losses of shape (lrs, seeds): sum h x^2 / 2 at the end, curvatures h from 1 to `condition`, Gaussian gradient noise.

    `rule(lr)` makes the rule; it is called once, with all rates. The loss is the mean of the last tenth of the steps.
    Every rate, and every rule, meets the same noise. Runs that diverge have infinite loss.
    """
    h = np.geomspace(1.0, condition, d)
    eta = noise * np.stack([np.random.default_rng(seed).normal(size=(steps, d)) for seed in seeds], axis=1)
    every, x0 = rule(np.asarray(lrs, float)[:, None, None]), np.ones((len(seeds), d))

    def loss(x):
        return (h * x**2 / 2).sum(-1)

    return late_loss(every, lambda x, t: h * x + eta[t], x0, loss, steps, last=steps // 10)
