"""Races that keep tuning and reporting apart, and what single gradients teach."""

import numpy as np
import pytest

from companion.experiments.risk_aversion import race as module
from companion.experiments.risk_aversion.filtering import averaged
from companion.experiments.risk_aversion.problems import least_squares, logistic, quadratic
from companion.experiments.risk_aversion.race import (
    BETAS,
    ENTRIES,
    LONGER,
    Units,
    entered,
    ivon_units,
    late_excess,
    late_excess_of_mean,
    lesson,
    lessons,
    misfit,
    misfits,
    misfits_tuned,
    over_adam,
    powers_of_noise,
    race,
    races,
    rate_exponent,
    tail,
    tail_ratio,
    tails,
    tuned_memory,
    typical_rates,
    units,
)
from companion.experiments.risk_aversion.rules import IVON, Observing, RiskAverse
from mutants import mutant
from stepsize import SGD, Adam
from stepsize.errors import EvidenceError

RATES = np.array([0.01, 0.1])


def test_rates_race_together_as_they_race_alone():
    problem = least_squares([1, 2, 3], 100)
    together = late_excess(RiskAverse(np.array([0.01, 0.1])[:, None, None]), problem, 100)
    alone = late_excess(RiskAverse(np.full((1, 1, 1), 0.1)), problem, 100)
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-11)


def test_a_run_that_diverges_loses_without_hiding():
    assert np.isinf(late_excess(SGD(np.full((1, 1, 1), 1e9)), least_squares([1], 200), 200)).all()


def test_every_entry_meets_the_same_seeds_and_tuning_is_apart(monkeypatch):
    seen = []

    def sample(seeds, steps):
        seen.append(tuple(seeds))
        return logistic(seeds, steps)

    raced = race(sample, [0, 1], [5, 6, 7], 40, rates=RATES)
    assert set(raced) == set(ENTRIES)
    assert seen == [(0, 1), (5, 6, 7)]
    assert all(c.scores.shape == (3,) and c.setting in ENTRIES[name].values for name, c in raced.items())
    with pytest.raises(EvidenceError, match="both sets"):
        race(sample, [0, 1], [1, 2], 40, rates=RATES)


def test_every_entry_has_as_many_values_to_choose_from():
    assert {len(entry.values) for entry in ENTRIES.values()} == {7}


def test_the_second_number_is_the_one_of_least_tuning_cost():
    choice = race(quadratic("constant"), range(4), range(10, 16), 200, ["risk-averse"], rates=RATES)["risk-averse"]
    problem = quadratic("constant")(range(4), 200)
    make, _, values = ENTRIES["risk-averse"]
    cost = {
        v: np.log(late_excess(Observing(make(RATES[:, None, None], v)), problem, 200)).mean(-1).min() for v in values
    }
    assert choice.setting == min(cost, key=cost.get)


def test_a_tail_is_met_by_nine_in_ten_and_bears_infinity():
    assert tail(np.arange(1, 11)) == 9
    assert tail([1.0] * 19 + [np.inf]) == 1


def test_the_ratio_of_tails_keeps_pairs_together():
    a = np.random.default_rng(0).lognormal(size=60)
    i = tail_ratio(2 * a, a)
    assert (i.low, i.estimate, i.high) == pytest.approx((np.log(2),) * 3)


def test_the_exponent_of_adam_is_minus_one_and_of_the_averse_minus_two():
    assert rate_exponent(Adam(1.0, eps=0), 10, 100, 32, 2000, 0).mean() == pytest.approx(-1, abs=0.01)
    assert rate_exponent(RiskAverse(1e9), 10, 100, 32, 2000, 0).mean() == pytest.approx(-2, abs=1e-6)


def test_typical_rates_are_geometric_means_over_runs():
    sizes = np.array([1.0, 10.0])
    rates = typical_rates({"risk-averse": RiskAverse(1e9)}, sizes, 64, 2000, 0)["risk-averse"]
    np.testing.assert_allclose(rates * sizes**2, 1, atol=0.05)


