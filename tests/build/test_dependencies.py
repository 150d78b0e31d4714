"""What a chapter depends on: the modules that it imports, the packages around them, the data beside them."""

import os
import shutil
import subprocess
import sys

import pytest

from companion.build import book, dependencies, numba_cache
from companion.build.book import Book
from companion.build.dependencies import LIBRARY, digest, imports, library_files, sources
from companion.build.dependencies import dependencies as needs
from small_book import ROOT

FILES = {
    "a/__init__.py": "from .core import f\n",
    "a/core.py": "import numpy\nfrom .low import g\n",
    "a/low.py": "",
    "a/lazy.py": "def f():\n    import b.one\n",
    "b/__init__.py": "",
    "b/one.py": "from . import two\n",
    "b/two.py": "import b.three as three\n",
    "b/three.py": "from b.two import x\n",
    "b/broken.py": "def (\n",
    "b/one.js": "",
    "b/templates/one.html": "",
    "b/templates/card.html": "",
    "b/shared.css": "",
    "b/record.json": "{}",
    "b/data/deep/x.csv": "1",
    "b/__pycache__/one.pyc": "",
    "stepsize.egg-info/PKG-INFO": "",
}
A = {"a/__init__.py", "a/core.py", "a/low.py"}
B = {
    "b/__init__.py",
    "b/two.py",
    "b/three.py",
    "b/templates/card.html",
    "b/shared.css",
    "b/record.json",
    "b/data/deep/x.csv",
}


ONE = {"b/one.py", "b/one.js", "b/templates/one.html"}


@pytest.fixture
def library(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def names(paths, library):
    return {p.relative_to(library).as_posix() for p in paths}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy, a_module_that_nobody_has", set()),
        ("from a_module_that_nobody_has import a", set()),
        ("import a", A),
        ("from a import f", A),
        ("import a.low", A),
        ("from a import lazy", A | B | ONE | {"a/lazy.py"}),
        ("def f():\n    from b.three import x", B),
        ("from b import one", B | ONE),
        ("import b", {"b/__init__.py"}),
        ("%matplotlib inline\nimport a", {name for name in FILES if "__pycache__" not in name and "egg-info" not in name}),
        ("import b.broken", {name for name in FILES if "__pycache__" not in name and "egg-info" not in name}),
    ],
)  # fmt: skip
def test_code_needs_what_it_imports_directly_or_not_and_nothing_else(library, code, expected):
    assert names(needs(["x = 1", code], library), library) == expected


def test_a_part_of_a_page_belongs_to_the_module_of_its_name_and_recorded_data_to_all(library):
    assert "b/one.js" not in names(needs(["import b.two"], library), library)
    (library / "b/one.json").write_text("{}")
    assert "b/one.json" in names(needs(["import b.two"], library), library)


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import x.y as z, w", "", {"x.y", "w"}),
        ("from x import y", "p", {"x", "x.y"}),
        ("from . import y", "p.q", {"p.q", "p.q.y"}),
        ("from .m import y", "p.q", {"p.q.m", "p.q.m.y"}),
        ("from ..m import y", "p.q", {"p.m", "p.m.y"}),
        ("import (", "p", None),
    ],
)
def test_imports_are_read_as_python_resolves_them(source, package, expected):
    assert imports(source.encode(), package) == expected


def test_a_loop_s_sources_are_its_file_and_the_modules_it_imports_by_name(library):
    assert names(sources(library / "b/one.py", library), library) == {"b/__init__.py", "b/one.py", "b/two.py", "b/three.py"}  # fmt: skip
    assert names(sources(library / "a/core.py", library), library) == {"a/core.py", "a/low.py"}
    other = library.parent / "generated.py"
    other.write_text("import a")
    assert sources(other, library) == {other}


def test_the_library_is_all_files_but_caches():
    listed = {p.relative_to(LIBRARY).as_posix() for p in library_files()}
    assert {
        "stepsize/rules.py",
        "companion/build/templates/ledger.html",
        "companion/experiments/data/heart_disease.csv",
    } <= listed
    assert not any("__pycache__" in name or "egg-info" in name for name in listed)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The book on a copy of the library that a test may change."""
    home = tmp_path / "lib"
    shutil.copytree(LIBRARY, home, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    monkeypatch.setattr(book, "dependencies", lambda code: needs(code, home))
    monkeypatch.setattr(book, "digest", lambda files: digest(files, home))
    return home


def prints():
    return {name: Book(ROOT).fingerprint(name) for name in Book(ROOT).chapters}


def test_a_changed_docstring_changes_the_chapters_that_import_its_module_and_no_other(copy):
    def changed(name):
        before, path = prints(), copy / name
        path.write_text(f'{path.read_text(encoding="utf-8")}\n"""changed"""\n', encoding="utf-8")
        return {chapter for chapter, print_ in prints().items() if print_ != before[chapter]}

    everyone = set(Book(ROOT).chapters)
    assert changed("companion/experiments/graph_hubs/race.py") == {"graph_hubs"}
    assert changed("companion/experiments/graph_hubs/graph_races.json") == {"graph_hubs"}
    assert changed("companion/build/pages.py") == set()
    assert changed("stepsize/rules.py") == everyone, "every chapter imports stepsize, which imports the rules"
    assert changed("stepsize/lazy.py") == {"sparse_embeddings"}


def test_machine_code_is_stale_when_a_function_that_a_loop_calls_has_changed(library, monkeypatch):
    monkeypatch.setattr(numba_cache, "sources", lambda path: sources(path, library))
    monkeypatch.setattr(dependencies, "LIBRARY", library)
    locator = numba_cache.BySources.__new__(numba_cache.BySources)
    locator._py_file = str(library / "a/core.py")
    before = locator.get_source_stamp()
    (library / "a/lazy.py").write_text("x = 1\n")
    assert locator.get_source_stamp() == before
    (library / "a/low.py").write_text("def g():\n    return 2\n")
    assert locator.get_source_stamp() != before


CALLS = """
import sys
sys.path.insert(0, {home!r})
import companion.build.numba_cache as cache
from pathlib import Path
from companion.build.dependencies import sources
cache.sources = lambda path: sources(path, Path({home!r}))
import loop
print(loop.f(1.0), sum(loop.f.stats.cache_hits.values()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locator", "second"), [("companion.build.numba_cache.BySources", "101.0 0"), ("UserProvidedCacheLocator", "2.0 1")]
)
def test_numba_compiles_again_when_a_function_that_a_loop_calls_has_changed(tmp_path, locator, second):
    (tmp_path / "loop.py").write_text(
        "from numba import njit\nfrom small import g\n@njit(cache=True)\ndef f(x):\n    return g(x)\n"
    )
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_CACHE_LOCATOR_CLASSES": locator}

    def call(summand):
        (tmp_path / "small.py").write_text(f"from numba import njit\n@njit\ndef g(x):\n    return x + {summand}\n")
        code = CALLS.format(home=str(tmp_path))
        return subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert call(1) == "2.0 0"
    assert call(1) == "2.0 1"
    assert call(100) == second, "numba's own locator keeps what is stale"
