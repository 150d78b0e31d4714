"""The law that leaps and SGD share, what accuracy demands of a leap, the edge at rest, and the rule as a learning rate."""

import numpy as np
import pytest

from companion.experiments.tau_leaping import theory
from companion.experiments.tau_leaping.accuracy import _law, distance, floor
from companion.experiments.tau_leaping.race import rate_race
from companion.experiments.tau_leaping.rules import LeapRate, SmallestRate
from companion.experiments.tau_leaping.theory import cao_at_rest, linear_law, stationary_inflation
from mutants import mutant
from stepsize import SGD, descend


def recursion(z, noise, n, gap, feed, var):
    """The definition, step by step: noise + feed z gap enters, then both shrink."""
    for _ in range(n):
        gap, var = (1 - z) * gap, (1 - z) ** 2 * var + noise + feed * z * gap
    return gap, var


def worst(law):
    grid = [(z, n, feed) for z in (0.1, 0.5, 1.0, 1.5, 1.9) for n in (0, 1, 2, 7, 40) for feed in (0.0, 1.0)]
    found = [np.subtract(law(z, 0.7, n, 3.0, f, 0.2), recursion(z, 0.7, n, 3.0, f, 0.2)) for z, n, f in grid]
    return np.abs(found).max()


def test_gap_and_variance_after_n_steps_are_the_recursion():
    assert worst(linear_law) < 1e-12


@pytest.mark.parametrize(
    "fault", [("feed * gap", "feed * z * gap"), ("decay**2 * var", "decay * var"), ("(1 - r * r)", "(1 - r)")]
)
def test_a_broken_law_is_noticed(fault):
    assert worst(mutant(linear_law, *fault)) > 1e-3


@pytest.mark.parametrize("z", [0.1, 1.0, 1.9])
def test_molecules_and_sgd_settle_at_the_same_inflation(z):
    for noise, limit in ((2 * z, 1.0), (z * z, z / 2)):
        assert abs(linear_law(z, noise, 10_000)[1] / limit - stationary_inflation(z)) < 1e-10 * stationary_inflation(z)
    assert stationary_inflation(2.0) == np.inf


def test_both_ensembles_lie_on_the_law():
    """Five steps z, two ensembles of 2000 runs: |Z| < 4, false alarm below 0.1 %."""
    zs = np.array([0.1, 0.5, 1.0, 1.5, 1.9])
    for spread in (theory.leap_spread(zs, 10**6, 2000, 0), theory.sgd_spread(zs, 2000, 0)):
        assert (abs(spread.ratio - stationary_inflation(zs)) / spread.error).max() < 4


@pytest.mark.parametrize("order", [1, 2, 3])
def test_demanded_leaps_have_the_exponents_of_the_theorem(order):
    assert abs(theory.demand_of_order(order).slope - (1 - order) / order) < 1e-9


def test_a_demand_that_forgets_the_order_is_noticed():
    wrong = mutant(theory.demand_of_order, "x ** (order - 1)", "x**order")
    assert abs(wrong(2).slope + 1 / 2) > 0.1


def test_a_change_of_the_unit_of_time_demands_what_adam_does_and_a_larger_system_nothing():
    faster = theory.demand_at_rest(counts=(1e3,) * 3, death=(1.0, 10.0, 100.0)).slope
    assert abs(faster + 1) < 1e-9
    assert abs(theory.demand_of_adam().slope + 1) < 1e-9
    assert abs(theory.demand_at_rest().slope) < 1e-9
    assert abs(theory.demand_in_deviations().slope + 0.5) < 1e-3


def test_the_six_ways_and_the_two_rules_have_the_exponents_of_the_theorems():
    slopes = [d.slope for d in theory.demands().values()]
    np.testing.assert_allclose(slopes, [0, -1 / 2, -2 / 3, 0, -1, -1 / 2], atol=1e-3)
    np.testing.assert_allclose([d.slope for d in theory.chosen().values()], [-1, 1], atol=1e-9)
    assert all(d.activity[-1] / d.activity[0] > 9_999 for d in theory.demands().values())