def test_an_agent_with_curvature_matches_adam_while_the_signal_is_clear():
    clear, loud = np.geomspace(0.1, 2, 13), np.geomspace(0.1, 100, 13)
    adam = {s[-1]: -np.log1p(s[:, None] ** 2) / 2 for s in (clear, loud)}
    assert misfit(adam[2], clear) == pytest.approx(1.04, abs=0.002)
    assert misfit(adam[loud[-1]], loud) == pytest.approx(2.246, abs=0.002)
    # of an agent's own rates nothing is left, whatever its scale
    np.testing.assert_allclose(misfit(-np.log(7 * (0.3 + np.square([[0.1], [1], [30]]))), [0.1, 1, 30]), 1, atol=0.01)
    assert mutant(misfit, "np.square", "np.abs")(adam[2], clear) != pytest.approx(1.04, abs=0.002)


def test_ivon_is_an_agent_over_all_sizes_of_noise_and_adam_and_adabayes_are_not():
    off = ivon_units(128, 2000, 0)
    assert 1 <= off.typical() < np.median(off.misfits()) < 1.1
    others = misfits(16, 1000, 0)
    assert [np.median(of) > 1.5 for of in others.values()] == [True] * 4
    assert "AdaBayes" in list(others)[-1]


def test_the_misfit_of_ivon_is_taken_stream_by_stream_as_that_of_adam_is():
    adam = units(Adam(1.0, eps=0), 6, 400, 0)
    np.testing.assert_array_equal(adam.misfits(), misfits(6, 400, 0)["the method is Adam"])
    # streams that err in opposite ways are an agent in the mean only
    sizes = np.array([0.5, 1.0, 2.0])
    wrong = Units(np.array([[1.0, -1.0], [0.0, 0.0], [1.0, -1.0]]) - np.log1p(sizes**2)[:, None], sizes)
    assert wrong.typical() == pytest.approx(1, abs=0.01)
    assert wrong.misfits().max() > 1.2
    assert mutant(Units, "self.rates.mean(-1, keepdims=True)", "self.rates[:, :1]")(*wrong).typical() > 1.2


def test_a_rate_follows_the_size_of_the_signal_as_its_rule_says():
    one, ten = (units(Adam(1.0, eps=0), 8, 600, 0, [signal]) for signal in (1.0, 10.0))
    np.testing.assert_allclose(ten.sizes, 10 * one.sizes)
    # Adam's rate is inverse to the scale of its gradients
    np.testing.assert_allclose(ten.rates, one.rates - np.log(10), rtol=1e-9)
    both = units(Adam(1.0, eps=0), 8, 600, 0, [1.0, 10.0])
    np.testing.assert_array_equal(both.rates, np.concatenate([one.rates, ten.rates]))


def test_one_agent_for_several_signals_is_a_worse_match_than_one_for_each():
    one, several = (ivon_units(64, 1500, 0, 0.99, signals) for signals in ((1.0,), module.SIGNALS))
    assert one.typical() < 1.1
    # 1 / (m^2 + s^2) at the least noise spans a factor of 100^2 over the signals, and 1 / (h + s^2) hardly anything
    assert 5 < several.typical() < 30
    assert 5 < np.median(several.misfits()) < 30


def test_the_memory_is_the_one_of_least_misfit_on_tuning_streams(monkeypatch):
    monkeypatch.setattr(module, "MEMORIES", (0.9, 0.999))
    off = {beta2: np.median(ivon_units(16, 800, 3, beta2).misfits()) for beta2 in (0.9, 0.999)}
    assert tuned_memory(16, 800, 3, (1.0,)) == min(off, key=off.get) != max(off, key=off.get)
    rows, chosen = misfits_tuned(8, 400, 3, 4)
    assert chosen == tuple(tuned_memory(8, 400, 3, signals) for signals in ((1.0,), module.SIGNALS))
    found = [ivon_units(32, 400, 4, beta2, s) for beta2, s in zip(chosen, ((1.0,), module.SIGNALS), strict=True)]
    found.append(units(Adam(1.0, eps=0), 8, 400, 4, module.SIGNALS))
    for off, of in zip(rows.values(), found, strict=True):
        np.testing.assert_array_equal(off, of.misfits())


def test_settings_race_together_as_they_race_alone():
    names, seeds = ("Adam", "AdaBayes", "M-SVAG", "IVON"), range(3)
    raced = race(quadratic("constant"), seeds, range(10, 12), 100, names, rates=RATES)
    problem = quadratic("constant")(seeds, 100)
    for name in names:
        make, _, values = ENTRIES[name]
        for value, curve in zip(values, raced[name].curve, strict=True):
            rule = make(RATES[:, None, None], value)
            alone = (
                late_excess_of_mean(rule, problem, seeds, 100)
                if name == "IVON"
                else late_excess(Observing(rule), problem, 100)
            )
            np.testing.assert_allclose(curve, np.exp(np.log(alone).mean(-1)), rtol=1e-12)


