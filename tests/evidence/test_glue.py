"""Numbers for the prose: what MyST-NB's own glue would write."""

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from companion.evidence import Chapter
from companion.evidence.cards import Table
from companion.evidence.glue import Text, glue


@pytest.fixture(scope="module")
def theirs():
    """MyST-NB's glue, in a shell that captures what is displayed."""
    InteractiveShell.instance()
    yield pytest.importorskip("myst_nb").glue
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("value", [Text("0.98"), 1.5, Table([])], ids=["text", "number", "table"])
def test_a_glued_value_is_written_as_myst_nb_writes_it(theirs, value):
    with capture_output() as one:
        glue("tiny:mean", value)
    with capture_output() as two:
        theirs("tiny:mean", value, display=False)
    (ours,), (expected,) = one.outputs, two.outputs
    assert (ours.data, ours.metadata) == (expected.data, expected.metadata)
    assert ours.metadata["scrapbook"]["name"] == "tiny:mean"


def test_text_is_glued_without_quotes_and_formatted(theirs):
    with capture_output() as shown:
        Chapter("tiny", claims={}).glue("share", 0.5, ".0%")
    assert shown.outputs[0].data == {"application/papermill.record/text/plain": "50%"}


@pytest.mark.parametrize("code", ["from pathlib import Path; from companion.build.notebooks import convert; convert(Path('chapters/explorer.md'))",
                                  "from companion.evidence import Chapter; Chapter('c', claims={}).glue('k', 1.0)"])  # fmt: skip
def test_neither_a_build_nor_a_chapter_makes_grammars_of_iris(code):
    said = f"{code}; import sys; print('rfc3987_syntax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False"


def test_the_check_of_iris_can_be_imported_after_a_notebook_was_read():
    pytest.importorskip("rfc3987_syntax")
    code = "from companion.build.notebooks import jupytext; jupytext(); import rfc3987_syntax as r; print(r.is_valid_syntax('iri', 'https://example.org/'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"
