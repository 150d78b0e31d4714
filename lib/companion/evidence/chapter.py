"""The claims of one chapter, its verdicts, and the numbers that its prose takes from the run."""

import math
import zlib
from numbers import Number

import numpy as np

from stepsize.errors import EvidenceError, short

from .cards import Table
from .claims import Claim, read_claims
from .glue import Text, glue
from .intervals import Interval
from .races import MIME, race_record
from .verdict import Evidence, Verdict, joint
from .wording import typeset


class Chapter:
    """The claims of one chapter, its verdicts, and the numbers its prose takes from the run.

    `Chapter("plateau_and_valley", seed)` reads the claims from claims.yml in the working directory or in chapters/ of a
    directory above it. All randomness of the chapter comes from `seed`: through `rng` and `seeds`, and through the bootstraps
    of its intervals.
    """

    def __init__(self, name: str, seed: int = 0, claims: dict[str, Claim] | None = None):
        self.name, self.seed, self.verdicts = name, int(seed), {}
        self.claims = read_claims(name) if claims is None else claims

    def seeds(self, purpose: str, n: int) -> list[int]:
        """n seeds for a purpose, such as "tuning"; another purpose, or another seed of the chapter, gives others."""
        return [int(s) for s in self._sequence(purpose).generate_state(n)]

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for a purpose."""
        return np.random.default_rng(self._sequence(purpose))

    def _sequence(self, purpose: str) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, zlib.crc32(purpose.encode())])

    def region(self, claim: str, measure: str) -> tuple[float, float]:
        """The registered region of a measure, for a figure that draws it."""
        return self._measures(claim)[measure].region

    def _measures(self, claim: str):
        if claim not in self.claims:
            raise EvidenceError(f"chapter {self.name} has no claim {claim!r}; it has {', '.join(self.claims)}")
        return self.claims[claim].measures

    def judge(self, claim: str, **measured: dict[str, Interval]) -> Verdict:
        """The verdict on `claim` from condition -> interval for each of its measures; display it as the last value of a cell.

        Words, regions and settings are those that claims.yml registers for the measure. Intervals are widened until they
        hold jointly: over the stated rows of the claim, and over those beyond.
        """
        measures = self._measures(claim)
        if set(measured) != set(measures):
            raise EvidenceError(
                f"claim {claim} was given {', '.join(measured) or 'nothing'}; claims.yml registers {', '.join(measures)}"
            )
        rows = []
        for key, conditions in measured.items():
            if not isinstance(conditions, dict) or not conditions:
                raise EvidenceError(
                    f"claim {claim}, {key}: give {{condition: interval}} with at least one row, got {short(conditions)}"
                )
            for condition, interval in conditions.items():
                if not isinstance(interval, Interval):
                    raise EvidenceError(
                        f"claim {claim}, {key}, {condition}: {short(interval)} is no interval; "
                        "make it with bootstrap, student, proportion or exact"
                    )
                setting = measures[key].setting(condition)
                rows.append(Evidence(measures[key], condition, interval, setting))
        verdict = Verdict(self.claims[claim], tuple(joint(rows, (self.seed, zlib.crc32(claim.encode())))))
        # running the cell again is no second judgement
        if self.verdicts.setdefault(claim, verdict) != verdict:
            raise EvidenceError(
                f"claim {claim} was judged before on other evidence; give it all in one call, or make a new Chapter"
            )
        return verdict

    def race(self, difficulty: str, **reported) -> None:
        """Report a race of this chapter to the page that sets rules against difficulties; arguments as for `race_record`."""
        from IPython.display import display

        display({MIME: {"chapter": self.name} | race_record(difficulty, **reported)}, raw=True)

    def glue(self, key: str, value, spec: str = "") -> None:
        """Store a number for the prose, as {glue:text}`chapter:key`; `spec` is a format such as '.2f' or '.0%'."""
        if isinstance(value, float) and math.isnan(value):
            raise EvidenceError(f"{self.name}:{key} is NaN; the prose cannot say it")
        text = format(value, spec) if spec else str(value)
        glue(f"{self.name}:{key}", Text(typeset(text) if isinstance(value, Number) else text))

    def glue_all(self, values: dict) -> None:
        """Store many numbers for the prose: key -> value, or key -> (value, spec)."""
        for key, value in values.items():
            self.glue(key, *(value if isinstance(value, tuple) else (value,)))

    def summary(self) -> None:
        """Glue the table of all verdicts as `chapter:verdicts`; every claim must have been judged."""
        if missing := [c for c in self.claims if c not in self.verdicts]:
            raise EvidenceError(f"chapter {self.name} has no evidence for {', '.join(missing)}; judge each claim")
        glue(f"{self.name}:verdicts", Table([self.verdicts[c].record() for c in self.claims]))
