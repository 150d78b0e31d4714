"""From measurements to verdicts: an interval against a claimed region, and nothing else.

The interval lies inside the region: the evidence supports the claim. Outside: it contradicts. Across: undecided.
All support: the claim holds. All contradict: it fails. Mixed: it holds only if. Any undecided: open.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from stepsize.contract import short
from stepsize.errors import EvidenceError
from .intervals import Interval, bootstrap, exact, geometric, proportion, student
from .glue import without_iris

__all__ = [
    "Chapter",
    "Evidence",
    "Interval",
    "Verdict",
    "bootstrap",
    "combine",
    "exact",
    "geometric",
    "proportion",
    "student",
]

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


def number(value: float) -> str:
    """A number as the book prints it: three significant digits, whole from 1000 on, powers of ten where they are shorter."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "NaN"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def describe_region(region: tuple[float, float]) -> str:
    """A region in words."""
    low, high = map(number, region)
    return f"at most {high}" if low == "-∞" else f"at least {low}" if high == "∞" else f"{low} to {high}"


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
        from .cards import card

        return {MIME: self.record(), "text/html": card(self), "text/plain": repr(self)}


class Chapter:
    """The claims of one chapter, its verdicts, and the numbers its prose takes from the run.

    `Chapter("plateau_and_valley")` reads the claims from claims.yml in the working directory or in
    chapters/ of a directory above it.
    """

    def __init__(self, name: str, claims: dict[str, str] | None = None):
        self.name, self.verdicts = name, {}
        self.claims = read_claims(name) if claims is None else claims

    def judge(self, claim: str, *evidence: Evidence) -> Verdict:
        """The verdict on `claim`; display it as the last value of a cell."""
        if claim not in self.claims:
            raise EvidenceError(f"chapter {self.name} has no claim {claim!r}; it has {', '.join(self.claims)}")
        if not evidence:
            raise EvidenceError(f"claim {claim} was judged without evidence; measure something")
        if not all(isinstance(e, Evidence) for e in evidence):
            raise EvidenceError(
                f"claim {claim} was given {short(evidence)}; give Evidence(...) one by one, not in a list"
            )
        verdict = Verdict(self.name, claim, self.claims[claim], evidence)
        # running the cell again is no second judgement
        if self.verdicts.setdefault(claim, verdict) != verdict:
            raise EvidenceError(
                f"claim {claim} was judged before on other evidence; give it all in one call, or make a new Chapter"
            )
        return verdict

    def glue(self, key: str, value, spec: str = "") -> None:
        """Store a number for the prose, as {glue:text}`chapter:key`; `spec` is a format such as '.2f' or '.0%'."""
        if isinstance(value, float) and math.isnan(value):
            raise EvidenceError(f"{self.name}:{key} is NaN; the prose cannot say it")
        _glue(f"{self.name}:{key}", _Text(format(value, spec) if spec else str(value)))

    def summary(self) -> None:
        """Glue the table of all verdicts as `chapter:verdicts`; every claim must have been judged."""
        if missing := [c for c in self.claims if c not in self.verdicts]:
            raise EvidenceError(f"chapter {self.name} has no evidence for {', '.join(missing)}; judge each claim")
        from .cards import Table

        _glue(f"{self.name}:verdicts", Table([self.verdicts[c] for c in self.claims]))


def _glue(name: str, value) -> None:
    with without_iris():
        from myst_nb import glue

        glue(name, value, display=False)


class _Text(str):
    """A string that displays without quotes."""

    def __repr__(self):
        return str(self)


def find_claims() -> Path:
    """claims.yml of the book: in the working directory, in chapters/ of it or above, or beside the library.

    The last lets a chapter run wherever it was downloaded to.
    """
    here = Path.cwd()
    folders = (here, *here.parents, Path(__file__).resolve().parents[2])
    for path in (here / "claims.yml", *(d / "chapters" / "claims.yml" for d in folders)):
        if path.is_file():
            return path
    raise EvidenceError(f"claims.yml was not found in {here.name}/ or above; run from the book's folder")


def read_claims(chapter: str) -> dict[str, str]:
    """The claims of one chapter, id -> text."""
    from companion.build.ledger import load_claims

    book = load_claims(find_claims())
    if chapter not in book:
        raise EvidenceError(f"claims.yml has no chapter {chapter!r}; it has {', '.join(book)}")
    return {claim: entry["text"] for claim, entry in book[chapter].items()}