def test_powers_are_minus_one_under_loud_noise_and_none_where_the_signal_is_clear():
    powers = {name: of.mean() for name, of in powers_of_noise(16, 1000, 0, 1).items()}
    assert sum(abs(p + 1) < 0.01 for p in powers.values()) == 5
    assert powers["the method is Adam and the noise is a tenth of the signal"] == pytest.approx(-0.02, abs=0.01)


def test_the_mean_of_ivon_finds_the_minimum_and_a_diverging_one_is_infinite():
    problem, seeds = quadratic("constant")([1, 2], 400), [1, 2]
    quiet = problem._replace(grad=lambda x, t: problem.full(x))
    loss = late_excess_of_mean(IVON(np.array([0.1, 1e200])[:, None, None], ess=10, initial=0.1), quiet, seeds, 400)
    assert loss.shape == (2, 2)
    assert (loss[0] < 0.2 * problem.excess(problem.x0)).all()
    assert np.isinf(loss[1]).all()
    alone = late_excess_of_mean(IVON(np.full((1, 1, 1), 0.1), ess=10, initial=0.1), quiet, seeds, 400)
    np.testing.assert_array_equal(alone[0], loss[0])


def test_ratios_are_to_adam_and_tails_leave_it_out():
    raced = race(quadratic("constant"), range(2), range(10, 16), 60, ["Adam", "SGD"], rates=RATES)
    ratio = over_adam(raced)
    assert ratio["Adam"].estimate == 0
    assert ratio["SGD"].estimate == pytest.approx(np.log(raced["SGD"].scores / raced["Adam"].scores).mean())
    assert list(tails("t3", range(3), range(10, 16), 60)) == ["SGD", "risk-averse"]


def test_races_hold_the_race_on_each_problem(monkeypatch):
    monkeypatch.setattr(module, "PROBLEMS", {"a bowl": quadratic("constant"), "a stream": least_squares})
    raced = races(range(2), range(10, 12), 30)
    assert list(raced) == ["a bowl", "a stream"]
    alone = race(least_squares, range(2), range(10, 12), 30, ["Adam"])["Adam"]
    np.testing.assert_array_equal(raced["a stream"]["Adam"].scores, alone.scores)


def test_a_race_is_reported_with_its_grid_and_momentum_by_its_name():
    raced = race(quadratic("constant"), range(2), range(10, 12), 40, ["Adam", "SGD"], rates=RATES)
    record = entered(raced)
    assert list(record) == ["Adam", "heavy ball"]
    assert record["heavy ball"][0] is raced["SGD"]


def test_the_longest_memory_is_the_mean_of_all_gradients_so_far():
    g = np.random.default_rng(0).standard_normal((500, 3))
    mean = np.cumsum(g, axis=0) / np.arange(1, 501)[:, None]
    np.testing.assert_allclose(averaged(g, LONGER[-1]), mean, atol=1e-6)
    assert not np.allclose(averaged(g, BETAS[-1]), mean, atol=1e-2)
    assert LONGER[: len(BETAS)] == BETAS


def test_lessons_are_those_of_their_problems():
    learned = lessons(range(3), range(10, 13), 50)
    alone = lesson(logistic, 1.0, range(3), range(10, 13), 50)
    np.testing.assert_array_equal(learned["logistic regression"].informed, alone.informed)
    assert len(learned) == 3


def test_gradients_inform_and_noise_alone_does_not():
    learned = lesson(least_squares, 0.1, range(4), range(10, 18), 300)
    assert (learned.informed > 0).all()

    def deaf(seeds, steps):
        problem = least_squares(seeds, steps)
        still = problem._replace(x0=problem.best, full=lambda x: 0 * x + np.sin(np.arange(10)))
        return still._replace(grad=lambda x, t: np.random.default_rng([t, len(x)]).standard_normal(x.shape))

    assert lesson(deaf, 0.0, range(4), range(10, 18), 300).informed.mean() < 0.05
