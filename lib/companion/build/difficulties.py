"""Rules against difficulties: what the chapters' races say together, with a rate for each difficulty and with one rate for all."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from companion.evidence.cards import environment
from companion.evidence.wording import number

#: A cost that is so many times the best is a failure, on the page and in choosing one rate for all.
FAILURE = 100.0
#: Decades between the rates among which one for all is chosen.
STEP = 0.25
TEMPLATES = environment(Path(__file__).parent / "templates")


class Cell(NamedTuple):
    """Costs of a rule relative to the best of a difficulty, inf where it fails.

    `own` on the reporting problems with the rate tuned there; `one` on the tuning curve at `rate`, which the other
    difficulties chose, None where no curve says. `beyond`: that rate lies outside the grid of the race, and its cost is the one at
    the edge.
    """

    own: float
    one: float | None = None
    rate: float | None = None
    beyond: bool = False


def relative(cost, least: float):
    """cost / least, inf where the cost is missing or more than `FAILURE` times the least."""
    with np.errstate(over="ignore"):  # a run that exploded
        ratio = np.divide(cost, least) if math.isfinite(least) else np.full(np.shape(cost), np.inf)
    return np.where(ratio <= FAILURE, ratio, np.inf)


def _costs(listed) -> np.ndarray:
    return np.array([np.inf if cost is None else cost for cost in listed])


def own_costs(race: dict) -> dict[str, float]:
    """rule -> cost with its own rate over the least of the race, on the reporting problems."""
    costs = _costs([entry["cost"] for entry in race["entries"].values()])
    return dict(zip(race["entries"], relative(costs, costs.min()).tolist(), strict=True))


def curves(race: dict, rates) -> dict[str, np.ndarray]:
    """rule -> tuning curve over the least of all rules, read for each of `rates` at the nearest rate of the rule's grid."""
    tuned = {rule: (e["lrs"], _costs(e["curve"])) for rule, e in race["entries"].items() if e["curve"]}
    least = min((curve.min() for _, curve in tuned.values()), default=math.inf)
    return {rule: relative(curve[_nearest(lrs, rates)], least) for rule, (lrs, curve) in tuned.items()}


def _nearest(lrs, rates) -> np.ndarray:
    return np.abs(np.log(lrs) - np.log(rates)[:, None]).argmin(1)


def one_rate(rule: str, difficulty: str, raced: dict[str, dict[str, np.ndarray]]) -> int | None:
    """The index of the rate of least mean log relative cost on the curves of all difficulties but `difficulty`; None without any.

    A failure counts as `FAILURE`. Among equals the smallest rate.
    """
    others = [of[rule] for name, of in raced.items() if name != difficulty and rule in of]
    return int(np.log(np.minimum(others, FAILURE)).mean(0).argmin()) if others else None


def cells(races: list[dict]) -> dict[str, dict[str, Cell]]:
    """difficulty -> rule -> cell, for every rule that was raced there."""
    grids = [np.log10(e["lrs"]) for race in races for e in race["entries"].values() if e["curve"]]
    low, high = (min(g[0] for g in grids), max(g[-1] for g in grids)) if grids else (0.0, 0.0)
    rates = 10 ** (STEP * np.arange(round(low / STEP), round(high / STEP) + 1))
    raced = {race["difficulty"]: curves(race, rates) for race in races}
    table = {}
    for race in races:
        name, found = race["difficulty"], {}
        for rule, own in own_costs(race).items():
            chosen = one_rate(rule, name, raced) if rule in raced[name] else None
            if chosen is None:
                found[rule] = Cell(own)
                continue
            lrs, margin = race["entries"][rule]["lrs"], 10 ** (STEP / 2)
            beyond = not lrs[0] / margin <= rates[chosen] <= lrs[-1] * margin
            found[rule] = Cell(own, float(raced[name][rule][chosen]), float(rates[chosen]), beyond)
        table[name] = found
    return table


