"""The performance page: what a row says of its target, what is drawn, and what is said of rows that were not measured."""

import json
import math

import pytest

from companion.build import performance
from markup import Page
from mutants import mutant

SURROUNDINGS = {
    "threads": 1,
    "clock": "processor",
    "date": "2026-11-27",
    "device": "a processor",
    "versions": {"torch": "2"},
}


def row(key, ratio=None, low=None, high=None, target="≥ 4", benchmark="step", **more):
    planned = {
        "benchmark": benchmark,
        "key": key,
        "work": f"work {key}",
        "peer": "a <peer>",
        "measure": "times as fast",
        "target": target,
    }
    found = {} if ratio is None else {"ratio": ratio, "low": low, "high": high} | SURROUNDINGS
    return planned | found | more


ROWS = [
    row("met", 5, 4.5, 6),
    row("middle", 4.2, 3.9, 5),
    row("missed", 3, 2, 4.5),
    row("floor", 1.05, 1.0, 1.08, target="≤ 1.1"),
    row("absent", missing="no such <package>"),
    row("never", benchmark="gpu"),
]  # fmt: skip
CURVE = {
    "size": "rows",
    "milliseconds": "a step",
    "points": {"stepsize": {"10": 0.5, "1000": 1.5}, "peer": {"10": 1, "1000": 90}},
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    write(tmp_path, "results", ROWS)
    return tmp_path


def write(root, name, rows):
    (root / f"benchmarks/{name}.json").write_text(json.dumps(rows))


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("target", "bounds"),
    [("≥ 4", (4, math.inf)), (">= 2.5x", (2.5, math.inf)), ("≤ 1.1", (-math.inf, 1.1)), (1.15, (1.15, math.inf))],
)
def test_a_target_is_a_bound(target, bounds):
    assert performance.region(target) == bounds


def test_a_target_that_is_no_bound_is_refused():
    with pytest.raises(ValueError, match="'fast' is no bound"):
        performance.region("fast")


def test_met_is_said_of_all_rounds_and_missed_of_the_median():
    said = ["supports", "undecided", "contradicts", "supports", None, None]
    assert [performance.says(r) for r in ROWS] == said
    broken = mutant(performance.says, 'row["high"] <= high', "True")
    assert broken(row("x", 1.05, 1.0, 1.3, target="≤ 1.1")) != performance.says(
        row("x", 1.05, 1.0, 1.3, target="≤ 1.1")
    )


def test_the_sentence_counts_every_row():
    assert performance.counted(ROWS) == (
        "6 rows: 2 meet their target in every round, 1 in the median alone, 1 miss it, 2 are not measured."
    )


# ---------------------------------------------------------------- strips


def test_rows_of_one_target_share_an_axis_and_its_band():
    first, second = performance.strips(ROWS[:5])
    assert [r["key"] for r in first["rows"]] == ["met", "middle", "missed", "absent"]
    assert (first["target"], second["target"]) == ("at least 4", "at most 1.1")
    met, middle, missed, _ = first["rows"]
    assert missed["at"] < first["from"] < middle["at"] < met["at"]
    assert first["to"] == 100
    assert second["rows"][0]["high"] < second["to"]


def test_a_row_says_all_of_it_to_those_who_do_not_see_the_strip():
    said = performance.strips(ROWS[:1])[0]["rows"][0]["sentence"]
    assert said == "work met, against a <peer>: times as fast is 5, 4.5 to 6 over the rounds; target at least 4; met."


def test_the_circumstances_are_told_once():
    assert performance.circumstances(ROWS) == ["2026-11-27: a processor, 1 thread, processor time; torch 2."]


# ---------------------------------------------------------------- page


def test_the_page_shows_every_row_and_why_one_is_missing(root):
    text = performance.page(root, root / "out")
    page = Page(text)
    for words in ("One optimizer step on a processor", "5 [4.5, 6]", "met in the median", "missed"):
        assert words in page.text, words
    assert "not measured: no such <package>" in page.text
    assert text.count('role="img"') == 4
    assert "no such <package>" not in text
    assert "growth" not in text


def test_curves_are_drawn_and_told(root):
    write(root, "results", [row("grows", 1.5, 1.4, 1.55, target="≤ 1.6", curve=CURVE)])
    text = performance.page(root, root / "out")
    assert (
        ":alt: Logarithmic axes. a step, 10 to 1,000 rows, in milliseconds: stepsize 0.5 to 1.5, peer 1 to 90." in text
    )
    drawn = (root / "out/growth.svg").read_text(encoding="utf-8")
    assert ">stepsize</text>" in drawn
    assert drawn.count("Date") == 0


def test_measurements_on_a_gpu_replace_the_planned_rows(root):
    write(root, "results", [*ROWS, row("last", benchmark="gcn")])
    gpu = {"work": "Adam", "peer": "fused", "ratio": 2, "low": 1.9, "high": 2.1, "target": 1.15, "device": "H100",
           "versions": {"torch": "2"}, "date": "2026-11-27"}  # fmt: skip
    write(root, "gpu", [gpu])
    rows = performance.read(root)
    assert [r["benchmark"] for r in rows] == ["step"] * 5 + ["gpu", "gcn"]
    assert performance.circumstances(rows[5:6]) == ["2026-11-27: H100; torch 2."]
    assert "2 [1.9, 2.1]" in Page(performance.page(root, root / "out")).text


def test_a_book_without_a_record_says_so(tmp_path):
    assert "There is no record" in performance.page(tmp_path, tmp_path / "out")
    assert (tmp_path / "out/growth.svg").is_file()
