"""Rows of the chapter's claims, condition -> interval; and the numbers of its prose, key -> (number, format)."""

import numpy as np

from companion.evidence import Interval, exact, proportion
from companion.evidence.intervals import middle
from stepsize import responses

from .comparisons import COMPANY, PROBLEMS_IN_WORDS, paired, paired_with_choice
from .gradient_flow import Watched, far_share, gradient_reach, growing, survivors
from .race import METHODS, PROBLEMS, STARTS, WHOLE, chosen_on, failed, over_chance, over_constant
from .spikes import corrected, largest_spikes
from .tasks import Adding

#: Networks that explode and where some method learns: the words of the condition -> (problem, start) of the recorded grid.
LEARNABLE = {
    "digits from gain 2": ("digits from gain 2", "gain 2"),
    "digits from gain 3": ("digits", "gain 3"),
    "adding problem from gain 2": ("adding, 4,500 steps", "gain 2"),
}

#: The same for Adam with beta2 = 0.9.
SHORT_MEMORY = {
    "digits from gain 2": ("digits, forty networks", "gain 2"),
    "digits from gain 3": ("digits, forty networks", "gain 3"),
    "adding problem from gain 2": ("adding, 4,500 steps", "gain 2"),
}

#: How prose calls the problems whose constant answer is held against chance level.
CONSTANTS = {
    "9": "recall, half as far",
    "19": "recall",
    "39": "recall, twice as far, 48,000 steps",
    "adding": "adding",
}


def reach_rows(untrained: dict[str, np.ndarray], gains) -> dict[str, Interval]:
    """|dL / dh_1| / |dL / dh_T|: medians over networks, from what `gradient_reach` returned for each gain by its name."""
    return {f"the gain is {gain:g}": middle(untrained[f"{gain:g}"][:, 0]) for gain in gains}


def far_rows(task, gain: float, seeds, reach: int = 5) -> dict[str, Interval]:
    """`far_share` beyond `reach` steps of untrained networks: the median."""
    return {f"the gain is {gain:g}": middle(far_share(task, task.net.start(gain, seeds), seeds, reach))}


def brake_rows(exploding: dict, dead: Watched, further: dict) -> dict[str, Interval]:
    """The factor of v on the step of a spike: of a single one by formula, then medians over the largest spikes of networks.

    `exploding` and `further` are (method, gain) -> `Watched`, of which the better half counts; `dead` are networks from gain 3
    that do not learn. The last rows are the formula again, for the spikes of Adam in `exploding`, of the same sizes at the same gradients.
    """
    rows = {
        f"a single spike has {k} times the usual size": exact(responses.spike_brake(k)) for k in (10, 30, 100, 1000)
    }
    for (name, gain), run in exploding.items():
        rows[f"the better half of networks, gain {gain}, {name}"] = middle(run.largest_spikes()[:, 2])
    rows["networks that do not learn, gain 3, Adam"] = middle(largest_spikes(dead.brakes.spikes(0.0))[:, 2])
    for (name, gain), run in further.items():
        rows[f"further networks, the better half, gain {gain}, {name}"] = middle(run.largest_spikes()[:, 2])
    for gain in (2, 3):
        size, t = exploding["Adam", gain].largest_spikes()[:, [0, 4]].T
        rows[f"had the past been quiet: gain {gain}, Adam"] = middle(responses.spike_brake(size, corrected(t)))
    return rows


def longest_rows(longest: dict[str, float], exploding: dict[tuple[str, int], Watched]) -> dict[str, Interval]:
    """Adam's longest step over its supremum `responses.adam_worst`: what `longest_steps` returned, and in networks from gain 2 and 3."""
    longest = longest | {f"networks that explode, gain {gain}": exploding["Adam", gain].longest for gain in (2, 3)}
    return {when: exact(size / float(responses.adam_worst())) for when, size in longest.items()}


