"""The explorer's script under node: the same file that the page loads, with the data that the build gives it."""

from functools import cache

from companion.evidence import explorer
from node import evaluate
from small_book import ROOT

SCRIPT = ROOT / "chapters" / "_static" / "explorer.js"


@cache
def data() -> str:
    """explorer_data.js, printed once: a dozen rules are traced for it."""
    return explorer.script()


def core(expression: str, script: str | None = None):
    """An expression of `core`, what the script exports, and `data`, evaluated by node and read back from JSON."""
    return evaluate(expression, data(), script or SCRIPT.read_text(encoding="utf-8"), "explorerData")
