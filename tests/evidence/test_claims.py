"""claims.yml: what is registered, and what is refused."""

import copy
import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from companion.evidence.claims import load_claims, matches
from small_book import ROOT
from stepsize.errors import EvidenceError

SOUND = {
    "tiny": {
        "T1": {
            "text": "It is small.",
            "phrase": "very small",
            "paragraph": "First, 1",
            "quantifier": "always",
            "subject": "result",
            "setting": "Anywhere.",
            "measures": {
                "size": {
                    "is": "size of it",
                    "region": [0, math.inf],
                    "because": "A believer would say so.",
                    "stated": ["here", "there, *"],
                    "beyond": ["far away"],
                }
            },
            "verdict": "holds",
        }
    }
}


def load(tmp_path, book):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(book), encoding="utf-8")
    return load_claims(path)


def changed(**changes):
    book = copy.deepcopy(SOUND)
    for key, value in changes.items():
        node, *parts = book["tiny"]["T1"], *key.split("__")
        for part in parts[:-1]:
            node = node[part]
        if value is None:
            node.pop(parts[-1], None)
        else:
            node[parts[-1]] = value
    return book


def test_a_sound_entry_is_read_whole(tmp_path):
    claim = load(tmp_path, SOUND)["tiny"]["T1"]
    assert (claim.id, claim.chapter, claim.phrase, claim.verdict) == ("T1", "tiny", "very small", "holds")
    assert claim.measures["size"].region == (0, math.inf)
    assert claim.measures["size"].setting("there, at noon") == "stated"
    assert claim.measures["size"].setting("far away") == "beyond"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": None}, "has no text"),
        ({"quantifier": "mostly"}, "quantifier 'mostly' is none of"),
        ({"subject": None}, "subject None is none of"),
        ({"verdict": "holds only if"}, "is no verdict"),
        ({"phrase": "one two three four five six seven eight nine"}, "quote at most eight"),
        ({"phrase": None}, "needs either the text's phrase or `ours: true`"),
        ({"ours": True}, "and not both"),
        ({"setting": None}, "has no setting"),
        ({"verdict": "in part"}, "name the variable that separates"),
        ({"fragile": True}, "a fragile claim is published as open"),
        ({"fragile": "often", "verdict": "open"}, "fragile is true or false"),
        ({"measures__size__region": [1, 0]}, "is empty"),
        ({"measures__size__region": [-math.inf, math.inf]}, "cannot be missed"),
        ({"measures__size__region": "wide"}, r"must be \[low, high\]"),
        ({"measures__size__because": None}, "has no 'because'"),
        ({"measures__size__is": None}, "has no 'is'"),
        ({"measures__size__stated": None}, "has no stated condition"),
        ({"measures__size__stated": [3]}, "must be a list of texts"),
        ({"measures__size__colour": "red"}, "has colour; known are"),
        ({"colour": "red"}, "has colour; known are"),
    ],
)
def test_an_entry_that_lacks_something_is_named(tmp_path, changes, message):
    with pytest.raises(EvidenceError, match=message) as error:
        load(tmp_path, changed(**changes))
    assert "T1" in str(error.value)


def test_repeated_claims_are_refused(tmp_path):
    book = copy.deepcopy(SOUND) | {"other": copy.deepcopy(SOUND["tiny"])}
    with pytest.raises(EvidenceError, match="ids are unique in the book"):
        load(tmp_path, book)
    path = tmp_path / "claims.yml"
    path.write_text("a:\n  T1: {text: x}\n  T1: {text: y}\n", encoding="utf-8")
    with pytest.raises(EvidenceError, match=r"line 2: repeated \['T1'\]"):
        load_claims(path)


def test_a_condition_must_be_registered_once(tmp_path):
    size = load(tmp_path, SOUND)["tiny"]["T1"].measures["size"]
    with pytest.raises(EvidenceError, match="registered nowhere"):
        size.setting("elsewhere")
    twice = load(tmp_path, changed(measures__size__beyond=["here"]))["tiny"]["T1"].measures["size"]
    with pytest.raises(EvidenceError, match="registered twice"):
        twice.setting("here")


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_pattern_without_a_star_means_itself(a, b):
    a, b = a.replace("*", "+"), b.replace("*", "+")
    assert matches(a, a)
    assert matches(a, b) == (a == b)
    assert matches(f"{a}*{b}", f"{a}anything{b}")


def test_the_book_s_register_is_sound_and_every_verdict_is_published():
    book = load_claims(ROOT / "chapters" / "claims.yml")
    assert sum(map(len, book.values())) >= 70
    assert all(c.verdict for claims in book.values() for c in claims.values())


def test_every_phrase_stands_in_the_text():
    source = ROOT.parent / "shared" / "source.md"
    if not source.is_file():
        pytest.skip("the source text is not part of the book; it lies beside a developer's clone")
    text = re.sub(r"\[([^\]]*)\]\(@entry[^)]*\)", r"\1", source.read_text(encoding="utf-8"))
    text = " ".join(re.sub(r"[*\"“”]", "", text).split()).lower()
    for claims in load_claims(Path(ROOT) / "chapters" / "claims.yml").values():
        for claim in claims.values():
            assert " ".join(claim.phrase.split()).lower() in text, claim.id
