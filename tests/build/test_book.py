"""The sources of the book: names, parameters, dependencies, and messages that name the offender and the remedy."""

import errno
import json
import os
import subprocess
import sys

import nbformat
import pytest

import small_book
from companion import __main__ as commands
from companion.build import book as sources
from companion.build import execution
from companion.build.book import Book, toc_files, write_whole
from companion.build.notebooks import convert, is_notebook, parameter_defaults
from companion.build.site import problems
from companion.build.sweeps import points, table
from companion.errors import BookError


@pytest.fixture
def root(tmp_path):
    return small_book.write(tmp_path)


def edit(root, name, old, new):
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def message(call):
    with pytest.raises(BookError) as error:
        call()
    assert "\n" not in str(error.value), "an error is one line"
    return str(error.value)


def test_chapters_are_the_notebooks_of_the_table_of_contents_in_its_order(root):
    assert Book(root).chapters == ["tiny"]
    assert toc_files(root) == ["chapters/index", "chapters/tiny", "chapters/ledger"]
    assert not is_notebook(root / "chapters/index.md")


def test_a_chapter_of_the_contents_that_does_not_exist_is_named(root):
    edit(root, "_toc.yml", "chapters/tiny", "chapters/tyni")
    assert "chapters/tyni" in message(lambda: Book(root).chapters)


def test_an_unknown_chapter_is_named_with_the_known_ones(root):
    text = message(lambda: Book(root).source("tniy"))
    assert "'tniy'" in text
    assert "tiny" in text.replace("'tniy'", "")


def test_an_unknown_profile_is_named_with_the_known_ones(root):
    assert "'fast'" in message(lambda: Book(root, "fast"))


def test_parameters_come_from_smoke_yml_in_the_smoke_profile_only(root):
    assert Book(root).parameters("tiny") == {}
    assert Book(root, "smoke").parameters("tiny") == {"runs": 5}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tiny: {rnus: 5}", "no parameter 'rnus'; its parameters cell has runs, shift, nap"),
        ("tiny: {runs: many}", "tiny.runs = 'many' is no int"),
        ("tyni: {runs: 5}", "unknown chapter 'tyni'"),
        ("tiny: [5]", "tiny must map parameter names to values"),
        ("- tiny", "must map chapter names to parameters"),
        ("tiny: {runs: 5", "smoke.yml, line 1: no valid YAML"),
    ],
)
def test_a_bad_smoke_yml_is_refused_in_one_line(root, text, says):
    (root / "chapters/smoke.yml").write_text(text)
    book = Book(root, "smoke")
    assert says in message(lambda: (book.smoke(), book.parameters("tiny")))


def test_a_chapter_has_exactly_one_parameters_cell(root):
    edit(root, "chapters/tiny.md", ":tags: [parameters]\n", "")
    assert "0 cells tagged 'parameters'" in message(lambda: parameter_defaults(root / "chapters/tiny.md"))


def test_parameter_defaults_are_read_without_running_the_cell(root):
    assert parameter_defaults(root / "chapters/tiny.md") == {"runs": 20, "shift": 1.0, "nap": 0.0}
    edit(root, "chapters/tiny.md", "runs, shift, nap = 20, 1.0, 0.0", "runs = 2 ** n\nshift: float = 1.0\nnap = [0]")
    assert parameter_defaults(root / "chapters/tiny.md") == {"runs": ..., "shift": 1.0, "nap": [0]}


def test_a_cell_with_metadata_that_are_no_yaml_is_named(root):
    edit(root, "chapters/tiny.md", "    alt: Twenty", "    alt: @Twenty")
    text = message(lambda: convert(root / "chapters/tiny.md"))
    assert text.startswith("chapters/tiny.md: Code cell 5 at line 41 could not be read: Invalid YAML")


def test_a_converted_chapter_is_a_valid_notebook_with_its_kernel_and_stable_ids(root):
    one, two = (convert(root / "chapters/tiny.md") for _ in range(2))
    nbformat.validate(one)
    assert one.metadata.kernelspec.language == "python"
    assert [c.id for c in one.cells] == [c.id for c in two.cells]


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("chapters/tiny.md", "The mean is", "The average is", True),
        ("chapters/claims.yml", "The mean is positive.", "The mean is above zero.", True),
        ("chapters/claims.yml", "region: [0, .inf]", "region: [0.1, .inf]", True),
        ("chapters/claims.yml", "stated:", "beyond: [far], stated:", True),
        ("chapters/claims.yml", "verdict: holds", "verdict: fails", False),
        ("chapters/claims.yml", "Nobody has looked yet.", "Nobody looked.", False),
        ("chapters/smoke.yml", "runs: 5", "runs: 6", True),
        ("chapters/index.md", "tiny", "small", False),
        ("_config.yml", "title", "title", False),
    ],
)
def test_the_fingerprint_changes_with_what_a_chapter_depends_on_and_nothing_else(root, name, old, new, changes):
    book = Book(root, "smoke")
    before = book.fingerprint("tiny")
    edit(root, name, old, new)
    assert (book.fingerprint("tiny") != before) is changes


