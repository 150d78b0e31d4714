"""A fleet: many runs with a rule each, any methods, rates and seeds, all stepped in one program over one array (runs, d)."""

from numbers import Real

import numpy as np

from .contract import hyperparameters, leaves, require_rule
from .errors import ShapeError
from .kernels import loop


class _Compiled:
    """One run whose rule is elementwise with plain numbers: in place, in machine code."""

    def __init__(self, rule, x):
        self.rule, self.x, self.state = rule, x, rule.init(x)
        self.leaves = [np.ascontiguousarray(leaf) for _, leaf in leaves(self.state)]
        # its arrays fit, being made for each other, and `Fleet.step` has checked g
        self.run, self.values = loop(rule), [float(value) for value in hyperparameters(rule).values()]

    def step(self, g):
        self.run(self.x, g, *self.leaves, *self.values, True)


class _Plain:
    """One run of any other rule: one rate per tensor, or a rate that is an array."""

    def __init__(self, rule, x):
        self.rule, self.x, self.state = rule, x, rule.init(x)

    def step(self, g):
        self.state, rate, direction = self.rule.step(self.state, g, self.x)
        self.x -= rate * direction


class Fleet:
    """x (runs, d) and a rule for each run; `step(g)` moves all of them. Runs never mix: a run alone walks the same path, bit for bit.

    A rule may be elementwise with numbers for hyper-parameters (compiled) or anything else that keeps the contract.
    """

    def __init__(self, rules, x):
        self.x = np.ascontiguousarray(x)
        if self.x.ndim != 2 or len(self.x) != len(rules):
            raise ShapeError(f"{len(rules)} rules need x of shape ({len(rules)}, d), got {self.x.shape}")
        self.runs = [self._member(require_rule(rule, "Fleet"), row) for rule, row in zip(rules, self.x, strict=True)]

    @staticmethod
    def _member(rule, row):
        plain = all(isinstance(value, Real) for value in hyperparameters(rule).values())
        return (_Compiled if plain and getattr(rule, "elementwise", False) else _Plain)(rule, row)

    def step(self, g) -> None:
        """One step of every run; g (runs, d)."""
        if np.shape(g) != self.x.shape:
            raise ShapeError(f"the gradient has shape {np.shape(g)}, the runs have {self.x.shape}; they must agree")
        for run, row in zip(self.runs, g, strict=True):
            run.step(row)