def finite_rows(races: dict, trainings: dict[str, int], seeds, of_adam, factor: float = 10.0) -> dict[str, Interval]:
    """The share of networks from gain 3 that are finite after training at `factor` times the tuned rate, for Adam, heavy ball and SGD.

    `trainings`: problem -> training steps; `of_adam` are the seeds of Adam's networks, `seeds` those of the others.
    """
    rows = {}
    for where, steps in trainings.items():
        problem = PROBLEMS[where]._replace(steps=steps)
        for name in ("Adam", "heavy ball", "SGD"):
            some = of_adam if name == "Adam" else seeds
            kept = survivors(name, races[where, "gain 3", name], problem, STARTS["gain 3"], some, factor)
            lead = "" if name == "Adam" else f"{name}: "
            rows[f"{lead}weights stay finite, {PROBLEMS_IN_WORDS[where]}"] = proportion(kept.sum(), kept.size)
    return rows


def learned_share(over_chance: np.ndarray) -> Interval:
    """The share of networks whose score, over that at chance level, is below 0.9."""
    learned = ~failed(over_chance, chance=1.0)
    return proportion(learned.sum(), learned.size)


def learned_rows(races: dict, exploding: dict[tuple[str, int], Watched]) -> dict[str, Interval]:
    """`learned_share` of exploding networks: of Adam's and RMSProp's on the digits from those watched, all others from the recorded grid.

    Those without a defence, SGD and heavy ball without a clip, where the grid has them: on the digits. And of Adam's in the
    adding problem those that explode before any training (`growing`).
    """
    chance = PROBLEMS["digits"].task.chance
    adam = {f"digits from gain {gain}": exploding["Adam", gain].scores / chance for gain in (2, 3)}
    adam["adding problem from gain 2"] = over_chance(races, *LEARNABLE["adding problem from gain 2"], "Adam")
    rows = {f"networks learn, {words}": learned_share(errors) for words, errors in adam.items()}
    for words, cell in LEARNABLE.items():
        errors = over_chance(races, *cell, "clipped heavy ball")
        rows[f"heavy ball with a clip: networks learn, {words}"] = learned_share(errors)
        for name in ("SGD", "heavy ball"):
            if (*cell, name) in races:
                errors = over_chance(races, *cell, name)
                rows[f"no defence, {name}: networks learn, {words}"] = learned_share(errors)
    for words, cell in SHORT_MEMORY.items():
        rows[f"Adam, β₂ = 0.9: networks learn, {words}"] = learned_share(over_chance(races, *cell, "Adam, β₂ = 0.9"))
    for gain in (2, 3):
        rows[f"RMSProp: networks learn, digits from gain {gain}"] = learned_share(
            exploding["RMSProp", gain].scores / chance
        )
    words = "adding problem from gain 2"
    (where, start), errors = LEARNABLE[words], adam[words]
    grown = growing(PROBLEMS[where].task, STARTS[start].gain, PROBLEMS[where].seeds)
    rows[f"gradients grow tenfold: networks learn, {words}"] = learned_share(errors[grown])
    errors = over_chance(races, where, start, "clipped Adam")
    return rows | {f"clipped Adam: networks learn, {words}": learned_share(errors)}


def company_rows(races: dict) -> dict[str, Interval]:
    """What a clip, a rotation and a pull towards rotations multiply Adam's error by, in both problems: `paired_with_choice`."""
    return {
        f"{joins} in the {words}": paired_with_choice(races, where, *pairs)
        for where, words in PROBLEMS_IN_WORDS.items()
        for joins, pairs in COMPANY.items()
    }


def repeated_numbers(races: dict, cell: tuple, again: np.ndarray, twins: np.ndarray) -> dict:
    """The largest relative differences, of scores that were computed `again` to those in the file and of `twins` to both."""
    recorded = races[cell]["scores"][: len(again)]
    return {
        "redone": ", ".join(cell),
        "redone-gap": (np.abs(again / recorded - 1).max(), ".0%"),
        "twin-gap": (np.abs(twins / again - 1).max(), ".0%"),
    }


def gradient_numbers(untrained: dict[str, np.ndarray], near: dict[str, tuple], seeds) -> dict:
    """Growth per step back of untrained networks, in training under Adam (`reach_by_method`), and what is lost from gain 0.3."""
    per_step = {name: np.median(size[:, 0] ** (1 / (size.shape[1] - 1))) for name, size in untrained.items()}
    growth = near["Adam"][1]
    return {
        "growth-1.5": (per_step["1.5"], ".3f"),
        "growth-2": (per_step["2"], ".2f"),
        "growth-3": (per_step["3"], ".2f"),
        "loss-rotation": (1 - per_step["rotation"], ".0%"),
        "factor first": (np.median(growth[0]), ".2f"),
        "factor last": (np.median(growth[-1]), ".2f"),
        "orders": (-np.log10(np.median(gradient_reach(Adding(), 0.3, seeds)[:, 0])), ".0f"),
    }


