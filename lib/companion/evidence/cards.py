"""How a verdict looks: its badge, a card with a strip for every measurement, a row in the table of a chapter.

Everything is drawn from the plain data of `Verdict.record()`, where an infinity is a string that `float` reads.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from .wording import apart, attains, describe_region, number, quoted

VERDICT_SIGNS = {"holds": "✓", "in part": "◐", "fails": "✗", "open": "?"}
SAYS = {"supports": ("✓", "supports the claim"), "contradicts": ("✗", "contradicts the claim"), "undecided": ("?", "undecided")}  # fmt: skip
DOTS = {"supports": "●", "contradicts": "○", "undecided": "◇"}
PLACES = {"supports": "inside the claimed values", "contradicts": "outside them", "undecided": "across their edge"}
QUANTIFIERS = {
    "always": "Claimed without exception: holds if all measurements in this setting support it, in part if some do.",
    "can": "Claimed as a possibility: one supporting case suffices.",
    "definition": "A definition.",
    "theorem": "A theorem.",
}
HEADINGS = {
    "stated": "in the text’s setting",
    "beyond": "beyond the text’s setting",
    "control": "controls: simpler methods beside it, which decide nothing",
}

GUTTER = 6.0  # per cent of a strip on either side, where arrows lead to infinity
NAMED = 4  # conditions at which a claim breaks, named in a sentence
APART = 17.0  # per cent of a strip between two labels of its axis


@dataclass(frozen=True)
class Axis:
    """The axis that all strips of one measure share; places are in per cent of its width."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Iterable[float], region: tuple[float, float]) -> "Axis":
        """Logarithmic where the values are positive and span, with the region's edges, more than a factor 20.

        A share, whose region ends at 1 and which is never larger, stays linear. An edge at 0 of a logarithmic axis lies off it, and
        so does the farther edge where it would press the values into less than a quarter of the axis.
        """
        values = [v for v in values if math.isfinite(v)]
        edges = list(filter(math.isfinite, region))
        numbers = [*values, *edges]
        positive = [v for v in numbers if v > 0]
        share = region[1] == 1 == max(numbers) and min(numbers) >= 0
        if min([*values, 1]) > 0 <= min(numbers) and max(positive) > 20 * min(positive) and not share:
            return cls(min(positive), max(positive), True)
        if values and len(edges) == 2:
            near = min(edges, key=lambda e: max(min(values) - e, e - max(values), 0))
            close = [*values, near]
            if 0 < 4 * (max(close) - min(close)) < max(numbers) - min(numbers):
                numbers = close
        low, high = min(numbers), max(numbers)
        return cls(low, high, False) if low < high else cls(low - (abs(low) or 1) / 2, low + (abs(low) or 1) / 2, False)

    def place(self, value: float) -> float:
        """Where a value stands; what is infinite, off the axis, or 0 on a logarithmic one, stands at the end of the strip."""
        if value > self.high:
            return 100.0
        if value < self.low:
            return 0.0
        scale = math.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        return GUTTER + (100 - 2 * GUTTER) * (scale(value) - low) / (high - low)

    def ticks(self, edges: Iterable[float]) -> list[tuple[float, float, bool]]:
        """(place, value, whether it is an edge): the region's edges, then round numbers where there is room for a label."""
        span = self.high / self.low if self.log else self.high - self.low
        power = math.floor(math.log10(self.low if self.log else span / 2))
        if not self.log:
            step = max(s for s in (10.0**power * m for m in (1, 2, 5, 10)) if s <= span / 1.9)
            round_numbers = [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        elif span < 1000:
            round_numbers = [m * 10.0 ** (power + k) for k in range(4) for m in (1, 2, 5)]
        else:
            by = math.ceil(math.log10(span) / 4)
            round_numbers = [10.0 ** (power + k) for k in range(0, math.ceil(math.log10(span)) + 2, by)]
        placed = []
        for value, edge in [*((e, True) for e in edges), *((v, False) for v in round_numbers)]:
            at = self.place(value)
            if self.low <= value <= self.high and all(abs(at - other) >= APART for other, *_ in placed):
                placed.append((at, value, edge))
        return placed


def _row(e: dict, axis: Axis, shares: dict) -> dict:
    """One strip: where its marks stand, its numbers, and all of it in a sentence."""
    estimate, low, high = (float(e["interval"][k]) for k in ("estimate", "low", "high"))
    region = describe_region(tuple(map(float, e["region"])))
    value = number(estimate) + (f", interval {number(low)} to {number(high)}" if low < high else "")
    control = e["setting"] == "control"
    says = PLACES[e["says"]] if control else SAYS[e["says"]][1]
    share = ""
    if control and (attained := shares.get(e["condition"])) is not None:
        share = f"attains {attains(attained)}"
    sentence = f"{e['condition']}: {e['measure']} is {value}; claimed {region}; {says}{share and f'; {share}'}."
    return {
        "condition": e["condition"], "says": e["says"], "control": control, "share": share,
        "estimate": number(estimate), "span": f"[{number(low)}, {number(high)}]" if low < high else "",
        "sign": "" if control else SAYS[e["says"]][0], "sentence": sentence,
        "at": axis.place(estimate), "low": axis.place(low), "high": axis.place(high), "interval": low < high,
        "beyond": [at for at, v in ((0, low), (100, high)) if axis.place(v) == at],
    }  # fmt: skip


def measures(record: dict) -> list[dict]:
    """What the strips of a record show, measure by measure; measures of the text's own setting come first, identities apart."""
    by_key: dict[str, list[dict]] = {}
    for e in sorted(record["evidence"], key=lambda e: list(HEADINGS).index(e["setting"])):
        if e["kind"] != "identity":
            by_key.setdefault(e["key"], []).append(e)
    drawn = []
    for rows in by_key.values():
        low, high = region = tuple(map(float, rows[0]["region"]))
        axis = Axis.of([float(e["interval"][k]) for e in rows for k in ("estimate", "low", "high")], region)
        groups = [
            (HEADINGS[s], [_row(e, axis, record["shares"]) for e in rows if e["setting"] == s])
            for s in HEADINGS
            if any(e["setting"] == s for e in rows)
        ]
        drawn.append(
            {
                "words": rows[0]["measure"],
                "claimed": describe_region(region),
                "because": rows[0]["because"],
                "post_hoc": rows[0]["post_hoc"],
                "from": axis.place(low),
                "to": axis.place(high),
                "edges": [axis.place(e) for e in region if GUTTER <= axis.place(e) <= 100 - GUTTER],
                "ticks": axis.ticks(e for e in region if math.isfinite(e)),
                "log": axis.log,
                "ends": {at for _, rows in groups for r in rows for at in r["beyond"]},
                "groups": groups,
            }
        )
    return drawn


def identities(record: dict) -> list[tuple[str, str]]:
    """(sign, sentence) of what was checked to round-off."""
    return [
        (
            SAYS[e["says"]][0],
            f"{e['measure']} ({e['condition']}): {number(float(e['interval']['estimate']))}, "
            f"must be {describe_region(tuple(map(float, e['region'])))}",
        )
        for e in record["evidence"]
        if e["kind"] == "identity"
    ]


def boundary(record: dict) -> str:
    """How far the verdict reaches, in words."""
    b = record["boundary"]
    if not b["of"]:
        return "Not measured beyond the text’s setting."
    name = "true_when" if "true_when" in b else "breaks_when"
    conditions = list(dict.fromkeys(b[name]))  # one condition may be measured in several ways
    when = "; ".join(conditions) if len(conditions) <= NAMED else ""  # more are read off the strips
    if name == "true_when":
        return f"Supported in {b['reaches']} of {b['of']} further settings." + (when and f" True when: {when}.")
    return f"Reaches {b['reaches']} of {b['of']} further settings." + (when and f" Breaks when: {when}.")


def tally(record: dict) -> str:
    """How many rows of the text's setting support, contradict, and lie across the edge, as in "4 of 6 support, 2 lie across the edge"."""
    says = [e["says"] for e in record["evidence"] if e["setting"] == "stated"]
    verbs = {"supports": ("supports", "support"), "contradicts": ("contradicts", "contradict"), "undecided": ("lies across the edge", "lie across the edge")}  # fmt: skip
    counts = [(says.count(s), verbs[s][says.count(s) != 1]) for s in verbs if s in says]
    if len(counts) == 1:
        n, verb = counts[0]
        return f"{'both' if n == 2 else f'all {n}'} measurements {verb}" if n > 1 else f"the one measurement {verb}"
    return ", ".join(f"{n} of {len(says)} measurements {verb}" if k == 0 else f"{n} {verb}" for k, (n, verb) in enumerate(counts))  # fmt: skip


def why_open(record: dict) -> str:
    """Why undecided rows leave a verdict open, though others support or contradict; what would decide."""
    says = {e["says"] for e in record["evidence"] if e["setting"] == "stated"}
    if record["quantifier"] == "can":
        decides = "the claim holds if one that lies across supports it, and fails if none does"
    else:
        ends = ["holds"] * ("contradicts" not in says) + ["in part"] + ["fails"] * ("supports" not in says)
        decides = f"those that lie across would decide between {', '.join(ends[:-1])} and {ends[-1]}"
    return f"Open: {tally(record)} of the claimed values; {decides}."


def margin(record: dict) -> str:
    """The smallest move of an edge that changes the verdict, in words."""
    m = record["margin"]
    if m is None:
        stated = {e["kind"] for e in record["evidence"] if e["setting"] == "stated"}
        if stated == {"identity"}:
            return "Checked to round-off: the edges are tolerances, and no margin is read from them."
        return "No move of one edge changes the verdict."
    words = {e["key"]: e["measure"] for e in record["evidence"]}
    which = f" of the {words[m['measure']]}" if len(words) > 1 else ""
    edge, moved = apart(float(m["edge"]), float(m["moved_to"]))
    if edge == moved:
        return f"The claimed edge{which}, {edge}, is itself what was measured: past it by however little, the verdict would be another."
    factor = "" if m["factor"] is None else f", a factor {apart(float(m['factor']), 1.0)[0]} away"
    return f"The verdict would be another if the claimed edge{which} were {moved} instead of {edge}{factor}."


def methods(record: dict) -> str:
    """How the intervals were made, each way once."""
    sizes: dict[str, set[int]] = {}
    for e in record["evidence"]:
        if e["kind"] == "measurement":
            # "Wilson score, 98.33%": the level is that of one row, widened until all hold together
            sizes.setdefault(e["interval"]["method"].partition(",")[0], set()).add(e["interval"]["n"])
    made = [f"{how} of {min(n)}{f' to {max(n)}' if len(n) > 1 else ''} values" for how, n in sizes.items()]
    return f"Intervals, jointly valid at 95% within a setting: {'; '.join(made)}." if made else ""


def badge(verdict: str) -> Markup:
    """The verdict as a coloured word with a sign; never by colour alone."""
    sign = Markup('<span aria-hidden="true">{}</span>').format(VERDICT_SIGNS[verdict])
    return Markup('<span class="verdict verdict-{}">{} {}</span>').format(verdict.replace(" ", "-"), sign, verdict)


def dots(record: dict) -> Markup:
    """A dot for every measurement beyond the text's setting: filled where it supports, hollow where it contradicts."""
    says = [e["says"] for e in record["evidence"] if e["setting"] == "beyond"]
    if not says:
        return Markup("")
    label = f"{says.count('supports')} of {len(says)} further settings support"
    signs = Markup("").join(Markup('<span class="says-{}">{}</span>').format(s, DOTS[s]) for s in sorted(says, key=list(DOTS).index))  # fmt: skip
    return Markup('<span class="dots" role="img" aria-label="{}">{}</span>').format(label, signs)


def environment(folder: Path) -> Environment:
    """Templates of a folder, with what every one of them may say of a record; all they print is escaped."""
    templates = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent / "templates"]),
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.globals |= {
        f.__name__: f for f in (badge, boundary, dots, identities, margin, measures, methods, tally, why_open)
    }
    templates.globals["quantifiers"] = QUANTIFIERS
    templates.filters |= {
        "quoted": quoted,
        "number": lambda v: number(float(v)),
        "region": lambda r: describe_region(tuple(map(float, r))),
    }
    return templates


_TEMPLATES = environment(Path(__file__).parent / "templates")


def card(record: dict) -> str:
    """One claim with its evidence: what was measured, the interval, what the claim demands, what follows."""
    return _TEMPLATES.get_template("card.html").render(r=record)


class Table:
    """The verdicts of a chapter at a glance, each linked to its card."""

    def __init__(self, records: list[dict]):
        self.records = records

    def __repr__(self):
        return "\n".join(f"{r['claim']}: {r['verdict']}" for r in self.records)

    def _repr_html_(self):
        return _TEMPLATES.get_template("table.html").render(records=self.records)
