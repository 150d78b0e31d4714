"""How wrong a leaping ensemble is, what sampling alone would explain, and step-size rules at equal cost."""

from collections.abc import Callable
from time import process_time
from typing import Any, NamedTuple

import numpy as np

from companion.errors import NetworkError, SimulationError

from . import textbook
from .leaping import Absolute, Activity, Cao, Firings, Fixed, FixedOrExact, leap, longest_step
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


def exact_laws(network: Network, name: str, times, ceiling: int | None = None) -> list[Law]:
    """Laws of one species at all times from the master equation, free of sampling error."""
    chain = MasterEquation(network, ceiling)
    p = chain.solve(times)
    if (leak := 1 - p[-1].sum()) > 1e-9:
        raise NetworkError(f"probability {leak:.1e} leaks over the ceiling {ceiling} by t = {times[-1]:g}; raise it")
    return [_law(pmf) for pmf in chain.marginal(p, name)[1]]


def simulated_laws(exact: Ensemble, name: str) -> list[Law]:
    """Laws of one species at the times of an exact ensemble: a reference with a sampling error of its own."""
    return [_law(np.bincount(x) / x.size, x.size) for x in exact.read(name).T]


def distance(x: np.ndarray, law: Law) -> float:
    """First Wasserstein distance sum |F_n - F| between counts x and a law, in standard deviations of the law."""
    if not (np.size(x) and law.sd > 0):
        raise NetworkError(
            f"no distance of {np.size(x)} counts in units of a deviation of {law.sd:g}; ask a later time"
        )
    low, high = min(int(x.min()), 0), max(int(x.max()) + 1, law.pmf.size)
    empirical = np.cumsum(np.bincount(x.astype(np.int64) - low, minlength=high - low)) / x.size
    true = np.concatenate([np.zeros(-low), np.cumsum(law.pmf), np.ones(high - law.pmf.size)])
    return float(abs(empirical - true).sum() / law.sd)


def floor(law: Law, runs: int, seed: int, draws: int = 200) -> np.ndarray:
    """Distances that a perfect sampler would show with as many runs: multinomial resampling from the law, (draws,)."""
    rng, pmf, distances = np.random.default_rng(seed), law.pmf / law.pmf.sum(), []
    for counts in rng.multinomial(runs, pmf, draws):
        reference = rng.multinomial(int(law.reference_runs), pmf) if np.isfinite(law.reference_runs) else None
        true = pmf if reference is None else reference / law.reference_runs
        distances.append(abs(np.cumsum(counts / runs - true)).sum() / law.sd)
    return np.array(distances)


#: The rules that get as much work as Cao's, made from a size that is found.
RIVALS = {
    "fixed": Fixed,
    "fixed, with exact events": FixedOrExact,
    "1 / activity": Activity,
    "absolute change": Absolute,
    "R-leaping": lambda size: Firings(max(size, 1.0)),
}


class Case(NamedTuple):
    """A network started in a known state, the species that is looked at, when, and its laws then; eps sets the work allowed."""

    network: Network
    species: str
    times: np.ndarray
    eps: float
    laws: list[Law]


class Score(NamedTuple):
    """Distances (repeats, times) of one rule, its work per run, the rule with the size that met the work allowed, and its ensembles."""

    error: np.ndarray
    cost: float
    rule: Any
    ensembles: tuple = ()

    def asked(self, case: Case) -> "Score":
        """The same runs, asked for the species of another case."""
        asked = [
            [distance(x, law) for x, law in zip(e.read(case.species).T, case.laws, strict=True)] for e in self.ensembles
        ]
        return self._replace(error=np.array(asked))


def at_cost(case: Case, make: Callable, cost: float, start: float, seed: int, runs: int = 50):
    """The rule make(size) whose mean work per run is `cost`, by bisection of log size; longer steps cost less."""
    low, high = np.log(start) - 12, np.log(start) + 12
    for _ in range(12):  # to half a per cent
        middle = (low + high) / 2
        try:
            rule = make(float(np.exp(middle)))
            work = leap(case.network, case.times, rule, runs, seed, max_events=int(20 * cost) + 100).cost.mean()
        except SimulationError:
            work = np.inf
        low, high = (middle, high) if work > cost else (low, middle)
    return make(float(np.exp((low + high) / 2)))


def score(case: Case, rule, runs: int, seeds) -> Score:
    """Distances of independent ensembles, one for each seed; rules that share their seeds are paired."""
    ensembles = [leap(case.network, case.times, rule, runs, seed) for seed in seeds]
    return Score(np.empty((0, 0)), float(np.mean([e.cost.mean() for e in ensembles])), rule, tuple(ensembles)).asked(
        case
    )


