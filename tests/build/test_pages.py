"""What the pages show of the ledger: every claim with its verdict, counted, sorted, drawn, and for programs."""

import json
import math

import pytest

import small_book
from companion.build import ledger, pages, site
from companion.build.book import Book, write_whole
from companion.evidence.intervals import Interval
from companion.evidence.verdict import MIME, Evidence, Verdict
from markup import Page
from mutants import mutant

CLAIMS = """tiny:
  T1:
    text: The mean is <positive> & large.
    phrase: the mean is <positive>
    quantifier: always
    subject: rate
    setting: Where it is said.
    condition: if it rains
    measures:
      mean: {is: mean & more, region: [1, 4], because: Above 1 is large., stated: ["case *"], beyond: ["far *"], control: ["control *"]}
    verdict: holds
  T2:
    text: It is an identity.
    ours: true
    quantifier: theorem
    subject: step
    setting: Anywhere.
    measures:
      exact: {is: deviation, region: [-.inf, 1.0e-12], because: Round-off., stated: [all], identity: true}
    verdict: holds
unwritten:
  U1:
    text: Nobody has looked yet.
    phrase: nobody
    quantifier: can
    subject: reason
    setting: Nowhere.
    measures:
      m: {is: size, region: [0, 1], because: It is., stated: [c]}
    verdict: null
"""
VALUES = {"supports": (2.0, 1.5, 3.0), "contradicts": (0.2, 0.1, 0.3), "undecided": (2.0, 0.5, 3.0)}


@pytest.fixture
def book(tmp_path):
    return Book(small_book.write(tmp_path / "book", claims=CLAIMS))


def verdict(book, name, **conditions):
    """The record of a verdict of the tiny book: condition, with _ for a blank -> what its interval says, or a value."""
    claim = book.claims()["tiny"][name]
    (measure,) = claim.measures.values()
    rows = []
    for condition, says in conditions.items():
        ends = VALUES.get(says, (says, says, says))
        again = (lambda level, seed: None) if says in VALUES else None
        condition = condition.replace("_", " ")
        rows.append(Evidence(measure, condition, Interval(*ends, "a method", 9, again), measure.setting(condition)))
    return json.loads(json.dumps(Verdict(claim, tuple(rows)).record(), allow_nan=False))


def executed(root, *verdicts):
    record = {"chapter": "tiny", "seconds": 3.25, "cells": [[12, 1.0], [30, 2.0]], "verdicts": list(verdicts)}
    write_whole(root / "tiny.json", json.dumps(record | {"glued": {}}))
    return root


@pytest.fixture
def run(book, tmp_path):
    """A run in which T1 holds in part and breaks beyond its setting, and T2 is an identity."""
    t1 = verdict(
        book,
        "T1",
        case_a="supports",
        case_b="contradicts",
        far_a="supports",
        far_b="contradicts",
        control_a="contradicts",
    )
    return executed(tmp_path / "run", t1, verdict(book, "T2", all=3e-16))


@pytest.fixture
def rows(book, run):
    return pages.entries(book, ledger.records(book, run))


def replicate(book, constant=None, **verdicts):
    path = book.root / "chapters" / "replication.json"
    path.write_text(json.dumps({"seeds": list(range(10)), "claims": verdicts, "constant": constant or {}}))


def html(name, rows, **more):
    text = pages.html(name, rows, **more)
    assert text.startswith("```{raw} html\n")
    assert text.endswith("\n```\n")
    assert text.count("```") == 2
    return Page(text.partition("\n")[2].rpartition("```")[0])


def tiles(rows):
    return html("tiles.html", rows)


# ---------------------------------------------------------------- entries


def test_every_claim_is_entered_and_those_not_yet_tested_come_last(rows):
    assert [(r["claim"], r["verdict"], r["published"]) for r in rows] == [
        ("T1", "in part", "holds"), ("T2", "holds", "holds"), ("U1", None, None),
    ]  # fmt: skip
    assert pages.counts(rows) == {"holds": 1, "in part": 1, "not yet tested": 1}


