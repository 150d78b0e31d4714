"""Noisy problems whose gradients, minimisers and noise are what they say, and races that keep tuning and reporting apart."""

import numpy as np
import pytest
from mutants import mutant
from stepsize import SGD, Adam
from stepsize import risk_races as module
from stepsize.errors import EvidenceError, HyperparameterError
from stepsize.noisy_problems import PROBLEMS, least_squares, logistic, noise_law, quadratic
from stepsize.risk import RiskAverse
from stepsize.risk_races import (
    ENTRIES,
    late_excess,
    lesson,
    race,
    rate_exponent,
    tail,
    tail_ratio,
)

RATES = np.array([0.01, 0.1])


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_full_gradient_is_the_derivative_of_the_excess_and_vanishes_at_the_minimum(name):
    problem = PROBLEMS[name]([3, 4], 5)
    x = problem.best + 0.1
    numeric = np.stack([(problem.excess(x + e) - problem.excess(x - e)) / 2e-5 for e in 1e-5 * np.eye(10)], axis=-1)
    np.testing.assert_allclose(problem.full(x), numeric, atol=1e-6)
    np.testing.assert_allclose(problem.full(problem.best), 0, atol=1e-10)
    np.testing.assert_allclose(problem.excess(problem.best), 0, atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_noisy_gradients_are_unbiased(name):
    # 20 coordinates, five standard errors each
    steps = 4000
    problem = PROBLEMS[name]([3, 4], steps)
    x = problem.best + 0.3
    wrong = np.stack([problem.grad(x, t) for t in range(steps)]) - problem.full(x)
    assert (np.abs(wrong.mean(0)) < 5 * wrong.std(0) / np.sqrt(steps)).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_noise_depends_on_seed_and_step_alone(name):
    one, two = PROBLEMS[name]([7, 8], 20), PROBLEMS[name]([8], 20)
    x = np.full((1, 10), 0.2)
    np.testing.assert_allclose(one.grad(np.full((2, 10), 0.2), 11)[1], two.grad(x, 11)[0], rtol=1e-12)


def test_heavy_tailed_noise_has_the_same_variance():
    # t3 has no fourth moment: a tenth is what 40 000 draws of its square are known to
    problem = quadratic("constant", "t3")(range(20), 2000)
    assert np.mean([problem.grad(problem.best, t) ** 2 for t in range(2000)]) == pytest.approx(1, abs=0.1)


def test_noise_follows_curvature_with_the_power_that_theory_says():
    # quadratics by construction; regressions by the information identity: variance of the noise = Fisher / batch = curvature / batch
    expected = {
        "noise constant": 0,
        "noise proportional to curvature": 1,
        "least squares, stream": 0.5,
        "logistic regression": 0.5,
    }
    for name, power in expected.items():
        assert noise_law(PROBLEMS[name], range(10)).mean() == pytest.approx(power, abs=0.02)
    broken = mutant(noise_law, "np.log(problem.curvature), np.log(s)", "np.log(s), np.log(problem.curvature)")
    assert broken(PROBLEMS["least squares, stream"], range(10)).mean() != pytest.approx(0.5, abs=0.1)


def test_rates_race_together_as_they_race_alone():
    problem = least_squares([1, 2, 3], 100)
    together = late_excess(RiskAverse(np.array([0.01, 0.1])[:, None, None]), problem, 100)
    np.testing.assert_array_equal(together[1], late_excess(RiskAverse(np.full((1, 1, 1), 0.1)), problem, 100)[0])


def test_a_run_that_diverges_loses_without_hiding():
    assert np.isinf(late_excess(SGD(np.full((1, 1, 1), 1e9)), least_squares([1], 200), 200)).all()


def test_every_entry_meets_the_same_seeds_and_tuning_is_apart(monkeypatch):
    seen = []

    def sample(seeds, steps):
        seen.append(tuple(seeds))
        return logistic(seeds, steps)

    found = race(sample, [0, 1], [5, 6, 7], 40, rates=RATES)
    assert set(found) == set(ENTRIES)
    assert seen == [(0, 1), (5, 6, 7)]
    assert all(c.scores.shape == (3,) and c.second in ENTRIES[name].values for name, c in found.items())
    with pytest.raises(EvidenceError, match="both sets"):
        race(sample, [0, 1], [1, 2], 40, rates=RATES)


def test_every_entry_has_as_many_values_to_choose_from():
    assert {len(entry.values) for entry in ENTRIES.values()} == {7}


def test_the_second_number_is_the_one_of_least_tuning_cost():
    found = race(quadratic("constant"), range(4), range(10, 16), 200, ["risk-averse"], rates=RATES)["risk-averse"]
    problem = quadratic("constant")(range(4), 200)
    make, _, values = ENTRIES["risk-averse"]
    cost = {
        v: np.log(late_excess(module.Observing(make(RATES[:, None, None], v)), problem, 200)).mean(-1).min()
        for v in values
    }
    assert found.second == min(cost, key=cost.get)


def test_a_tail_is_met_by_nine_in_ten_and_bears_infinity():
    assert tail(np.arange(1, 11)) == 9
    assert tail([1.0] * 19 + [np.inf]) == 1


def test_the_ratio_of_tails_keeps_pairs_together():
    a = np.random.default_rng(0).lognormal(size=60)
    i = tail_ratio(2 * a, a)
    assert (i.low, i.estimate, i.high) == pytest.approx((np.log(2),) * 3)


def test_the_exponent_of_adam_is_minus_one_and_of_the_averse_minus_two():
    assert rate_exponent(Adam(1.0, eps=0), 10, 100).mean() == pytest.approx(-1, abs=0.01)
    assert rate_exponent(RiskAverse(1e9), 10, 100).mean() == pytest.approx(-2, abs=1e-6)


def test_gradients_inform_and_noise_alone_does_not():
    learned = lesson(least_squares, 0.1, range(4), range(10, 18), 300)
    assert (learned.informed > 0).all()

    def deaf(seeds, steps):
        problem = least_squares(seeds, steps)
        still = problem._replace(x0=problem.best, full=lambda x: 0 * x + np.sin(np.arange(10)))
        return still._replace(grad=lambda x, t: np.random.default_rng([t, len(x)]).standard_normal(x.shape))

    assert lesson(deaf, 0.0, range(4), range(10, 18), 300).informed.mean() < 0.05


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: quadratic("pink"), "'pink'"),
        (lambda: quadratic("constant", "cauchy"), "'cauchy'"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(HyperparameterError) as caught:
        call()
    assert names in str(caught.value)
    assert "choose from" in str(caught.value)
