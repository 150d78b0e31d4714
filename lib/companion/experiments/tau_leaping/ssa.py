"""Exact trajectories of a reaction network, a whole ensemble at once."""

import operator
from typing import Any, NamedTuple

import numpy as np

from companion.errors import NetworkError, SimulationError

from . import kernels
from .network import LARGEST_COUNT, Network

#: Processor time of an exact event over that of a leap, of networks with one to four reactions; `accuracy.work_table` measures it.
EVENT = 1 / 20


class Ensemble(NamedTuple):
    """Runs of one network: `x` (runs, times, species) whole numbers, `times` (times,), and what it cost.

    `events`, `leaps` and `refused` have shape (runs,); `below` counts leaps that went below zero, refused or not;
    `taus` (runs, n) holds the first n leaps of each run, NaN where there were fewer.
    """

    network: Network
    times: np.ndarray
    x: np.ndarray
    events: np.ndarray
    leaps: Any = 0
    refused: Any = 0
    below: Any = 0
    taus: Any = None

    def read(self, name: str) -> np.ndarray:
        """A species or a rule, shape (runs, times)."""
        return self.network.read(self.x, name)

    @property
    def cost(self):
        """Work per run in units of a leap: leaps kept, leaps refused, and exact events at `EVENT` each, (runs,)."""
        return self.leaps + self.refused + EVENT * self.events


class Plan(NamedTuple):
    """A request checked and laid out for the kernels: when to stop, what to record, what to reset."""

    stop: np.ndarray
    record: np.ndarray
    reset_row: np.ndarray
    reset_who: np.ndarray
    reset_count: np.ndarray
    x0: np.ndarray
    rates: np.ndarray
    times: np.ndarray
    runs: int
    key: int


def _whole(value, what, least):
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise NetworkError(f"{what} is {value!r}; it must be a whole number, at least {least}")
    return number


def _table(values, default, runs, what, whole):
    table = np.atleast_2d(np.asarray(default if values is None else values, float))
    if table.ndim != 2 or table.shape[1] != default.size or table.shape[0] not in (1, runs):
        raise NetworkError(f"{what} has shape {np.shape(values)}; give ({default.size},) or ({runs}, {default.size})")
    bad = ~(np.isfinite(table) & (table >= 0)) | (whole & ((table != np.floor(table)) | (table > LARGEST_COUNT)))
    if bad.any():
        demand = "whole numbers between 0 and 2^53" if whole else "finite and at least 0"
        raise NetworkError(f"{what} has the entry {table[bad][0]:g}; all must be {demand}")
    return table


def plan(network: Network, times, runs, seed, initial, rates) -> Plan:
    """Check a request and merge output times with scheduled resets."""
    times = np.atleast_1d(np.asarray(times, float))
    if times.ndim != 1 or not times.size or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
        raise NetworkError("times must be finite, at least 0 and strictly increasing; sort them and drop repeats")
    runs, seed = _whole(runs, "runs", 1), _whole(seed, "seed", 0)
    x0 = _table(initial, network.x0, runs, "initial", True)
    rates = _table(rates, network.rates, runs, "rates", False)
    resets = [r for r in network.resets if r.time <= times[-1]]
    if not resets and not any(_alive(network, x, c) for x in x0 for c in rates[:1]):
        raise NetworkError("every propensity is zero at the start and for ever; raise a count or a rate constant")
    stop = np.unique([*times, *(r.time for r in resets)])
    rows = np.searchsorted([r.time for r in resets], stop, "right")
    return Plan(
        stop=stop,
        record=np.where(np.isin(stop, times), np.searchsorted(times, stop), -1),
        reset_row=np.concatenate([[0], rows]),
        reset_who=np.array([network.species.index(r.species) for r in resets], dtype=np.int64),
        reset_count=np.array([r.count for r in resets], dtype=float),
        x0=x0,
        rates=rates,
        times=times,
        runs=runs,
        key=int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]),
    )


def _alive(network, x, c):
    counts = dict(zip(network.species, x, strict=True))
    return any(
        rate > 0 and all(counts[s] >= n for s, n in reaction.reactants.items())
        for reaction, rate in zip(network.reaction_list, c, strict=True)
    )


def finish(network, status, ends, x, budget):
    """Raise if a run could not be finished; name the run, the time and the largest count."""
    if (bad := np.flatnonzero(status)).size:
        r = bad[0]
        why = "passed a count of 1e15" if status[r] == 2 else f"spent its {budget} events"
        raise SimulationError(
            f"run {r} {why} at t = {ends[r]:.6g}; the population may explode: "
            "shorten the time span, lower a rate constant or raise max_events"
        )


def simulate(
    network: Network, times, runs: int = 1, seed: int = 0, *, initial=None, rates=None, max_events: int = 10**9
) -> Ensemble:
    """Exact simulation: wait Exp(sum a), then reaction j with probability a_j / sum a.  Gillespie (1977), section III.

    `initial` (S,) or (runs, S) and `rates` (M,) or (runs, M) replace the network's own; run r depends on `seed`
    and r alone. A reset at an output time comes before the recording.
    """
    p = plan(network, times, runs, seed, initial, rates)
    budget = _whole(max_events, "max_events", 1)
    out = np.zeros((p.runs, p.times.size, p.x0.shape[1]))
    events, status, ends = np.zeros(p.runs, np.int64), np.zeros(p.runs, np.int64), np.zeros(p.runs)
    kernels.ssa_runs(*network.program, p.rates, p.x0, *p[:5], np.uint64(p.key), budget, out, events, status, ends)
    finish(network, status, ends, out, budget)
    return Ensemble(network, p.times, out.astype(np.int64), events)
