"""Tests that prose names: found by their name, shown with their source, and refused where there are none."""

import re
from types import SimpleNamespace

import pytest

from companion.build import tested
from companion.build.tested import TESTS, sources
from small_book import ROOT

CODE = """import pytest


@pytest.mark.parametrize("n", [1, 2])
def test_a_number_is_itself(n):
    assert n == n


class TestThings:
    def test_inside_a_class(self):
        pass


def helper():
    pass
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tests" / "deep").mkdir(parents=True)
    (tmp_path / "tests" / "deep" / "test_numbers.py").write_text(CODE)
    (tmp_path / "tests" / "helper.py").write_text("def test_of_a_helper(): pass\n")
    return tmp_path / "tests"


def test_a_test_is_found_with_its_decorators_wherever_it_lies(folder):
    found = sources(folder)
    assert sorted(found) == ["test_a_number_is_itself", "test_inside_a_class"]
    file, code = found["test_a_number_is_itself"]
    assert file == "tests/deep/test_numbers.py"
    assert code.startswith("@pytest.mark.parametrize")
    assert code.endswith("assert n == n")


def test_every_test_that_a_page_names_exists():
    names = {
        name
        for path in (ROOT / "chapters").glob("*.md")
        for name in re.findall(r"[`<](test(?:_[a-z0-9]+){3,})[`>]", path.read_text(encoding="utf-8"))
    }
    assert names
    assert names <= set(sources(TESTS)), sorted(names - set(sources(TESTS)))


def test_the_page_of_tests_holds_those_that_pages_link_to_and_no_others(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(tested, "sources", lambda: sources(folder))
    site = tmp_path / "html"
    site.mkdir()
    link = tested.LINK.format("", "test_a_number_is_itself", "test_a_number_is_itself", "tested")
    (site / "page.html").write_text(f"<p>{link}</p>")
    config = SimpleNamespace(html_theme_options={}, language="en", html_title="Tiny", root_doc="index")
    app = SimpleNamespace(outdir=site, builder=SimpleNamespace(format="html"), config=config)
    tested.write(app, None)
    text = (site / "tests.html").read_text(encoding="utf-8")
    assert '<section id="test_a_number_is_itself">' in text
    assert "parametrize" in text
    assert "test_inside_a_class" not in text
