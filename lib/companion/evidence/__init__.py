"""From measurements to verdicts: what a chapter uses."""

from .chapter import Chapter
from .intervals import Interval, bootstrap, each, exact, geometric, proportion, student
from .verdict import Evidence, Verdict, decide

__all__ = [
    "Chapter",
    "Evidence",
    "Interval",
    "Verdict",
    "bootstrap",
    "decide",
    "each",
    "exact",
    "geometric",
    "proportion",
    "student",
]
