"""From measurements to verdicts: an interval against a claimed region, and nothing else.

The interval lies inside the region: the evidence supports the claim. Outside: it contradicts. Across: undecided.
All support: the claim holds. All contradict: it fails. Mixed: it holds only if. Any undecided: open.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .errors import EvidenceError

MIME = "application/vnd.stepsize.verdict+json"
VERDICTS = ("holds", "holds only if", "fails", "open")


@dataclass(frozen=True)
class Interval:
    """An estimate, the interval around it, how it was made and from how many independent units."""

    estimate: float
    low: float
    high: float
    method: str
    n: int

    def __post_init__(self):
        if not self.low <= self.estimate <= self.high:
            raise EvidenceError(f"the estimate {self.estimate} is not inside its interval [{self.low}, {self.high}]")


def _sample(values, least):
    values = np.asarray(values, float).ravel()
    if values.size < least:
        raise EvidenceError(f"an interval needs at least {least} values, got {values.size}; run more seeds")
    if np.isnan(values).any():
        raise EvidenceError(f"{np.isnan(values).sum()} of {values.size} values are NaN; count them as failures first")
    return values


def bootstrap(
    values, statistic: Callable = np.mean, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """Percentile bootstrap over independent units (seeds, sensors, landscapes).  Efron & Tibshirani (1993), chapter 13.

    `statistic(values, axis)` maps the units to a number. Infinite values are allowed where the statistic
    is a quantile. Paired comparisons pass differences or log-ratios.
    """
    values = _sample(values, 5)
    draws = np.random.default_rng(seed).integers(values.size, size=(resamples, values.size))
    estimates = statistic(values[draws], axis=1)
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    estimate = float(statistic(values[None], axis=1)[0])
    low, high = min(float(low), estimate), max(float(high), estimate)
    return Interval(estimate, low, high, f"percentile bootstrap, {level:.0%}", values.size)


def student(values, level: float = 0.95) -> Interval:
    """mean +- t s / sqrt(n) over independent units.  Student (1908)."""
    from scipy import stats

    values = _sample(values, 5)
    mean = values.mean()
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size)
    return Interval(float(mean), float(mean - half), float(mean + half), f"Student t, {level:.0%}", values.size)


def proportion(successes: int, n: int, level: float = 0.95) -> Interval:
    """Share of successes with its score interval.  Wilson (1927)."""
    from scipy import stats

    if not 0 <= successes <= n or n < 5:
        raise EvidenceError(f"{successes} successes of {n} is no sample of at least 5")
    ci = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    # rounding puts the end of the interval of 0 or n successes within 1e-17 of the estimate, on either side
    share = successes / n
    return Interval(share, min(ci.low, share), max(ci.high, share), f"Wilson score, {level:.0%}", int(n))


def exact(value: float, n: int = 1) -> Interval:
    """A number without sampling error: an identity's largest deviation over `n` cases, or a closed form."""
    return Interval(float(value), float(value), float(value), "exact computation", int(n))


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
        low, high = self.region
        if not low < high:
            raise EvidenceError(f"region {self.region} of '{self.measure}' is empty; give (low, high) with low < high")
        if not (self.condition.strip() and self.measure.strip()):
            raise EvidenceError("evidence needs a condition and a measure in words")

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
    """A number as the book prints it: three significant digits, powers of ten where they are shorter."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "NaN"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def describe_region(region: tuple[float, float]) -> str:
    """A region in words."""
    low, high = map(number, region)
    return f"at most {high}" if low == "-∞" else f"at least {low}" if high == "∞" else f"{low} to {high}"


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
        """Plain data for the ledger."""
        return {
            "chapter": self.chapter,
            "claim": self.claim,
            "text": self.text,
            "verdict": self.says,
            "conditions": list(self.conditions) if self.says == "holds only if" else [],
            "evidence": [asdict(e) | {"says": e.says} for e in self.evidence],
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
        if claim in self.verdicts:
            raise EvidenceError(f"claim {claim} was judged before; give all its evidence in one call")
        if not evidence:
            raise EvidenceError(f"claim {claim} was judged without evidence; measure something")
        verdict = Verdict(self.name, claim, self.claims[claim], evidence)
        self.verdicts[claim] = verdict
        return verdict

    def glue(self, key: str, value, spec: str = "") -> None:
        """Store a number for the prose, as {glue:text}`chapter:key`; `spec` is a format such as '.2f' or '.0%'."""
        from myst_nb import glue

        glue(f"{self.name}:{key}", _Text(format(value, spec) if spec else str(value)), display=False)

    def summary(self) -> None:
        """Glue the table of all verdicts as `chapter:verdicts`; every claim must have been judged."""
        if missing := [c for c in self.claims if c not in self.verdicts]:
            raise EvidenceError(f"chapter {self.name} has no evidence for {', '.join(missing)}; judge each claim")
        from myst_nb import glue

        from .cards import Table

        glue(f"{self.name}:verdicts", Table([self.verdicts[c] for c in self.claims]), display=False)


class _Text(str):
    """A string that displays without quotes."""

    def __repr__(self):
        return str(self)


def find_claims() -> Path:
    """claims.yml of the book: in the working directory, or in chapters/ of it or of a directory above."""
    here = Path.cwd()
    for path in (here / "claims.yml", *(d / "chapters" / "claims.yml" for d in (here, *here.parents))):
        if path.is_file():
            return path
    raise EvidenceError(f"claims.yml was not found in {here.name}/ or above; run from the book's folder")


def read_claims(chapter: str) -> dict[str, str]:
    """The claims of one chapter, id -> text."""
    from .ledger import load_claims

    book = load_claims(find_claims())
    if chapter not in book:
        raise EvidenceError(f"claims.yml has no chapter {chapter!r}; it has {', '.join(book)}")
    return {claim: entry["text"] for claim, entry in book[chapter].items()}
