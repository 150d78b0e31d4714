"""The ledger: what the gate compares with the register, and the comparison of two runs."""

import json

import numpy as np
import pytest

import small_book
from companion.build import ledger
from companion.build.book import Book, write_whole
from companion.evidence import Chapter, student
from companion.evidence.claims import load_claims
from stepsize.errors import EvidenceError

SAMPLE = np.random.default_rng(0).normal(1, 0.1, 20)


def executed(root, *verdicts, glued=None):
    record = {"chapter": "tiny", "seconds": 3.25, "cells": [[12, 1.0], [30, 2.0]], "verdicts": list(verdicts)}
    write_whole(root / "tiny.json", json.dumps(record | {"glued": glued or {}}))
    return root


@pytest.fixture
def book(tmp_path):
    return Book(small_book.write(tmp_path / "book"))


def verdict(book, shift=0.0, condition="the values are these"):
    made = Chapter("tiny", claims=book.claims()["tiny"]).judge("T1", mean={condition: student(SAMPLE + shift)})
    return json.loads(json.dumps(made.record(), allow_nan=False))


def register(book, old, new):
    path = book.root / "chapters/claims.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    load_claims(path)


def test_the_gate_is_open_when_verdict_region_and_setting_are_as_registered(book, tmp_path):
    assert ledger.differences(book, executed(tmp_path / "x", verdict(book))) == []


def test_the_gate_names_claim_both_verdicts_and_numbers(book, tmp_path):
    (line,) = ledger.differences(book, executed(tmp_path / "x", verdict(book, shift=-3)))
    assert line.startswith("claim T1 of tiny: published holds, computed fails: mean = −2")
    assert "claimed at least 0, contradicts (stated: the values are these)" in line


def test_the_gate_asks_for_the_verdict_of_every_claim_of_an_existing_chapter(book, tmp_path):
    (line,) = ledger.differences(book, executed(tmp_path / "x"))
    assert "the chapter computes no verdict" in line


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("verdict: holds", "verdict: null", "published nothing (null), computed holds"),
        ("region: [0, .inf]", "region: [0.5, .inf]", "the run used region"),
        ('stated: ["the values are *"]', 'stated: [other], beyond: ["the values are *"]', "was run as stated, registered is beyond"),
        ('stated: ["the values are *"]', 'stated: ["the values are *", "never run"]', "no row of the run is 'never run'"),
        ("      mean: {", "      size: {", "measure 'mean' is not registered"),
    ],
)  # fmt: skip
def test_the_gate_stops_on_what_changed_without_the_register(book, tmp_path, old, new, says):
    run = executed(tmp_path / "x", verdict(book))
    register(book, old, new)
    assert any(says in line for line in ledger.differences(book, run))


SIDES = """    separates: {supports: [the values are these], contradicts: [the values are those]}
    condition: The values must be these.
    verdict: in part"""


@pytest.mark.parametrize(("right", "sides"), [(True, SIDES), (False, SIDES.replace("those]", "other]"))])
def test_the_condition_of_in_part_is_checked_against_the_rows(book, tmp_path, right, sides):
    register(book, "    verdict: holds", sides)
    rows = {"the values are these": student(SAMPLE), "the values are those": student(SAMPLE - 3)}
    made = Chapter("tiny", claims=book.claims()["tiny"]).judge("T1", mean=rows)
    found = ledger.differences(book, executed(tmp_path / "x", json.loads(json.dumps(made.record()))))
    assert (found == []) == right
    assert right or "does not separate: 'the values are those' contradicts" in found[0]


def test_a_chapter_s_verdicts_in_a_line_each(book, tmp_path):
    lines = ledger.lines(book, "tiny", executed(tmp_path / "x", verdict(book, shift=-3)))
    assert lines[0].startswith("T1: fails, −2")
    assert lines[0].endswith("<- claims.yml has holds")


def test_equal_runs_compare_equal_and_one_changed_digit_is_found(book, tmp_path):
    glue = {"tiny:mean": {"text/plain": "0.98"}}
    one = executed(tmp_path / "one", verdict(book), glued=glue)
    assert ledger.compare(one, executed(tmp_path / "two", verdict(book), glued=glue)) == []
    other = executed(tmp_path / "three", verdict(book), glued={"tiny:mean": {"text/plain": "0.99"}})
    assert "tiny, glued tiny:mean" in ledger.compare(one, other)[0]
    changed = verdict(book)
    changed["evidence"][0]["interval"]["low"] *= 1 + 1e-15
    assert "tiny, claim T1" in ledger.compare(one, executed(tmp_path / "four", changed, glued=glue))[0]
    assert "only in one" in ledger.compare(one, tmp_path / "empty")[0]


def test_nothing_to_compare_is_an_error(tmp_path):
    with pytest.raises(EvidenceError, match="no executed chapter"):
        ledger.compare(tmp_path / "a", tmp_path / "b")
