"""What the claims of the chapter compare, condition -> one number for every model; and the numbers of its prose, key -> (number, format)."""

import numpy as np

from companion.evidence import Evidence, Interval, exact
from stepsize.tuning import Choice

from .defenses import DEFENDERS, LAZY, NOBODY, OPPONENTS, by_strength
from .robustness import ADAPTIVE, EUCLIDEAN, MATCHED, Duel, Hardened, reached, spread_of_lengths, title

Samples = dict[str, np.ndarray]
Raced = dict[str, dict[str, Duel]]

_NAMED = ("Adam", "RMSProp")


def share_of_the_maximum(hardened: dict[str, Hardened], seeds, tuned_on: int, images, steps: int) -> Samples:
    """Share of the largest loss that each attacker of `reached` attains, in each ball, on all models but the first `tuned_on`."""
    return {
        f"the attacker is {name}, {kind} ball": share
        for kind, h in hardened.items()
        for name, share in reached(kind, h.x[tuned_on:], seeds[tuned_on:], images, steps).items()
    }


def falls(hardened: dict[str, Hardened], single: Hardened, steps: int) -> Samples:
    """Worst falls of robust accuracy in training against `steps` gradients in each ball, and against a single one in the box."""
    rows = {f"a network on digits, {steps} gradients, {kind} ball": h.worst_drop for kind, h in hardened.items()}
    return rows | {"a network on digits, 1 gradient, L∞ ball": single.worst_drop}


def largest(samples: Samples) -> dict[str, Interval]:
    """The largest number of each sample: one network, and no mean."""
    return {f"the largest over networks, {row}": exact(values.max(), len(values)) for row, values in samples.items()}


def standing(raced: Raced, hardened: Raced) -> Samples:
    """Points standing beyond those that tuned plain ascent leaves, on standard and on hardened models."""
    rows = {}
    for models, of_balls in (("standard", raced), ("hardened", hardened)):
        for kind, duels in of_balls.items():
            compared = {name: name for name in (*ADAPTIVE, *EUCLIDEAN.values())}
            compared[MATCHED[kind]] = "steepest ascent without a memory"
            for name in filter(duels.__contains__, compared):
                rows[f"{kind} ball, {models} models, {compared[name]}"] = duels[name].tuned - duels["SGD"].tuned
    for kind, duels in raced.items():
        rows[f"both at the lazy rate, {kind} ball"] = duels["Adam"].lazy - duels["SGD"].lazy
    return rows


def against_plain(values: dict[str, Samples]) -> Samples:
    """The difference to plain ascent, in each ball, of the attackers that the text names and of the steepest."""
    rows = {}
    for kind, of in values.items():
        rows |= {f"{name}, {kind} ball": of[name] - of["SGD"] for name in _NAMED}
        rows[f"steepest ascent without a memory, {kind} ball"] = of[MATCHED[kind]] - of["SGD"]
    return rows


def cost_of_the_lazy_rate(raced: Raced) -> dict[str, Samples]:
    """Points that more stand at the lazy rate than at the tuned one, in each ball."""
    return {kind: {name: d.lazy - d.tuned for name, d in duels.items()} for kind, duels in raced.items()}


def scale_per_pixel(raced: Raced, rivals: Raced) -> Samples:
    """Points standing, Adam and RMSProp minus the same with one second moment per image; `rivals` are those of RMSProp.

    And RMSProp minus steepest ascent whose rate falls like 1 / sqrt(t), in the Euclidean ball.
    """
    rows = {}
    for kind, duels in raced.items():
        adam, without = duels["Adam"], duels["pooled Adam"]
        rows[f"rates tuned, {kind} ball"] = adam.tuned - without.tuned
        rows[f"both at the lazy rate, {kind} ball"] = adam.lazy - without.lazy
    euclidean = raced["L2"][EUCLIDEAN["Adam"]]
    rows["Euclidean projection, rates tuned, L2 ball"] = euclidean.tuned - raced["L2"]["pooled Adam"].tuned
    for kind, duels in raced.items():
        rows[f"RMSProp, rates tuned, {kind} ball"] = duels["RMSProp"].tuned - rivals[kind]["pooled RMSProp"].tuned
    falling = raced["L2"]["RMSProp"].tuned - rivals["L2"]["normalised SGD, falling"].tuned
    return rows | {"RMSProp beside normalised ascent at a falling rate, L2 ball": falling}


def gained_by_strength(raced: Raced, cells: dict[str, dict]) -> Samples:
    """Points of robustness that a stronger attacker in training gives, for all pairs that are a point apart."""
    robust = {name: np.array(cell["robust"]) for name, cell in cells.items()}
    rows = {}
    for kind, duels in raced.items():
        for a, b in by_strength(duels, kind):
            rows[f"{kind}: {title(a)} over {title(b)}"] = robust[f"{kind} | {a}"] - robust[f"{kind} | {b}"]
        rows[f"against nobody, {kind}: {title(LAZY)}"] = robust[f"{kind} | {LAZY}"] - robust[f"{kind} | {NOBODY}"]
    return rows


