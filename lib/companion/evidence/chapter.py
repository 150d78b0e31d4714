"""The claims of one chapter, its verdicts, and the numbers that its prose takes from the run."""

import math

from stepsize.errors import EvidenceError, short

from .cards import Table
from .claims import read_claims
from .glue import Text, glue
from .verdict import Evidence, Verdict


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
        glue(f"{self.name}:{key}", Text(format(value, spec) if spec else str(value)))

    def summary(self) -> None:
        """Glue the table of all verdicts as `chapter:verdicts`; every claim must have been judged."""
        if missing := [c for c in self.claims if c not in self.verdicts]:
            raise EvidenceError(f"chapter {self.name} has no evidence for {', '.join(missing)}; judge each claim")
        glue(f"{self.name}:verdicts", Table([self.verdicts[c] for c in self.claims]))