def test_an_untested_claim_has_every_field_of_a_tested_one(rows):
    assert set(rows[2]) == set(rows[0])
    assert rows[2]["title"] == "Unwritten"
    assert (rows[2]["phrase"], rows[2]["setting"], rows[2]["evidence"]) == ("nobody", "Nowhere.", [])


def test_cards_of_the_site_say_in_how_many_replications_the_verdict_is_the_same(book, run, tmp_path):
    first, _ = ledger.records(book, run)["tiny"]["verdicts"]
    outputs = [{"output_type": "display_data", "data": {MIME: first, "text/html": "as executed"}, "metadata": {}}]
    write_whole(run / "tiny.ipynb", json.dumps({"cells": [{"cell_type": "code", "outputs": outputs}]}))

    def shown():
        site.assemble(book, run, pages_made, tmp_path / "site")
        (out,) = json.loads((tmp_path / "site/chapters/tiny.ipynb").read_text())["cells"][0]["outputs"]
        assert set(out["data"]) == {"text/html"}
        return out["data"]["text/html"]

    pages.write(book, run, pages_made := tmp_path / "made")
    assert shown() == "as executed"
    replicate(book, T1=["in part"] * 8 + ["open"] * 2)
    assert "The same verdict in 8 of 10 replications" in shown()


def test_replications_are_merged_where_the_book_has_a_record_of_them(book, run):
    assert {r["replication"] for r in pages.entries(book, ledger.records(book, run))} == {None}
    replicate(book, T1=["in part"] * 8 + ["open"] * 2)
    first, second, _ = (r["replication"] for r in pages.entries(book, ledger.records(book, run)))
    assert (first["runs"], first["same"], first["fragile"]) == (10, 8, True)
    assert second is None


# ---------------------------------------------------------------- what is counted


def test_the_sentence_counts_claims_and_measurements(rows):
    assert pages.sentence(rows) == (
        "3 claims, 5 measurements. In the situations that the text describes, 1 holds, 1 holds in part, 1 is not yet tested."
    )
    assert pages.sentence([]) == "There are no claims yet."


def test_the_sentence_says_how_far_claims_that_hold_reach(book, tmp_path):
    t1 = verdict(book, "T1", case_a="supports", far_a="supports", far_b="contradicts", far_c="undecided")
    rows = pages.entries(book, ledger.records(book, executed(tmp_path / "x", t1)))
    assert pages.sentence(rows).endswith("Claims that hold were measured in 3 other situations too: 1 support them.")


def test_an_identity_and_a_control_are_not_counted_as_support(rows):
    assert pages.support(rows, "stated") == (1, 2)
    assert pages.support(rows, "beyond") == (1, 2)
    assert mutant(pages.support, 'e["kind"] != "identity"', "True")(rows, "stated") == (2, 3)


def test_subjects_are_counted_apart(rows):
    rate, step, reason = pages.by_subject(rows)
    assert (rate["subject"], rate["claims"], rate["counts"], rate["stated"]) == ("rate", 1, {"in part": 1}, (1, 2))
    assert (step["subject"], step["counts"], step["stated"]) == ("step", {"holds": 1}, (0, 0))
    assert (reason["subject"], reason["beyond"]) == ("reason", (0, 0))
    page = html("subjects.html", rows)
    assert "1 of 2 (50%)" in page.text
    assert "1 of 3 claims rest on identities alone, checked to round-off, and on no measurement: T2." in page.text


def test_fragile_claims_are_named(book, run, rows):
    assert "No replications under other seeds are recorded." in html("subjects.html", rows).text
    replicate(book, T1=["in part"] * 8 + ["open"] * 2, T2=["holds"] * 10)
    page = html("subjects.html", pages.entries(book, ledger.records(book, run)))
    assert "replications under other seeds agree: T1 (in part in this run and in 8 of 10)." in page.text
    replicate(book, T1=["in part"] * 9 + ["open"])
    text = html("subjects.html", pages.entries(book, ledger.records(book, run))).text
    assert "Every verdict is the same in at least nine of ten replications" in text


