"""The role {check}: numbers as the book prints them, tolerances, and what stops a build."""

import json
import re

import pytest
from sphinx.application import Sphinx

from companion.build import downloads
from companion.build.answers import parse
from mutants import mutant

GLUED = {"tiny:mean": "4.03", "tiny:share": "35 %", "tiny:best": "AdaGrad", "tiny:two words": "1,200"}


def build(folder, text):
    """What Sphinx warns of in fields, and the page and the download of a notebook with this text."""
    outputs = [
        {
            "output_type": "display_data",
            "data": {downloads.GLUED + "text/plain": value},
            "metadata": {"scrapbook": {"name": key, "mime_prefix": downloads.GLUED}},
        }
        for key, value in GLUED.items()
    ]
    cell = {"cell_type": "code", "id": "c1", "source": "x", "metadata": {}, "outputs": outputs, "execution_count": 1}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": [downloads.markdown("c0", f"# Tiny\n\n{text}\n"), cell], "metadata": {"kernelspec": kernel}}
    home = folder / "src"
    home.mkdir()
    (home / "tiny.ipynb").write_text(json.dumps(notebook | {"nbformat": 4, "nbformat_minor": 5}))
    (home / "index.md").write_text("# Front\n\n```{toctree}\ntiny\n```\n")
    settings = {
        "extensions": ["sphinx.ext.autodoc", "sphinx_design", "companion.build.sphinx_extension"],
        "nb_execution_mode": "off",
        "html_sourcelink_suffix": "",
        "html_theme": "basic",
        "project": "Tiny",
    }
    out, log = folder / "html", folder / "log"
    with log.open("w") as warnings:
        Sphinx(
            str(home), None, str(out), str(folder / "trees"), "html", settings, status=None, warning=warnings
        ).build()
    page = (out / "tiny.html").read_text(encoding="utf-8")
    download = json.loads((out / "_sources" / "tiny.ipynb").read_text())["cells"][0]["source"]
    return [line for line in log.read_text().splitlines() if "{check}" in line], page, download


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4.03", (4.03, "")),
        ("1,200", (1200.0, "")),
        ("35 %", (35.0, "%")),
        ("35%", (35.0, "%")),
        ("-0.5", (-0.5, "")),
        ("−0.5", (-0.5, "")),
        ("1e-07", (1e-7, "")),
        ("1.2 × 10⁻⁵", (1.2e-5, "")),
        (" 12 ", (12.0, "")),
    ],
)
def test_numbers_are_read_as_the_book_prints_them(text, value):
    assert parse(text) == value


@pytest.mark.parametrize("text", ["AdaGrad", "", "1,20", "∞", "3 of 4", "nan", "1.2.3"])
def test_what_is_not_one_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a number"):
        parse(text)


def fields(page):
    found = re.findall(r'<span class="check" hidden data-answer="([^"]*)" data-within="([^"]*)">', page)
    return [(float(answer), float(within)) for answer, within in found]


def test_a_field_knows_the_number_of_the_run_and_how_near_an_answer_must_come(tmp_path):
    text = "{check}`tiny:mean 2%` {check}`share <tiny:share 10%>` {check}`tiny:two words 0.5` {check}`tiny:mean 0%`"
    warnings, page, download = build(tmp_path, text)
    assert warnings == []
    assert fields(page) == [(4.03, pytest.approx(0.0806)), (35, 3.5), (1200, 0.5), (4.03, 0)]
    assert page.count("<label>Your answer ") == 3
    assert '<label>share <input type="text"' in page
    assert page.count('size="8"> %</label>') == 1, "a percentage says so beside its field"
    assert "4.03" not in download
    assert download.count("(answer: see the solution)") == 4


REFUSED = {
    "tiny:absent 2%": "'tiny:absent' is glued nowhere on this page",
    "tiny:best 2%": "'tiny:best': 'AdaGrad' is not a number",
    "tiny:mean": "write chapter:key and a tolerance",
    "tiny:mean near": "'near' is not a number",
}


def test_a_field_without_a_number_is_a_warning_that_names_page_and_key(tmp_path):
    warnings, page, _ = build(tmp_path, " ".join(f"{{check}}`{text}`" for text in REFUSED))
    for (text, says), line in zip(REFUSED.items(), warnings, strict=True):
        assert f"WARNING: tiny: {{check}}`{text}`: " in line
        assert says in line
    assert fields(page) == []


def test_a_parser_that_forgets_thousands_is_noticed():
    wrong = mutant(parse, "digits.replace(',', '')", "digits.split(',')[0]")
    assert wrong("1,200") != parse("1,200")
