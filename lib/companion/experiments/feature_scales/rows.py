"""Rows of the chapter's claims, condition -> values or interval, and the numbers of its prose."""

import numpy as np

from companion.evidence import exact
from companion.evidence.wording import median, share
from stepsize.errors import EvidenceError
from stepsize.rules import Adam
from stepsize.signals import respond

from .precision import smallest
from .problem import Minibatches, Regression, drift, later_pace, paces, time_and_peak
from .race import METHODS, Race, exponent, slowdowns

OLD_RATE = "Adam at the rate tuned before the feature grew"
LARGE = {size: f"one feature is {size:,} times as large" for size in (10, 1000)}
LAYERS = tuple(
    f"a matrix of weights, {words}" for words in (LARGE[1000], "one feature and one output are 1,000 times as large")
)


def compared_paces(rules: dict, land: Regression, steps: int) -> tuple[dict, dict]:
    """How far the large feature's weight moves beside the others, in weights and in the prediction: condition -> ratios (p,).

    At the first step, which is the same at every rate and stands once, and in the mean of `steps` steps of every rule.
    """
    spans = [(next(iter(rules.values())), 1, "at the first step")]
    spans += [(rule, steps, f"in the mean of {steps} steps at the {name} rate") for name, rule in rules.items()]
    pairs = {when: paces(rule, land, n) for rule, n, when in spans}
    return tuple(
        {f"pace is measured {where}, {when}": pair[i] for when, pair in pairs.items()}
        for i, where in enumerate(("in weights", "in the prediction"))
    )


def later_paces(rules: dict, land: Regression, within: int, hold: int, steps: int = 100) -> dict[str, np.ndarray]:
    """`later_pace` once the excess of the loss has fallen tenfold and stays there for `hold` steps, of the problems on which it does so within so many steps; a rule needs five of them."""
    pairs = {name: later_pace(rule, land, within, steps=steps, hold=hold) for name, rule in rules.items()}
    return {
        f"pace is measured in weights, in the mean of {steps} steps after the loss has fallen tenfold, at the {name} rate": seen
        for name, ratio in pairs.items()
        if (seen := ratio[np.isfinite(ratio)]).size >= 5
    }


def noisy_paces(
    rules: dict, races: dict[str, Race], land: Minibatches, steps: int, i: int = 1
) -> dict[str, np.ndarray]:
    """The paces in weights with minibatches: those of `rules`, and those of Adam at the rates that `races` chose at size i, where they chose one."""
    in_weights, _ = compared_paces(rules, land, steps)
    for name, race in races.items():
        if race.choices[i]:
            when = f"pace is measured in weights, in the mean of {steps} steps at the {name} rate of their race"
            in_weights[when], _ = paces(Adam(race.rate(i), eps=0.0), land, steps)
    return {f"{when}, minibatches of {land.size}": ratio for when, ratio in in_weights.items()}


def peaks(
    races: dict[str, Race], at: int, land: Regression, noisy: Minibatches, steps: int = 2000
) -> dict[str, np.ndarray]:
    """The largest loss on the way over the first, (p,): tuned for speed at size `at` of the races, and at Adam's rate of equal scales on `land` and with minibatches."""
    before = Adam(races["Adam"].rate(0), eps=0.0)
    return {f"{name} is tuned for speed": races[name].peak[at] for name in ("Adam", "Adam, β₂ = 0.9")} | {
        OLD_RATE: time_and_peak(before, land, steps)[1],
        f"{OLD_RATE}, minibatches of {noisy.size}": time_and_peak(before, noisy, steps)[1],
    }


def stable_peaks(
    calm: Race, at: int, of_batches: dict[str, Race], land: Regression, steps: int = 2000
) -> dict[str, np.ndarray]:
    """The peaks at rates at which Adam may be stable, (p,): tuned with a ceiling on the loss, at size `at`; its default; and tuned on minibatches.

    `of_batches` has the "fast" and the "calm" race on minibatches; the second of their sizes counts, where they chose a rate.
    """
    tuned = {"fast": "Adam is tuned for speed", "calm": "Adam is tuned with a ceiling on the loss"}
    chosen = {tuned[name]: race.peak[1] for name, race in of_batches.items() if race.choices[1]}
    return {
        tuned["calm"]: calm.peak[at],
        "Adam at its default rate": time_and_peak(Adam(eps=0.0), land, steps)[1],
    } | {f"{words}, minibatches of 16": peak for words, peak in chosen.items()}


def all_slowdowns(
    free: dict, index: dict, steps: int, on_batches: dict, on_matrices: dict, short: int
) -> dict[str, np.ndarray]:
    """`slowdowns` of the races over all sizes, S at index[S], of those on minibatches, and of those on matrices, with their horizons."""
    cost = slowdowns(free, {index[size]: words for size, words in LARGE.items()}, steps)
    cost |= slowdowns(on_batches, {1: f"minibatches of 16, {LARGE[1000]}"}, steps)
    return cost | slowdowns(on_matrices, dict(enumerate(LAYERS, 1)), short)


def first_steps(eps: float = 1e-8) -> dict[str, float]:
    """Adam's first step over that without eps, for gradients of several sizes."""
    sizes = {"1000 ε": 1e3, "ε": 1.0, "ε/10": 0.1}
    return {f"gradients are {name}": -respond(Adam(1.0, eps=eps), [[r * eps]]).x[-1, 0] for name, r in sizes.items()}


