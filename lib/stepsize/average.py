"""Exponential averages that know how much they have seen."""

from typing import Any, NamedTuple

from .backend import zeros_like


class Average(NamedTuple):
    """total <- beta total + (1 - beta) value, weight likewise with value 1; mean = total / weight. Kingma & Ba (2015), section 3.

    `total` has the shape of the values, (..., d); `weight` has shape (..., 1), one clock per run.
    total / weight is Adam's bias-corrected moment: weight = 1 - beta^t without a step counter, and it
    stays right for a run that started late, a row that was visited rarely and a beta that changes.
    """

    total: Any
    weight: Any

    @classmethod
    def empty(cls, x):
        """The average of nothing, shaped like `x` of shape (..., d)."""
        return cls(zeros_like(x), zeros_like(x[..., :1]))

    def push(self, value, beta):
        """The average after one more `value`, the past discounted by `beta`."""
        return Average(beta * self.total + (1 - beta) * value, beta * self.weight + (1 - beta))

    @property
    def mean(self):
        """total / weight; undefined (0 / 0) before the first value."""
        return self.total / self.weight
