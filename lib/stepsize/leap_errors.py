"""How wrong a leaping ensemble is, what sampling alone would explain, and step-size rules at equal cost."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .errors import NetworkError, SimulationError
from .leaping import Absolute, Activity, Cao, Fixed, leap, longest_step
from .master import MasterEquation
from .reactions import Network
from .ssa import simulate


class Law(NamedTuple):
    """The true distribution of a count: values 0, 1, ..., their probabilities, mean and standard deviation.

    `reference_runs` is infinite for a law computed from the master equation, the number of runs for a simulated one.
    """

    pmf: np.ndarray
    mean: float
    sd: float
    reference_runs: float = np.inf


def _law(pmf, runs=np.inf):
    values = np.arange(pmf.size)
    mean = float(pmf @ values)
    return Law(pmf, mean, float(np.sqrt(pmf @ (values - mean) ** 2)), runs)


def exact_law(network: Network, name: str, t: float, ceiling: int | None = None) -> Law:
    """Law of one species at time t from the master equation, free of sampling error."""
    chain = MasterEquation(network, ceiling)
    p = chain.solve([t])[0]
    if 1 - p.sum() > 1e-9:
        raise NetworkError(f"probability {1 - p.sum():.1e} leaks over the ceiling {ceiling} by t = {t}; raise it")
    return _law(chain.marginal(p, name)[1])


def simulated_law(network: Network, name: str, t: float, runs: int, seed: int) -> Law:
    """Law of one species at time t estimated from exact runs: a reference with a sampling error of its own."""
    x = simulate(network, [t], runs, seed).read(name)[:, 0]
    return _law(np.bincount(x) / runs, runs)


def distance(x: np.ndarray, law: Law) -> float:
    """First Wasserstein distance sum |F_n - F| between counts x and a law, in standard deviations of the law."""
    low, high = min(int(x.min()), 0), max(int(x.max()) + 1, law.pmf.size)
    empirical = np.cumsum(np.bincount(x.astype(np.int64) - low, minlength=high - low)) / x.size
    true = np.concatenate([np.zeros(-low), np.cumsum(law.pmf), np.ones(high - law.pmf.size)])
    return float(abs(empirical - true).sum() / law.sd)


def floor(law: Law, runs: int, draws: int = 200, seed: int = 0) -> np.ndarray:
    """Distances that a perfect sampler would show with as many runs: multinomial resampling from the law, (draws,)."""
    rng, pmf, distances = np.random.default_rng(seed), law.pmf / law.pmf.sum(), []
    for counts in rng.multinomial(runs, pmf, draws):
        reference = rng.multinomial(int(law.reference_runs), pmf) if np.isfinite(law.reference_runs) else None
        true = pmf if reference is None else reference / law.reference_runs
        distances.append(abs(np.cumsum(counts / runs - true)).sum() / law.sd)
    return np.array(distances)


class Case(NamedTuple):
    """A network started in a known state, the species that is looked at and the time; eps sets the work allowed."""

    network: Network
    species: str
    time: float
    eps: float
    law: Law


class Score(NamedTuple):
    """Distances (repeats,) of one rule, its work per run, and the rule with the size that met the work allowed."""

    error: np.ndarray
    cost: float
    rule: Any


def at_cost(case: Case, make: Callable, cost: float, start: float, runs: int = 50, seed: int = 0):
    """The rule make(size) whose mean work per run is `cost`, by bisection of log size; longer steps cost less."""
    low, high = np.log(start) - 12, np.log(start) + 12
    for _ in range(20):
        middle = (low + high) / 2
        try:
            rule = make(float(np.exp(middle)))
            work = leap(case.network, [case.time], rule, runs, seed, max_events=int(20 * cost) + 100).cost.mean()
        except SimulationError:
            work = np.inf
        low, high = (middle, high) if work > cost else (low, middle)
    return make(float(np.exp((low + high) / 2)))


def score(case: Case, rule, runs: int, repeats: int, seed: int, **options) -> Score:
    """Distances of `repeats` independent ensembles; the same seeds for every rule, so that repeats are paired."""
    ensembles = [leap(case.network, [case.time], rule, runs, seed + i, **options) for i in range(repeats)]
    errors = [distance(e.read(case.species)[:, 0], case.law) for e in ensembles]
    return Score(np.array(errors), float(np.mean([e.cost.mean() for e in ensembles])), rule)


def compare(case: Case, runs: int, repeats: int, seed: int = 1000) -> dict[str, Score]:
    """Cao's rule, a fixed step, and steps by total activity and by absolute change, all at the work that Cao's rule needs."""
    cao = score(case, Cao(case.eps), runs, repeats, seed)
    start = case.time / cao.cost
    activity = start / longest_step(case.network, Activity(1.0))
    return {
        "relative change": cao,
        "fixed": score(case, at_cost(case, Fixed, cao.cost, start), runs, repeats, seed),
        "1 / activity": score(case, at_cost(case, Activity, cao.cost, float(activity[0])), runs, repeats, seed),
        "absolute change": score(case, at_cost(case, Absolute, cao.cost, float(activity[0])), runs, repeats, seed),
    }


def gain(scores: dict[str, Score], rule: str = "relative change", over: str = "fixed") -> np.ndarray:
    """log(error of `over` / error of `rule`), (repeats,): above 0 where `rule` is the better one."""
    return np.log(scores[over].error / scores[rule].error)
