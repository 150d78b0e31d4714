"""Rows of the chapter's claims, condition -> interval, and the numbers of its prose."""

import numpy as np

from companion.evidence import Interval, bootstrap, geometric
from stepsize.responses import steps_until, time_debt

from .race import PERCENTILES, UNTUNED, Backtest, Race, Twins, law


def typical(values) -> Interval:
    """The geometric mean with its interval; the logarithms are taken once, not anew in every resample."""
    return bootstrap(np.log(values), statistic=lambda logs, axis: np.exp(logs.mean(axis)))


#: What is scored in words, by the window of a race.
SCORED = {"whole": "the burst itself is scored", "after": "only the time after the slopes turned is scored"}

#: Keys of the prose -> methods: those whose costs it names both with the burst and after the turn, and the others.
BOTH = {
    "rms": "RMSProp", "adam": "Adam", "beta1": "Adam, β₁ tuned", "beta": "RMSProp, β tuned",
    "prodigy": "Prodigy, as it is", "adagrad-asis": "AdaGrad, as it is", "free": "Schedule-Free Adam, β tuned",
    "clip": "clipped AdaGrad", "percentile": "AdaGrad, percentile clip",
}  # fmt: skip
WHOLE = {
    "adam99": "Adam, β₂ = 0.99", "nomomentum": "Adam without momentum",
    "clip-rms": "clipped RMSProp", "clip-adam": "clipped Adam", "clipsgd": "clipped SGD",
    "implicit": "implicit SGD", "ewma": "EWMA", "percentile-rms": "RMSProp, percentile clip",
}  # fmt: skip