def formula_numbers(task) -> dict:
    """Sizes of the networks of `task`, and what the closed forms of `responses` say of one spike."""
    numbers = {
        "hidden": task.hidden,
        "T": task.T,
        "halved": (responses.spike_halved(), ".0f"),
        "halved-9": (responses.spike_halved(0.9), ".1f"),
        "kick": (responses.reach(), ".1f"),
        "bound": (responses.adam_worst(), ".2f"),
    }
    for t in (100, 500):
        numbers[f"halved-at-{t}"] = responses.spike_halved(corrected(t)), ".0f"
    for k in (100, 1000, 10_000):
        numbers[f"freeze-{k}"] = responses.steps_until(0.5, responses.spike_brake(k), 0.999), ",.0f"
    return numbers


def spike_numbers(longest: dict[str, float], exploding: dict, further: dict) -> dict:
    """Sizes of spikes in the better half of the networks, what v and m take off the step there, and what v would after a quiet time; medians.

    From gain 2 of the networks in `further`. And the longest steps.
    """
    numbers = {
        "longest-spike": (longest["spikes of any size"], ".2f"),
        "longest-net": (exploding["Adam", 3].longest, ".1f"),
    }
    runs = {"2": further["Adam", 2], "3": exploding["Adam", 3], "first": exploding["Adam", 2]}
    for name, run in runs.items():
        size, by_m, by_v, _, t = run.largest_spikes().T
        numbers |= {
            f"largest-{name}": (np.median(size), ".0f"),
            f"v-brake-{name}": (max(0.0, 1 - np.median(by_v)), ".0%"),
            f"m-brake-{name}": (max(0.0, 1 - np.median(by_m)), ".0%"),
            f"quiet-{name}": (1 - np.median(responses.spike_brake(size, corrected(t))), ".0%"),
        }
    ordinary = further["Adam", 2].better_spikes()
    numbers |= {"usual": "–", "usual-v": "–"}  # a few networks may have had no spike
    if len(ordinary):
        size, _, by_v, *_ = np.median(ordinary, axis=0)
        numbers |= {"usual": (size, ".0f"), "usual-v": (max(0.0, 1 - by_v), ".0%")}
    short = np.median(exploding["Adam, β₂ = 0.9", 2].largest_spikes()[:, 2])
    return numbers | {"v-brake-short": (1 - short, ".0%")}


def defence_numbers(finite: dict[str, Interval], learn: dict[str, Interval]) -> dict:
    """Shares of networks that stay finite in the adding problem, and that learn under Adam and under heavy ball with a clip."""
    leads = {"Adam": "", "heavy ball": "heavy ball: ", "SGD": "SGD: "}
    shares = {f"kept {name}": finite[f"{lead}weights stay finite, adding problem"] for name, lead in leads.items()}
    for words in LEARNABLE:
        shares[f"alive {words}"] = learn[f"networks learn, {words}"]
        shares[f"ball {words}"] = learn[f"heavy ball with a clip: networks learn, {words}"]
    shares["clip"] = learn["clipped Adam: networks learn, adding problem from gain 2"]
    tenfold = learn["gradients grow tenfold: networks learn, adding problem from gain 2"]
    shares["tenfold"] = tenfold
    for words in SHORT_MEMORY:
        shares[f"short {words}"] = learn[f"Adam, β₂ = 0.9: networks learn, {words}"]
    for gain in (2, 3):
        shares[f"RMSProp {gain}"] = learn[f"RMSProp: networks learn, digits from gain {gain}"]
    for name in ("SGD", "heavy ball"):
        for gain in (2, 3):
            shares[f"none {name} {gain}"] = learn[f"no defence, {name}: networks learn, digits from gain {gain}"]
    return {key: (share.estimate, ".0%") for key, share in shares.items()} | {"tenfold networks": tenfold.n}