def shown(table: dict[str, dict[str, Cell]]) -> list[str]:
    """The rules raced in two difficulties at least and in a quarter of all, most often first."""
    often = counted(table)
    rules = [rule for rule, n in often.items() if n >= max(2, len(table) / 4)]
    return sorted(rules, key=lambda rule: -often[rule])


def counted(table: dict[str, dict[str, Cell]]) -> dict[str, int]:
    """rule -> in how many difficulties it was raced."""
    rules = [rule for row in table.values() for rule in row]
    return {rule: rules.count(rule) for rule in dict.fromkeys(rules)}


def typical(costs: list[float]) -> float:
    """Geometric mean of relative costs, a failure counted as `FAILURE`."""
    return float(np.exp(np.log(np.minimum(costs, FAILURE)).mean()))


def _standing(table, which: str) -> list[tuple[float, str, list[float]]]:
    """(typical cost, rule, its costs) of the rules that at least half of the difficulties say something of, the least first."""
    costs: dict[str, list[float]] = {}
    for row in table.values():
        for rule, cell in row.items():
            if (cost := getattr(cell, which)) is not None:
                costs.setdefault(rule, []).append(cost)
    often = {rule: c for rule, c in costs.items() if len(c) >= max(2, len(table) / 2)}
    return sorted((typical(c), rule, c) for rule, c in often.items())


def _failures(costs: list[float]) -> str:
    failed = sum(map(math.isinf, costs))
    return f"fails in {failed} of {len(costs)}" if failed else f"fails in none of {len(costs)}"


def _told(table, which: str) -> str:
    """The two rules of least typical cost and the one of the highest, in words."""
    standing = _standing(table, which)
    picked = standing if len(standing) < 4 else [*standing[:2], standing[-1]]
    words = [f"{rule} typically costs {number(mean)} × the best and {_failures(c)}" for mean, rule, c in picked]
    return "; ".join(words) or "no rule was raced in half of the difficulties"


def findings(table: dict[str, dict[str, Cell]]) -> list[str]:
    """What a practitioner takes home, a sentence each; computed, like everything on the page."""
    best = [rule for row in table.values() for rule, cell in row.items() if cell.own == 1.0]
    wins = {rule: best.count(rule) for rule in sorted(set(best), key=lambda rule: (-best.count(rule), rule))}
    leaders = [rule for rule, n in wins.items() if n == max(wins.values())]
    often = f", most often {' and '.join(leaders)} ({wins[leaders[0]]})" if leaders and wins[leaders[0]] > 1 else ""
    return [
        f"**The best of each race:** {len(wins)} different rule{'s' * (len(wins) != 1)} in {len(table)} races{often}.",
        f"**With a rate tuned for the difficulty,** {_told(table, 'own')}.",
        f"**With one rate for all,** {_told(table, 'one')}.",
    ]


def rate_span(table: dict[str, dict[str, Cell]], rule: str) -> str:
    """The least and the largest of the rates that were chosen for a rule without the difficulty of the row."""
    rates = [row[rule].rate for row in table.values() if rule in row and row[rule].rate is not None]
    ends = dict.fromkeys(f"{rate:.1g}" for rate in (min(rates), max(rates))) if rates else ["–"]
    return " to ".join(ends)


def page(records: dict[str, dict]) -> str:
    """MyST text of the findings and the table, from the records of the chapters' runs; a chapter that reports no race has no row."""
    races = [race for record in records.values() for race in record.get("races", [])]
    if not races:
        return "No chapter reports a race.\n"
    table = cells(races)
    body = TEMPLATES.get_template("difficulties.html").render(
        races=races, table=table, rules=shown(table), spans=rate_span, failure=FAILURE
    )
    listed = "\n".join(f"- {sentence}" for sentence in findings(table))
    return f"{listed}\n\n```{{raw}} html\n{body}\n```\n"
