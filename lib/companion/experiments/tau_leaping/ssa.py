"""Exact trajectories of a reaction network, a whole ensemble at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from companion.errors import NetworkError, SimulationError
from companion.experiments.inputs import numbers, whole

from . import kernels
from .network import LARGEST_COUNT, Network

#: Processor time of an exact event over that of a leap, of networks with one to four reactions; `accuracy.work_table` measures it.
EVENT = 1 / 20


class Ensemble(NamedTuple):
    """Runs of one network: `x` (runs, times, species) whole numbers, `times` (times,), and what it cost.

    `events`, `leaps` and `refused` have shape (runs,); `below` counts leaps that went below zero, refused or not;
    `taus` (runs, n) holds the first n leaps of each run, NaN where there were fewer. `method` is "exact", or says by
    which leaps x is an approximation.
    """

    network: Network
    times: np.ndarray
    x: np.ndarray
    events: np.ndarray
    leaps: Any = 0
    refused: Any = 0
    below: Any = 0
    taus: Any = None
    method: str = "exact"

    def read(self, name: str) -> np.ndarray:
        """A species or a rule, shape (runs, times)."""
        return self.network.read(self.x, name)

    @property
    def cost(self):
        """Work per run in units of a leap: leaps kept, leaps refused, and exact events at `EVENT` each, (runs,)."""
        return self.leaps + self.refused + EVENT * self.events

    def frame(self):
        """A pandas DataFrame with a row for every run and time: run, time, then every species and every rule."""
        import pandas as pd

        runs, times = self.x.shape[:2]
        columns = {"run": np.repeat(np.arange(runs), times), "time": np.tile(self.times, runs)}
        names = (*self.network.species, *self.network.rules)
        return pd.DataFrame(columns | {name: self.read(name).ravel() for name in names})


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


def _table(values, default, runs, what, whole):
    demand = "all must be whole numbers between 0 and 2^53" if whole else "all must be finite and at least 0"
    table = np.atleast_2d(numbers(default if values is None else values, what, demand, least=0, error=NetworkError))
    if table.ndim != 2 or table.shape[1] != default.size or table.shape[0] not in (1, runs):
        raise NetworkError(f"{what} has shape {np.shape(values)}; give ({default.size},) or ({runs}, {default.size})")
    if whole and (bad := (table != np.floor(table)) | (table > LARGEST_COUNT)).any():
        raise NetworkError(f"{what} has the entry {table[bad][0]:g}; {demand}")
    return table


def plan(network: Network, times, runs, seed, initial, rates) -> Plan:
    """Check a request and merge output times with scheduled resets."""
    remedy = "times must be finite, at least 0 and strictly increasing; sort them and drop repeats"
    times = np.atleast_1d(numbers(times, "times", remedy, least=0, error=NetworkError))
    if times.ndim != 1 or not times.size or (np.diff(times) <= 0).any():
        raise NetworkError(remedy)
    runs, seed = whole(runs, "runs", 1, error=NetworkError), whole(seed, "seed", 0, error=NetworkError)
    x0 = _table(initial, network.x0, runs, "initial", True)
    rates = _table(rates, network.rates, runs, "rates", False)
    _refuse_overflow(network, x0, rates)
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


def _refuse_overflow(network, x0, rates):
    for j, reaction in enumerate(network.reaction_list):
        a = rates[:, j]
        with np.errstate(over="ignore", invalid="ignore"):
            for species, n in reaction.reactants.items():
                a = a * x0[:, network.species.index(species)] ** n
        if not np.isfinite(a).all():
            raise NetworkError(
                f"the propensity of {network.reactions[j][0]!r} overflows at the start; lower a count or the rate constant"
            )


def interruptible(kernel: Callable, *arguments) -> None:
    """kernel(*arguments, halt) in a thread, so that Ctrl-C is heard at once; `halt` then tells the kernel to stop."""
    halt = np.zeros(1, np.int64)
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(kernel, *arguments, halt).result()
    finally:
        halt[0] = 1
        pool.shutdown(wait=False)


def finish(status, ends, budget):
    """Raise if a run could not be finished; name the run and the time."""
    if (bad := np.flatnonzero(status)).size:
        r = bad[0]
        exploded = status[r] == kernels.EXPLODED
        why = "passed a count of 1e15 or an infinite propensity" if exploded else f"spent its {budget} events"
        raise SimulationError(
            f"run {r} {why} at t = {ends[r]:.6g}; the population may explode: "
            "shorten the time span, lower a rate constant or raise max_events"
        )


def simulate(
    network: Network, times, runs: int = 1, seed: int = 0, *, initial=None, rates=None, max_events: int = 10**9
) -> Ensemble:
    """Exact simulation: wait Exp(sum a), then reaction j with probability a_j / sum a.  Gillespie (1977), section III.

    `initial` (S,) or (runs, S) and `rates` (M,) or (runs, M) replace the network's own; run r depends on `seed`
    and r alone. A reset at an output time comes before the recording. A run that needs more than `max_events` ends the
    whole call with a SimulationError, and Ctrl-C ends it at once.
    """
    p = plan(network, times, runs, seed, initial, rates)
    budget = whole(max_events, "max_events", 1, LARGEST_COUNT, NetworkError)
    out = np.zeros((p.runs, p.times.size, p.x0.shape[1]))
    events, status, ends = np.zeros(p.runs, np.int64), np.zeros(p.runs, np.int64), np.zeros(p.runs)
    interruptible(
        kernels.ssa_runs, *network.program, p.rates, p.x0, *p[:5], np.uint64(p.key), budget, out, events, status, ends
    )
    finish(status, ends, budget)
    return Ensemble(network, p.times, out.astype(np.int64), events)
