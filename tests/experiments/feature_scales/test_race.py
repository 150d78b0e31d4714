"""Races on features of every size: chosen here, reported there, and what becomes of runs that do not come home."""

import numpy as np
import pytest

from companion.experiments.feature_scales import race as module
from companion.experiments.feature_scales.problem import (
    MatrixRegression,
    Minibatches,
    Regression,
    descent_time,
    time_and_peak,
)
from companion.experiments.feature_scales.race import (
    COARSE,
    FINE,
    MATRIX_METHODS,
    METHODS,
    descent_race,
    entry,
    exponent,
    matrix_race,
    race,
    slowdowns,
)
from mutants import mutant
from stepsize.errors import EvidenceError

SEEDS = [0, 1, 2], [3, 4, 5, 6, 7]  # to choose on, and to report


def test_an_exponent_is_the_slope_of_medians_and_wants_two_sizes():
    sizes = 10 ** np.arange(0, 4.1, 0.5)
    times = 7 * sizes[:, None] ** 0.7 * np.exp(np.random.default_rng(0).normal(size=12))
    assert exponent(sizes, times)[0].low == pytest.approx(0.7, abs=1e-12)
    assert mutant(exponent, "((x - x.mean()) ** 2).sum()", "(x**2).sum()")(sizes, times)[0].high < 0.6
    times[1:] = np.inf
    with pytest.raises(EvidenceError, match="two sizes"):
        exponent(sizes, times)


def test_rates_are_chosen_on_other_problems_than_those_reported(monkeypatch):
    seen, sample = [], Regression.sample
    monkeypatch.setattr(
        Regression, "sample", lambda seeds, **settings: seen.append(list(seeds)) or sample(seeds, **settings)
    )
    free, calm = race("AdaGrad", [1.0, 100.0], *SEEDS, 300, (np.inf, 10.0))
    assert seen == [[0, 1, 2], [3, 4, 5, 6, 7]]
    with pytest.raises(EvidenceError, match="both sets"):
        race("AdaGrad", [1.0], [0, 3], [3, 4], 300)
    assert free.times.shape == (2, 5)
    assert calm.peak[np.isfinite(calm.times)].max() <= 10 < free.peak[1].max()
    assert {choice.lr for choice in free.choices} <= set(COARSE)


def test_a_race_reports_what_a_walk_with_the_chosen_rate_does():
    (result,) = race("heavy ball", [10.0], *SEEDS, 400)
    land = Regression.sample(range(3, 8)).sized(10.0)
    (choice,) = result.choices
    time, peak = time_and_peak(METHODS["heavy ball"][choice.setting](choice.lr), land, 400)
    np.testing.assert_array_equal(result.times[0], time[:, 0])
    np.testing.assert_array_equal(result.peak[0], peak[:, 0])


def test_a_race_on_minibatches_reports_a_walk_on_minibatches_to_its_target():
    (result,) = race("Adam", [1.0, 10.0], *SEEDS, 400, batches=(16, 1, 2), target=0.05)
    noisy = Minibatches.of(Regression.sample(range(3, 8)), 16, 2).sized(10.0)
    time, _ = time_and_peak(METHODS["Adam"][""](result.rate(1)), noisy, 400, 0.05)
    np.testing.assert_array_equal(result.times[1], time[:, 0])
    (full,) = race("Adam", [1.0, 10.0], *SEEDS, 400, target=0.05)
    assert (result.times != full.times).any()


@pytest.mark.parametrize("name", MATRIX_METHODS)
def test_a_race_on_matrices_reports_what_a_walk_with_the_chosen_rate_does(name):
    result = matrix_race(name, [(1.0, 1.0), (2.0, 2.0)], *SEEDS, 1000)
    land = MatrixRegression.sample(range(3, 8)).sized([(2.0, 2.0)])
    time, peak = time_and_peak(MATRIX_METHODS[name](result.rate(1)), land, 1000)
    np.testing.assert_array_equal(result.times[1], time[:, 0])
    np.testing.assert_array_equal(result.peak[1], peak[:, 0])
    assert np.isfinite(result.times[0]).any()


def test_a_slowdown_is_the_ratio_of_the_times_problem_by_problem_of_adaptive_methods_only():
    times = np.array([[10.0, 20.0], [30.0, np.inf], [10.0, 10.0]])
    races = {name: module.Race([None] * 3, times, times) for name in ("Adam", "heavy ball")}
    slow = slowdowns(races, {1: "larger", 2: "smaller"}, 100)
    assert list(slow) == ["larger, the rule is Adam", "smaller, the rule is Adam"]
    np.testing.assert_array_equal(slow["larger, the rule is Adam"], [3, 50])
    np.testing.assert_array_equal(slow["smaller, the rule is Adam"], [1, 0.5])


