"""The figures on leaps show the numbers that they are given; rules are compared at equal work."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.experiments.tau_leaping import accuracy, figures, textbook
from companion.experiments.tau_leaping.accuracy import Case, Score, at_cost, compare, exact_law, gain
from companion.experiments.tau_leaping.leaping import Fixed, leap
from companion.experiments.tau_leaping.ssa import simulate
from mutants import mutant

DECAY = textbook.decay(200)


pytestmark = pytest.mark.usefixtures("in_house_style")


@pytest.fixture(scope="module")
def case():
    return Case(DECAY, "X", 1.0, 0.1, exact_law(DECAY, "X", 1.0))


def test_a_rule_gets_the_size_with_which_its_work_is_the_work_allowed(case):
    rule = at_cost(case, Fixed, 20.0, start=0.05)
    assert leap(DECAY, [1.0], rule, 50, 0).cost.mean() == pytest.approx(20, rel=0.1)
    assert leap(DECAY, [1.0], Fixed(2 * rule.tau), 50, 0).cost.mean() != pytest.approx(20, rel=0.1)


def test_all_rules_are_compared_at_the_work_of_caos(case):
    scores = compare(case, runs=200, repeats=5)
    costs = np.array([s.cost for s in scores.values()])
    assert np.allclose(costs, costs[0], rtol=0.25)
    assert np.array_equal(gain(scores), np.log(scores["fixed"].error / scores["relative change"].error))


def test_questions_to_the_same_runs_are_answered_as_if_each_had_runs_of_its_own(monkeypatch):
    network = textbook.dimerisation(0.01, 0.1, 60)
    exact = simulate(network, [1.0], 400, 1)
    cases = {name: Case(network, name, 1.0, 0.2, accuracy.simulated_law(exact, name)) for name in ("P", "P2")}
    walks = []
    monkeypatch.setattr(accuracy, "compare", lambda *args: walks.append(args) or compare(*args))
    together = accuracy.compare_all(cases, 100, 5)
    assert len(walks) == 1
    for name, case in cases.items():
        apart = compare(case, 100, 5)
        for rule, score in together[name].items():
            assert np.array_equal(score.error, apart[rule].error)
            assert score.error.size == 5


def test_a_gain_is_above_zero_where_the_rule_is_the_better_one():
    scores = {"relative change": Score(np.array([0.1]), 1.0, None), "fixed": Score(np.array([0.2]), 1.0, None)}
    assert gain(scores)[0] == pytest.approx(np.log(2))
    assert mutant(accuracy.gain, "scores[over].error / scores[rule].error", "scores[rule].error / scores[over].error")(
        scores
    )[0] == pytest.approx(-np.log(2))


def test_work_and_distance_of_every_rule_stand_in_its_problems_panel():
    def score(cost, error):
        return Score(np.array([error]), cost, None)

    names = ("relative change", "fixed", "1 / activity", "absolute change")
    curve = [{name: score(cost * (k + 1), 0.1 / cost) for k, name in enumerate(names)} for cost in (10.0, 40.0)]
    axes = figures.work_figure({"decay": curve, "rest": curve}, {"decay": np.ones(9), "rest": np.ones(9)})
    assert [panel.get_title("left") for panel in axes.flat] == ["decay", "rest"]
    line = axes[0, 0].lines[1]
    assert np.allclose(line.get_xdata(), [20, 80])
    assert np.allclose(line.get_ydata(), [0.01, 0.0025])
