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
    "load": 1.2,
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


def test_a_target_is_a_bound():
    assert performance.region("≥ 4") == (4, math.inf)
    assert performance.region("≤ 1.1") == (-math.inf, 1.1)


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
        "6 rows: 2 meet their target in every round, 1 in the median alone, 1 miss it, 2 without a measurement."
    )


# ---------------------------------------------------------------- strips


def test_rows_of_one_measure_share_an_axis_and_have_bands_of_their_own():
    (group,) = performance.strips(ROWS)
    met, middle, missed, floor = group["rows"]
    assert missed["at"] < missed["from"] == met["from"] < middle["at"] < met["at"]
    assert (met["to"], floor["from"]) == (100, 0)
    assert floor["high"] < floor["to"] < missed["at"]
    assert [r["met"] for r in group["rows"]] == ["met", "met in the median", "missed", "met"]


def test_another_measure_has_an_axis_of_its_own():
    groups = performance.strips([*ROWS, row("grows", 1.5, 1.4, 1.6, target="≤ 1.6") | {"measure": "growth"}])
    assert [(g["measure"], len(g["rows"])) for g in groups] == [("times as fast", 4), ("growth", 1)]


def test_rows_without_a_measurement_are_listed_by_their_reason():
    assert performance.unmeasured(ROWS) == {
        "no such <package>": ["work absent, against a <peer> (target ≥ 4)"],
        "": ["work never, against a <peer> (target ≥ 4)"],
    }


def test_a_row_says_all_of_it_to_those_who_do_not_see_the_strip():
    said = performance.strips(ROWS[:1])[0]["rows"][0]["sentence"]
    assert said == "work met, against a <peer>: times as fast is 5, 4.5 to 6 over the rounds; target at least 4; met."


def test_the_circumstances_are_told_once():
    assert performance.circumstances(ROWS) == [
        "2026-11-27: a processor, 1 thread, processor time, load average 1.2; torch 2."
    ]


# ---------------------------------------------------------------- page


def test_the_page_shows_every_row_and_why_one_is_missing(root):
    text = performance.page(root, root / "out")
    page = Page(text)
    for words in ("One optimizer step on a processor", "5 [4.5, 6]", "≥ 4 met in the median", "≥ 4 missed"):
        assert words in page.text, words
    assert "Not measured: no such <package>." in page.text
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


TIMES = {
    "ours": {"device": [1, 0.9, 1.1], "wall": [4, 3, 5], "floors": 1.05},
    "torch, fused": {"device": [2, 1.8, 2.2], "wall": [6, 5, 9]},
}
REPORT = {
    "card": "a card", "date": "2026-11-27", "versions": {"torch": "2"},
    "rows": [
        {"part": "check", "name": "Adam, long", "good": True},
        {"part": "time", "name": "Adam, long", "times": TIMES},
        {"part": "time", "name": "Adam, small", "times": TIMES},
        {"part": "compile", "name": "RMSProp, long", "error": "TimeoutError: not compiled"},
    ],
}  # fmt: skip


def test_planned_rows_on_a_gpu_are_filled_from_its_report(root):
    keys = ("long, Adam, torch, fused", "small, Adam, torch, fused", "long, Adam, floor", "long, RMSProp, torch.compile", "GPT-2, Adam, floor")  # fmt: skip
    planned = [row(key, benchmark="gpu", target="≥ 1.5") for key in keys]
    write(root, "results", [*ROWS[:2], *planned])
    assert performance.read(root) == [*ROWS[:2], *planned]
    write(root, "gpu", [REPORT, REPORT | {"card": "another"}])
    first, _, *on_gpus = performance.read(root)
    (long, small, floor, failed, absent), others = on_gpus[::2], on_gpus[1::2]
    assert first == ROWS[0]
    assert [r["work"] for r in (long, others[0])] == [f"{planned[0]['work']}, {card}" for card in ("a card", "another")]
    assert [r["ratio"] for r in others[:3]] == [r["ratio"] for r in (long, small, floor)]
    assert (long["ratio"], long["low"], long["high"]) == pytest.approx((2, 1.8 / 1.1, 2.2 / 0.9))
    assert (small["ratio"], small["low"], small["high"]) == pytest.approx((6 / 4, 5 / 5, 9 / 3))
    assert (floor["ratio"], floor["low"], floor["high"]) == pytest.approx((1.05, 1.05 * 0.9, 1.05 * 1.1))
    assert (failed["missing"], "ratio" in failed) == ("TimeoutError: not compiled", False)
    assert absent["missing"] == "no row 'Adam, GPT-2' in the report"
    assert performance.circumstances([long]) == ["2026-11-27: a card, device time; torch 2."]


def test_a_book_without_a_record_says_so(tmp_path):
    assert "There is no record" in performance.page(tmp_path, tmp_path / "out")
    assert (tmp_path / "out/growth.svg").is_file()
