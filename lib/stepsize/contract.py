"""What every rule shares: checked hyper-parameters, their names through all wrappers, and the leaves of a state."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from .average import Average
from .backend import zeros_like
from .errors import HyperparameterError, ShapeError, short

_NOT_NEGATIVE = ("at least 0", lambda a: a >= 0)
_FRACTION = ("in [0, 1)", lambda a: (a >= 0) & (a < 1))

#: Hyper-parameters are recognised by name; a rule that uses one of these names gets it checked.
DOMAINS = {
    "lr": _NOT_NEGATIVE,
    "eps": _NOT_NEGATIVE,
    "eps1": _NOT_NEGATIVE,
    "eps2": _NOT_NEGATIVE,
    "decay": _NOT_NEGATIVE,
    "initial": _NOT_NEGATIVE,
    "damping": _NOT_NEGATIVE,
    "power": _NOT_NEGATIVE,
    "aversion": _NOT_NEGATIVE,
    "limit": ("above 0", lambda a: a > 0),
    "horizon": ("above 0", lambda a: a > 0),
    "d0": ("above 0", lambda a: a > 0),
    "beta": _FRACTION,
    "beta1": _FRACTION,
    "beta2": _FRACTION,
    "momentum": _FRACTION,
}


class Checked:
    """Validates hyper-parameters where they enter; numbers and arrays are checked, symbols pass.

    `elementwise` says that every coordinate is treated by itself, so that an array may be cut into blocks.
    """

    elementwise = False

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "rule":
                require_rule(value, type(self).__name__)
            if field.name not in DOMAINS or type(value).__module__.startswith("sympy"):
                continue
            domain, inside = DOMAINS[field.name]
            # tolist: a tensor on any device, with or without a gradient; of an array it would be slow
            number = np.asarray(value.tolist() if hasattr(value, "cpu") else value)
            if number.dtype.kind not in "iuf":
                raise HyperparameterError(
                    f"{type(self).__name__}: {field.name} must be a number {domain}, got {short(value)}"
                )
            good = inside(number) & np.isfinite(number)
            if not (good.all() and good.size):
                raise HyperparameterError(
                    f"{type(self).__name__}: {field.name} must be finite and {domain}, got {[*number[~good], 'nothing'][0]}"
                )


class Elementwise(Checked):
    """A rule or transform that treats every coordinate by itself."""

    elementwise = True


class Stateless(Elementwise):
    """A rule without a memory: its state is empty."""

    def init(self, x):
        return ()


class Accumulator(Elementwise):
    """A rule that remembers one array, shaped like x and zero before the first gradient."""

    def init(self, x):
        return zeros_like(x)


class Wrapper(Checked):
    """A rule around a rule; whatever it does not change (lr, init, elementwise) is the inner rule's."""

    @property
    def lr(self):
        return self.rule.lr

    @property
    def elementwise(self):
        return getattr(self.rule, "elementwise", False)

    def init(self, x):
        return self.rule.init(x)


def scheduled(rule, share, factor):
    """(rule, factor) for a schedule that takes a `share` of lr: the `factor` is left to be applied to the rate.

    An implicit rule, whose step is not linear in lr, has a method `scaled(share)`: it takes the share inside, and 1 is left.
    """
    return (rule.scaled(share), 1.0) if hasattr(rule, "scaled") else (rule, factor)


def require_rule(rule, who: str):
    """`rule` itself if it keeps the contract init(x), step(state, g, x); an error in the name of `who` otherwise."""
    if isinstance(rule, type) or not (hasattr(rule, "init") and hasattr(rule, "step")):
        raise HyperparameterError(
            f"{who} needs a rule such as Adam(lr=1e-3), got {short(rule)}; make an instance of a rule"
        )
    return rule


def require_matrix(x, rule):
    """`x` itself if it is one matrix or many, shape (..., m, n); an error in the name of `rule` otherwise."""
    if len(x.shape) < 2:
        raise ShapeError(
            f"{type(rule).__name__} needs matrices, shape (..., m, n), got shape {tuple(x.shape)}; give it weights in "
            "their own shape, which optim.Optimizer flattens, and vectors to a rule such as Adam"
        )
    return x


def rules_of(module: dict) -> list[str]:
    """Names of the public rules and wrappers that a module defines, in the order of its file; `module` is its globals()."""
    return [
        name
        for name, value in module.items()
        if getattr(value, "__module__", None) == module["__name__"] and hasattr(value, "step") and name[0] != "_"
    ]


def _is_setting(name, value):
    return name in DOMAINS or (isinstance(value, Real) and not isinstance(value, bool))


def _pairs(rule) -> Iterator[tuple[str, Any]]:
    for field in fields(rule):
        value = getattr(rule, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if is_dataclass(part):
                yield from _pairs(part)
            elif _is_setting(field.name, part):
                yield field.name, part


def named(pairs) -> dict[str, Any]:
    """A dictionary of (name, value) pairs in their order; a repeated name becomes name_2, name_3."""
    apart, count = {}, Counter()
    for name, value in pairs:
        count[name] += 1
        apart[name if count[name] == 1 else f"{name}_{count[name]}"] = value
    return apart


def hyperparameters(rule) -> dict[str, Any]:
    """Every hyper-parameter of a rule by name, inner rules and transforms included."""
    return named(_pairs(rule))


def substitute(rule, values: Iterator):
    """The same rule with its hyper-parameters replaced, in the order of `hyperparameters`, and checked again."""

    def changed(name, part):
        if is_dataclass(part):
            return substitute(part, values)
        return next(values) if _is_setting(name, part) else part

    changes = {}
    for field in fields(rule):
        value = getattr(rule, field.name)
        parts = [changed(field.name, part) for part in (value if isinstance(value, tuple) else (value,))]
        changes[field.name] = tuple(parts) if isinstance(value, tuple) else parts[0]
    return replace(rule, **changes)


def leaves(state, name: str = "s") -> list[tuple[str, Any]]:
    """(name, array) pairs of a state, depth first: an average m is named m, its weight w_m; `name` is for a bare array."""
    if isinstance(state, Average):
        return [(name, state.total), (f"w_{name}", state.weight)]
    if not isinstance(state, tuple):
        return [(name, state)]
    names = getattr(state, "_fields", map(str, range(len(state))))
    return [
        pair for key, part in zip(names, state, strict=True) for pair in leaves(part, name if key == "state" else key)
    ]


def rebuild(state, arrays: Iterator):
    """A state of the same structure whose leaves are taken from `arrays`, in the order of `leaves`."""
    if not isinstance(state, tuple):
        return next(arrays)
    parts = [rebuild(part, arrays) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