def test_claims_that_no_seed_can_change_are_named(book, run, rows):
    replicate(book, T1=["in part"] * 10, T2=["holds"] * 10, constant={"T2": ["exact: all"]})
    entered = pages.entries(book, ledger.records(book, run))
    said = "No seed enters what 1 claims rest on; it is exact, or from a recorded grid: T2."
    assert said in html("subjects.html", entered).text
    text = html("ledger.html", entered, gate=True).text
    assert ("10/10" in text, "no seed" in text) == (True, True)
    replicate(book, T1=["in part"] * 10)
    assert "No seed" not in html("subjects.html", pages.entries(book, ledger.records(book, run))).text


def test_margins_are_told_in_short_and_sorted_by_the_smallest_move():
    def with_margin(name, edge=None, moved=None, factor=None):
        margin = None if edge is None else {"measure": "m", "edge": edge, "moved_to": moved, "factor": factor}
        return {"claim": name, "verdict": "holds", "margin": margin, "boundary": None, "replication": None}

    rows = [
        with_margin("none"),
        with_margin("wide", 1.0, 3.0, 3.0),
        with_margin("narrow", 0.8, 0.88, 1.1),
        with_margin("moved", -0.2, 0.3),
    ]
    assert [pages.in_short(r) for r in rows] == ["–", "× 3", "× 1.1", "−0.2 → 0.3"]
    near = [with_margin("on it", 0.0, 0.0), with_margin("beside it", 1.000001, 1.0, 1.000001)]
    assert [pages.in_short(r) for r in near] == ["at the edge", "× 1.000001"]
    order = pages.ranks(rows)["margin"]
    assert sorted(order, key=order.get) == ["narrow", "wide", "moved", "none"]
    assert pages.tightness(rows[0]) == math.inf


# ---------------------------------------------------------------- the pages


def test_the_front_page_has_a_tile_for_every_claim_which_leads_to_its_card(rows):
    page = tiles(rows)
    assert [a["href"] for a in page.of("a")] == [
        "ledger.html?verdict=holds", "ledger.html?verdict=in%20part", "ledger.html?verdict=not%20yet%20tested",
        "tiny.html#claim-T1", "tiny.html#claim-T2",
    ]  # fmt: skip
    (tile,) = page.of("a", href="tiny.html#claim-T1")
    assert tile["title"] == "The mean is <positive> & large."
    for words in ("A tiny chapter", "T1", "in part", "Unwritten", "U1", "not yet tested"):
        assert words in page.text
    (reach,) = [a for a in page.of("span", role="img") if a["class"] == "dots"]
    assert reach["aria-label"] == "1 of 2 further settings support"


def test_every_verdict_has_a_tile_of_its_own_shape():
    signs = {
        v: str(pages.TEMPLATES.get_template("tiles.html").module.sign(v)) for v in (*pages.VERDICTS, pages.UNTESTED)
    }
    assert len(set(signs.values())) == 5
    for sign in signs.values():
        Page(sign)


def test_a_row_of_the_ledger_unfolds_into_the_strips_of_its_claim(rows):
    page = html("ledger.html", rows, gate=True)
    assert [a["id"] for a in page.of("li", **{"class": "ledger-row"})] == ["ledger-T1", "ledger-T2", "ledger-U1"]
    assert len([a for a in page.of("svg", role="img") if a["class"].startswith("strip")]) == 5
    assert page.of("a", href="tiny.html#claim-T1")
    assert not page.of("a", href="unwritten.html#claim-U1")
    for words in ("mean & more", "Breaks when: far b", "In part, supported by 1 of 2: if it rains", "deviation (all): 3.0 × 10⁻¹⁶", "not yet tested",
                  "“the mean is <positive>”", "A claim of ours, not the text’s."):  # fmt: skip
        assert words in page.text