def gained_by_adaptivity(cells: dict[str, dict]) -> Samples:
    """Points of robustness that an adaptive attacker in training gives over plain ascent."""
    robust = {name: np.array(cell["robust"]) for name, cell in cells.items()}
    rows = {}
    for kind in OPPONENTS:
        tuned, lazy = robust[f"{kind} | SGD"], robust[f"{kind} | {LAZY}"]
        rows |= {f"{name}, {kind} ball": robust[f"{kind} | {name}"] - tuned for name in _NAMED}
        rows[f"over plain ascent at the lazy rate, Adam, {kind} ball"] = robust[f"{kind} | Adam"] - lazy
    for name in _NAMED:
        rows[f"Euclidean projection, {name}, L2 ball"] = robust[f"L2 | {EUCLIDEAN[name]}"] - robust["L2 | SGD"]
    return rows


def tally(rows: tuple[Evidence, ...]) -> dict[str, int]:
    """How many of the rows support, contradict and leave undecided."""
    return {says: sum(row.says == says for row in rows) for says in ("supports", "contradicts", "undecided")}


def choices(duels: dict[str, Duel]) -> dict[str, tuple[Choice, np.ndarray]]:
    """attacker -> (its `Choice` of a rate, its grid), as `Chapter.race` asks, in per cent."""
    return {name: (Choice(d.lr, None, (), d.at_edge, 100 * d.curve, d.tuned), d.rates) for name, d in duels.items()}


def attack_numbers(raced: Raced, hardened: Raced, rivals: Raced) -> dict:
    """Points standing beyond those under plain ascent or, in the Euclidean ball, under its steepest ascent; means over models.

    And what the scale per pixel makes of RMSProp, beside its `rivals`.
    """
    pixel = scale_per_pixel(raced, rivals)
    L2, rows = {name: d.tuned.mean() for name, d in raced["L2"].items()}, standing(raced, hardened)
    return {
        "lazy-gain": (-rows["both at the lazy rate, L∞ ball"].mean(), ".0f"),
        "box-gap": (rows["L∞ ball, standard models, Adam"].mean(), "+.2f"),
        "disc-gap": (rows["L2 ball, standard models, Adam"].mean(), "+.1f"),
        "hard-gap": (rows["L2 ball, hardened models, Adam"].mean(), "+.1f"),
        "euclid-gap": (L2[EUCLIDEAN["Adam"]] - L2["SGD"], "+.1f"),
        "disc-control": (L2["normalised SGD"] - L2["SGD"], "+.1f"),
        "pooled-gap": (L2["pooled Adam"] - L2["normalised SGD"], "+.1f"),
        "adam-gap": (L2["Adam"] - L2["normalised SGD"], "+.1f"),
        "rms-gap": (L2["RMSProp"] - L2["normalised SGD"], "+.1f"),
        "rms-pixel": (pixel["RMSProp, rates tuned, L2 ball"].mean(), "+.1f"),
        "rms-pixel-box": (pixel["RMSProp, rates tuned, L∞ ball"].mean(), "+.1f"),
        "rms-falling": (pixel["RMSProp beside normalised ascent at a falling rate, L2 ball"].mean(), "+.1f"),
    }


def training_numbers(x, hardened: dict[str, Hardened], single: Hardened, images) -> dict:
    """How far the lengths of the gradients spread on standard models x and on hardened ones; the worst falls in training, means and largest."""
    return {
        "spread-standard": (spread_of_lengths(x, images).mean(), ",.0f"),
        "spread-hardened": (spread_of_lengths(hardened["L2"].x, images).mean(), ",.0f"),
        "worst-fall": (max(h.worst_drop.mean() for h in hardened.values()), ".1f"),
        "single-fall": (single.worst_drop.mean(), ".1f"),
        "largest-fall": (max(h.worst_drop.max() for h in hardened.values()), ".0f"),
        "largest-single-fall": (single.worst_drop.max(), ".0f"),
        "networks": len(single.worst_drop),
    }


def mask_numbers(scales, masks: dict[str, np.ndarray]) -> dict:
    """The last scale but one of the logits, and what of `masked` stands there, per cent: mean over models."""
    standing = {f"mask-{name.lower()}": f"{masks[name][-2].mean():.0f} %" for name in ("Adam", "sign")}
    return {"mask-factor": (scales[-2], "g")} | standing


def start_numbers(fate: Samples) -> dict:
    """How much more the outcome depends on the random start than under plain ascent, points: means over models."""
    rows = {
        "fickle-box": "Adam, L∞ ball",
        "fickle-disc": "Adam, L2 ball",
        "fickle-control": "steepest ascent without a memory, L2 ball",
    }
    return {key: (fate[row].mean(), "+.2f") for key, row in rows.items()}


def defender_numbers(cells: dict[str, dict], pairs: tuple[Evidence, ...]) -> dict:
    """How the pairs of defenders come out, and what Adam's defender in the Euclidean ball has over that of plain ascent, points."""
    lift, counts = gained_by_adaptivity(cells), tally(pairs)
    return {f"pairs-{says}": count for says, count in counts.items()} | {
        "pairs-all": len(pairs),
        "own-lift": (lift["Adam, L2 ball"].mean(), "+.1f"),
        "euclid-lift": (lift["Euclidean projection, Adam, L2 ball"].mean(), "+.1f"),
        "grid-seed": DEFENDERS.facts["seed"],
    }
