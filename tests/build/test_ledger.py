"""The ledger: claims and their published verdicts, the gate, and the comparison of two runs."""

import json

import numpy as np
import pytest

import small_book
from companion.build import ledger
from companion.build.book import Book, write_whole
from companion.evidence import Evidence, Verdict, student
from companion.evidence.claims import load_claims
from stepsize.errors import EvidenceError

SAMPLE = np.random.default_rng(0).normal(1, 0.1, 20)


def verdict(*regions, claim="T1"):
    evidence = tuple(
        Evidence(f"case <{n}>", "mean & more", student(SAMPLE), region) for n, region in enumerate(regions)
    )
    return json.loads(json.dumps(Verdict("tiny", claim, "The mean is positive.", evidence).record(), allow_nan=False))


def executed(root, *verdicts, glued=None):
    record = {"chapter": "tiny", "seconds": 3.25, "cells": [[12, 1.0], [30, 2.0]], "verdicts": list(verdicts)}
    write_whole(root / "tiny.json", json.dumps(record | {"glued": glued or {}}))
    return root


@pytest.fixture
def book(tmp_path):
    return Book(small_book.write(tmp_path / "book"))


HOLDS, FAILS, MIXED = [(0, float("inf"))], [(2, 3)], [(0, float("inf")), (2, 3)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: {X1: {text: x, verdict: null}}\nb: {X1: {text: y, verdict: null}}", "X1 is in a and in b"),
        ("a: {X1: {text: x, verdict: maybe}}", "'maybe' is no verdict"),
        ("a: {X1: {text: '', verdict: null}}", "X1 of a has no text"),
        ("a: {X1: {text: x}, X1: {text: y}}", "repeated"),
    ],
)
def test_a_broken_list_of_claims_is_refused(tmp_path, text, says):
    path = tmp_path / "claims.yml"
    path.write_text(text)
    with pytest.raises(EvidenceError, match=says):
        load_claims(path)


def test_the_gate_is_open_when_computed_and_published_verdicts_agree(book, tmp_path):
    assert ledger.differences(book, executed(tmp_path / "x", verdict(*HOLDS))) == []


def test_the_gate_names_claim_both_verdicts_and_numbers(book, tmp_path):
    (line,) = ledger.differences(book, executed(tmp_path / "x", verdict(*FAILS)))
    assert line.startswith("claim T1 of tiny: published holds, computed fails: mean & more = ")
    assert "claimed 2 to 3, contradicts" in line


def test_the_gate_asks_for_the_verdict_of_every_claim_of_an_existing_chapter(book, tmp_path):
    (line,) = ledger.differences(book, executed(tmp_path / "x"))
    assert "the chapter computes no verdict" in line


def test_the_gate_does_not_let_an_unpublished_verdict_pass(book, tmp_path):
    path = book.root / "chapters/claims.yml"
    path.write_text(path.read_text().replace("verdict: holds", "verdict: null"))
    (line,) = ledger.differences(book, executed(tmp_path / "x", verdict(*HOLDS)))
    assert "published nothing (null), computed holds" in line


def test_equal_runs_compare_equal_and_one_changed_digit_is_found(tmp_path):
    glue = {"tiny:mean": {"text/plain": "0.98"}}
    one = executed(tmp_path / "one", verdict(*HOLDS), glued=glue)
    assert ledger.compare(one, executed(tmp_path / "two", verdict(*HOLDS), glued=glue)) == []
    other = executed(tmp_path / "three", verdict(*HOLDS), glued={"tiny:mean": {"text/plain": "0.99"}})
    assert "tiny, glued tiny:mean" in ledger.compare(one, other)[0]
    changed = verdict(*HOLDS)
    changed["evidence"][0]["interval"]["low"] *= 1 + 1e-15
    assert "tiny, claim T1" in ledger.compare(one, executed(tmp_path / "four", changed, glued=glue))[0]
    assert "only in one" in ledger.compare(one, tmp_path / "empty")[0]


def test_nothing_to_compare_is_an_error(tmp_path):
    with pytest.raises(EvidenceError, match="no executed chapter"):
        ledger.compare(tmp_path / "a", tmp_path / "b")
