"""From measurements to verdicts: what a chapter uses."""

from .chapter import Chapter
from .intervals import Interval, bootstrap, exact, geometric, proportion, student
from .verdict import Evidence, Verdict, combine

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
