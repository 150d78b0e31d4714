"""What a chapter reports of a race, for the page that sets rules against difficulties."""

import math
import re

import numpy as np

from stepsize.errors import EvidenceError

MIME = "application/vnd.stepsize.race+json"


def race_record(difficulty: str, unit: str, entries: dict, anchor: str, statistic=np.mean, limit=math.inf) -> dict:
    """The record of a race as JSON has it: for every rule its rate, its grid, the tuning curve at the chosen setting, its cost.

    `entries` is rule -> (`Choice`, its learning rates); None in place of the choice says that no rate of the grid worked. The
    cost is `statistic` of the choice's scores. Costs in `unit` are positive, and less is better; one that is not finite or is
    above `limit` is a failure, None in the record. A choice with an empty curve reports its cost alone.
    """
    if not (isinstance(difficulty, str) and difficulty and isinstance(unit, str) and unit):
        raise EvidenceError(f"a race needs a difficulty and a unit in words, got {difficulty!r} and {unit!r}")
    if not (isinstance(anchor, str) and re.fullmatch(r"[a-z][a-z0-9-]*", anchor)):
        raise EvidenceError(f"race {difficulty!r}: anchor {anchor!r} is no id of a page; give the name of its figure")
    if len(entries) < 2:
        raise EvidenceError(f"race {difficulty!r} has {len(entries)} rules; a relative cost needs at least two")
    rows = {rule: _entry(f"race {difficulty!r}, {rule}", *entry, statistic, limit) for rule, entry in entries.items()}
    return {"difficulty": difficulty, "unit": unit, "anchor": anchor, "entries": rows}


def _entry(where: str, choice, lrs, statistic, limit: float) -> dict:
    lrs = np.asarray(lrs, float)
    if choice is None:
        return {"lr": None, "lrs": lrs.tolist(), "curve": [None] * lrs.size, "cost": None}
    if choice.scores is None or not np.size(choice.scores):
        raise EvidenceError(f"{where}: the choice has no scores; give choice._replace(scores=...)")
    curve = np.asarray(choice.curve, float)
    if curve.ndim > 1:
        curve = curve[choice.index[:-1]]
    if curve.size and curve.shape != lrs.shape:
        raise EvidenceError(f"{where}: a curve of {curve.size} costs does not fit {lrs.size} learning rates")
    if curve.size and not (np.all(lrs > 0) and np.all(np.diff(lrs) > 0)):
        raise EvidenceError(f"{where}: learning rates must be positive and rise")
    costs = [_cost(where, value, limit) for value in (*curve, statistic(choice.scores))]
    return {"lr": choice.lr, "lrs": lrs.tolist(), "curve": costs[:-1], "cost": costs[-1]}


def _cost(where: str, value: float, limit: float) -> float | None:
    if value <= 0:
        raise EvidenceError(
            f"{where}: cost {value:g} is not positive, so it has no ratio; give an error or the excess over the floor"
        )
    return float(value) if math.isfinite(value) and value <= limit else None
