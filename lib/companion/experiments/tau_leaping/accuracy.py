"""How wrong a leaping ensemble is, what sampling alone would explain, and step-size rules at equal cost."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from companion.errors import NetworkError, SimulationError

from . import textbook
from .leaping import Absolute, Activity, Cao, Fixed, leap, longest_step
from .master_equation import MasterEquation
from .network import Network
from .ssa import Ensemble, simulate


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


def simulated_law(exact: Ensemble, name: str) -> Law:
    """Law of one species at the only time of an exact ensemble: a reference with a sampling error of its own."""
    x = exact.read(name)[:, 0]
    return _law(np.bincount(x) / x.size, x.size)


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
    """Distances (repeats,) of one rule, its work per run, the rule with the size that met the work allowed, and its ensembles."""

    error: np.ndarray
    cost: float
    rule: Any
    ensembles: tuple = ()

    def asked(self, case: Case) -> "Score":
        """The same runs, asked for the species of another case."""
        return self._replace(error=np.array([distance(e.read(case.species)[:, 0], case.law) for e in self.ensembles]))


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
    return Score(np.empty(0), float(np.mean([e.cost.mean() for e in ensembles])), rule, tuple(ensembles)).asked(case)


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


def compare_all(cases: dict[str, Case], runs: int, repeats: int, seed: int = 1000) -> dict[str, dict[str, Score]]:
    """`compare` for every case; cases that ask the same runs for different species share them."""
    scores, walked = {}, {}
    for name, case in cases.items():
        run = id(case.network), case.time, case.eps
        if run not in walked:
            walked[run] = compare(case, runs, repeats, seed)
        scores[name] = {rule: score.asked(case) for rule, score in walked[run].items()}
    return scores


def gain(scores: dict[str, Score], rule: str = "relative change", over: str = "fixed") -> np.ndarray:
    """log(error of `over` / error of `rule`), (repeats,): above 0 where `rule` is the better one."""
    return np.log(scores[over].error / scores[rule].error)


_DIMERS = textbook.decaying_dimerising(5000)

#: name -> network, species, time, ceiling of the master equation (None: all states; 0: too many, so simulate).
PROBLEMS = {
    "decay": (textbook.decay(1000), "X", 3.0, None),
    "relaxation": (textbook.immigration_death(100, 1.0, 5000), "X", 3.0, 5500),
    "rest": (textbook.immigration_death(1000, 1.0, 1000), "X", 5.0, 1500),
    "pairs vanish": (textbook.decay(4000, 0.01, 2), "X", 5.0, None),
    "pairs vanish slowly": (textbook.decay(4000, 0.001, 2), "X", 5.0, None),
    "pairs come and go": (textbook.dimerisation(0.001, 0.1, 2000), "P", 5.0, None),
    "decaying dimers": (_DIMERS, "S2", 10.0, 0),
    "product of the dimers": (_DIMERS, "S3", 10.0, 0),
}


def cases(eps: dict, reference_runs: int = 8000) -> dict[str, Case]:
    """The problems of `PROBLEMS` that `eps` names, each with its law, to be run with that tolerance."""
    chosen, simulated = {}, {}
    for name, tolerance in eps.items():
        network, species, time, ceiling = PROBLEMS[name]
        if ceiling == 0:
            run = id(network), time
            if run not in simulated:
                simulated[run] = simulate(network, [time], reference_runs, 1)
            law = simulated_law(simulated[run], species)
        else:
            law = exact_law(network, species, time, ceiling)
        chosen[name] = Case(network, species, time, tolerance, law)
    return chosen


def work_precision(case: Case, tolerances, runs: int, repeats: int) -> list[dict[str, Score]]:
    """`compare` at every tolerance of Cao's rule: how error falls with work."""
    return [compare(case._replace(eps=eps), runs, repeats) for eps in tolerances]


def depths(order: int, factors, eps: float, runs: int, repeats: int, count: int = 1000) -> np.ndarray:
    """Gain of Cao's rule over a fixed step on p X -> nothing, run until the count has fallen by each of `factors`.

    Shape (factors, repeats). The time scale of the decay, x / |x'|, grows by factor^(p - 1) meanwhile.
    """
    gains = []
    speed = count ** (1 - order) * np.prod(np.arange(1, order))  # the time scale is 1 at the start
    network = textbook.decay(count, float(speed), order)
    for factor in factors:
        t = float(np.log(factor) if order == 1 else (factor ** (order - 1) - 1) / (order - 1))
        case = Case(network, "X", t, eps, exact_law(network, "X", t))
        cao = score(case, Cao(eps), runs, repeats, 1000)
        fixed = score(case, at_cost(case, Fixed, cao.cost, t / cao.cost), runs, repeats, 1000)
        gains.append(np.log(fixed.error / cao.error))
    return np.array(gains)


def orders(network: Network, name: str, t: float, taus, miss: Callable, runs: int, repeats: int, initial=None):
    """Slope of log |miss(counts)| against log tau, fixed leaps, for each of `repeats` ensembles: the order of an error."""
    errors = [
        [
            abs(miss(leap(network, [t], Fixed(tau), runs, 10 * i + k, initial=initial).read(name)[:, 0]))
            for k, tau in enumerate(taus)
        ]
        for i in range(repeats)
    ]
    return np.polyfit(np.log(taus), np.log(errors).T, 1)[0]
