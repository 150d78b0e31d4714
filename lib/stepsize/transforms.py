"""What is done to a gradient before a rule sees it: plain maps g -> g, put in front of a rule by `chain`."""

from dataclasses import dataclass
from typing import Any

from .backend import constant, maximum, minimum, norm
from .contract import Checked, Elementwise, Wrapper, require_rule
from .errors import HyperparameterError, short


@dataclass(frozen=True, eq=False)
class ClipByNorm(Checked):
    """g min(1, limit / |g|), the norm over the last axis.  Pascanu, Mikolov & Bengio (2013), algorithm 1.

    Where |g|^2 overflows the factor is 0: the step is skipped, as with torch's clip_grad_norm_.
    """

    limit: Any

    def __call__(self, g):
        length = norm(g)
        return g * (self.limit / maximum(length, constant(self.limit, length)))


@dataclass(frozen=True, eq=False)
class ClipByValue(Elementwise):
    """min(max(g, -limit), limit), coordinate by coordinate.  Mikolov (2012)."""

    limit: Any

    def __call__(self, g):
        bound = constant(self.limit, g)
        return minimum(maximum(g, -bound), bound)


@dataclass(frozen=True, eq=False)
class Chain(Wrapper):
    """The rule fed with transformed gradients; made by `chain`."""

    transforms: tuple
    rule: Any

    @property
    def elementwise(self):
        return all(getattr(part, "elementwise", False) for part in (*self.transforms, self.rule))

    def step(self, state, g, x):
        for transform in self.transforms:
            g = transform(g)
        return self.rule.step(state, g, x)


def chain(*parts):
    """chain(transform, ..., rule): the rule applied to the gradient after each transform in turn."""
    *transforms, rule = parts or ("nothing",)
    require_rule(rule, "chain")
    if not all(map(callable, transforms)):
        raise HyperparameterError(
            f"chain takes transforms and then one rule, as chain(ClipByNorm(1.0), Adam()); got {short(parts)}"
        )
    return Chain(tuple(transforms), rule)
