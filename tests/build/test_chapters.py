"""Every chapter: text alone first (lengths, labels, citations, alternative texts), then what `make smoke` executed."""

import ast
import json
import re

import pytest

from companion.build.book import Book
from companion.build.notebooks import convert, is_notebook, parameter_defaults
from small_book import ROOT

BOOK = Book(ROOT, "smoke")
CHAPTERS = sorted(p.stem for p in (ROOT / "chapters").glob("*.md") if is_notebook(p))
PAGES = sorted((ROOT / "chapters").glob("*.md"))

CELL, DEF_LINES, EXERCISES = 12, 8, 3
# What a reader sees unasked, and everything: with the folded cells of pictures and of exercises' solutions.
SEEN, ALL = 80, 160
HIDDEN = {"hide-cell", "hide-input", "remove-input", "remove-cell"}


def text(chapter):
    return BOOK.source(chapter).read_text(encoding="utf-8")


def code_cells(chapter):
    return [c for c in convert(BOOK.source(chapter)).cells if c.cell_type == "code"]


def statements(cell):
    """How many things a cell does, imports apart: a measure that no formatter changes."""
    nodes = ast.walk(ast.parse(cell.source))
    return sum(isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom) for node in nodes)


def prose(chapter):
    return "\n".join(c.source for c in convert(BOOK.source(chapter)).cells if c.cell_type == "markdown")


def is_solution(cell):
    return "hide-cell" in cell.metadata.get("tags", [])


def test_every_chapter_stands_in_the_table_of_contents():
    assert set(CHAPTERS) == set(BOOK.chapters)


def test_the_smoke_profile_names_only_chapters_and_parameters_that_exist():
    for chapter in BOOK.smoke():
        BOOK.parameters(chapter)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_defines_no_model(chapter):
    for cell in code_cells(chapter):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef), f"class {node.name}: move it to the library"
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.lineno + 1
                assert length <= DEF_LINES, f"def {node.name} has {length} lines: move it to the library"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_short_and_its_cells_are_shorter(chapter):
    cells = code_cells(chapter)
    for cell in cells:
        assert statements(cell) <= CELL, f"{statements(cell)} statements in the cell:\n{cell.source}"
    assert sum(statements(c) for c in cells if not HIDDEN & set(c.metadata.get("tags", []))) <= SEEN
    assert sum(map(statements, cells)) <= ALL


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_saving_a_chapter_in_jupyterlab_changes_no_line(chapter):
    import jupytext

    text = BOOK.source(chapter).read_text(encoding="utf-8")
    assert jupytext.writes(jupytext.reads(text, fmt="md:myst"), fmt="md:myst") == text


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_one_parameters_cell_with_plain_defaults(chapter):
    values = parameter_defaults(BOOK.source(chapter))
    assert ... not in values.values(), "a default must be a plain value"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_papermill_knows_every_parameter_of_a_downloaded_notebook(chapter, tmp_path):
    """It reads one assignment a line, and calls what stands in a tuple unknown."""
    import papermill

    path = tmp_path / "notebook.ipynb"
    path.write_text(json.dumps(convert(BOOK.source(chapter))), encoding="utf-8")
    assert set(papermill.inspect_notebook(path)) == set(parameter_defaults(BOOK.source(chapter)))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_figure_has_caption_name_and_alternative_text(chapter):
    for cell in code_cells(chapter):
        if figure := cell.metadata.get("mystnb", {}).get("figure"):
            alt = cell.metadata["mystnb"].get("image", {}).get("alt", "")
            assert len(alt.split()) >= 5, f"{figure.get('name')}: say in the alternative text what is to be seen"
            assert alt.strip() != figure["caption"].strip()
            assert figure["caption"].strip()
            assert "-fig-" in figure["name"]


def labels(path):
    source = path.read_text(encoding="utf-8")
    found = re.findall(r"^\(([\w:.-]+)\)=", source, re.MULTILINE)
    found += re.findall(r"^:(?:label|name):\s*([\w:.-]+)", source, re.MULTILINE)
    found += re.findall(r"^\$\$\s*\(([\w:.-]+)\)", source, re.MULTILINE)
    return found + re.findall(r"^\s+name:\s*([\w.-]+-fig-[\w.-]+)", source, re.MULTILINE)


def test_labels_are_unique_in_the_whole_book():
    seen = {}
    for path in PAGES:
        for label in labels(path):
            assert label not in seen, f"label {label} is in {seen[label]} and in {path.name}"
            seen[label] = path.name


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_citation_is_in_the_bibliography(path):
    known = re.findall(
        r"^@\w+\{([^,\s]+),", (ROOT / "chapters/references.bib").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(known) == len(set(known)), f"repeated keys: {sorted({k for k in known if known.count(k) > 1})}"
    for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", path.read_text(encoding="utf-8")):
        for key in keys.split(","):
            assert re.sub(r".*\{(.*)\}.*", r"\1", key).strip() in known, f"{key} is not in references.bib"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_verdict_is_typed(chapter):
    cells, words = code_cells(chapter), prose(chapter)
    for cell in cells:
        assert not re.search(r"\bVerdict\s*\(|\bverdict\s*=\s*[\"']|record\(\)\s*\[", cell.source), cell.source
    assert "verdict-" not in words, "a badge is made by the run"
    for claim in BOOK.claims().get(chapter, {}):
        typed = re.search(rf"\b{claim}\b\W{{0,12}}(holds|fails|is open|open)\b", words)
        assert not typed, f"'{typed[0]}': take it from the run with {{glue:text}}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_exercises_with_executed_solutions(chapter):
    exercises = len(
        re.findall(r"^:{3,}\{?.*[Ee]xercise|^`{3,}\{admonition\}\s*Exercise|\{exercise\}", text(chapter), re.MULTILINE)
    )
    assert exercises >= EXERCISES
    assert sum(map(is_solution, code_cells(chapter))) >= EXERCISES


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_in_the_smoke_profile_and_judges_all_its_claims(chapter):
    path = ROOT / f"_build/smoke/executed/{chapter}.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"fingerprint": None}
    assert record["fingerprint"] == BOOK.fingerprint(chapter), "run make smoke first"
    assert sorted(v["claim"] for v in record["verdicts"]) == sorted(BOOK.claims().get(chapter, {}))
    assert all(key.startswith(f"{chapter}:") for key in record["glued"])
    if BOOK.claims().get(chapter):
        assert f"{chapter}:verdicts" in record["glued"]


@pytest.mark.slow
def test_the_smoke_site_says_what_it_is():
    page = (ROOT / "_build/smoke/html/chapters/ledger.html").read_text(encoding="utf-8")
    assert "Smoke profile" in page