def test_the_entry_of_a_race_has_the_reported_times_and_the_grid_of_its_method():
    (result,) = race("AdaGrad", [1.0, 1e4], *SEEDS, 300)
    choice, lrs = entry("AdaGrad", result, 0)
    np.testing.assert_array_equal(choice.scores, result.times[0])
    assert lrs is module.COARSE
    assert entry("heavy ball", result, 0)[1] is entry("gradient descent", result, 0)[1] is FINE
    assert entry("AdaGrad", result._replace(choices=[None]), 0)[0] is None


def test_nothing_home_is_said_and_not_chosen():
    (result,) = race("sign", [1e4], *SEEDS, 20)
    assert result.choices == [None]
    assert np.isinf(result.times).all()
    with pytest.raises(EvidenceError, match=r"size 1 of 1 no learning rate .* more steps"):
        result.rate(0)


def test_the_chosen_rate_is_a_number_for_a_rule():
    (result,) = race("sign", [1.0], *SEEDS, 400)
    assert result.rate(0) == result.choices[0].lr > 0


def test_a_race_without_problems_to_report_is_refused():
    with pytest.raises(EvidenceError, match="one reporting seed"):
        race("AdaGrad", [1.0], [0, 1, 2], [], 10)


def test_a_ceiling_disqualifies_in_tuning_too(monkeypatch):
    # without it AdaGrad takes the rate whose first step multiplies the loss; with it, another
    free, calm = race("AdaGrad", [100.0], *SEEDS, 2500, (np.inf, 10.0))
    assert calm.rate(0) < free.rate(0) / 2
    careless = mutant(
        module._race, "penalised(np.where(peak <= ceiling, time, np.inf).T, steps)", "penalised(time.T, steps)"
    )
    monkeypatch.setattr(module, "_race", careless)
    _, later = race("AdaGrad", [100.0], *SEEDS, 2500, (np.inf, 10.0))
    assert later.rate(0) == free.rate(0)


def test_gradient_descent_is_raced_by_its_closed_form_and_standardised_forgets_the_size():
    raced = descent_race([1.0, 30.0], *SEEDS)
    land = Regression.sample(range(3, 8)).sized(30.0)
    np.testing.assert_array_equal(raced.times[1], descent_time(land, raced.rate(1))[:, 0])
    assert {choice.lr for choice in raced.choices} <= set(FINE)
    assert not any(choice.at_edge for choice in raced.choices)
    np.testing.assert_array_equal(*descent_race([1.0, 1e4], *SEEDS, standardised=True).times)


def test_a_choice_at_the_end_of_the_grid_is_said(monkeypatch):
    monkeypatch.setattr(module, "COARSE", COARSE[:12])
    assert race("AdaGrad", [1.0], *SEEDS, 3000)[0].choices[0].at_edge
    monkeypatch.setattr(module, "FINE", FINE[:-3])
    assert descent_race([1.0], *SEEDS).choices[0].at_edge


def test_every_method_makes_rules_of_its_setting():
    for makers in METHODS.values():
        for make in makers.values():
            assert np.shape(make(np.full((2, 1), 0.1)).lr) == (2, 1)


@pytest.mark.parametrize("name", ["heavy ball", "Adam"])
def test_rates_that_cannot_be_chosen_are_left_out_without_a_trace(name, monkeypatch):
    setting = name, [1.0, 10.0, 100.0], *SEEDS, 400, (np.inf, 2.0)
    quick, lost = race(*setting, hold=50, whole=1), mutant(module.outrun, "t - hold + 2", "never")
    monkeypatch.setattr(module, "time_and_peak", lambda *a: time_and_peak(*a[:5]))
    slow = race(*setting, hold=50)
    for one, other in zip(quick, slow, strict=True):
        np.testing.assert_array_equal(one.times, other.times)
        np.testing.assert_array_equal(one.peak, other.peak)
        assert [choice and choice[:4] for choice in one.choices] == [choice and choice[:4] for choice in other.choices]
        np.testing.assert_array_equal(one.choices[1].curve, other.choices[1].curve)
    assert (quick[0].choices[0].curve > slow[0].choices[0].curve).any()  # some were left out
    # a run that is not done may still be the quickest
    monkeypatch.undo()
    monkeypatch.setattr(module, "outrun", lost)
    assert any(
        choice != other for choice, other in zip(race(*setting, hold=50)[0].choices, slow[0].choices, strict=True)
    )
