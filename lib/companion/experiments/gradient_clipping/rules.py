"""Ways to clip: nothing, one moment alone, the step, the gradient at a percentile of all norms so far."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np

from stepsize.backend import constant, maximum, norm, sqrt
from stepsize.contract import Wrapper
from stepsize.errors import HyperparameterError
from stepsize.rules import Adam, Moments
from stepsize.transforms import ClipByNorm


def unclipped(g):
    """g: the transform that does nothing."""
    return g


@dataclass(frozen=True, eq=False)
class SplitAdam(Adam):
    """Adam whose first moment averages mean(g) and whose second averages square(g)^2: a clip in one of the two alone.

    SplitAdam(mean=clip, square=clip) is chain(clip, Adam()).
    """

    mean: Callable = unclipped
    square: Callable = unclipped

    def step(self, state, g, x):
        m, v = state.m.push(self.mean(g), self.beta1), state.v.push(self.square(g) ** 2, self.beta2)
        return Moments(m, v), self.lr / (sqrt(v.mean) + self.eps), m.mean


@dataclass(frozen=True, eq=False)
class ClippedStep(Wrapper):
    """direction min(1, limit lr / |rate direction|): the clip behind the rule.  Shazeer & Stern (2018), section 6, with the norm for the root mean square."""

    rule: Any
    limit: Any

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        length, bound = norm(rate * direction), constant(self.limit, x[..., :1]) * self.lr
        return state, rate, direction * (bound / maximum(length, bound))


class Seen(NamedTuple):
    """The state of the rule; the norms so far, sorted along the last axis and followed by infinities; how many they are."""

    state: Any
    norms: np.ndarray
    count: int


@numba.njit(cache=True)
def _insert(norms, count, new):
    """new[run] into the sorted first `count` of norms[run, :], in place; norms (runs, more than count), new (runs,)."""
    for run in range(new.size):
        place = np.searchsorted(norms[run, :count], new[run])
        for k in range(count, place, -1):
            norms[run, k] = norms[run, k - 1]
        norms[run, place] = new[run]


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
        return Seen(self.rule.init(x), np.empty((*x.shape[:-1], 0)), 0)

    def step(self, state, g, x):
        length = norm(g)[..., 0]
        norms, room = state.norms, state.norms.shape[-1]
        if state.count == room or norms.shape[:-1] != length.shape:  # full, or the rates bring more runs than x had
            more = np.full((*length.shape, max(64, state.count)), np.inf)
            norms = np.concatenate([np.broadcast_to(norms, (*length.shape, room)), more], axis=-1)
        _insert(norms.reshape(-1, norms.shape[-1]), state.count, length.ravel())
        low, part = divmod(self.percentile / 100 * state.count, 1)
        below, above = norms[..., int(low)], norms[..., min(int(low) + 1, state.count)]
        clip = ClipByNorm((below + part * (above - below))[..., None])
        inner, rate, direction = self.rule.step(state.state, clip(g), x)
        return Seen(inner, norms, state.count + 1), rate, direction
