"""What a card shows: every number where it belongs, every sign with a shape and a word, and no markup of its data's own."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from companion.evidence import cards
from companion.evidence.cards import Axis, Table, badge, card, dots
from companion.evidence.claims import VERDICTS
from companion.evidence.verdict import decide
from markup import Page
from mutants import mutant

INF = math.inf


def interval(estimate, low=None, high=None, method="Student t, 97.5%", n=20):
    ends = {"low": estimate if low is None else low, "high": estimate if high is None else high}
    plain = {"estimate": estimate} | ends
    return {k: v if math.isfinite(v) else str(v) for k, v in plain.items()} | {"method": method, "n": n}


def row(says="supports", setting="stated", values=(1.5, 1.2, 1.8), region=(1, INF), **changes):
    return {
        "setting": setting, "kind": "measurement", "says": says, "condition": f"{says}, {setting}", "key": "size",
        "measure": "size of it", "because": "Larger than 1 is large.", "post_hoc": False, "interval": interval(*values),
        "region": [e if math.isfinite(e) else str(e) for e in region],
    } | changes  # fmt: skip


def record(*evidence, **changes):
    return {
        "claim": "T1", "chapter": "tiny", "text": "It is large.", "phrase": "it is large", "paragraph": "Section, 2",
        "ours": False, "quantifier": "always", "subject": "rate", "setting": "Where it is said.", "verdict": "holds",
        "computed": "holds", "condition": "", "test": [], "boundary": {"reaches": 0, "of": 0, "breaks_when": []}, "margin": None, "shares": {},
        "evidence": list(evidence) or [row()],
    } | changes  # fmt: skip


def strips(html):
    return [a["aria-label"] for a in Page(html).of_class("strip")]


ALL_SAYS = [row(says, setting) for setting in ("stated", "beyond", "control") for says in cards.SAYS]


def test_a_card_is_well_formed_and_keeps_its_anchor():
    page = Page(card(record(*ALL_SAYS, row(kind="identity", key="exact"))))
    assert page.elements[0] == ("div", {"class": "verdict-card verdict-holds", "id": "claim-T1"})
    assert len({a["id"] for _, a in page.elements if "id" in a}) == sum("id" in a for _, a in page.elements)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_badge_says_its_verdict_by_a_sign_and_in_words(verdict):
    page = Page(badge(verdict))
    assert page.text == f"{cards.VERDICT_SIGNS[verdict]} {verdict}"
    assert f"verdict-{verdict.replace(' ', '-')}" in page.elements[0][1]["class"]
    assert badge(verdict) in card(record(verdict=verdict))


def test_four_verdicts_have_four_signs():
    assert set(cards.VERDICT_SIGNS) == set(VERDICTS)
    assert len(set(cards.VERDICT_SIGNS.values())) == len(VERDICTS)
    assert len(set(cards.DOTS.values())) == len(cards.DOTS) == 3


def test_the_heading_tells_whose_words_these_are_what_they_mean_and_where():
    text = Page(card(record(quantifier="can", test=["test_it", "test_that"]))).text
    for words in ("T1", "It is large.", "The text says: “it is large” (Section, 2)", "Setting: Where it is said.",
                  "one supporting case suffices", "Tested by test_it, test_that."):  # fmt: skip
        assert words in text
    ours = Page(card(record(ours=True, phrase="", paragraph=""))).text
    assert "A claim of ours, not the text’s." in ours
    assert "The text says" not in ours
    assert "”, another reading of T0" in Page(card(record(paragraph="", reading_of="T0"))).text
    assert (
        "A claim of ours, not the text’s, the same sentence as T0."
        in Page(card(record(paragraph="", ours=True, part_of="T0"))).text
    )


def test_the_condition_of_in_part_is_printed_and_nothing_else_has_one():
    assert (
        "In part, supported by 1 of 1: if it rains"
        in Page(card(record(condition="if it rains", verdict="in part"))).text
    )
    assert "In part" not in Page(card(record())).text


@pytest.mark.parametrize(
    ("quantifier", "says", "words"),
    [
        ("always", "scc?", None),  # in part, whatever the undecided rows are
        ("always", "ccc?", "Open: 3 of 4 measurements contradict, 1 lies across the edge of the claimed values; those that lie across would decide between in part and fails."),
        ("always", "s??", "Open: 1 of 3 measurements supports, 2 lie across the edge of the claimed values; those that lie across would decide between holds and in part."),
        ("always", "??", "Open: both measurements lie across the edge of the claimed values; those that lie across would decide between holds, in part and fails."),
        ("can", "cc?", "Open: 2 of 3 measurements contradict, 1 lies across the edge of the claimed values; the claim holds if one that lies across supports it, and fails if none does."),
        ("can", "?", "Open: the one measurement lies across the edge of the claimed values; the claim holds if one that lies across supports it, and fails if none does."),
        ("always", "cccc", None),
    ],
)  # fmt: skip
def test_an_open_card_says_which_rows_leave_it_open_and_what_they_would_decide(quantifier, says, words):
    known = {"s": "supports", "c": "contradicts", "?": "undecided"}
    verdict = decide(quantifier, [known[s] for s in says])
    text = Page(card(record(*(row(known[s]) for s in says), row("contradicts", "beyond"), quantifier=quantifier, verdict=verdict, computed=verdict))).text  # fmt: skip
    assert (words is None) == ("Open:" not in text)
    assert (words or "") in text


def test_a_fragile_card_says_how_its_rows_stand_and_that_runs_disagree():
    rows = [row("contradicts")] * 4
    text = Page(card(record(*rows, verdict="open", computed="fails"))).text
    assert "registered as fragile: this run says fails, since all 4 measurements contradict; runs under other" in text


def test_every_strip_says_in_a_sentence_what_it_shows():
    label = "supports, stated: size of it is 1.5, interval 1.2 to 1.8; claimed at least 1; supports the claim."
    assert strips(card(record(row()))) == [label]
    (open_end,) = strips(card(record(row("undecided", values=(INF, 2, INF)))))
    assert "size of it is ∞, interval 2 to ∞" in open_end
    (computed,) = strips(card(record(row(values=(3,)))))
    assert "is 3; claimed" in computed


def test_signs_shapes_and_words_differ_and_never_the_colour_alone():
    html = card(record(*(row(says) for says in cards.SAYS)))
    page = Page(html)
    values = [a for a in page.of_class("value")]
    assert [a["class"].split()[1] for a in values] == ["says-supports", "says-contradicts", "says-undecided"]
    for sign, words in cards.SAYS.values():
        assert sign in page.text
        assert words in html
    shapes = [html.count(shape) for shape in ('<circle r="4.5"', '<circle class="hollow"', '<path class="hollow"')]
    assert shapes == [1, 1, 1]


def test_a_control_shows_its_share_of_the_effect_and_no_sign():
    html = card(record(row(), row("contradicts", "control"), shares={"contradicts, control": 0.62}))
    assert strips(html)[1].endswith("outside them; attains 62% of the effect.")
    assert "attains 62% of the effect" in Page(html).text
    for share, words in (
        (129.0, "attains 129 times the effect"),
        (8.04, "attains 8 times the effect"),
        (-0.5, "attains −50% of the effect"),
    ):
        assert words in card(record(row(), row("contradicts", "control"), shares={"contradicts, control": share}))
    assert "✗" not in Page(html).text.partition("✓:")[0]


def test_rows_of_the_text_s_setting_come_first_and_those_beyond_under_a_heading_of_their_own():
    html = card(record(row(setting="control"), row(setting="beyond"), row()))
    assert [label.partition(":")[0] for label in strips(html)] == [
        "supports, stated",
        "supports, beyond",
        "supports, control",
    ]
    text = Page(html).text
    assert text.index("in the text’s setting") < text.index("beyond the text’s setting") < text.index("controls")


def test_the_words_of_a_measure_and_what_is_claimed_stand_once():
    html = card(record(*(row(condition=c) for c in "abc"), row(key="other", measure="weight of it", setting="beyond")))
    text = Page(html).text.partition("All numbers")[0]
    assert text.count("size of it") == 1
    assert text.count("claimed: at least 1, because: Larger than 1 is large.") == 2
    assert text.index("size of it") < text.index("weight of it")


def test_a_region_chosen_after_results_is_marked():
    assert "chosen after first results" in Page(card(record(row(post_hoc=True)))).text
    assert "chosen after first results" not in Page(card(record())).text


def test_an_identity_is_a_line_and_no_strip():
    exact = row(kind="identity", values=(3e-16,), region=(-INF, 1e-12), condition="Adam", measure="deviation")
    html = card(record(exact))
    assert strips(html) == []
    assert "Checked to round-off:" in Page(html).text
    assert "✓ deviation (Adam): 3.0 × 10⁻¹⁶, must be at most 1.0 × 10⁻¹²" in Page(html).text
    assert "joint" not in Page(html).text


@pytest.mark.parametrize(
    ("boundary", "words"),
    [
        (
            {"reaches": 3, "of": 5, "breaks_when": ["a", "b", "a"]},
            "Reaches 3 of 5 further settings. Breaks when: a; b.",
        ),
        ({"reaches": 5, "of": 5, "breaks_when": []}, "Reaches 5 of 5 further settings."),
        ({"reaches": 3, "of": 8, "breaks_when": list("abcde")}, "Reaches 3 of 8 further settings."),
        ({"reaches": 1, "of": 2, "true_when": ["a"]}, "Supported in 1 of 2 further settings. True when: a."),
        ({"reaches": 0, "of": 2, "true_when": []}, "Supported in 0 of 2 further settings."),
        ({"reaches": 0, "of": 0, "breaks_when": []}, "Not measured beyond the text’s setting."),
    ],
)
def test_the_boundary_in_words(boundary, words):
    assert cards.boundary(record(boundary=boundary)) == words
    assert words in Page(card(record(boundary=boundary))).text


def test_the_margin_in_words():
    move = {"measure": "size", "edge": 0.8, "moved_to": 0.93, "factor": 1.1625}
    assert cards.margin(record(margin=move)) == (
        "The verdict would be another if the claimed edge were 0.93 instead of 0.8, a factor 1.16 away."
    )
    two = record(row(), row(key="other"), margin=move | {"edge": -0.1, "moved_to": 0.2, "factor": None})
    assert cards.margin(two) == (
        "The verdict would be another if the claimed edge of the size of it were 0.2 instead of −0.1."
    )
    assert cards.margin(record()) == "No move of one edge changes the verdict."


def test_a_margin_never_names_one_number_twice():
    near = {"measure": "size", "edge": 1.000001, "moved_to": 1.0, "factor": 1.000001}
    assert cards.margin(record(margin=near)) == (
        "The verdict would be another if the claimed edge were 1 instead of 1.000001, a factor 1.000001 away."
    )
    on_it = {"measure": "size", "edge": 0.0, "moved_to": 0.0, "factor": None}
    assert cards.margin(record(margin=on_it)) == (
        "The claimed edge, 0, is itself what was measured: past it by however little, the verdict would be another."
    )
    assert cards.margin(record(row(kind="identity"))) == (
        "Checked to round-off: the edges are tolerances, and no margin is read from them."
    )
    assert cards.margin(record(row(kind="identity"), row())) == "No move of one edge changes the verdict."


def test_how_intervals_were_made_is_said_once_for_each_kind():
    many = [row(interval=interval(1.5, 1, 2, method, n)) for method, n in
            (("Student t, 97.5%", 20), ("Student t, 98%", 30), ("Wilson score, 95%", 9))]  # fmt: skip
    assert cards.methods(record(*many)).endswith(
        "within a setting: Student t of 20 to 30 values; Wilson score of 9 values."
    )


def test_replications_are_printed_where_there_are_any_and_a_fragile_verdict_is_called_so():
    sound, weak = ({"runs": 20, "same": n, "others": {"open": 20 - n}, "fragile": n < 18} for n in (19, 15))
    assert (
        "The same verdict in 19 of 20 replications under other seeds.\n" in Page(card(record(replication=sound))).text
    )
    assert "15 of 20 replications under other seeds: fragile." in Page(card(record(replication=weak))).text
    settled = record(replication=weak) | {"verdict": "open", "computed": "fails"}
    assert (
        "this one says fails, since the one measurement supports; of 20 replications under other seeds 15 say fails, 5 open. A verdict on which"
        in Page(card(settled)).text
    )
    exact = Page(card(record(replication=sound | {"constant": True}))).text
    assert "No number in the text’s setting depends on the seed" in exact
    assert "19 of 20" not in exact
    assert "replications" not in Page(card(record())).text


def test_all_numbers_are_in_a_folded_table_that_a_keyboard_can_scroll():
    page = Page(card(record(*ALL_SAYS)))
    folded = [a for tag, a in page.elements if tag == "details"]
    assert folded == [{"class": "numbers"}]
    assert sum(tag == "tr" for tag, _ in page.elements) == 1 + len(ALL_SAYS)
    (region,) = page.of_class("table-scroll")
    assert (region["tabindex"], region["role"]) == ("0", "region")


HOSTILE = '<script>alert("1")</script> & a < b'


def hostile():
    return record(
        row(condition=HOSTILE, measure=HOSTILE, because=HOSTILE), row(kind="identity", condition=HOSTILE, key="other"),
        text=HOSTILE, phrase=HOSTILE, paragraph=HOSTILE, setting=HOSTILE, condition=HOSTILE, test=[HOSTILE],
        boundary={"reaches": 0, "of": 1, "breaks_when": [HOSTILE]},
    )  # fmt: skip


def test_what_a_record_says_is_text_and_never_markup():
    for html in (card(hostile()), Table([hostile()])._repr_html_()):
        assert "<script" not in html
        assert "alert(" in html
        assert HOSTILE in Page(html).text
    careless = mutant(cards.environment, "True", "False", times=3)
    path = cards._TEMPLATES.loader.searchpath[0]
    assert "<script" in careless(path).get_template("card.html").render(r=hostile())


def test_the_table_of_a_chapter_links_every_claim_to_its_card():
    table = Table([record(row(), row(setting="beyond")), record(claim="T2", verdict="fails", ours=True)])
    page = Page(table._repr_html_())
    assert [a["href"] for tag, a in page.elements if tag == "a"] == ["#claim-T1", "#claim-T2"]
    assert "It is large. (ours)" in page.text
    assert "1 of 1 further settings support" in table._repr_html_()
    assert repr(table) == "T1: holds\nT2: fails"


def test_a_dot_for_every_measurement_beyond_the_setting_and_for_no_other():
    shown = dots(record(*ALL_SAYS, row("contradicts", "beyond")))
    assert Page(shown).text == "●○○◇"
    assert 'aria-label="1 of 4 further settings support"' in shown
    assert dots(record()) == ""


# ---------------------------------------------------------------- the axis


def test_an_axis_is_logarithmic_where_its_numbers_span_more_than_a_factor_20():
    assert not Axis.of([0.5, 9], (1, INF)).log
    assert Axis.of([0.5, 11], (1, INF)).log
    assert Axis.of([0.001, 0.004], (0, 0.5)).log  # the edge at 0 lies off it
    assert not Axis.of([0, 11], (1, INF)).log
    assert not Axis.of([-1, 100], (1, INF)).log
    assert not Axis.of([0.01, 0.98], (0.8, 1)).log  # a share
    assert Axis.of([0.01, 0.98, 30], (0.8, 1)).log
    assert (
        not mutant(Axis, "max(positive) > 20 * min(positive)", "max(positive) > 60 * min(positive)")
        .of([0.5, 11], (1, INF))
        .log
    )


def test_the_far_edge_of_a_region_does_not_press_the_values_together():
    def axis(kind, values, region):
        made = kind.of(values, region)
        return made.low, made.high

    assert axis(Axis, [-0.3, 1.5], (-100, -0.5)) == (-0.5, 1.5)
    assert axis(Axis, [-1, 1.5], (-100, -0.5)) == (-1, 1.5)
    assert axis(Axis, [-3, 1.5], (-10, -0.5)) == (-10, 1.5)  # room for both
    assert Axis.of([-0.3, 1.5], (-100, -0.5)).place(-100) == 0  # what is claimed goes on to the end of the strip
    assert axis(
        mutant(Axis, "4 * (max(close) - min(close))", "400 * (max(close) - min(close))"), [-0.3, 1.5], (-100, -0.5)
    ) == (-100, 1.5)


values = st.floats(-1e6, 1e6).map(lambda v: round(v, 6))


@given(st.lists(values, min_size=1, max_size=8), values, st.booleans(), st.booleans())
def test_everything_finite_stands_between_the_gutters_in_its_order(numbers, edge, above, logarithmic):
    if logarithmic:
        numbers, edge = [math.exp(v / 1e5) for v in numbers], math.exp(edge / 1e5)
    region = (edge, INF) if above else (-INF, edge)
    axis = Axis.of([*numbers, INF], region)
    assume(not (axis.log and edge <= 0))  # an edge at 0 lies off a logarithmic axis
    placed = [axis.place(v) for v in sorted([*numbers, edge])]
    assert placed == sorted(placed)
    assert cards.GUTTER - 1e-6 <= placed[0] <= placed[-1] <= 100 - cards.GUTTER + 1e-6
    assert (axis.place(-INF), axis.place(INF)) == (0, 100)
    at = [place for place, *_ in axis.ticks([edge])]
    assert any(shown for *_, shown in axis.ticks([edge]))
    assert all(abs(a - b) >= cards.APART for i, a in enumerate(at) for b in at[:i])


def test_an_axis_of_one_number_has_room_on_both_sides():
    for value in (3.0, 0.0, -2.0):
        axis = Axis.of([value], (value, INF))
        assert axis.low < value < axis.high
        assert axis.place(value) == pytest.approx(50)


def test_ticks_are_the_edges_and_round_numbers():
    axis = Axis.of([0.2, 0.98], (0.8, 1))
    assert [value for _, value, edge in axis.ticks([0.8, 1.0]) if edge] == [0.8, 1.0]
    assert [round(value, 9) for _, value, edge in axis.ticks([0.8, 1.0]) if not edge] == [0.2, 0.4, 0.6]
    decades = [value for *_, value, edge in Axis.of([1e-4, 1e4], (1, INF)).ticks([1.0]) if not edge]
    assert all(math.log10(value) == pytest.approx(round(math.log10(value))) for value in decades)
    assert len(decades) >= 2


def test_an_infinite_end_is_an_arrow_at_the_end_of_the_strip():
    html = card(record(row("undecided", values=(40, 2, INF), region=(-INF, 1))))
    assert html.count('class="arrow" x="100%"') == 1
    assert ">∞</text>" in html
    (band,) = Page(html).of_class("region")
    assert band["x"] == "0.0%"
    never = card(record(row(values=(INF,), region=(-INF, 1))))
    assert 'class="estimate"' not in never
    assert 'class="arrow"' in never
    assert "arrow" not in card(record())
