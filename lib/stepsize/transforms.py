"""What is done to a gradient before a rule sees it: plain maps g -> g, put in front of a rule by `chain`."""

from dataclasses import dataclass
from typing import Any

from .errors import HyperparameterError
from .operators import constant, maximum, minimum, norm
from .rules import Checked, Wrapper


@dataclass(frozen=True, eq=False)
class ClipByNorm(Checked):
    """g min(1, limit / |g|), the norm over the last axis.  Pascanu, Mikolov & Bengio (2013), algorithm 1."""

    limit: Any

    def __call__(self, g):
        length = norm(g)
        return g * (self.limit / maximum(length, constant(self.limit, length)))


@dataclass(frozen=True, eq=False)
class ClipByValue(Checked):
    """min(max(g, -limit), limit), coordinate by coordinate.  Mikolov (2012), section 3.2.2."""

    limit: Any

    def __call__(self, g):
        bound = constant(self.limit, g)
        return minimum(maximum(g, -bound), bound)


@dataclass(frozen=True, eq=False)
class Chain(Wrapper):
    """The rule fed with transformed gradients; made by `chain`."""

    transforms: tuple
    rule: Any

    def step(self, state, g, x):
        for transform in self.transforms:
            g = transform(g)
        return self.rule.step(state, g, x)


def chain(*parts):
    """chain(transform, ..., rule): the rule applied to the gradient after each transform in turn."""
    *transforms, rule = parts or (None,)
    if not hasattr(rule, "step") or not all(map(callable, transforms)):
        raise HyperparameterError(
            f"chain takes transforms and then one rule, as chain(ClipByNorm(1.0), Adam()); got {parts}"
        )
    return Chain(tuple(transforms), rule)
