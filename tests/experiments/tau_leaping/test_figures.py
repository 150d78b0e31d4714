"""The figures on leaps show the numbers that they are given; rules are compared at equal work."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.experiments.tau_leaping import accuracy, figures, textbook
from companion.experiments.tau_leaping.accuracy import Case, Score, at_cost, compare, exact_laws, gain
from companion.experiments.tau_leaping.leaping import Fixed, leap
from companion.experiments.tau_leaping.ssa import EVENT, simulate
from companion.experiments.tau_leaping.theory import Demand
from mutants import mutant
from stepsize.tuning import Choice

DECAY = textbook.decay(200)


pytestmark = pytest.mark.usefixtures("in_house_style")


@pytest.fixture(scope="module")
def case():
    return Case(DECAY, "X", [1.0], 0.1, exact_laws(DECAY, "X", [1.0]))


def test_a_rule_gets_the_size_with_which_its_work_is_the_work_allowed(case):
    rule = at_cost(case, Fixed, 20.0, start=0.05, seed=3)
    assert leap(DECAY, [1.0], rule, 50, 0).cost.mean() == pytest.approx(20, rel=0.1)
    assert leap(DECAY, [1.0], Fixed(2 * rule.tau), 50, 0).cost.mean() != pytest.approx(20, rel=0.1)


def test_all_rules_are_compared_at_the_work_of_caos(case):
    scores = compare(case, 200, range(5), tuning=5)
    costs = np.array([s.cost for s in scores.values()])
    assert np.allclose(costs, costs[0], rtol=0.25)
    assert np.array_equal(gain(scores), np.log(scores["fixed"].error / scores["relative change"].error)[:, 0])
    assert all((e.events == 0).all() for s in scores.values() for e in s.ensembles)  # leaps against leaps


def test_r_leaping_gets_as_many_leaps_as_caos_and_at_least_one_firing_in_each(case):
    scores = compare(case, 200, range(5), tuning=5, rivals=("R-leaping",))
    cao, counted = scores["relative change"], scores["R-leaping"]
    assert counted.cost == pytest.approx(cao.cost, rel=0.1)
    assert 200 / cao.cost / 2 < counted.rule.size < 200 / cao.cost  # of 200 molecules two thirds decay
    assert accuracy.RIVALS["R-leaping"](0.1).size == 1


def test_an_exact_event_costs_its_share_of_a_leap(case):
    mixed = compare(case, 200, range(5), tuning=5, burst=100, rivals=("fixed",))
    ensemble = mixed["relative change"].ensembles[0]
    assert ensemble.events.mean() > 20
    assert np.array_equal(ensemble.cost, ensemble.leaps + ensemble.refused + EVENT * ensemble.events)
    assert mixed["fixed"].cost == pytest.approx(mixed["relative change"].cost, rel=0.25)


def test_a_fixed_step_with_exact_events_works_as_much_as_caos_algorithm(case):
    mixed = compare(case, 200, range(5), tuning=5, burst=100, rivals=("fixed, with exact events",))
    rival = mixed["fixed, with exact events"]
    assert rival.cost == pytest.approx(mixed["relative change"].cost, rel=0.25)
    assert all((e.events > 0).all() for e in rival.ensembles)


def test_the_price_of_an_exact_event_is_its_processor_time():
    """A leap of one reaction against an event, both in machine code; a factor of three either way, for a busy machine."""
    network = textbook.immigration_death(1e4, 1.0, 10**4)
    leaps, per_run = accuracy.processor_time(lambda: leap(network, [50.0], Fixed(0.01), 40, 1))
    events, exact = accuracy.processor_time(lambda: simulate(network, [1.0], 40, 1))
    price = (exact / events.events.mean()) / (per_run / leaps.leaps.mean())
    assert EVENT / 3 < price < 3 * EVENT


def scored(*errors, cost=1.0):
    """Ensembles with these distances, at one time."""
    return Score(np.array(errors)[:, None], cost, None)


def test_the_best_rule_is_chosen_on_ensembles_that_do_not_report_it():
    rules = {"fixed": scored(1, 1, 1, 1, 1, 1), "relative change": scored(2, 2, 0.1, 0.1, 0.1, 0.1)}
    rules["1 / activity"] = scored(0.5, 0.5, 4, 4, 4, 4)
    (reported,) = accuracy.best_gains({"rest": rules}).values()
    np.testing.assert_allclose(reported, -np.log(4))
    assert list(accuracy.best_gains({"rest": rules})) == [accuracy.PACE["rest"]]


def test_a_rule_of_another_comparison_is_measured_against_the_fixed_step_of_that_one():
    leaping = {"fixed": scored(1, 1, 1), "relative change": scored(2, 2, 2)}
    published = {"fixed": scored(9, 9, 9), "relative change": scored(3, 3, 3)}
    (reported,) = accuracy.best_gains({"rest": leaping}, {"rest": published}).values()
    np.testing.assert_allclose(reported, np.log(3))


def test_questions_to_the_same_runs_are_answered_as_if_each_had_runs_of_its_own(monkeypatch):
    network = textbook.dimerisation(0.01, 0.1, 60)
    exact = simulate(network, [0.5, 1.0], 400, 1)
    cases = {name: Case(network, name, exact.times, 0.2, accuracy.simulated_laws(exact, name)) for name in ("P", "P2")}
    walks = []
    monkeypatch.setattr(accuracy, "compare", lambda *args, **o: walks.append(args) or compare(*args, **o))
    together = accuracy.compare_all(cases, 100, range(5), 5)
    assert len(walks) == 1
    for name, case in cases.items():
        apart = compare(case, 100, range(5), 5)
        for rule, score in together[name].items():
            assert np.array_equal(score.error, apart[rule].error)
            assert score.error.shape == (5, 2)


def test_a_gain_is_above_zero_where_the_rule_is_the_better_one():
    scores = {"relative change": scored(0.1), "fixed": scored(0.2)}
    assert gain(scores)[0] == pytest.approx(np.log(2))
    assert mutant(accuracy.gain, "error[over] / error[rule]", "error[rule] / error[over]")(scores)[0] == pytest.approx(
        -np.log(2)
    )


def test_the_gain_over_the_course_is_that_of_the_mean_distance():
    scores = {
        "relative change": Score(np.array([[0.1, 0.3]]), 1.0, None),
        "fixed": Score(np.array([[1.1, 0.1]]), 1.0, None),
    }
    assert gain(scores)[0] == pytest.approx(-np.log(3))
    assert gain(scores, course=True)[0] == pytest.approx(np.log(3))


def test_a_course_is_five_times_up_to_the_end_each_twice_the_one_before():
    assert accuracy.course(8.0).tolist() == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_laws_over_the_course_are_those_of_a_binomial():
    """Each of 200 molecules survives to t with probability exp(-t)."""
    for t, law in zip((0.25, 1.0), exact_laws(DECAY, "X", [0.25, 1.0]), strict=True):
        p = np.exp(-t)
        assert law.mean == pytest.approx(200 * p, rel=1e-10)
        assert law.sd == pytest.approx(np.sqrt(200 * p * (1 - p)), rel=1e-10)


def test_leaps_of_a_decay_have_one_length_and_those_of_pairs_grow_with_the_time_scale():
    def spread(order):
        return accuracy.spread_of_leaps(Case(textbook.decay(1000, 0.01, order), "X", [5.0], 0.1, []), 50, 1)

    assert spread(1) == pytest.approx(1, abs=0.01)
    assert spread(2) > 5  # the time scale grows fiftyfold


def test_work_and_distance_of_every_rule_stand_in_its_problems_panel():
    names = ("relative change", "fixed", "1 / activity", "absolute change")
    curve = [{name: scored(0.1 / cost, cost=cost * (k + 1)) for k, name in enumerate(names)} for cost in (10.0, 40.0)]
    axes = figures.work_figure({"decay": curve, "rest": curve}, {"decay": np.ones(9), "rest": np.ones(9)})
    assert [panel.get_title("left") for panel in axes.flat] == ["decay", "rest"]
    line = axes[0, 0].lines[1]
    assert np.allclose(line.get_xdata(), [20, 80])
    assert np.allclose(line.get_ydata(), [0.01, 0.0025])


def test_names_stand_at_the_ends_of_the_lines_of_their_exponent():
    span = np.array([1.0, 10.0, 100.0])
    axes = figures.demand_figure(
        {"flat": Demand(span, span**0), "also flat": Demand(span, span**0)}, {"Adam": Demand(span, 1 / span)}
    )
    steep, flat = axes.texts
    assert (flat.get_text(), flat.xy) == ("exponent 0\nflat\nalso flat", (100.0, 1.0))
    assert (steep.get_text(), steep.xy) == ("exponent −1\nAdam", (100.0, 0.01))
    assert axes.lines[2].get_linestyle() == "--"


def test_the_table_of_a_race_has_rates_floors_and_medians():
    choices = {"SGD": Choice(0.1, None, (1,), True, np.ones(3), np.array([1.0, 2.0, 9.0]))}
    table = figures.race_table(choices | {"leap rule": choices["SGD"]._replace(setting=0.07, at_edge=False)})
    assert table.values.tolist() == [["0.1 (edge of the grid)", "", "2"], ["0.1", "0.07", "2"]]
