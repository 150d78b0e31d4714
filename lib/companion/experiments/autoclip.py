"""Clipping at a percentile of the norms of all gradients so far."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np

from stepsize.backend import norm
from stepsize.contract import Wrapper
from stepsize.errors import HyperparameterError


class Seen(NamedTuple):
    """The state of the rule, and the norms so far in two heaps for each run, (room, ...), so that runs stand side by side: those up to the percentile with the sign turned, and those above; how many each holds."""

    state: Any
    lower: np.ndarray
    upper: np.ndarray
    sizes: tuple[int, int]


@numba.njit(cache=True)
def _push(heap, size, run, new):
    """`new` into the first `size` of the heap of a run, smallest first.  Williams (1964)."""
    place = size
    while place and heap[(place - 1) // 2, run] > new:
        heap[place, run] = heap[(place - 1) // 2, run]
        place = (place - 1) // 2
    heap[place, run] = new


@numba.njit(cache=True)
def _exchange(heap, size, run, new):
    """The smallest of the first `size` of the heap of a run, which `new` replaces."""
    smallest, place, child = heap[0, run], 0, 1
    while child < size:
        if child + 1 < size and heap[child + 1, run] < heap[child, run]:
            child += 1
        if heap[child, run] >= new:
            break
        heap[place, run] = heap[child, run]
        place, child = child, 2 * child + 1
    heap[place, run] = new
    return smallest


@numba.njit(cache=True)
def _insert(lower, upper, sizes, new, grows):
    """new[run] into the heaps lower[:, run] and upper[:, run], in place: the lower one takes one more if it `grows`, else the upper one."""
    below, above = sizes
    for run in range(new.size):
        value = new[run]
        if grows:
            if above and value > upper[0, run]:
                value = _exchange(upper, above, run, value)
            _push(lower, below, run, -value)
        else:
            if value < -lower[0, run]:
                value = -_exchange(lower, below, run, -value)
            _push(upper, above, run, value)


def _with_room(heap, size: int, runs: tuple):
    """The heap with room for one more, for each of `runs`: the rates may bring more of them than the weights had."""
    if size < len(heap) and heap.shape[1:] == runs:
        return heap
    kept = heap.reshape(len(heap), *(1,) * (len(runs) - heap.ndim + 1), *heap.shape[1:])
    return np.concatenate([np.broadcast_to(kept, (len(heap), *runs)), np.empty((max(64, size), *runs))])


@dataclass(frozen=True, eq=False)
class AutoClip(Wrapper):
    """g min(1, limit / |g|), limit the `percentile` of the norms of all gradients so far, this one too.  Seetharaman et al. (2020).

    Between two norms the limit is linear, as in numpy.percentile. The norms are kept in place: a state serves one step.
    """

    rule: Any
    percentile: float

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.percentile <= 100:
            raise HyperparameterError(f"AutoClip: percentile must be in [0, 100], got {self.percentile}")

    def init(self, x):
        nothing = np.empty((0, *x.shape[:-1]))
        return Seen(self.rule.init(x), nothing, nothing, (0, 0))

    def step(self, state, g, x):
        length, sizes = norm(g)[..., 0], state.sizes
        lower, upper = (_with_room(heap, n, length.shape) for heap, n in zip(state[1:3], sizes, strict=True))
        place = self.percentile / 100 * sum(sizes)  # of the limit among the sorted norms, this one too
        grows = int(place) >= sizes[0]
        _insert(*(heap.reshape(len(heap), -1) for heap in (lower, upper)), sizes, length.ravel(), grows)
        sizes = sizes[0] + grows, sizes[1] + (not grows)
        below = -lower[0]
        above = upper[0] if sizes[1] else below
        limit = below + place % 1 * (above - below)
        kept = limit / np.maximum(np.maximum(length, limit), np.finfo(float).tiny)  # a gradient of 0 stays 0
        inner, rate, direction = self.rule.step(state.state, g * kept[..., None], x)
        return Seen(inner, lower, upper, sizes), rate, direction
