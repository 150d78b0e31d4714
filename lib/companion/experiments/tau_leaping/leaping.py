"""Tau-leaping: many events in one step, and the rules that choose how long the step may be."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from companion.errors import NetworkError
from companion.experiments.inputs import number, numbers, whole

from . import kernels
from .network import LARGEST_COUNT, Network
from .ssa import Ensemble, finish, interruptible, plan

SCHEMES = ("euler", "midpoint", "trapezoid")
BELOW = ("refuse", "clip", "allow")


class Selector(Protocol):
    """A step-size rule: the kernel's code for it, its size, the critical threshold and the burst."""

    def code(self) -> tuple[int, float, int, int]: ...


def _positive(value, what):
    return number(value, what, "a finite number above 0", lambda v: 0 < v < math.inf, NetworkError)


@dataclass(frozen=True)
class Fixed:
    """tau the same for ever.  Gillespie (2001), equation 8."""

    tau: float

    def code(self):
        return 0, _positive(self.tau, "Fixed: tau"), 0, 0


@dataclass(frozen=True)
class FixedOrExact(Fixed):
    """`Fixed` with the exact events of `Cao`: a leap worth fewer than ten events, or halved to that, is replaced by `burst` exact ones."""

    burst: int = 100

    def code(self):
        rule, tau, critical, _ = super().code()
        return rule, tau, critical, whole(self.burst, "FixedOrExact: burst", 0, LARGEST_COUNT, NetworkError)


@dataclass(frozen=True)
class Cao:
    """tau = min_i min(b_i / |mu_i|, b_i^2 / sigma_i^2), b_i = max(eps x_i / g_i, 1).  Cao, Gillespie & Petzold (2006), equation 33.

    mu_i and sigma_i^2 are drift and variance per unit time. A reaction within `critical` firings of exhausting a
    reactant fires at most once in a leap; a leap worth fewer than ten events is replaced by `burst` exact ones.
    """

    eps: float = 0.03
    critical: int = 10
    burst: int = 100

    def code(self):
        relative = "a relative change, above 0 and below 1, such as 0.03"
        eps = number(self.eps, "Cao: eps", relative, lambda v: 0 < v < 1, NetworkError)
        counts = [whole(getattr(self, n), f"Cao: {n}", 0, LARGEST_COUNT, NetworkError) for n in ("critical", "burst")]
        return 1, eps, *counts


@dataclass(frozen=True)
class Activity:
    """tau = size / sum_j a_j: the rule in words, small steps where propensities are high. `size` is events per leap."""

    size: float

    def code(self):
        return 2, _positive(self.size, "Activity: size"), 0, 0


@dataclass(frozen=True)
class Firings:
    """R-leaping: in one leap `size` reactions fire, whichever, in a time that is drawn.  Auger, Chatelain & Koumoutsakos (2006).

    tau ~ Gamma(size, 1 / sum_j a_j), and the firings fall on the reactions as multinomial with a_j / sum a; with one firing that
    is the exact algorithm. The number stays the same for ever: their choice of it, leap by leap, from a tolerance is not
    made here. Of a `size` that is not whole a leap has the part before the point or one more, at random, on average `size`.
    """

    size: float

    def code(self):
        at_least_one = "a finite number of at least 1"
        return 4, number(self.size, "Firings: size", at_least_one, lambda v: 1 <= v < math.inf, NetworkError), 0, 0


@dataclass(frozen=True)
class Absolute:
    """tau = size / max_i sqrt(mu_i^2 + sigma_i^2): Adam's lr / sqrt(second moment), with exact moments."""

    size: float

    def code(self):
        return 3, _positive(self.size, "Absolute: size"), 0, 0


def leap(
    network: Network, times, step: Selector, runs: int = 1, seed: int = 0, *, scheme: str = "euler",
    below: str = "refuse", initial=None, rates=None, max_events: int = 10**9, record: int = 0,
) -> Ensemble:  # fmt: skip
    """x <- x + sum_j nu_j Poisson(a_j tau), with tau from `step`.  Gillespie (2001), equation 8.

    `scheme`: "euler", "midpoint" (Gillespie 2001, equation 19, unrounded) or "trapezoid" (Anderson & Koyama 2012),
    which is weakly of second order at two draws per reaction. `below`: a leap that would make a count negative is
    refused and halved; "clip" and "allow" are the two mistakes, for study. `record` keeps that many taus per run.

    A leap is an approximation, and nothing here measures how good it is. In a linear network a fixed tau has for a
    species that decays at rate c the mean of Euler's method and, at rest, the variance of the exact process times
    1 / (1 - z/2), z = c tau: `theory.stationary_inflation`. Ask `simulate` where that matters. A run that needs more
    than `max_events` leaps and events, or passes a count of 1e15, ends the whole call, and so does Ctrl-C.
    """
    for value, known, what in ((scheme, SCHEMES, "scheme"), (below, BELOW, "below")):
        if value not in known:
            raise NetworkError(f"{what} is {value!r}; choose one of {', '.join(known)}")
    if not hasattr(step, "code"):
        raise NetworkError(f"step is {step!r}; give a rule, such as Cao(0.03) or Fixed(0.1)")
    rule, size, threshold, burst = step.code()
    if rule == kernels.FIRINGS and scheme != "euler":
        raise NetworkError(f"{step!r} has no scheme {scheme!r}; leave it at 'euler'")
    p = plan(network, times, runs, seed, initial, rates)
    budget = whole(max_events, "max_events", 1, LARGEST_COUNT, NetworkError)
    out = np.zeros((p.runs, p.times.size, p.x0.shape[1]))
    count, status, ends = np.zeros((p.runs, 4), np.int64), np.zeros(p.runs, np.int64), np.zeros(p.runs)
    taus = np.full((p.runs, whole(record, "record", 0, 10**8, NetworkError)), np.nan)
    interruptible(
        kernels.leap_runs, *network.program, network.highest, p.rates, p.x0, *p[:5], np.uint64(p.key), budget, out, count, status, ends, taus,
        rule, size, threshold, burst, SCHEMES.index(scheme), BELOW.index(below),
    )  # fmt: skip
    finish(status, ends, budget)
    leaps, events, refused, went_below = count.T
    method = f"leaps by {step!r}, scheme {scheme}, below zero {below}"
    return Ensemble(network, p.times, out.astype(np.int64), events, leaps, refused, went_below, taus, method)


def longest_step(network: Network, step: Selector, x=None) -> np.ndarray:
    """The tau that a rule proposes at states x of shape (..., S), before any event or output time cuts it short."""
    rule, size, threshold, _ = step.code()
    remedy = f"give counts of shape (..., {network.x0.size})"
    states = np.atleast_2d(numbers(network.x0 if x is None else x, "states", remedy, least=0, error=NetworkError))
    if states.shape[-1] != network.x0.size:
        raise NetworkError(f"states of shape {states.shape} do not fit {network.x0.size} species; {remedy}")
    a, critical, mu = np.empty(network.rates.size), np.zeros(network.rates.size, bool), np.empty(network.x0.size)
    taus = []
    for state in states.reshape(-1, network.x0.size):
        kernels.propensities(*network.program, network.rates, state, a)
        taus.append(
            kernels.choose_step(
                *network.program, network.highest, state, a, rule, size, threshold, critical, mu, mu.copy()
            )[0]
        )
    return np.array(taus).reshape(states.shape[:-1])
