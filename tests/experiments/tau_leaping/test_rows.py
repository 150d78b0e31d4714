"""The rows of the chapter on leaps, from numbers whose rows are known."""

import numpy as np
import pandas as pd
import pytest

from companion.experiments.tau_leaping import rows
from companion.experiments.tau_leaping.accuracy import Score
from companion.experiments.tau_leaping.ssa import Ensemble
from companion.experiments.tau_leaping.theory import Demand, Rest, Spread
from mutants import mutant
from stepsize.tuning import Choice

SPAN = np.array([1.0, 10.0, 100.0])


def scored(start, end):
    """Nine ensembles with one distance at the first of two times and another at the second."""
    return Score(np.tile([start, end], (9, 1)), 1.0, None)


def raced(**losses):
    return {
        name.replace("_", " "): Choice(0.1, 0.5, (), False, np.array([8.0, 2.0]), np.full(6, float(loss)))
        for name, loss in losses.items()
    }


def estimates(intervals):
    return {name: pytest.approx(i.estimate) for name, i in intervals.items()}


def test_exponents_are_counted_from_that_of_the_other_rule():
    demands = {"more molecules": Demand(SPAN, SPAN**-0.5)}
    assert estimates(rows.exponents(demands)) == {"more molecules": -0.5}
    assert estimates(rows.exponents(demands, above=-1.0)) == {"more molecules": 0.5}


def test_the_allowed_leap_is_the_demand_read_from_the_other_end():
    demands = {"more molecules": Demand(SPAN, SPAN**-0.5), "faster": Demand(SPAN, 1 / SPAN)}
    less = {"ten thousand times less activity, by fewer molecules": 10, "faster": 100}
    assert estimates(rows.allowed(demands)) == less
    swapped = mutant(rows.allowed, "d.step[0] / d.step[-1]", "d.step[-1] / d.step[0]")
    assert estimates(swapped(demands)) != less


def test_the_variance_at_rest_is_the_mean_of_squares_about_the_mean():
    spread = Spread(np.ones(1), np.ones(1), 7 + np.array([[-1.0, 1.0] * 5]))
    assert rows.variance_at_rest(spread).estimate == pytest.approx(1)
    assert mutant(rows.variance_at_rest, "x - x.mean()", "x")(spread).estimate == pytest.approx(50)


def test_gains_are_those_at_the_end_or_over_the_course_and_name_a_rule_that_is_not_caos():
    scores = {"rest": {"fixed": scored(6, 2), "relative change": scored(1, 1), "R-leaping": scored(0, 8)}}
    title = "the network is at rest"
    assert estimates(rows.gains(scores)) == {title: np.log(2)}
    assert estimates(rows.gains(scores, course=True)) == {f"{title}, over the course": np.log(4)}
    assert estimates(rows.gains(scores, rule="R-leaping")) == {f"R-leaping: {title}": -np.log(4)}
    scores["rest"]["fixed, with exact events"] = scored(2, 3)
    against = rows.gains(scores, over="fixed, with exact events")
    assert estimates(against) == {f"against a fixed step with exact events: {title}": np.log(3)}


def test_the_shared_law_is_the_ratio_of_the_two_variances():
    x = np.random.default_rng(0).normal(size=(1, 4000))
    molecules, gradients = (Spread(None, None, factor * x) for factor in (2.0, 1.0))
    assert estimates(rows.shared_law([0.5], molecules, gradients)) == {
        "a fixed step of 0.5 relaxation times": np.log(4)
    }


def test_losses_are_compared_seed_by_seed():
    losses = raced(SGD=6, Adam=3, leap_rule=9, constant=1) | {"leap rule, one for all": raced(x=12)["x"]}
    assert list(estimates(rows.transfer(losses)).values()) == [np.log(3), np.log(4)]
    losses["constant share of 1/h"] = raced(x=18)["x"]
    scores = {"rest": {"fixed": scored(1, 4), "relative change": scored(1, 1)}}
    assert estimates(rows.adaptation(scores, scores, losses)) == {
        "the network is at rest": np.log(4),
        "a quadratic is learned, curvatures unknown": np.log(2),
        "a quadratic is learned, curvatures given": np.log(2),
    }
    turned = mutant(
        rows.log_losses, "raced[rule].scores / raced[over].scores", "raced[over].scores / raced[rule].scores"
    )
    assert turned(losses, "SGD", "Adam")[0] == pytest.approx(-rows.log_losses(losses, "SGD", "Adam")[0])


def test_the_prose_is_told_ratios_and_counts():
    names = ("pairs vanish", "pairs vanish slowly", "product of the dimers", "pairs come and go", "decay")
    scores = {
        name: {"fixed": scored(1, 2), "relative change": scored(1, 1), "1 / activity": scored(1, 6)}
        for name in (*names, "decaying dimers")
    }
    told = rows.ratios("gain", rows.gains(scores))
    assert told == dict.fromkeys(("gain-pairs", "gain-slow", "gain-product", "gain-join", "gain-decay"), "2 [2, 2]")
    over = rows.ratios("course", rows.gains(scores, course=True), ", over the course")
    assert over["course-decay"] == "1.5 [1.5, 1.5]"

    table = pd.DataFrame(
        {"longest / shortest": [1.0, 1.1, 2.0, 3.0, 9.0]},
        index=["decay", "rest", "relaxation", "prey and predators", "pairs vanish"],
    )
    one = Spread(np.array([2.0]), np.array([0.05]), None)
    clock = [
        Ensemble(None, None, None, np.array(events), np.array(leaps)) for events, leaps in (([9], [4]), ([0], [70]))
    ]
    losses = raced(SGD=6, Adam=3) | {"leap rule, one for all": raced(x=12)["x"]}
    told = rows.numbers(Rest(np.array([1.0, 3.0]), 4.0, 0.1), one, one, table, clock, scores, losses)
    assert told["beyond"] == (0.5, ".0%")
    assert told["edge"] == "4 ± 0.2"
    assert (told["spread-changing"][0], told["spread-steady"][0]) == (9, 3)
    assert [told[f"clock-{key}"][0] for key in ("leaps", "events", "alone")] == [4, 9, 70]
    assert (told["adam-gain"], told["one-for-all"]) == ("2 [2, 2]", "4 [4, 4]")
    assert (told["no-floor"][0], told["floor"]) == (4, 0.5)
    assert told["text-pairs"] == told["text-dimers"] == "3 [3, 3]"


def test_a_dearer_event_raises_the_work_by_what_events_make_of_it():
    def ran(*events):
        none = np.zeros((2, 1, 1))
        return Ensemble(None, np.ones(1), none, np.array(events), leaps=np.array([5, 7]), refused=np.array([1, 1]))

    some, none = ((ran(40, 80), ran(120, 160)), (ran(0, 0), ran(0, 0)))
    scores = {
        problem: {"relative change": Score(np.zeros((2, 1)), np.mean([e.cost.mean() for e in of]), None, of)}
        for problem, of in zip(rows._TOLD.values(), (some, none, none, none, none), strict=True)
    }
    grown = rows.dearer(scores, 1 / 10)
    # 7 leaps and 100 events in the mean: 12 at a twentieth, 17 at a tenth
    assert [value for value, _ in grown.values()] == pytest.approx([17 / 12, 1, 1, 1, 1])
    assert rows.dearer(scores, 1 / 20)["dearer-pairs"][0] == pytest.approx(1)
    free = mutant(rows.dearer, "event * e.events", "0 * e.events")
    assert free(scores, 1 / 10)["dearer-pairs"][0] == pytest.approx(7 / 12)