def test_the_fingerprint_changes_with_the_pins_the_profile_the_executor_and_the_library(root, monkeypatch):
    seen = {Book(root).fingerprint("tiny"), Book(root, "smoke").fingerprint("tiny")}
    (root / "requirements.txt").write_text("numpy==1\n")
    seen.add(Book(root).fingerprint("tiny"))
    monkeypatch.setattr(sources, "EXECUTION", {small_book.ROOT / "lib/stepsize/errors.py"})
    seen.add(Book(root).fingerprint("tiny"))
    monkeypatch.setattr(sources, "dependencies", lambda code: set())
    seen.add(Book(root).fingerprint("tiny"))
    assert len(seen) == 5


def output(kind, **content):
    return nbformat.v4.new_output(kind, **content)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        (output("error", ename="ValueError", evalue="odd"), "ValueError: odd"),
        (output("stream", name="stderr", text="FutureWarning: soon\n"), "writes to stderr: FutureWarning: soon"),
        (output("display_data", data={"image/svg+xml": "<svg/>"}), "no alternative text"),
    ],
)
def test_a_scan_refuses_errors_warnings_and_pictures_without_alternative_text(root, out, says):
    notebook = convert(root / "chapters/tiny.md")
    cell = next(c for c in notebook.cells if c.cell_type == "code")
    cell.outputs = [out]
    place = execution.Places(root / "chapters/tiny.md", notebook)
    text = message(lambda: execution.scan(notebook, place))
    assert says in text
    assert "chapters/tiny.md, line 17:" in text


def test_a_scan_lets_printed_text_and_described_pictures_pass(root):
    notebook = convert(root / "chapters/tiny.md")
    cell = next(c for c in notebook.cells if "mystnb" in c.metadata)
    cell.outputs = [output("display_data", data={"image/svg+xml": "<svg/>"}), output("stream", name="stdout", text="x")]
    execution.scan(notebook, execution.Places(root / "chapters/tiny.md", notebook))


def test_the_settings_of_a_kernel_are_clean_and_the_caller_s_come_back(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    with execution.clean_kernel_settings(root):
        assert os.environ["OMP_NUM_THREADS"] == "1"
        assert "MPLBACKEND" not in os.environ
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MPLBACKEND"]) == ("7", "nonsense")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    monkeypatch.setattr(sources.os, "replace", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert path.read_text() == "old"


def faults(folder, **pages):
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>\n{body}\n</body></html>")
    return problems(folder)


@pytest.mark.parametrize(
    "body",
    ['<a href="b.html#here">x</a>', '<a href="#">x</a>', '<a href="https://a.test/x">x</a>', '<a href="mailto:a@b.c">x</a>',
     '<img src="data:x" alt="A curve that falls">', '<a href="./b.html?x=1#%68ere">x</a>'],
)  # fmt: skip
def test_sound_links_and_pictures_pass(tmp_path, body):
    assert faults(tmp_path, a=body, b='<p id="here">') == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('<a href="c.html">x</a>', "a.html, line 2: dead link 'c.html' in <a>: no such file"),
        ('<a href="b.html#there">x</a>', "no such anchor"),
        ('<a href="#gone">x</a>', "no such anchor"),
        ('<a href="../b.html">x</a>', "it leaves the site"),
        ('<a href="/b.html">x</a>', "starts at the server's root"),
        ('<img src="data:x">', "a.html, line 2: the picture data:x has no alternative text"),
        ('<img src="data:x" alt=" ">', "no alternative text"),
        ('<img src="_images/p.svg" alt="x/p.svg">', "the picture _images/p.svg has no alternative text"),
    ],
)
def test_dead_links_and_silent_pictures_are_found_with_their_place(tmp_path, body, says):
    assert any(says in line for line in faults(tmp_path, a=body, b='<p id="here">'))


def test_a_sweep_is_the_product_of_grid_and_seeds(root):
    (root / "sweep.yml").write_text("tiny:\n  grid: {runs: [5, 9], shift: [0.5]}\n  seeds: {nap: [0.0, 0.1, 0.2]}\n")
    found = points(Book(root), root / "sweep.yml")
    assert len(found) == 6
    assert {p["parameters"]["runs"] for p in found.values()} == {5, 9}


def test_the_plan_that_is_shipped_names_parameters_of_its_chapter():
    assert len(points(Book(small_book.ROOT), small_book.ROOT / "sweep.yml")) > 1


