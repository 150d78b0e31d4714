"""A small sound book is green; broken in any of these ways it turns red and the message names the place."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

import small_book
from small_book import CHAPTER, CLAIMS

pytestmark = pytest.mark.slow

NAP = "runs, shift, nap = 20, 1.0, 0.0"


def line(text: str, chapter: str) -> int:
    """The line of the code cell (or of the text) that contains `text`."""
    lines = chapter.splitlines()
    at = next(n for n, content in enumerate(lines, 1) if text in content)
    return next((n for n in range(at, 0, -1) if lines[n - 1].startswith("```{code-cell}")), at)


def broken(old, new):
    assert CHAPTER.count(old) == 1
    return CHAPTER.replace(old, new)


def test_a_sound_book_is_green_and_a_second_build_does_nothing(tmp_path):
    root = small_book.write(tmp_path)
    first = small_book.build(root)
    assert first.returncode == 0, first.stdout
    assert re.search(r"tiny · published · \d+ s · 1 of 1 chapters done", first.stdout)
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
    second = small_book.build(root)
    assert second.returncode == 0
    assert second.stdout.strip() == ""
    assert (root / "_build/html/index.html").stat().st_mtime_ns == before


ERRORS = {
    "an error": (broken("time.sleep(nap)", "1 / 0"), (), "ZeroDivisionError: division by zero"),
    "a time-out": (broken(NAP, NAP.replace("0.0", "600")), ("--timeout", "8"), "time-out"),
    "a warning on stderr": (
        broken("time.sleep(nap)", "import warnings; warnings.warn('odd')"), (), "the cell writes to stderr: .*odd",
    ),
    "a picture without alternative text": (
        broken("  image:\n    alt: Twenty points scattered closely around one.\n", ""), (), ".*no alternative text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_a_chapter_that_fails_stops_the_build(name, tmp_path):
    chapter, options, message = ERRORS[name]
    run = small_book.build(small_book.write(tmp_path, chapter), *options)
    assert run.returncode != 0
    at = line("plt.plot" if "picture" in name else "values = shift", chapter)
    assert re.search(rf"chapters/tiny\.md, line {at}: {message}", run.stdout), run.stdout
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "_build/executed/tiny.ipynb").exists()
    assert not (tmp_path / "_build/html").exists()


PAGES = {
    "a missing glue key": (broken("`tiny:mean`", "`tiny:maen`"), "# A tiny book\n", r"tiny\.md, line {at}: .*tiny:maen", "tiny:maen"),
    "a duplicate label": (CHAPTER, "(tiny-top)=\n# A tiny book\n", r"[Dd]uplicate label.*tiny-top", None),
    "a dead link": (broken("(#tiny-top)", "(nowhere.md)"), "# A tiny book\n", r"tiny\.md, line {at}: .*nowhere", "nowhere"),
    "a dead anchor": (
        CHAPTER, '# A tiny book\n\n<a href="tiny.html#nowhere">x</a>\n',
        r"chapters/index\.html, line \d+: dead link 'tiny\.html#nowhere' .*no such anchor", None,
    ),
    "a picture of a page without alternative text": (
        CHAPTER, "# A tiny book\n\n![](_generated/verdicts.svg)\n",
        r"chapters/index\.html, line \d+: the picture .*verdicts\.svg has no alternative text", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_wrong_stops_the_build(name, tmp_path):
    chapter, index, message, mark = PAGES[name]
    run = small_book.build(small_book.write(tmp_path, chapter, index=index))
    assert run.returncode != 0
    at = next((n for n, text in enumerate(chapter.splitlines(), 1) if mark and mark in text), "")
    assert re.search(message.format(at=at), run.stdout), run.stdout
    assert not (tmp_path / "_build/html").exists()


def test_a_verdict_that_flips_closes_the_gate_and_the_switch_opens_it(tmp_path):
    root = small_book.write(tmp_path, claims=CLAIMS.replace("holds", "fails"))
    run = small_book.build(root)
    assert run.returncode != 0
    assert re.search(
        r"claim T1 of tiny: published fails, computed holds: mean = 0\.9\d+ \[.*claimed at least 0", run.stdout
    )
    assert not (root / "_build/html").exists()
    run = small_book.build(root, "--gate", "warn")
    assert run.returncode == 0, run.stdout
    assert "warning: claim T1 of tiny: published fails, computed holds" in run.stdout
    assert "chapters done" not in run.stdout, "the gate is no reason to execute again"
    assert "differs from the published verdict: fails" in (root / "_build/html/chapters/ledger.html").read_text()


def test_a_killed_build_goes_on_where_it_was_and_leaves_nothing_stale(tmp_path):
    root = small_book.write(tmp_path, broken(NAP, NAP.replace("0.0", "4.0")))
    with subprocess.Popen([*small_book.command(root), "html"], cwd=root, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list((root / "_build").glob("cache/matplotlib/*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    source = root / "chapters/tiny.md"
    source.write_text(source.read_text().replace("shift, nap = 20, 1.0, 4.0", "shift, nap = 20, 2.0, 0.0"))
    run = small_book.build(root)
    assert run.returncode == 0, run.stdout
    time.sleep(1)  # what the killed build had started ends by itself and writes nothing
    record = json.loads((root / "_build/executed/tiny.json").read_text())
    assert record["verdicts"][0]["evidence"][0]["interval"]["estimate"] > 1.5