def compare(
    case: Case, runs: int, seeds, tuning: int, burst: int = 0, rivals=("fixed", "1 / activity", "absolute change")
) -> dict[str, Score]:
    """Cao's rule and its rivals, all at the work that Cao's rule needs; their sizes are found with the seed `tuning`.

    burst 0: leaps alone. Otherwise a leap that is worth less than ten events gives way to so many exact events.
    """
    cao = score(case, Cao(case.eps, burst=burst), runs, seeds)
    start = case.times[-1] / cao.cost
    scores = {"relative change": cao}
    for name in rivals:
        first = start / (1.0 if name.startswith("fixed") else float(longest_step(case.network, Activity(1.0))[0]))
        scores[name] = score(case, at_cost(case, RIVALS[name], cao.cost, first, tuning), runs, seeds)
    return scores


def compare_all(cases: dict[str, Case], runs: int, seeds, tuning: int, **options) -> dict[str, dict[str, Score]]:
    """`compare` for every case; cases that ask the same runs for different species share them."""
    scores, simulated = {}, {}
    for name, case in cases.items():
        run = id(case.network), tuple(case.times), case.eps
        if run not in simulated:
            simulated[run] = compare(case, runs, seeds, tuning, **options)
        scores[name] = {rule: score.asked(case) for rule, score in simulated[run].items()}
    return scores


def gain(
    scores: dict[str, Score], rule: str = "relative change", over: str = "fixed", course: bool = False
) -> np.ndarray:
    """log(error of `over` / error of `rule`), (repeats,): above 0 where `rule` is the better one.

    The error is the distance at the end, or with `course` the mean of the distances at all times.
    """
    error = {name: s.error.mean(1) if course else s.error[:, -1] for name, s in scores.items()}
    return np.log(error[over] / error[rule])


def best_gains(*compared: dict[str, dict[str, Score]]) -> dict[str, np.ndarray]:
    """`gain` of the best adaptive rule of all comparisons, by the titles of `PACE`.

    The first third of the ensembles chooses it and the others report.
    """
    reported = {}
    for name in compared[0]:
        candidates = [gain(c[name], rule) for c in compared for rule in c[name] if not rule.startswith("fixed")]
        first = candidates[0].size // 3
        reported[PACE[name]] = max(candidates, key=lambda g: g[:first].mean())[first:]
    return reported


def processor_time(simulated: Callable) -> tuple[Ensemble, float]:
    """An ensemble and the processor time of a run in microseconds: the shortest of three calls, as another process may interfere."""
    spent = []
    for _ in range(3):
        start = process_time()
        ensemble = simulated()
        spent.append(process_time() - start)
    return ensemble, 1e6 * min(spent) / len(ensemble.x)


def spread_of_leaps(case: Case, runs: int, seed: int) -> float:
    """Ratio of the 0.9 to the 0.1 quantile of Cao's leaps; the last of several, cut short by the end of the run, is left out."""
    ensemble = leap(case.network, case.times[-1:], Cao(case.eps, burst=0), runs, seed, record=2000)
    whole = np.arange(2000) < np.maximum(ensemble.leaps[:, None] - 1, 1)
    low, high = np.quantile(ensemble.taus[whole], [0.1, 0.9])
    return float(high / low)