def test_the_demanded_step_is_where_the_error_meets_the_tolerance():
    assert abs(theory.demanded_step(lambda tau: tau**2, 0.01, 5.0) - 0.1) < 1e-10
    z = theory.demand_at_rest(0.05).step[0]
    assert abs(np.sqrt(stationary_inflation(z)) - 1.05) < 1e-10


def test_cao_s_rule_leaps_past_the_limit_of_stability_in_a_large_system_at_rest():
    small, large = cao_at_rest(100, 0.03, 300, 0), cao_at_rest(10_000, 0.03, 300, 0)
    assert abs(small.ratio - 1) < 5 * small.error
    assert small.z.max() < 2
    assert large.ratio > 3
    assert 0.3 < (large.z > 2).mean() < 0.7


def test_the_leap_rule_is_newton_s_step_without_noise_and_shrinks_with_it():
    h = np.array([1.0, 100.0])
    path = descend(LeapRate(0.1, curvature=h), lambda x, t: h * x, np.ones(2), 1)
    np.testing.assert_allclose(path.x[1], 0.9, rtol=1e-9)
    noise = np.random.default_rng(0).normal(size=3000)
    rate = {
        p: descend(LeapRate(0.1, power=p), lambda x, t: np.array([0.1 + noise[t]]), [0.0], 3000).rate[-500:]
        for p in (1, 2)
    }
    assert (rate[1] < 0.05).all()
    np.testing.assert_allclose(rate[2], rate[1] ** 2 / 0.1, rtol=1e-9)


def test_one_rate_for_all_is_the_smallest():
    rule = SmallestRate(SGD(np.array([0.3, 0.1])))
    _, rate, _ = rule.step(rule.init(np.ones(2)), np.ones(2), np.ones(2))
    assert rate.tolist() == [0.1, 0.1]


def test_the_floor_counts_a_mean_of_noise_as_its_share_of_the_noise():
    noise = np.random.default_rng(0).normal(size=3000)
    rates = {
        floor: descend(LeapRate(0.1, floor=floor), lambda x, t: noise[t : t + 1], [0.0], 3000).rate[-500:]
        for floor in (0.0, 0.2, 1.0)
    }
    assert rates[0.0].min() < 0.001
    assert rates[0.2].min() == pytest.approx(0.02)
    np.testing.assert_allclose(rates[1.0], 0.1, rtol=1e-9)  # a constant share of 1 / h
    np.testing.assert_allclose(rates[0.2], np.maximum(rates[0.0], 0.02), rtol=1e-9)


def test_the_leap_rule_helps_coordinate_by_coordinate_and_hurts_as_one_rate():
    raced = rate_race(range(4), range(4, 10), steps=300)
    middle = {name: np.median(t.scores) for name, t in raced.items()}
    assert middle["leap rule"] < middle["constant share of 1/h"] < middle["leap rule, one for all"]


def test_the_two_clouds_differ_by_nothing_and_by_what_is_put_in():
    """Forty batches of 200 runs: |t| < 4, false alarm below 0.1 %."""
    zs = [1.0]
    molecules, gradients = theory.leap_spread(zs, 10**6, 8000, 1).x[0], theory.sgd_spread(zs, 8000, 2).x[0]
    gaps = theory.log_ratio_of_variances(molecules, gradients)
    assert gaps.size == 40
    assert abs(gaps.mean()) < 4 * gaps.std() / np.sqrt(40)
    np.testing.assert_allclose(theory.log_ratio_of_variances(1.1 * molecules, gradients) - gaps, np.log(1.21))


def test_the_distance_of_a_shifted_sample_is_the_shift_in_standard_deviations():
    pmf = np.zeros(12)
    pmf[[2, 4]] = 0.5
    law = _law(pmf)
    assert abs(distance(np.array([2, 4, 2, 4]), law)) < 1e-12
    assert abs(distance(np.array([5, 7]), law) - 3) < 1e-12
    assert abs(distance(np.array([-1, 1]), law) - 3) < 1e-12
    assert abs(distance(np.array([20, 22]), law) - 18) < 1e-12


def test_a_perfect_sample_lies_in_the_floor():
    law = _law(np.full(50, 0.02))
    sample = np.random.default_rng(1).integers(0, 50, 500)
    assert distance(sample, law) < np.quantile(floor(law, 500, 0), 0.99)
    assert distance(sample + 5, law) > floor(law, 500, 0).max()
