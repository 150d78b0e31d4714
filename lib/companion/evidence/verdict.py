"""From measurements to verdicts: an interval against a claimed region, and nothing else.

The interval lies inside the region: the evidence supports the claim. Outside: it contradicts. Across: undecided.
All support: the claim holds. All contradict: it fails. Mixed: it holds only if. Any undecided: open.
"""

import math
from dataclasses import asdict, dataclass

from stepsize.errors import EvidenceError, short

from .cards import card
from .intervals import Interval, middle
from .wording import describe_region, number

MIME = "application/vnd.stepsize.verdict+json"
VERDICTS = ("holds", "holds only if", "fails", "open")


@dataclass(frozen=True)
class Evidence:
    """One measurement that bears on a claim: where its interval lies against the region in which the claim is true.

    `measure` says in words what was measured, `condition` under which circumstances; `region` is a closed
    interval (low, high), either end may be infinite.
    """

    condition: str
    measure: str
    interval: Interval
    region: tuple[float, float]

    def __post_init__(self):
        if not isinstance(self.interval, Interval):
            raise EvidenceError(
                f"the interval of '{self.measure}' is {short(self.interval)}; make it with bootstrap, student, proportion or exact"
            )
        if len(self.region) != 2 or not self.region[0] < self.region[1]:
            raise EvidenceError(f"region {self.region} of '{self.measure}' is empty; give (low, high) with low < high")
        if math.isinf(self.region[0]) and math.isinf(self.region[1]):
            raise EvidenceError(f"region {self.region} of '{self.measure}' cannot be missed; bound it on one side")
        if not (self.condition.strip() and self.measure.strip()):
            raise EvidenceError(
                f"evidence needs words: condition={self.condition!r}, measure={self.measure!r}; fill both"
            )

    @property
    def says(self) -> str:
        """'supports', 'contradicts' or 'undecided'."""
        (low, high), i = self.region, self.interval
        if low <= i.low and i.high <= high:
            return "supports"
        return "contradicts" if i.high < low or i.low > high else "undecided"


def combine(evidence) -> str:
    """The verdict that follows from a list of evidence; one of `VERDICTS`."""
    says = {e.says for e in evidence}
    if not says:
        raise EvidenceError("a claim without evidence has no verdict; measure something")
    if "undecided" in says:
        return "open"
    return "holds only if" if len(says) == 2 else "holds" if "supports" in says else "fails"


def _plain(a):
    """Dictionaries, lists, texts and finite numbers of `a`; JSON has no infinity."""
    if isinstance(a, dict):
        return {key: _plain(value) for key, value in a.items()}
    if isinstance(a, (tuple, list)):
        return [_plain(value) for value in a]
    return a if isinstance(a, (str, int)) else float(a) if math.isfinite(a) else str(float(a))


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of one claim. Shown as a card; read by the ledger through its own MIME type."""

    chapter: str
    claim: str
    text: str
    evidence: tuple[Evidence, ...]

    @property
    def says(self) -> str:
        return combine(self.evidence)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions under which the claim was supported; they complete 'holds only if'."""
        return tuple(dict.fromkeys(e.condition for e in self.evidence if e.says == "supports"))

    def record(self) -> dict:
        """Plain data for the ledger, valid JSON: what is infinite stands as the string that `float` reads."""
        return {
            "chapter": self.chapter,
            "claim": self.claim,
            "text": self.text,
            "verdict": self.says,
            "conditions": list(self.conditions) if self.says == "holds only if" else [],
            "evidence": [_plain(asdict(e)) | {"says": e.says} for e in self.evidence],
        }

    def __repr__(self):
        head = f"{self.claim} {self.says}" + (f": {'; '.join(self.conditions)}" if self.says == "holds only if" else "")
        rows = (
            f"  {e.says}: {e.measure} = {number(e.interval.estimate)} "
            f"[{number(e.interval.low)}, {number(e.interval.high)}], claimed {describe_region(e.region)} ({e.condition})"
            for e in self.evidence
        )
        return "\n".join([head, *rows])

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {MIME: self.record(), "text/html": card(self), "text/plain": repr(self)}


def each(samples: dict, words: str, region, interval=middle, when="") -> list[Evidence]:
    """One piece of evidence per sample. Its name is the condition; with `when` as the condition, it begins the measure."""
    return [
        Evidence(when or name, f"{name}: {words}" if when else words, interval(values), region)
        for name, values in samples.items()
    ]