def work_table(cases: dict[str, Case], scores: dict[str, dict[str, Score]], runs: int, seed: int):
    """A row for each network: leaps, exact events and microseconds of processor time per run, of four ways to simulate it.

    Times are those of the machine and differ from run to run. Of cases with one network the first gives the row its name.
    """
    import pandas as pd

    rows, timed = {}, set()
    for name, case in cases.items():
        if case.network in timed:
            continue
        timed.add(case.network)
        rules = scores[name]["fixed"].rule, Cao(case.eps, burst=0), Cao(case.eps)
        end = case.times[-1:]
        fixed, leaping, mixed = (
            processor_time(lambda case=case, end=end, rule=rule: leap(case.network, end, rule, runs, seed))
            for rule in rules
        )
        exact = processor_time(lambda case=case, end=end: simulate(case.network, end, runs, seed))
        rows[name] = {
            "leaps": round(leaping[0].leaps.mean()),
            "longest / shortest": float(f"{spread_of_leaps(case, runs, seed):.2g}"),
            "µs, fixed step": round(fixed[1], 1),
            "µs, Cao": round(leaping[1], 1),
            "leaps + events, Cao": f"{mixed[0].leaps.mean():.0f} + {mixed[0].events.mean():.0f}",
            "µs, Cao with events": round(mixed[1], 1),
            "events, exact": round(exact[0].events.mean()),
            "µs, exact": round(exact[1], 1),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


#: What distinguishes each problem, as its evidence is titled.
PACE = {
    "decay": "activity falls, the time scale is constant",
    "relaxation": "the network relaxes towards its rest",
    "rest": "the network is at rest",
    "pairs vanish": "the time scale grows two hundredfold",
    "pairs vanish slowly": "the time scale grows twentyfold",
    "pairs come and go": "pairs join and split",
    "prey and predators": "prey and predators oscillate",
    "decaying dimers": "fast and slow reactions, asked for the dimers, which forget",
    "product of the dimers": "fast and slow reactions, asked for their product, which remembers",
}

_DIMERS = textbook.decaying_dimerising(5000)

#: name -> network, species, time, ceiling of the master equation (None: all states; 0: too many, so simulate).
PROBLEMS = {
    "decay": (textbook.decay(1000), "X", 3.0, None),
    "relaxation": (textbook.immigration_death(100, 1.0, 5000), "X", 3.0, 5500),
    "rest": (textbook.immigration_death(1000, 1.0, 1000), "X", 5.0, 1500),
    "pairs vanish": (textbook.decay(4000, 0.01, 2), "X", 5.0, None),
    "pairs vanish slowly": (textbook.decay(4000, 0.001, 2), "X", 5.0, None),
    "pairs come and go": (textbook.dimerisation(0.001, 0.1, 2000), "P", 5.0, None),
    "prey and predators": (textbook.lotka_volterra(500, 1000), "X", 1.25, 0),  # two periods
    "decaying dimers": (_DIMERS, "S2", 10.0, 0),
    "product of the dimers": (_DIMERS, "S3", 10.0, 0),
}


def course(end: float, count: int = 5) -> np.ndarray:
    """`count` times evenly spaced in log time, each twice the one before, up to the end of a run."""
    return end * 2.0 ** np.arange(1 - count, 1)


def cases(eps: float, exceptions: dict[str, float], reference_runs: int, seed: int) -> dict[str, Case]:
    """All of `PROBLEMS`, each with its laws over the course, to be run with the tolerance `eps` or that of `exceptions`."""
    chosen, simulated = {}, {}
    for name, tolerance in (dict.fromkeys(PROBLEMS, eps) | exceptions).items():
        network, species, end, ceiling = PROBLEMS[name]
        times = course(end)
        if ceiling == 0:
            if network not in simulated:
                simulated[network] = simulate(network, times, reference_runs, seed)
            laws = simulated_laws(simulated[network], species)
        else:
            laws = exact_laws(network, species, times, ceiling)
        chosen[name] = Case(network, species, times, tolerance, laws)
    return chosen


def work_precision(cases: dict[str, Case], tolerances, runs: int, seeds, tuning: int) -> dict[str, list]:
    """`compare` of every case at every tolerance of Cao's rule, {case: [{rule: Score}]}: how error falls with work."""
    return {
        name: [compare(case._replace(eps=eps), runs, seeds, tuning) for eps in tolerances]
        for name, case in cases.items()
    }


def depths(order: int, factors, eps: float, runs: int, seeds, tuning: int, count: int = 1000) -> np.ndarray:
    """Gain of Cao's rule over a fixed step on p X -> nothing, run until the count has fallen by each of `factors`.

    Shape (factors, repeats). The time scale of the decay, x / |x'|, grows by factor^(p - 1) meanwhile.
    """
    reached = []
    speed = count ** (1 - order) * np.prod(np.arange(1, order))  # the time scale is 1 at the start
    network = textbook.decay(count, float(speed), order)
    for factor in factors:
        t = float(np.log(factor) if order == 1 else (factor ** (order - 1) - 1) / (order - 1))
        case = Case(network, "X", [t], eps, exact_laws(network, "X", [t]))
        reached.append(gain(compare(case, runs, seeds, tuning, rivals=("fixed",))))
    return np.array(reached)


def orders(network: Network, name: str, t: float, taus, miss: Callable, runs: int, seeds):
    """Slope of log |miss(counts)| against log tau, fixed leaps, an ensemble for each seed and tau: the order of an error."""
    errors = []
    for seed in seeds:
        apart = np.random.SeedSequence(seed).generate_state(len(taus))
        runs_at = [leap(network, [t], Fixed(tau), runs, int(s)) for tau, s in zip(taus, apart, strict=True)]
        errors.append([abs(miss(ensemble.read(name)[:, 0])) for ensemble in runs_at])
    return np.polyfit(np.log(taus), np.log(errors).T, 1)[0]


def orders_of_leaping(runs: int, clouds: int, seeds) -> dict[str, np.ndarray]:
    """`orders` of the mean of two decays after about one relaxation time, and of the variance of a million molecules at rest."""
    pairs = textbook.decay(10**8, 1e-8, 2)
    return {
        "mean of X → ∅": orders(
            textbook.decay(10**6), "X", 1.0, (0.2, 0.1, 0.05), lambda x: x.mean() - 1e6 * np.exp(-1), runs, seeds
        ),
        "mean of 2 X → ∅": orders(
            pairs, "X", 2.0, (0.1, 0.05, 0.025),
            lambda x: x.mean() - textbook.decay_curve(1e8, 1e-8, 2, 2.0), runs, seeds,
        ),
        "variance at rest": orders(
            textbook.immigration_death(1e6, 1.0, 10**6), "X", 20.0, (1.0, 0.5, 0.25),
            lambda x: x.var() / 1e6 - 1, clouds, seeds,
        ),
    }  # fmt: skip
