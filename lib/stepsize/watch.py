"""What an optimizer does to a network while it trains: quantiles of the rate, of the direction, and of the relative step.

seen = watch(optimizer, every=100)
...                                   # train
seen.rows                             # one for each parameter at every hundredth step
seen.remove()
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .errors import HyperparameterError
from .optim import Optimizer


class Row(NamedTuple):
    """Of one parameter at one step: quantiles over its coordinates, at the levels of the watch.

    `rate` is the effective learning rate, `direction` the size of what it multiplies, `change` |rate direction| / |x|, infinite
    where x is 0.
    """

    step: int
    parameter: str
    rate: tuple[float, ...]
    direction: tuple[float, ...]
    change: tuple[float, ...]


class Watch:
    """The rows so far. Training is the same with it as without; a watched step costs a few more."""

    def __init__(self, optimizer: Optimizer, every: int, levels: tuple[float, ...]):
        self.optimizer, self.every, self.levels, self.rows, self.step = optimizer, every, levels, [], 0
        self.remove = optimizer.register_step_pre_hook(self._before).remove

    def _before(self, optimizer, args, kwargs):
        if self.step % self.every == 0:
            for group in optimizer.param_groups:
                self.rows += [self._row(p) for p in group["params"] if p.grad is not None and p.numel()]
        self.step += 1

    def _row(self, p):
        x, rate, direction = self.optimizer.next_step(p)
        sizes = rate, direction.abs(), (rate * direction).abs() / x.abs()
        return Row(self.step, self.optimizer.called(p), *map(self._quantiles, sizes))

    def _quantiles(self, a):
        values = a.double().flatten().cpu().numpy()
        return tuple(np.quantile(values, self.levels, method="nearest").tolist()) if values.size else ()


def watch(optimizer: Optimizer, every: int = 100, levels: Sequence[float] = (0.05, 0.5, 0.95)) -> Watch:
    """Look at every parameter that has a gradient before each `every`-th step, the first included. See `Row` and `Watch`.

    What a closure computes inside of `step` is not seen: a watch looks at the gradients that are there before.
    """
    if every < 1 or not all(0 <= level <= 1 for level in levels):
        raise HyperparameterError(f"watch needs every >= 1 and levels in [0, 1], got {every} and {tuple(levels)}")
    return Watch(optimizer, every, tuple(levels))