def test_a_part_of_a_file_does_not_stay_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.os, "replace", lambda *a: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        write_whole(tmp_path / "a.txt", "new")
    assert not list(tmp_path.iterdir())


def test_a_sweep_s_table_keeps_parameters_and_evidence_apart(tmp_path):
    evidence = {"condition": "always", "measure": "mean", "says": "supports"}
    evidence["interval"] = {"estimate": 1.0, "low": 0.5, "high": 2.0}
    write_whole(
        tmp_path / "a.json", json.dumps({"verdicts": [{"claim": "T1", "verdict": "holds", "evidence": [evidence]}]})
    )
    (row,) = table({"a": {"chapter": "tiny", "point": {"condition": 1e4, "seed": 2}}}, tmp_path)
    assert (row["condition"], row["seed"], row["when"], row["claim"], row["low"]) == (1e4, 2, "always", "T1", 0.5)


def test_a_chapter_without_claims_is_refused_before_it_runs(root):
    (root / "sweep.yml").write_text("tiny: {grid: {runs: [5]}}")
    (root / "chapters/claims.yml").write_text("another: {}\n")
    assert "tiny judges no claim" in message(lambda: points(Book(root), root / "sweep.yml"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tyni: {grid: {runs: [5]}}", "unknown chapter 'tyni'"),
        ("tiny: {grid: {rnus: [5]}}", "no parameter 'rnus'"),
        ("tiny: {grid: {runs: 5}}", "tiny.runs must be a list"),
        ("tiny: {girid: {runs: [5]}}", "needs 'grid' and 'seeds'"),
        ("{}", "names no chapter"),
    ],
)
def test_a_bad_sweep_is_refused_in_one_line(root, text, says):
    (root / "sweep.yml").write_text(text)
    assert says in message(lambda: points(Book(root), root / "sweep.yml"))


def test_the_command_line_prints_one_line_and_no_traceback(root):
    command = [sys.executable, "-m", "companion", "execute", "nothing", "x.json"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("error: unknown chapter 'nothing'")
    assert run.stderr.count("\n") == 1


def test_an_unexpected_failure_in_a_build_is_kept_for_its_end(root, monkeypatch, capsys):
    monkeypatch.setenv("STEPSIZE_ERRORS", str(root / "errors"))
    assert commands.main(["compare", str(root), str(root / "chapters")]) == 1
    assert "error:" in (root / "errors/compare.txt").read_text()
    assert capsys.readouterr() == ("", "")


def test_what_fails_in_a_sweep_is_kept_by_point_with_its_parameters(root, monkeypatch):
    def fail(*_):
        raise BookError("chapters/tiny.md, line 24: LinAlgError: Singular matrix; correct the cell")

    monkeypatch.chdir(root)
    monkeypatch.setenv("STEPSIZE_ERRORS", str(root / "errors"))
    monkeypatch.setattr(execution, "execute", fail)
    for point, runs in {"tiny-a": 5, "tiny-b": 9}.items():
        given = json.dumps({"runs": runs, "nap": 0.0})
        assert commands.main(["execute", "--parameters", given, "tiny", f"out/{point}.json"]) == 1
    texts = {path.stem: path.read_text() for path in (root / "errors").iterdir()}
    assert texts["tiny-a"].endswith("correct the cell (with runs = 5, nap = 0.0)\n")
    assert "runs = 9" in texts["tiny-b"]


@pytest.mark.parametrize(("number", "says"), [(errno.ENOSPC, "make room"), (errno.EROFS, "can be written to")])
def test_a_full_disk_and_a_read_only_folder_give_one_line(root, monkeypatch, capsys, number, says):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "_build/x")

    monkeypatch.chdir(root)
    monkeypatch.setattr(commands, "write_whole", refuse)
    monkeypatch.setattr(execution, "execute", lambda *_: ({}, {}))
    monkeypatch.setenv("STEPSIZE_ERRORS", str(root / "errors"))  # where nothing can be written either
    assert commands.main(["execute", "tiny", "x.json"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: _build/x: {os.strerror(number)}; ")
    assert said.count("\n") == 1
    assert says in said


def test_the_pins_are_what_the_project_asks_for():
    run = subprocess.run([sys.executable, ".ci/lock"], cwd=small_book.ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    pinned = set((small_book.ROOT / "requirements.txt").read_text().splitlines())
    assert "torch==2.13.0" in pinned
    assert "jupyter-book==1.0.4.post1" in pinned
    named = {line.partition("==")[0] for line in run.stdout.splitlines() if "==" in line}
    assert named <= {line.partition("==")[0] for line in pinned}, "run .venv/bin/python .ci/lock > requirements.txt"
