"""A small sound book is green; broken in any of these ways it turns red and the message names the place."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

import small_book
from companion.build import execution, pages, site
from companion.build.book import Book, write_whole
from companion.errors import BookError
from small_book import CHAPTER, ROOT

pytestmark = pytest.mark.slow

NAP = "runs, shift, nap = 20, 1.0, 0.0"


def line(text: str, chapter: str) -> int:
    """The line at which the code cell begins that contains `text`."""
    return chapter[: chapter.rindex("```{code-cell}", 0, chapter.index(text))].count("\n") + 1


def broken(old, new, chapter=CHAPTER):
    assert chapter.count(old) == 1
    return chapter.replace(old, new)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound book, built in a folder and by a Python whose names have a space: (its root, build it again, what it said).

    On a copy of the library, so that an editor may save a file while the tests run.
    """
    home = tmp_path_factory.mktemp("canaries")
    root, python = small_book.write(home / "my book"), home / "my tools" / "python"
    shutil.copytree(ROOT / "lib", home / "lib", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    build = partial(small_book.build, python=python, PYTHONPATH=str(home / "lib"))
    return root, build, build(root)


def test_a_sound_book_is_green_and_a_second_build_does_nothing(sound):
    root, build, first = sound
    assert first.returncode == 0, first.stdout
    assert re.search(r"^tiny · \d+ s · 1 of 1$", first.stdout, re.MULTILINE), first.stdout
    page = (root / "_build/html/chapters/tiny.html").read_text(encoding="utf-8")
    assert 'id="claim-T1"' in page
    assert "Twenty points scattered closely around one." in page
    ledger = (root / "_build/html/chapters/ledger.html").read_text(encoding="utf-8")
    assert 'href="tiny.html#claim-T1"' in ledger
    assert "not yet tested" in ledger
    verdicts = json.loads((root / "_build/html/verdicts.json").read_text(encoding="utf-8"))
    assert verdicts["counts"] == {"holds": 1, "not yet tested": 1}
    for path in (root / "_build/html").rglob("*"):
        if path.suffix in {".html", ".ipynb", ".json", ".js"}:
            assert str(root) not in path.read_text(encoding="utf-8"), f"{path.name} names a folder of this machine"
    before = (root / "_build/html/index.html").stat().st_mtime_ns
    second = build(root)
    assert (second.returncode, second.stdout) == (0, "")
    assert (root / "_build/html/index.html").stat().st_mtime_ns == before


def test_one_chapter_by_name_prints_its_verdicts(sound):
    root, build, _ = sound
    run = build(root, target="_build/executed/tiny.json")
    assert run.returncode == 0, run.stdout
    assert re.fullmatch(r"T1: holds, 0\.9\d+ \[0\.9\d+, 1\.0\d+\]", run.stdout.strip()), run.stdout


def test_a_verdict_that_flips_closes_the_gate_and_the_switch_opens_it(sound, tmp_path):
    made, build, _ = sound
    root = tmp_path / "book"
    shutil.copytree(made, root)
    shutil.rmtree(root / "_build/html")
    claims = root / "chapters/claims.yml"
    claims.write_text(claims.read_text().replace("verdict: holds", "verdict: fails"))
    run = build(root)
    assert run.returncode != 0
    assert re.search(
        r"claim T1 of tiny: published fails, computed holds: mean = 0\.9\d+ \[.*claimed at least 0", run.stdout
    )
    assert not (root / "_build/html").exists()
    run = build(root, "--gate", "warn")
    assert run.returncode == 0, run.stdout
    assert "warning: claim T1 of tiny: published fails, computed holds" in run.stdout
    assert "tiny ·" not in run.stdout, "the gate is no reason to execute again"
    assert "differs from the published verdict: fails" in (root / "_build/html/chapters/ledger.html").read_text()


ERRORS = {
    "an error": (broken("time.sleep(nap)", "1 / 0"), "ZeroDivisionError: division by zero"),
    "a time-out": (broken(NAP, NAP.replace("0.0", "600")), "time-out"),
    "a warning on stderr": (
        broken("time.sleep(nap)", "import warnings; warnings.warn('odd')"), "the cell writes to stderr: .*odd",
    ),
    "a picture without alternative text": (
        broken("  image:\n    alt: Twenty points scattered closely around one.\n", ""), ".*no alternative text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_a_chapter_that_fails_is_refused_with_the_place_in_its_text(name, tmp_path):
    chapter, message = ERRORS[name]
    book = Book(small_book.write(tmp_path, chapter))
    at = line("plt.plot" if "picture" in name else "values = shift", chapter)
    with pytest.raises(BookError, match=rf"^chapters/tiny\.md, line {at}: {message}"):
        execution.execute(book, "tiny", timeout=8)


PAGE = broken("`tiny:mean`", "`tiny:maen`", broken("(#tiny-top)", "(nowhere.md)"))
INDEX = '# A tiny book\n\n(tiny-top)=\n## Again\n\n<a href="tiny.html#nowhere">x</a>\n\n![](_generated/verdicts.svg)\n'
PAGES = {
    "a missing glue key": r"chapters/tiny\.md, line {at}: .*tiny:maen",
    "a dead link": r"chapters/tiny\.md, line {at}: .*nowhere",
    "a duplicate label": r"[Dd]uplicate label.*tiny-top",
    "a dead anchor": r"chapters/index\.html, line \d+: dead link 'tiny\.html#nowhere' .*no such anchor",
    "a picture of a page without alternative text": r"chapters/index\.html, line \d+: the picture .*verdicts\.svg has no alternative text",
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What the pages of a book with all of these faults are refused for."""
    book = Book(small_book.write(tmp_path_factory.mktemp("pages") / "book", PAGE, index=INDEX))
    notebook, record = execution.execute(book, "tiny")
    executed, source = book.root / "executed", book.root / "src"
    write_whole(executed / "tiny.ipynb", json.dumps(notebook))
    write_whole(executed / "tiny.json", json.dumps(record))
    pages.write(book, executed, book.root / "ledger")
    site.assemble(book, executed, book.root / "ledger", source)
    return "\n".join(site.build(book, source, book.root / "work")[1])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_wrong_is_refused_with_its_place(name, faults):
    at = next(n for n, text in enumerate(PAGE.splitlines(), 1) if "tiny:maen" in text)
    assert re.search(PAGES[name].format(at=at), faults), faults


def start(root):
    """A build of a book whose chapter takes a while, once the chapter runs."""
    process = subprocess.Popen(
        [*small_book.command(root), "html"], cwd=root, env=small_book.environment(),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((root / "_build").glob("cache/matplotlib/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    return process


def test_a_killed_build_goes_on_where_it_was_and_leaves_nothing_stale(tmp_path):
    root = small_book.write(tmp_path, broken(NAP, NAP.replace("0.0", "4.0")))
    process = start(root)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    source = root / "chapters/tiny.md"
    source.write_text(source.read_text().replace("shift, nap = 20, 1.0, 4.0", "shift, nap = 20, 2.0, 0.0"))
    run = small_book.build(root, target="executed")
    assert run.returncode == 0, run.stdout
    time.sleep(1)  # what the killed build had started ends by itself and writes nothing
    record = json.loads((root / "_build/executed/tiny.json").read_text())
    assert record["verdicts"][0]["evidence"][0]["interval"]["estimate"] > 1.5


def test_ctrl_c_ends_a_build_with_one_line(tmp_path):
    process = start(small_book.write(tmp_path, broken(NAP, NAP.replace("0.0", "60.0"))))
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip() == "interrupted; what has run is kept, repeat the command to go on"


@pytest.fixture
def disk(tmp_path):
    """A book on a small disk of its own, in memory: (its root, how to mount that disk anew)."""
    home = tmp_path / "disk"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(home)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a disk, on Linux")
    yield small_book.write(home / "book"), lambda how: subprocess.run(["mount", "-o", how, str(home)], check=True)
    subprocess.run(["umount", str(home)], check=True)


def test_a_full_disk_is_named_without_a_traceback_and_what_has_run_is_kept(disk):
    root, _ = disk
    assert small_book.build(root, target="executed").returncode == 0
    record, filler = root / "_build/executed/tiny.json", root.parent / "filler"
    before = record.read_bytes()
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(2**16)):
            pass
    run = small_book.build(root)
    assert run.returncode == 1
    assert "the disk is full; make room, then repeat the command: what has run is kept" in run.stdout
    assert "Traceback" not in run.stdout
    assert record.read_bytes() == before
    assert not list(root.glob("_build/**/.*.json.*")), "a part of a file takes room for nothing"
    filler.unlink()
    run = small_book.build(root)
    assert run.returncode == 0, run.stdout
    assert "tiny ·" not in run.stdout, "the chapter does not run again"


@pytest.mark.parametrize("command", ["build", "set-up"])
def test_a_checkout_that_cannot_be_written_to_is_named_in_one_line(disk, command):
    root, mount = disk
    shutil.copytree(ROOT / ".ci", root / ".ci")
    for name in ("pyproject.toml", "requirements.txt", "requirements-data.txt", "lib/stepsize/__init__.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    mount("remount,ro")
    if command == "build":
        run = small_book.build(root)
    else:
        run = subprocess.run(
            [sys.executable, ".ci/venv"], cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    assert run.returncode == 1
    assert run.stdout.count("\n") == 1, run.stdout
    assert "Read-only file system" in run.stdout
    assert "that can be written to" in run.stdout