def distances(pairs: dict[str, Twins], start: int, stop: int) -> dict[str, Interval]:
    """Distance moved over that of the twin: as the burst begins, while it lasts, and after it; of Adam with both memories."""
    length = stop - start
    moments = {
        "the burst has just begun": slice(start, start + length // 10),
        "the whole burst is averaged": slice(start, stop),
        "the burst has been over for as long as it lasted": slice(stop + length, stop + 2 * length),
    }
    return {
        front + when: typical(pairs[name].path_length(at))
        for when, at in moments.items()
        for front, name in {"": "Adam", "β₂ = 0.99, ": "Adam, β₂ = 0.99"}.items()
    }


def recovered(pair: Twins, stop: int) -> Interval:
    """1 - log r_end / log r_stop, r the rate over the twin's: the share of the lost log rate that is made good by the end."""
    lost = np.log(pair.ratio)
    return bootstrap(1 - lost[-1] / lost[stop - 1])


def debts(pair: Twins, first: int, start: int, stop: int) -> np.ndarray:
    """AdaGrad's time debt in quiet steps, (members,): what a burst adds to its sum, over the twin's mean growth in first <= t < start."""
    sums = np.exp(-2 * pair.log_rate)  # of squared gradients, in units of lr^2
    return time_debt(sums[0, stop - 1] - sums[1, stop - 1], (sums[1, start] - sums[1, first]) / (start - first))


def costs(race: Race) -> dict[str, Interval]:
    """Cost over that of AdaGrad, clipped or left untuned alike, for both scorings."""
    rules = "RMSProp", "Adam", "RMSProp, β tuned", "Adam, β₁ tuned", "Adam, β₂ = 0.99", "Prodigy, as it is"
    free = "Schedule-Free Adam, β tuned"
    first = [(f"nothing is clipped, the rule is {rule}", rule, "AdaGrad") for rule in rules]
    first += [
        (f"both are clipped, the rule is {rule}", f"clipped {rule}", "clipped AdaGrad") for rule in ("RMSProp", "Adam")
    ]
    then = [(f"nothing is clipped, the rule is {free}", free, "AdaGrad")] + [
        (f"nothing is tuned, the rule is {rule}", f"{rule}, as it is", "AdaGrad, as it is")
        for rule in ("RMSProp", "Adam", "Prodigy", "Schedule-Free Adam")
    ]
    compared = [(*pair, goal) for pair in first for goal in SCORED] + [
        (*pair, goal) for goal in SCORED for pair in then
    ]
    percentile = "RMSProp, percentile clip", "AdaGrad, percentile clip"
    compared += [("both are clipped at a percentile, the rule is RMSProp", *percentile, goal) for goal in SCORED]
    return {f"{words}, {SCORED[goal]}": typical(race.ratio(name, rival, goal)) for words, name, rival, goal in compared}


def _two_digits(value) -> tuple[float, str]:
    return float(f"{value:.2g}"), ",.0f"


def rate_numbers(pairs: dict[str, Twins], rules: dict, start: int, stop: int, steps: int) -> dict:
    """What the prose says of rates and distances; `steps` is the length of the scored streams, half of that of the twins."""
    onset, _, _, _, later, _ = distances(pairs, start, stop).values()
    curves = {name: geometric(pair.ratio, axis=1) for name, pair in pairs.items()}
    numbers = {
        "burst-steps": stop - start,
        "since": f"{steps - stop:,}",
        "onset": (onset.estimate, ".0f"),
        "onset-n": (stop - start) // 10,
        "later": (later.estimate, ".2f"),
        "debt": _two_digits(np.median(debts(pairs["AdaGrad"], steps // 12, start, stop))),
        "adagrad-recovered": (recovered(pairs["AdaGrad"], stop).estimate, ".0%"),
        "overtakes": _two_digits(np.argmax(curves["Adam"][stop:] > curves["AdaGrad"][stop:])),
    }
    for name, key in {"Adam": "adam", "AdaGrad": "adagrad"}.items():
        predicted, curve = law(pairs[name], rules[name], stop), curves[name]
        numbers |= {
            f"{key}-end": (curve[stop - 1], ".3f"),
            f"{key}-last": (curve[steps - 1], ".3f"),
            f"{key}-long": (curve[2 * steps - 1], ".3f"),
            f"{key}-law": (predicted[steps - stop - 1], ".3f"),
            f"{key}-off": (np.abs(predicted / curve[stop:] - 1).max(), ".0%"),
        }
    for name, key, beta in (("Adam", "adam", 0.999), ("Adam, β₂ = 0.99", "adam99", 0.99)):
        numbers[f"{key}-until"] = _two_digits(np.median(steps_until(0.9, pairs[name].ratio[stop - 1], beta)))
    return numbers


def cost_numbers(race: Race) -> dict:
    """What the prose says of costs, over those of AdaGrad: typical and mean, and the typical cost inside the burst."""
    named = [(key, name, "whole") for key, name in (BOTH | WHOLE).items()]
    named += [(f"{key}-after", name, "after") for key, name in BOTH.items()]
    numbers = {}
    for key, name, goal in named:
        cost, rival = (race.cost[goal][n][goal] for n in (name, "AdaGrad"))
        numbers |= {
            key: (geometric(race.ratio(name, goal=goal)), ".2f"),
            f"{key}-mean": (cost.mean() / rival.mean(), ".2f"),
            f"{key}-burst": (geometric(race.cost["whole"][name]["burst"]), ".1f"),
        }
    for key in ("rms", "adam", "prodigy", "free"):
        name = f"{BOTH[key].split(',')[0]}, as it is"
        for end, goal in (("", "whole"), ("-after", "after")):
            numbers[f"{key}-asis{end}"] = (geometric(race.ratio(name, "AdaGrad, as it is", goal)), ".2f")
    for key, name in {"rms": "RMSProp", "adam": "Adam", "adagrad": "AdaGrad"}.items():
        numbers[f"{key}-far"] = (race.tuned["whole"][name].lr / UNTUNED[f"{name}, as it is"].lr, ".0f")
    adam, ada = (race.cost["after"][name]["after"] for name in ("Adam", "AdaGrad"))
    difference = bootstrap((adam - ada) / ada.mean())
    return numbers | {
        "adam-after-low": (difference.low, "+.0%"),
        "adam-after-high": (difference.high, "+.0%"),
        "adagrad-burst": (geometric(race.cost["whole"]["AdaGrad"]["burst"]), ".1f"),
        "beta1-chosen": race.tuned["whole"][BOTH["beta1"]].setting.beta1,
        "beta-chosen": race.tuned["after"][BOTH["beta"]].setting.beta,
        "free-chosen": race.tuned["whole"][BOTH["free"]].setting.beta,
        "percentile-chosen": race.tuned["whole"][BOTH["percentile"]].setting.percentile,
        "percentile-after-chosen": race.tuned["after"][BOTH["percentile"]].setting.percentile,
        "percentile-rms-chosen": race.tuned["whole"][WHOLE["percentile-rms"]].setting.percentile,
    }


def percentile_numbers(race: Race) -> dict:
    """Costs on the tuning streams of AdaGrad behind each percentile, over those of AdaGrad without a clip, each at its best rate: a sentence."""
    tuned = race.tuned["whole"]
    each, alone = (np.nanmin(tuned[name].curve, axis=-1) for name in (BOTH["percentile"], "AdaGrad"))
    listed = zip(PERCENTILES, each / alone, strict=True)
    return {"percentile-grid": ", ".join(f"{ratio:.2f} at {p:g}" for p, ratio in listed)}


def street_numbers(forecasts: dict[str, Backtest], losses: dict, late) -> dict:
    """Typical deviance in the hours `late` over AdaGrad's, losses[method] (T, sensors), and the clips that were chosen.

    A dash for a method that was not run.
    """
    typical = {name: geometric(loss[late].mean(0)) for name, loss in losses.items()}
    methods = {
        "rms": "RMSProp", "adam": "Adam", "sgd": "SGD", "implicit": "implicit SGD", "clip": "clipped AdaGrad",
        "ewma": "EWMA", "limit": "AdaGrad, limit tuned", "percentile": "AdaGrad, percentile clip",
    }  # fmt: skip
    ratios = {key: typical.get(name, np.nan) / typical["AdaGrad"] for key, name in methods.items()}
    numbers = {f"akl-{key}": "–" if np.isnan(ratio) else (ratio, ".2f") for key, ratio in ratios.items()}
    chosen = {name: forecasts[name].choice.setting if name in forecasts else None for name in methods.values()}
    limit, percentile = chosen[methods["limit"]], chosen[methods["percentile"]]
    return numbers | {
        "akl-sensors": losses["AdaGrad"].shape[1],
        "akl-limit-chosen": f"{limit.transforms[0].limit:g}" if limit else "–",
        "akl-percentile-chosen": percentile.percentile if percentile else "–",
    }


def epidemic_numbers(losses: dict) -> dict:
    """Mean deviance from the 15th day on, and from the 301st; losses[method] (365, 1)."""
    methods = {"adagrad": "AdaGrad", "adam": "Adam", "implicit": "implicit SGD", "ewma": "EWMA", "rms": "RMSProp"}
    spans = {"": 14, "-tail": 300}
    return {
        f"1849-{key}{end}": (losses[name][first:].mean(), ".1f")
        for key, name in methods.items()
        for end, first in spans.items()
    }