def nans(values):
    """The share that is NaN, without sampling error."""
    values = np.asarray(list(values), float)
    return exact(np.isnan(values).mean(), values.size)


def slope(sizes, race: Race) -> str:
    """The exponent of a race with its interval, as text; a dash where too few sizes were fitted."""
    try:
        i, _ = exponent(sizes, race.times)
    except EvidenceError:
        return "–"
    return f"{i.estimate:.2f} [{i.low:.2f}, {i.high:.2f}]"


def race_numbers(sizes, index: dict, free: dict[str, Race], calm: dict[str, Race], steps: int) -> dict:
    """What the prose says of the races over all sizes, S at index[S]."""
    gd, at = free["gradient descent"], index[1000]
    adam = slowdowns({"Adam": calm["Adam"]}, {at: "calm"}, steps)
    choices = [
        choice for race in (*free.values(), *(calm[name] for name in METHODS)) for choice in race.choices if choice
    ]
    return {
        "standard": median(free["standardised"].times[0]),
        "calm-slow": (np.median(adam["calm, the rule is Adam"]), ".0f"),
        "lr-fast": (free["Adam"].rate(at), ".2g"),
        "lr-calm": (calm["Adam"].rate(at), ".2g"),
        "lr-before": (free["Adam"].rate(0), ".2g"),
        "gd-10": (np.median(gd.times[index[10]]) / np.median(gd.times[0]), ".0f"),
        "gd-100": median(gd.times[index[100]]),
        "gd-1000": median(gd.times[at]),
        "adagrad-slope": slope(sizes, free["AdaGrad"]),
        "adagrad-calm": slope(sizes, calm["AdaGrad"]),
        "adam-slope": slope(sizes, calm["Adam"]),
        "ball-slope": slope(sizes, free["heavy ball"]),
        "gd-slope": slope(sizes, gd),
        "edges": sum(choice.at_edge for choice in choices),
        "choices": len(choices),
    }


def noise_numbers(on_batches: dict[str, Race], on_matrices: dict[str, Race], steps: int, short: int) -> dict:
    """What the prose says of the races on minibatches and on matrices, and of their horizons."""
    done = {f"{name.lower()}-done": share(on_matrices[name].times[1]) for name in ("Shampoo", "Muon")}
    return done | {
        "steps": (steps, ",d"),
        "short": (short, ",d"),
        "noise-done": share(on_batches["Adam"].times[1]),
        "noise-factor": (steps / np.median(on_batches["Adam"].times[0]), ".0f"),
    }


def evidence_numbers(cost: dict, peak: dict, pace: dict, ratios: dict) -> dict:
    """Medians over problems of evidence that the prose names: of S5, S4c, S4 and S1b. A dash where minibatches left no rate to choose."""
    typical = {condition: np.median(values) for condition, values in (cost | peak | pace | ratios).items()}
    calm = "pace is measured in weights, in the mean of 100 steps at the calm rate"
    later = "pace is measured in weights, in the mean of 100 steps after the loss has fallen tenfold"
    noisy = typical.get("Adam is tuned for speed, minibatches of 16")
    return {
        "peak-calm": (typical["Adam is tuned with a ceiling on the loss"], ".2g"),
        "peak-default": (typical["Adam at its default rate"], ".2g"),
        "peak-noisy": "–" if noisy is None else (noisy, ".2g"),
        "peak": (typical["Adam is tuned for speed"], ",.0f"),
        "peak-before": (typical[OLD_RATE], ",.0f"),
        "peak-batches": (typical[f"{OLD_RATE}, minibatches of 16"], ",.0f"),
        "pace-calm": (typical[calm], ".2f"),
        "pace-later-fast": (typical.get(f"{later}, at the fast rate", np.nan), ".2f"),
        "pace-later-calm": (typical.get(f"{later}, at the calm rate", np.nan), ".1g"),
        "pace-calm-batches": (typical[f"{calm}, minibatches of 16"], ".2f"),
        "adam-1000": (typical[f"{LARGE[1000]}, the rule is Adam"], ".1f"),
        "adagrad-1000": (typical[f"{LARGE[1000]}, the rule is AdaGrad"], ".0f"),
        "ten-worst": (max(value for condition, value in typical.items() if LARGE[10] in condition), ".1f"),
        "layer-1": (typical[f"{LAYERS[0]}, the rule is Adam"], ".1f"),
        "layer-2": (typical[f"{LAYERS[1]}, the rule is Adam"], ".1f"),
        "vanished": (1 / (1000 * typical["the gradient is of the full batch, after 50 steps"]), ",.0f"),
        "noisy-ratio": (typical["the gradient is of the full batch, after 50 steps on minibatches of 16"], ".2f"),
    }


def format_numbers(tables: dict, lost: dict) -> dict:
    """What the prose says of number formats, from `precision.tables`, and of decay, from `decay_runs` for 1e-6, 1e-4 and 1e-2."""
    tiny, square = smallest("float16")
    far = tables["g = 10⁻⁴, ε = 10⁻⁷"]["torch Adam"]
    numbers = {
        "tiny": (tiny, ".1g"),
        "square": (square, ".1g"),
        "too-far": (far["float16"] / far["float32"], ".0f"),
        "fused": (0.001**-0.5, ".0f"),
        "drift": (drift(), ".7f"),
    }
    for i, k in enumerate("642"):
        numbers[f"coupled-{k}"] = (lost["coupled"][-1, i], ".4f")
        numbers[f"decoupled-{k}"] = (lost["decoupled"][-1, i], ".1e")
    return numbers
