"""What the claims of the chapter compare: condition -> one number for every model, from races and recorded defenders."""

import numpy as np

from companion.evidence import Evidence

from .defenses import LAZY, NOBODY, OPPONENTS, by_strength
from .robustness import ADAPTIVE, EUCLIDEAN, MATCHED, Duel, title

Samples = dict[str, np.ndarray]
Raced = dict[str, dict[str, Duel]]

_NAMED = ("Adam", "RMSProp")


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


def scale_per_pixel(raced: Raced) -> Samples:
    """Points standing, Adam minus Adam with one second moment per image."""
    rows = {}
    for kind, duels in raced.items():
        adam, pooled = duels["Adam"], duels["pooled Adam"]
        rows[f"rates tuned, {kind} ball"] = adam.tuned - pooled.tuned
        rows[f"both at the lazy rate, {kind} ball"] = adam.lazy - pooled.lazy
    euclidean = raced["L2"][EUCLIDEAN["Adam"]]
    return rows | {"Euclidean projection, rates tuned, L2 ball": euclidean.tuned - raced["L2"]["pooled Adam"].tuned}


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
