"""From measurements to verdicts: intervals against registered regions, where the text stands, and nothing else.

An interval inside the region supports the claim, outside it contradicts, across an edge it is undecided. The verdict follows
from the *stated* rows alone, by the claim's quantifier; rows *beyond* draw the boundary and never change it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stepsize.errors import EvidenceError

from .cards import card
from .claims import Claim, Measure
from .intervals import Interval
from .wording import describe_region, number

MIME = "application/vnd.stepsize.verdict+json"
LEVEL = 0.95


@dataclass(frozen=True)
class Evidence:
    """One row: a measure under a condition, its interval, and in which setting of the claim it lies."""

    measure: Measure
    condition: str
    interval: Interval
    setting: str

    @property
    def says(self) -> str:
        """'supports', 'contradicts' or 'undecided'."""
        return compare(self.interval, self.measure.region)

    @property
    def kind(self) -> str:
        """'identity', 'computation' (no sampling error) or 'measurement'."""
        return "identity" if self.measure.identity else "measurement" if self.interval.again else "computation"


def compare(interval: Interval, region: tuple[float, float]) -> str:
    """Where an interval lies against a region: 'supports', 'contradicts' or 'undecided'."""
    low, high = region
    if low <= interval.low and interval.high <= high:
        return "supports"
    return "contradicts" if interval.high < low or interval.low > high else "undecided"


def decide(quantifier: str, says: Iterable[str]) -> str:
    """The verdict from what the stated rows say, in Kleene's three-valued logic.

    *can* needs one support. All others need every row: with a support and a contradiction the claim holds in part, whatever
    the undecided rows would turn out to be; otherwise an undecided row leaves it open.
    """
    says = list(says)
    if not says:
        raise EvidenceError("a claim without stated evidence has no verdict; measure where the text stands")
    supported, contradicted, undecided = (s in says for s in ("supports", "contradicts", "undecided"))
    if quantifier == "can":
        return "holds" if supported else "open" if undecided else "fails"
    if supported and contradicted:
        return "in part"
    return "open" if undecided else "holds" if supported else "fails"


def joint(rows: list[Evidence], seed: tuple[int, ...] = (0,)) -> list[Evidence]:
    """The rows with intervals that hold together at 95 % (Bonferroni), the stated ones and those beyond each for themselves."""
    wide = []
    for i, row in enumerate(rows):
        family = [r for r in rows if r.setting == row.setting and r.kind == "measurement"]
        again = row.interval.again if row.kind == "measurement" else None
        wide.append(replace(row, interval=again(1 - (1 - LEVEL) / len(family), (*seed, i))) if again else row)
    return wide


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of one claim. Shown as a card; read by the ledger through its own MIME type."""

    claim: Claim
    evidence: tuple[Evidence, ...]

    def rows(self, setting: str) -> tuple[Evidence, ...]:
        return tuple(e for e in self.evidence if e.setting == setting)

    @property
    def computed(self) -> str:
        """What this run says, replicated or not."""
        return decide(self.claim.quantifier, [e.says for e in self.rows("stated")])

    @property
    def says(self) -> str:
        return "open" if self.claim.fragile else self.computed

    @property
    def boundary(self) -> dict:
        """How far the verdict reaches: of the rows beyond, how many support, where it breaks, or where a failed claim is true."""
        beyond = self.rows("beyond")
        kept, lost = ([e.condition for e in beyond if e.says == s] for s in ("supports", "contradicts"))
        where = {"true_when": kept} if self.says == "fails" else {"breaks_when": lost}
        return {"reaches": len(kept), "of": len(beyond)} | where

    @property
    def margin(self) -> dict | None:
        """The smallest move of one edge of a region that changes the verdict: the measure, the edge, where to, by what factor.

        The edges of identities are tolerances for round-off and stay where they are. `factor` is None where the edge or its
        new place is not positive. None where no finite edge changes anything.
        """
        moves = []
        for measure in {e.measure.key: e.measure for e in self.rows("stated") if not e.measure.identity}.values():
            for side, edge in enumerate(measure.region):
                for end in _ends(self.rows("stated"), measure) if math.isfinite(edge) else ():
                    for moved in (math.nextafter(end, -math.inf), end, math.nextafter(end, math.inf)):
                        region = tuple(moved if s == side else e for s, e in enumerate(measure.region))
                        if region[0] < region[1] and self._under(measure, region) != self.computed:
                            moves.append((_distance(edge, moved), measure.key, edge, end))
        if not moves:
            return None
        distance, key, edge, end = min(moves)
        factor = math.exp(distance) if edge > 0 and end > 0 else None
        return {"measure": key, "edge": edge, "moved_to": end, "factor": factor}

    def _under(self, measure: Measure, region) -> str:
        says = [
            compare(e.interval, region if e.measure.key == measure.key else e.measure.region)
            for e in self.rows("stated")
        ]
        return decide(self.claim.quantifier, says)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the stated effect that each control attains: control condition -> (control - none) / (effect - none)."""
        return {e.condition: s for e in self.rows("control") if (s := self._share(e)) is not None}

    def _share(self, row: Evidence) -> float | None:
        effects = sorted(e.interval.estimate for e in self.rows("stated") if e.measure.key == row.measure.key)
        if row.measure.no_effect is None or not effects:
            return None
        scale = math.log if row.measure.log else float
        none, effect = scale(row.measure.no_effect), scale(effects[len(effects) // 2])
        return (scale(row.interval.estimate) - none) / (effect - none) if effect != none else None

    def record(self) -> dict:
        """Plain data for the ledger, valid JSON: what is infinite stands as the string that `float` reads."""
        c = self.claim
        return _plain(
            {
                "claim": c.id,
                "chapter": c.chapter,
                "text": c.text,
                "phrase": c.phrase,
                "paragraph": c.paragraph,
                "ours": c.ours,
                "reading_of": c.reading_of,
                "part_of": c.part_of,
                "quantifier": c.quantifier,
                "subject": c.subject,
                "setting": c.setting,
                "verdict": self.says,
                "computed": self.computed,
                "condition": c.condition if self.says == "in part" else "",
                "test": c.test,
                "redo": c.redo,
                "boundary": self.boundary,
                "margin": self.margin,
                "shares": self.shares,
                "evidence": [
                    {
                        "setting": e.setting,
                        "kind": e.kind,
                        "says": e.says,
                        "condition": e.condition,
                        "key": e.measure.key,
                        "measure": e.measure.words,
                        "because": e.measure.because,
                        "post_hoc": e.measure.post_hoc,
                        "interval": e.interval.record(),
                        "region": e.measure.region,
                    }
                    for e in self.evidence
                ],
            }
        )

    def __repr__(self):
        lines = [f"{self.claim.id}: {self.says}"]
        for e in self.evidence:
            lines.append(
                f"  {e.setting}, {e.says}: {e.measure.words} = {describe(e.interval)}, "
                f"claimed {describe_region(e.measure.region)} ({e.condition})"
            )
        return "\n".join(lines)

    def _repr_mimebundle_(self, include=None, exclude=None):
        record = self.record()
        return {MIME: record, "text/html": card(record), "text/plain": repr(self)}


def describe(interval: Interval) -> str:
    """An interval in words: the estimate and, where there is sampling error, its ends."""
    i = interval
    return number(i.estimate) + ("" if i.low == i.high else f" [{number(i.low)}, {number(i.high)}]")


def _ends(rows, measure) -> set[float]:
    of = [e.interval for e in rows if e.measure.key == measure.key]
    return {end for i in of for end in (i.low, i.high) if math.isfinite(end)}


def _distance(edge: float, moved: float) -> float:
    """Between two places of an edge: of logarithms where both are positive, else relative to the larger."""
    if edge > 0 and moved > 0:
        return abs(math.log(moved / edge))
    return abs(moved - edge) / max(abs(moved), abs(edge), 1e-300)


def _plain(a):
    """Dictionaries, lists, texts and finite numbers of `a`; JSON has no infinity."""
    if isinstance(a, dict):
        return {key: _plain(value) for key, value in a.items()}
    if isinstance(a, (tuple, list)):
        return [_plain(value) for value in a]
    if a is None or isinstance(a, (str, int)):
        return a
    return float(a) if math.isfinite(a) else str(float(a))
