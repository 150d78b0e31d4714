"""A rule as one loop of machine code over some rows of a table: traced from its `step`, idle rows cost nothing.

    run = row_kernel(Adam())
    run(x, g, rows, leaves, hyperparameters)

x has shape (rows, d), g (active, d), `rows` holds the active rows, each once. Leaves have shape (rows, d) or, weights and
clocks, (rows, 1). A hyper-parameter is a number or has shape (rows, 1). A row is a run with a clock of its own.
"""

from functools import lru_cache

import numpy as np
from numba import njit

from .kernels import _compile, parts


def source(rule) -> str:
    """The kernel of a rule as text: a row's weights and constants in double precision, then its coordinates."""
    t, per_row, arrays, before, body = parts(rule)
    lines = [
        f"def run(x_, g_, rows_, {''.join(f'{name}_, ' for name in (*t.state, *t.hyperparameters))}):",
        "    for k in range(rows_.size):",
        "        row = rows_[k]",
        *(f"        {name} = float({name}_[row, 0])" for name in (*t.hyperparameters, *per_row)),
        *(f"        {line}" for line in before),
        "        for i in range(x_.shape[1]):",
        "            x = x_[row, i]",
        "            g = g_[k, i]",
        *(f"            {name} = {name}_[row, i]" for name in arrays),
        *(f"            {line}" for line in body),
        *(f"            {name}_[row, i] = {t.new[name]}" for name in arrays),
        "            x_[row, i] = x - rate * direction",
        *(f"        {name}_[row, 0] = {t.new[name]}" for name in per_row),
    ]
    return "\n".join(lines)


def row_kernel(rule):
    """run(x, g, rows, leaves, hyperparameters), in place; compiled at its first call for each dtype.

    Rules that differ only in the values of their hyper-parameters share the machine code.
    """
    loop = _loop(rule)

    def run(x, g, rows, leaves, hyperparameters):
        loop(x, g, rows, *leaves, *(h if np.ndim(h) else _spread(float(h), len(x)) for h in hyperparameters))

    return run


@lru_cache
def _spread(value, n):
    """One number for every row, in the place of one."""
    return np.broadcast_to(np.float64(value), (n, 1))


@lru_cache
def _loop(rule):
    return _compile(source(rule))


@njit(cache=True)
def coalesce(indices, values):
    """Sums of `values` (n, d) that share an index, and the indices, each once, in the order of their first appearance.

    A hash table of 2 n slots, so that neither sorting nor a table of all rows is needed.
    """
    n, d = values.shape
    bits = 4
    while 1 << bits < 2 * n:
        bits += 1
    mask = (1 << bits) - 1
    slots = np.full(mask + 1, -1, np.int32)
    rows = np.empty(n, np.int64)
    sums = np.empty((n, d), values.dtype)
    found = 0
    for j in range(n):
        row = indices[j]
        # Knuth's multiplicative hash: neighbouring rows land far apart
        slot = ((row * 2654435769) >> 7) & mask
        while slots[slot] >= 0 and rows[slots[slot]] != row:
            slot = (slot + 1) & mask
        k = slots[slot]
        if k < 0:
            slots[slot] = found
            rows[found] = row
            for i in range(d):
                sums[found, i] = values[j, i]
            found += 1
        else:
            for i in range(d):
                sums[k, i] += values[j, i]
    return rows[:found], sums[:found]