def recorded_numbers(races: dict) -> dict:
    """The size of the recorded grid and its tuning; what is learned from gain 0.3, medians over chance level; and from gain 3 at most."""

    def over(where, start="gain 0.3", method="Adam"):
        return np.median(over_chance(races, where, start, method))

    in_time = over_chance(races, "recall, twice as far, 24,000 steps", "gain 0.3", "Adam") < 0.9
    exploding = [over_chance(races, "adding", "gain 3", method) for method in METHODS]
    numbers = {
        "tuned": min(races[cell]["tuning"] for cell in WHOLE),
        "tuned-adding": races["adding", "gain 1", "Adam"]["tuning"],
        "tuned-least": min(entry["tuning"] for entry in races.values()),
        "cells": len(races),
        "edges": sum(entry["at_edge"] for entry in races.values()),
        "recall short": (over("recall"), ".2f"),
        "recall learned": races["recall", "gain 0.3", "Adam"]["learned"],
        "recall tuning": races["recall", "gain 0.3", "Adam"]["tuning"],
        "recall long": (over("recall, 24,000 steps"), ".3f"),
        "recall RMSProp": (over("recall, 24,000 steps", method="RMSProp"), ".3f"),
        "recall 39": (over("recall, twice as far, 48,000 steps"), ".3f"),
        "learned 39": in_time.sum(),
        "adding Adam": (over("adding"), ".2f"),
        "adding ball": (over("adding", method="clipped heavy ball"), ".2f"),
        "adding SGD": (over("adding", method="SGD"), ".2f"),
        "same 19": (np.median(over_constant(races, "recall", "gain 0.3", "Adam")), ".2f"),
        "most-exploding": (max(learned_share(errors).estimate for errors in exploding), ".0%"),
    }
    for distance, where in ((9, "recall, half as far"), (19, "recall")):
        numbers |= {
            f"lstm {distance}": (over(f"{where}, LSTM"), ".3f"),
            f"linear {distance}": (over(f"{where}, linear memory"), ".3f"),
            f"ring {distance}": (over(f"{where}, linear memory", "orthogonal"), ".3f"),
        }
    still = over_constant(races, "recall, linear memory", "gain 0.3", "Adam")
    numbers["linear same 19"] = np.median(still), ".3f"
    for name in ("SGD", "heavy ball", "Adam"):  # how many learn where nothing explodes, without a defence or with one
        turned = over_chance(races, "recall", "orthogonal", name)
        numbers[f"turned {name}"] = (~failed(turned, 1.0)).sum()
        numbers[f"calm {name}"] = learned_share(over_chance(races, "digits", "gain 1", name)).estimate, ".0%"
    numbers["turned"] = turned.size
    short = races[*SHORT_MEMORY["digits from gain 3"], "Adam, β₂ = 0.9"]
    numbers |= {"short tuning": short["tuning"], "short tuning learned": short["learned"]}
    for name, where in CONSTANTS.items():
        task = PROBLEMS[where].task
        numbers[f"constant {name}"] = 1 - task.score_of_constant() / task.chance, ".1%"
    for key, name in (("alive", "Adam"), ("ball", "clipped heavy ball")):
        errors = over_constant(races, *LEARNABLE["adding problem from gain 2"], name)
        numbers[f"{key} same"] = learned_share(errors).estimate, ".0%"
    return numbers


def choice_numbers(races: dict) -> dict:
    """The error of the adding problem from a rotation over that from gain 1, under Adam, with its 95 % interval, three times.

    Rates chosen on eight tuning networks, on all of them, and anew in every resample of the interval.
    """
    rotated, eight = COMPANY["W starts as a rotation"], {cell: chosen_on(races[cell], 8) for cell in WHOLE}
    ratios = {
        "eight": paired(eight, "adding", *rotated),
        "fixed": paired(races, "adding", *rotated),
        "free": paired_with_choice(races, "adding", *rotated),
    }
    numbers = {}
    for name, ratio in ratios.items():
        numbers[f"rotation {name}"] = ratio.estimate, ".1f"
        numbers |= {f"rotation {name} {end}": (getattr(ratio, end), ".1f") for end in ("low", "high")}
    return numbers
