"""Rows of the chapter's claims, condition -> sample or interval, and the numbers that its prose takes from the run."""

from collections.abc import Callable

import numpy as np

from companion.evidence import Interval, bootstrap, proportion

from . import consortia, fairness, noise, patients, synthetic, theory
from .hospitals import Study
from .synthetic import Raced

HEART = "highest heart rate, four hospitals"
#: Consortia of many institutions by the name of their outcome.
CONSORTIA: dict[str, Callable] = {
    "length of stay, 36 hospitals": patients.length_of_stay,
    "mathematics, 160 schools": patients.mathematics,
}


def noise_ratio(seed: int, splits: int = 1000) -> dict[str, Interval]:
    """Residual variance of the noisiest of the four hospitals over that of the quietest (`noise.ratio_of_extremes`)."""
    return {HEART: noise.ratio_of_extremes(patients.heart_rate(), seed=seed, splits=splits)}


def noise_levels(draws: int, seed: Callable[[str], int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`noise.log_variances` of the four hospitals about their own fits, of `CONSORTIA` about common slopes and own levels. seed(purpose)
    is a seed."""
    people = {HEART: (patients.heart_rate(), "shared noise")}
    people |= {what: (consortia.about_common_slopes(load()), what) for what, load in CONSORTIA.items()}
    return {what: noise.log_variances(p, draws, seed(purpose)) for what, (p, purpose) in people.items()}


def noise_spreads(levels: dict) -> dict[str, Interval]:
    """Spread of the log residual variance between institutions, by outcome; `levels` from `noise_levels`."""
    return {what: noise.spread(*of) for what, of in levels.items()}


def noise_extremes(levels: dict) -> dict[str, Interval]:
    """`noise.true_extremes` of `CONSORTIA`: how much noisier the noisiest institution is than the quietest."""
    return {what: noise.true_extremes(*levels[what]) for what in CONSORTIA}


def log_ratio(rule: Raced, rival: Raced, part: str = "macro") -> np.ndarray:
    """log(excess of `rule` / excess of `rival`), run by run: of all clients, the "clean" ones or the "outlier"."""
    return np.log(getattr(rule, part) / getattr(rival, part))


def harm_by_noise(race: Callable[..., Raced], times) -> dict[str, np.ndarray]:
    """log of the quiet clients' excess under FedAvg over that without the noisy client, for each of `times` as much noise."""
    return {
        f"its noise is {r:g} times the others'": log_ratio(
            race("FedAvg", sigma=0.3 * r), race("without it", sigma=0.3 * r), "clean"
        )
        for r in times
    }


def noise_estimates(seeds) -> dict[str, np.ndarray]:
    """Estimated over true noise variance, run by run: by the client's own fit, and by the residuals of FedAvg's global model."""
    shared, apart = synthetic.global_estimate(seeds), synthetic.global_estimate(seeds, shift=1.0, sigma=0.3)
    one, model = "all clients share one truth", "residuals of the global model"
    return {
        "the residuals are those of the client's own fit": synthetic.own_estimate(seeds),
        f"{one}, {model} at the noisy client": shared[:, -1],
        f"{one}, {model} at a quiet client": shared[:, :-1].mean(-1),
        f"another truth, {model} at the client that differs": apart[:, -1],
    }


def single_estimates(estimates: dict[str, np.ndarray], within: tuple[float, float]) -> dict[str, Interval]:
    """Share of the federations in which the estimate from the client's own fit, over the truth, lies `within` these limits."""
    own = estimates["the residuals are those of the client's own fit"]
    inside = (own >= within[0]) & (own <= within[1])
    return {"a single estimate from the client's own fit": proportion(int(inside.sum()), own.size)}


def excess_ratios(races: dict[float, dict[str, Raced]], half: dict[str, Raced], controls: dict[str, Raced]) -> dict:
    """`log_ratio` to FedAvg of inverse variances, at three distances of the noisy client and where half of the clients answer, and of `controls`."""
    rows = {
        f"the noisy client's truth lies {s:g} away": log_ratio(races[s]["inverse variance"], races[s]["FedAvg"])
        for s in (0.0, 0.5, 2.0)
    }
    rows |= {f"one truth, {name}": log_ratio(raced, races[0.0]["FedAvg"]) for name, raced in controls.items()}
    return rows | {
        "one truth, three of six clients answer a round": log_ratio(half["inverse variance"], half["FedAvg"])
    }


def spread_ratios(races: dict[float, dict[str, Raced]]) -> dict[str, np.ndarray]:
    """log of the spread of the excess over the clients under inverse variances over that under FedAvg, run by run."""
    return {
        f"the noisy client's truth lies {s:g} away": np.log(
            fairness.spread(races[s]["inverse variance"].excess) / fairness.spread(races[s]["FedAvg"].excess)
        )
        for s in (1.0, 2.0)
    }


def error_ratios(repeats: int, seed: Callable[[str], int]) -> dict[str, dict[str, Interval]]:
    """`consortia.log_ratio` to FedAvg in each of `CONSORTIA`, by method: {method: {outcome: interval}}."""
    errors = {
        what: consortia.squared_errors(load(), repeats, seed(f"folds, {what}")) for what, load in CONSORTIA.items()
    }
    return {
        method: {what: consortia.log_ratio(e, method) for what, e in errors.items()}
        for method in ("inverse variance", "own levels", "shrunk levels")
    }


def mean_changes(study: Study) -> dict[str, Interval]:
    """Change of the mean loss over the four hospitals from FedAvg to inverse variances."""
    return study.changes("inverse variance", fairness.macro, "one of four real hospitals has corrupted labels")


def spread_changes(study: Study, of: str = "excess") -> dict[str, Interval]:
    """Change of the spread over the four hospitals of their "raw" or "excess" losses from FedAvg to inverse variances."""
    return study.changes("inverse variance", fairness.spread, "one of the four has corrupted labels", of)


def told(interval: Interval, spec: str) -> str:
    """An estimate with its interval for the prose."""
    return f"{interval.estimate:{spec}} [{interval.low:{spec}}, {interval.high:{spec}}]"


def synthetic_numbers(races, half, estimates: dict, better: dict, variance, d: int = 8, n: int = 40) -> dict:
    """Numbers of the prose from the synthetic federations, key -> value or (value, format); arguments as the rows above return them."""
    own, noisy, quiet, different = (values.mean() for values in estimates.values())
    star, everybody, some = theory.crossover(variance, d, n), races[0.0], half[0.0]
    median, weights = better["one truth, coordinate median"], better["the noisy client's truth lies 0 away"]

    def clean(raced, rival):
        return told(bootstrap(log_ratio(raced, rival, "clean")), "+.2f")

    return {
        "crossover": (star, ".3f"),
        "crossover-share": (star / np.sqrt(variance[-1]), ".0%"),
        "own-estimate": (own, ".2f"),
        "noisy-estimate": (noisy, ".2f"),
        "quiet-estimate": (quiet, ".2f"),
        "different-estimate": (different, ".1f"),
        "median-share": (median.mean() / weights.mean(), ".0%"),
        "adam-half": clean(some["FedAdam"], some["FedAvg"]),
        "adam-all": clean(everybody["FedAdam"], everybody["FedAvg"]),
        "scaffold-half": clean(some["SCAFFOLD"], some["FedAvg"]),
        # a model that has learned nothing has the mean excess d
        **{f"lost-{key}": (r[2.0]["client rate"].macro > d).sum() for key, r in (("all", races), ("half", half))},
    }


def hospital_numbers(study: Study, spreads: dict, extremes: dict, errors: dict) -> dict:
    """Numbers of the prose from the hospitals and from larger consortia, key -> value or (value, format); `spreads` from
    `noise_spreads`, `extremes` from `noise_extremes`, `errors` from `error_ratios`."""
    between, weights = spreads[HEART], study.settings["as recorded"].weights
    raw, excess = (list(spread_changes(study, of).values()) for of in ("raw", "excess"))
    equal = study.change("equal weights", fairness.spread, [0])
    return {
        "rest": (max(p.residual for p in study.settings.values()), ".0e"),
        "between": told(between, ".2f"),
        "pairs": np.exp(np.sqrt(2) * 0.6745 * between.estimate).round(2),
        "as-recorded": told(next(iter(mean_changes(study).values())), "+.3f"),
        "raw": told(raw[0], "+.3f"),
        "raw-corrupted": told(raw[1], "+.3f"),
        "excess-spread": told(excess[0], "+.3f"),
        "largest": told(study.change("inverse variance", fairness.worst, range(5)), "+.3f"),
        "swiss-before": (weights["FedAvg"][2], ".2f"),
        "swiss-after": (weights["inverse variance"][2], ".2f"),
        "equal-part": (equal.estimate / excess[0].estimate, ".0%"),
        "intercept": told(study.change("own intercept", fairness.macro, [0]), "+.3f"),
        **{f"{what[:3]}-spread": told(spreads[what], ".2f") for what in CONSORTIA},
        **{f"{what[:3]}-extremes": told(extremes[what], ".2f") for what in CONSORTIA},
        **{
            f"{what[:3]}-{key}": told(errors[method][what], "+.3f")
            for what in CONSORTIA
            for key, method in (("weights", "inverse variance"), ("levels", "own levels"), ("shrunk", "shrunk levels"))
        },
    }