def test_the_ledger_says_where_a_verdict_differs_from_the_published_one_and_the_smoke_profile_does_not(rows):
    text = html("ledger.html", rows, gate=True).text
    assert text.count("differs from the published verdict") == 1
    assert "differs from the published verdict: holds" in text
    assert "differs" not in html("ledger.html", rows, gate=False).text


def test_what_the_ledger_is_filtered_and_sorted_by_stands_on_its_rows(rows):
    page = html("ledger.html", rows, gate=True)
    (form,) = page.of("form")
    assert form["role"] == "search"
    assert "hidden" in form  # until the script that makes it work has run
    named = [a["name"] for tag, a in page.elements if tag in ("select", "input")]
    assert named == ["verdict", "chapter", "subject", "words", "sort"]
    options = {a["value"] for a in page.of("option")}
    for row in page.of("li", **{"class": "ledger-row"}):
        for name in named[:3]:
            assert row[f"data-{name}"] in options
        for order in ("verdict", "reach", "margin", "same"):
            assert order in options
            assert row[f"data-by-{order}"].isdigit()
    script = (small_book.ROOT / "chapters" / "_static" / "book.js").read_text(encoding="utf-8")
    for word in (*named, "ledger-tools", "ledger-row", "ledger-chapter", "ledger-none", "data-by-"):
        assert word in script


def test_what_a_record_says_is_text_on_every_page(book, tmp_path):
    record = json.loads(
        json.dumps(verdict(book, "T1", case_a="supports")).replace("case a", "<script>alert(1)</script>")
    )
    rows = pages.entries(book, ledger.records(book, executed(tmp_path / "x", record)))
    for page in (tiles(rows), html("ledger.html", rows, gate=True), html("subjects.html", rows)):
        assert not page.of("script")
    assert "<script>alert(1)</script>" in html("ledger.html", rows, gate=True).text


def test_the_picture_is_described_in_words(rows, tmp_path):
    alt = pages.picture(rows, tmp_path / "verdicts.svg")
    assert pages.sentence(rows) in alt
    assert "A tiny chapter: 1 holds, 1 in part; Unwritten: 1 not yet tested" in alt
    drawn = (tmp_path / "verdicts.svg").read_text(encoding="utf-8")
    for words in ("T1", "T2", "U1", "1 holds in part", "A tiny chapter", "✓"):
        assert f">{words}</text>" in drawn


def test_the_verdicts_for_programs_are_strict_json_with_title_published_verdict_and_replications(book, run, tmp_path):
    replicate(book, T1=["in part"] * 10)
    pages.write(book, run, tmp_path / "out")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    data = json.loads((tmp_path / "out/verdicts.json").read_text(), parse_constant=refuse)
    assert [c["claim"] for c in data["claims"]] == ["T1", "T2", "U1"]
    assert data["profile"] == "published"
    first = data["claims"][0]
    assert (first["title"], first["published"], first["replication"]["same"]) == ("A tiny chapter", "holds", 10)
    assert first["boundary"] == {"reaches": 1, "of": 2, "breaks_when": ["far b"]}


def test_what_is_written_is_whole_and_the_same_twice(book, run, tmp_path):
    for name in ("a", "b"):
        pages.write(book, run, tmp_path / name)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["counts.txt", "difficulties.txt", "growth.svg", "ledger.txt", "performance.txt", "subjects.txt", "summary.txt", "timings.txt", "verdicts.json", "verdicts.svg", "verdicts.txt"]  # fmt: skip
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert "| [A tiny chapter](tiny.ipynb) | 3.2 | 30 | 2.0 |" in (tmp_path / "a/timings.txt").read_text()


def test_the_snakefile_expects_what_is_written(book, run, tmp_path):
    pages.write(book, run, tmp_path / "out")
    rule = (
        (small_book.ROOT / "Snakefile").read_text(encoding="utf-8").partition("rule ledger:")[2].partition("params:")[0]
    )
    for path in (tmp_path / "out").iterdir():
        assert f'"{path.name}"' in rule
