"""A table of which a step touches a few rows: lazy rules in machine code, idle rows brought up to date when read."""

from copy import copy
from dataclasses import fields

import numpy as np
from numba import njit

from .contract import hyperparameters, leaves, named, rebuild, require_rule
from .errors import ShapeError
from .kernels import row_kernel


@njit(cache=True)
def _owing(rows, seen, now):
    """Those of `rows` that were seen before `now`, each once, and how long they idled; all are seen now."""
    found, gap, n = np.empty(rows.size, np.int64), np.empty(rows.size, np.int64), 0
    for row in rows:
        if seen[row] < now:
            found[n], gap[n] = row, now - seen[row]
            seen[row] = now
            n += 1
    return found[:n], gap[:n]


@njit(cache=True)
def _distinct(rows, seen, now):
    """Whether `rows` are different; they are then seen at `now`."""
    for k in range(rows.size):
        if seen[rows[k]] == now:
            for row in rows[:k]:
                seen[row] = now - 1
            return False
        seen[rows[k]] = now
    return True


def _for_rows(rule, rows):
    """The rule with the hyper-parameters of these rows; they were checked when it was made."""
    chosen = copy(rule)
    for field in fields(rule):
        value = getattr(rule, field.name)
        if field.name == "rule":
            object.__setattr__(chosen, "rule", _for_rows(value, rows))
        elif np.ndim(value):
            object.__setattr__(chosen, field.name, value[rows])
    return chosen


class Table:
    """A table x (rows, d), changed in place by `step(rows, g)`, each row named once; `read(rows)` gives them as they are now.

    A rule without `idle` leaves an untouched row alone. With it a row is brought up to date by `touch`, when it is read, and
    before it steps; `settle()` does so for all. Hyper-parameters may have shape (rows, 1).
    """

    def __init__(self, rule, x):
        if np.ndim(x) != 2 or not x.flags.c_contiguous:
            raise ShapeError(f"a table needs a contiguous array of shape (rows, d), got {np.shape(x)}")
        self.rule, self.x, self.now = require_rule(rule, "Table"), x, 0
        self.state = rule.init(x)
        self.memory = [np.array(leaf) for leaf in named(leaves(self.state)).values()]
        self.seen = np.zeros(len(x), np.int64)
        self.run, self.values = row_kernel(rule), list(hyperparameters(rule).values())

    def touch(self, rows):
        """Bring these rows up to date; a row may be named often."""
        if hasattr(self.rule, "idle"):
            owing, gap = _owing(self._within(rows), self.seen, self.now)
            if owing.size:
                self._idle(owing, gap[:, None].astype(self.x.dtype))

    def _within(self, rows):
        rows = np.asarray(rows, np.int64)
        if len(self.x) != len(self.seen):
            raise ShapeError(f"the table had {len(self.seen)} rows and has {len(self.x)}; make another Table")
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self.x):
            raise ShapeError(f"rows must lie in 0 ... {len(self.x) - 1}, got {rows.min()} ... {rows.max()}")
        return rows

    def read(self, rows):
        """x[rows], up to date."""
        self.touch(rows)
        return self.x.take(rows, 0)

    def _idle(self, rows, gap):
        old = [leaf.take(rows, 0) for leaf in self.memory]  # three times as fast as leaf[rows]
        state, x = _for_rows(self.rule, rows).idle(rebuild(self.state, iter(old)), before := self.x.take(rows, 0), gap)
        for leaf, was, (_, becomes) in zip(
            [*self.memory, self.x], [*old, before], [*leaves(state), ("x", x)], strict=True
        ):
            if becomes is not was:
                leaf[rows] = becomes

    def step(self, rows, g):
        """One step of the table: `rows` get the gradients g (len(rows), d), all others none."""
        rows, g = self._within(rows), np.ascontiguousarray(g, self.x.dtype)
        if g.shape != (len(rows), self.x.shape[1]):
            raise ShapeError(
                f"{len(rows)} rows of {self.x.shape[1]} got gradients of shape {g.shape}; give one for each"
            )
        self.touch(rows)
        if not _distinct(rows, self.seen, self.now + 1):
            raise ShapeError("a row is named twice; sum its gradients with kernels.coalesce")
        self.run(self.x, g, rows, self.memory, self.values)
        self.now += 1

    def settle(self):
        """x with every row up to date."""
        return self.read(np.arange(len(self.x)))
