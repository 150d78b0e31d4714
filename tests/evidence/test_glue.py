"""What is left out while a notebook library is imported, and that it can be had afterwards."""

import subprocess
import sys

import pytest

CHECKS = """
import sys
from companion.evidence.glue import without_iris
with without_iris():
    import nbformat
assert "rfc3987_syntax" not in sys.modules
cell = nbformat.v4.new_code_cell("1")
notebook = nbformat.v4.new_notebook(cells=[cell])
nbformat.validate(notebook)
cell["outputs"] = "none"
try:
    nbformat.validate(notebook)
except nbformat.ValidationError:
    print("refused")
import rfc3987_syntax
print(rfc3987_syntax.is_valid_syntax("iri", "https://example.org/"))
"""


def test_notebooks_are_validated_without_the_check_of_iris_and_that_can_be_imported_later():
    pytest.importorskip("rfc3987_syntax")
    run = subprocess.run([sys.executable, "-c", CHECKS], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["refused", "True"]


def test_an_import_that_fails_leaves_nothing_behind(monkeypatch):
    from companion.evidence.glue import without_iris

    monkeypatch.delitem(sys.modules, "rfc3987_syntax", raising=False)
    with pytest.raises(ImportError), without_iris():
        import no_such_module  # noqa: F401
    assert "rfc3987_syntax" not in sys.modules


@pytest.mark.parametrize("code", ["from pathlib import Path; from companion.build.notebooks import convert; convert(Path('chapters/explorer.md'))",
                                  "from companion.evidence import Chapter; Chapter('c', {}).glue('k', 1.0)"])  # fmt: skip
def test_neither_a_build_nor_a_chapter_makes_grammars(code):
    said = f"{code}; import sys; print('rfc3987_syntax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False"
