"""Chapters as text and as notebooks."""

import ast
import copy
import re
import sys
from functools import lru_cache
from pathlib import Path

from companion.errors import BookError


def is_notebook(path: Path) -> bool:
    """Whether a MyST page is a text notebook: its front matter speaks of jupytext or a kernel."""
    with path.open(encoding="utf-8-sig") as lines:
        if next(lines, "").strip() != "---":
            return False
        for line in lines:
            if line.strip() == "---":
                return False
            if re.match(r"(jupytext|kernelspec)\s*:", line):
                return True
    return False


def parameter_defaults(path: Path) -> dict:
    """Names and default values of the chapter's one `parameters` cell (an Ellipsis where the value is computed)."""
    cells = [c for c in convert(path).cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise BookError(f"chapters/{path.name} has {len(cells)} cells tagged 'parameters'; it needs exactly one")
    values = {}
    for statement in ast.parse(cells[0].source).body:
        for target in getattr(statement, "targets", None) or [getattr(statement, "target", None)]:
            pairs = [(target, statement.value)] if isinstance(target, ast.Name) else []
            if isinstance(target, ast.Tuple):
                pairs = zip(
                    target.elts, getattr(statement.value, "elts", [statement.value] * len(target.elts)), strict=False
                )
            for name, value in pairs:
                try:
                    values[name.id] = ast.literal_eval(value)
                except ValueError:
                    values[name.id] = ...
    return values


def convert(path: Path):
    """A MyST text notebook as a notebook object with the kernel set and stable cell ids."""
    try:
        return copy.deepcopy(_notebook(path.read_text(encoding="utf-8-sig")))
    except jupytext().myst.MystMetadataParsingError as error:  # it names the cell and its line
        raise BookError(f"chapters/{path.name}: {' '.join(str(error).split())}; correct the cell's metadata") from None


@lru_cache
def _notebook(text: str):
    notebook = jupytext().reads(text, fmt="md:myst")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"c{index:03d}"
    return notebook


def jupytext():
    """The module, imported without the check of IRIs that jsonschema, which nbformat needs, brings along.

    That check builds 39 grammars when it is imported: more time than everything else in a small build, and no notebook
    has an IRI. It can be imported later as ever.
    """
    hidden = "rfc3987_syntax"
    absent = sys.modules.setdefault(hidden, None) is None  # for Python: there is no such module
    try:
        import jupytext
    finally:
        if absent:
            del sys.modules[hidden]
    return jupytext


def cell_lines(path: Path) -> list[int]:
    """The line in the text at which each code cell begins."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [i for i, line in enumerate(lines, 1) if re.match(r"\s*(`{3,}|~{3,})\s*\{code-cell\}", line)]
