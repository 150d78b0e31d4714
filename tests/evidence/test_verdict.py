"""Verdicts follow from the stated rows by the claim's quantifier, and from nothing else."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.evidence import Interval, student
from companion.evidence import verdict as library
from companion.evidence.claims import VERDICTS, Claim, Measure
from companion.evidence.verdict import MIME, Evidence, Verdict, compare, decide, joint
from mutants import mutant
from stepsize.errors import EvidenceError

SAYS = ("supports", "contradicts", "undecided")
INTERVALS = {
    "supports": Interval(1.5, 1.2, 1.8, "m", 9),
    "contradicts": Interval(5, 4, 6, "m", 9),
    "undecided": Interval(2, 1, 3, "m", 9),
}
SIZE = Measure("size", "size of it", (1.0, 2.0), "A believer would.", ("*",))
quantifiers = st.sampled_from(["always", "can", "definition", "theorem"])
rows = st.lists(st.sampled_from(SAYS), min_size=1, max_size=6)


def claim(quantifier="always", **changes):
    made = Claim("T1", "tiny", "It is small.", quantifier, "result", "anywhere", {"size": SIZE}, phrase="small")
    return replace(made, **changes)


def row(says, setting="stated", condition="always", measure=SIZE):
    return Evidence(measure, condition, INTERVALS[says], setting)


def verdict(quantifier, stated, beyond=()):
    evidence = [row(s, "stated", f"s{i}") for i, s in enumerate(stated)]
    evidence += [row(s, "beyond", f"b{i}") for i, s in enumerate(beyond)]
    return Verdict(claim(quantifier), tuple(evidence))


def test_an_interval_inside_supports_outside_contradicts_across_is_undecided():
    assert [compare(INTERVALS[s], (1, 2)) for s in SAYS] == list(SAYS)


@given(st.floats(-9, 9), st.floats(0, 5), st.floats(0, 5), st.floats(-9, 9), st.floats(0.1, 9))
def test_what_a_row_says_follows_from_the_two_intervals_alone(estimate, below, above, low, width):
    interval, region = Interval(estimate, estimate - below, estimate + above, "m", 5), (low, low + width)
    inside = [region[0] <= x <= region[1] for x in np.linspace(interval.low, interval.high, 201)]
    said = compare(interval, region)
    if said == "supports":
        assert all(inside)
    if said == "contradicts":
        assert not any(inside)
    if any(inside) and not all(inside):
        assert said == "undecided"


@pytest.mark.parametrize(
    ("quantifier", "says", "verdict"),
    [
        ("always", "s", "holds"),
        ("always", "c", "fails"),
        ("always", "u", "open"),
        ("always", "sc", "in part"),
        ("always", "scu", "in part"),
        ("always", "su", "open"),
        ("always", "cu", "open"),
        ("can", "s", "holds"),
        ("can", "scu", "holds"),
        ("can", "cu", "open"),
        ("can", "cc", "fails"),
        ("theorem", "ss", "holds"),
        ("definition", "c", "fails"),
    ],
)
def test_the_table_of_verdicts(quantifier, says, verdict):
    names = dict(zip("scu", SAYS, strict=True))
    assert decide(quantifier, [names[s] for s in says]) == verdict


def outcomes(quantifier, says):
    """The verdicts that remain possible when every undecided row may turn out either way."""
    choices = [("supports", "contradicts") if s == "undecided" else (s,) for s in says]
    return {decide(quantifier, chosen) for chosen in itertools.product(*choices)}


@given(quantifiers, rows)
def test_a_claim_is_open_exactly_where_an_undecided_row_could_change_the_outcome(quantifier, says):
    possible = outcomes(quantifier, says)
    assert decide(quantifier, says) == (possible.pop() if len(possible) == 1 else "open")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"holds" if supported else "open" if undecided else "fails"', '"open" if undecided else "fails"'),
        ("supported and contradicted", "supported and contradicted and not undecided"),
    ],
)
def test_a_broken_logic_is_noticed(old, new):
    broken = mutant(library.decide, old, new)
    cases = [(q, says) for q in ("always", "can") for n in (1, 2, 3) for says in itertools.product(SAYS, repeat=n)]
    assert any(broken(q, says) != decide(q, says) for q, says in cases)


@given(quantifiers, rows, st.lists(st.sampled_from(SAYS), max_size=6))
def test_rows_beyond_never_change_a_verdict(quantifier, stated, beyond):
    assert verdict(quantifier, stated, beyond).says == verdict(quantifier, stated).says


@given(quantifiers, rows, st.randoms())
def test_neither_order_nor_names_of_rows_matter(quantifier, stated, random):
    shuffled = random.sample(stated, len(stated))
    other = Verdict(claim(quantifier), tuple(row(s, "stated", f"{i} renamed") for i, s in enumerate(shuffled)))
    assert other.says == verdict(quantifier, stated).says


@given(rows)
def test_can_needs_one_support(says):
    assert (decide("can", says) == "holds") == ("supports" in says)


def test_a_claim_without_a_stated_row_has_no_verdict():
    with pytest.raises(EvidenceError, match="measure where the text stands"):
        assert verdict("always", [], ["supports"]).says


@given(quantifiers, rows, st.lists(st.sampled_from(SAYS), max_size=6))
def test_the_boundary_counts_the_rows_beyond(quantifier, stated, beyond):
    made = verdict(quantifier, stated, beyond)
    b = made.boundary
    assert (b["reaches"], b["of"]) == (beyond.count("supports"), len(beyond))
    listed = b["true_when"] if made.says == "fails" else b["breaks_when"]
    assert len(listed) == beyond.count("supports" if made.says == "fails" else "contradicts")


SAMPLES = [np.random.default_rng(i).normal(1.5, 0.3, 20) for i in range(4)]


def test_joint_intervals_are_widened_by_the_number_of_stated_rows_alone():
    stated = [Evidence(SIZE, f"{i}", student(s), "stated") for i, s in enumerate(SAMPLES)]
    beyond = [Evidence(SIZE, f"b{i}", student(s), "beyond") for i, s in enumerate(SAMPLES[:2])]
    levels = lambda rows: [r.interval.method.split()[-1] for r in joint(rows)]  # noqa: E731
    assert levels(stated) == ["98.75%"] * 4
    assert levels(stated + beyond) == ["98.75%"] * 4 + ["97.5%"] * 2
    assert joint(stated + beyond)[:4] == joint(stated)


def test_rows_without_sampling_error_do_not_widen_the_others():
    still = Evidence(SIZE, "still", INTERVALS["supports"], "stated")
    alone = Evidence(SIZE, "0", student(SAMPLES[0]), "stated")
    assert joint([still, alone])[1].interval.method.endswith("95%")
    assert joint([still, alone])[0] == still


def test_a_margin_is_the_smallest_move_of_an_edge_that_changes_the_verdict():
    made = verdict("always", ["supports"])
    # inside (1, 2) with ends 1.2 and 1.8: the upper edge falls to 1.8, a factor of 2 / 1.8; the lower would rise by 1.2
    assert made.margin["edge"] == 2.0
    assert made.margin["factor"] == pytest.approx(2 / 1.8)
    failed = verdict("always", ["contradicts"])
    assert failed.margin["factor"] == pytest.approx(4 / 2)


def test_a_margin_moves_no_tolerance():
    exact_row = Evidence(
        replace(SIZE, key="round-off", identity=True), "0", Interval(1.99, 1.99, 1.99, "m", 1), "stated"
    )
    claim = verdict("always", ["supports"]).claim
    measured = verdict("always", ["supports"]).evidence
    assert Verdict(claim, (exact_row,)).margin is None
    assert Verdict(claim, (exact_row, *measured)).margin == Verdict(claim, measured).margin


@given(quantifiers, rows)
def test_a_region_moved_to_the_margin_changes_the_verdict_and_moved_half_as_far_does_not(quantifier, says):
    made = verdict(quantifier, says)
    if made.margin is None:
        return
    side = SIZE.region.index(made.margin["edge"])
    outward = 1 + 1e-9 if made.margin["moved_to"] > made.margin["edge"] else 1 - 1e-9

    def says_with(edge):
        region = tuple(edge if s == side else e for s, e in enumerate(SIZE.region))
        return made._under(SIZE, region)

    assert {says_with(made.margin["moved_to"] * f) for f in (1, outward, 1 / outward)} - {made.says}
    assert says_with(math.sqrt(made.margin["moved_to"] * made.margin["edge"])) == made.says


def test_the_share_of_a_control_is_taken_between_no_effect_and_the_stated_effect():
    ratio = replace(SIZE, no_effect=1.0, control=("static",))
    evidence = (
        Evidence(ratio, "adaptive", Interval(3, 2.5, 3.5, "m", 9), "stated"),
        Evidence(ratio, "static", Interval(2, 1.5, 2.5, "m", 9), "control"),
    )
    assert Verdict(claim(), evidence).shares == {"static": 0.5}
    logs = tuple(replace(e, measure=replace(ratio, log=True)) for e in evidence)
    assert Verdict(claim(), logs).shares["static"] == pytest.approx(math.log(2) / math.log(3))


def test_a_control_never_changes_a_verdict():
    control = row("contradicts", "control")
    assert Verdict(claim(), (row("supports"), control)).says == "holds"


def test_a_record_is_plain_json_and_gives_every_number_back():
    wide = replace(SIZE, region=(1.0, math.inf))
    made = Verdict(claim(), (replace(row("supports"), measure=wide), row("contradicts", "beyond", "elsewhere")))
    record = json.loads(json.dumps(made.record(), allow_nan=False))
    assert record["verdict"] == "holds"
    assert record["boundary"] == {"reaches": 0, "of": 1, "breaks_when": ["elsewhere"]}
    first = record["evidence"][0]
    assert (first["setting"], first["says"], first["kind"]) == ("stated", "supports", "computation")
    assert [float(e) for e in first["region"]] == [1.0, math.inf]
    assert first["interval"] == {"estimate": 1.5, "low": 1.2, "high": 1.8, "method": "m", "n": 9}
    assert {"claim", "chapter", "text", "phrase", "quantifier", "verdict", "boundary", "evidence"} <= set(record)


def test_a_condition_is_recorded_only_where_the_claim_holds_in_part():
    said = {says: Verdict(claim(condition="if it rains"), tuple(map(row, says))).record()["condition"] for says in
            [("supports",), ("supports", "contradicts")]}  # fmt: skip
    assert said == {("supports",): "", ("supports", "contradicts"): "if it rains"}


def test_an_identity_is_no_measurement():
    identity = replace(SIZE, identity=True)
    assert row("supports", measure=identity).kind == "identity"
    assert Evidence(SIZE, "a", student(SAMPLES[0]), "stated").kind == "measurement"
    assert row("supports").kind == "computation"


def test_a_verdict_displays_as_a_card_a_record_and_a_text():
    made = verdict("always", ["supports"])
    bundle = made._repr_mimebundle_()
    assert bundle[MIME] == made.record()
    assert 'id="claim-T1"' in bundle["text/html"]
    assert bundle["text/plain"].startswith("T1: holds")
    assert set(VERDICTS) == {"holds", "in part", "fails", "open"}


@pytest.mark.parametrize("says", SAYS)
def test_a_fragile_claim_is_open_whatever_one_run_says(says):
    sure = verdict("always", [says])
    fragile = replace(sure, claim=replace(sure.claim, fragile=True))
    assert fragile.says == fragile.record()["verdict"] == "open"
    assert fragile.computed == fragile.record()["computed"] == sure.says == sure.computed
