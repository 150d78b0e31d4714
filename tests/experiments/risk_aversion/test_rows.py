"""The rows of the claims and the numbers of the prose are made of the right samples."""

import numpy as np
import pytest

from companion.evidence.intervals import exact
from companion.experiments.risk_aversion import rows
from companion.experiments.risk_aversion.filtering import excess, overstatement, walk_ratio
from companion.experiments.risk_aversion.race import LONGER, Lesson, ivon_units, misfits
from mutants import mutant

Q = float(walk_ratio(0.1))


def test_three_walks_and_only_the_one_of_the_filter_leaves_no_excess():
    found = rows.excesses(Q, 16, 400, [1, 2, 3])
    assert np.abs(found["the true gradient is a random walk with q/r = (1 − β₁)²/β₁"]).max() < 1e-4
    fast = found["the true gradient wanders with ten times the variance"]
    np.testing.assert_array_equal(fast, excess(10 * Q, runs=16, steps=400, seed=3))
    assert min(of.mean() for of in list(found.values())[1:]) > 0.5


def test_the_excess_in_training_is_over_the_best_memory_of_the_grid_and_of_a_longer_one():
    tuned = {beta: 1 + abs(beta - 0.9999) for beta in LONGER}
    reported = dict.fromkeys(LONGER, np.full(3, 9.0)) | {0.9: np.array([6.0, 8.0, 12.0])}
    reported |= {0.995: np.array([4.0, 4.0, 4.0]), 0.9999: np.array([2.0, 2.0, 3.0])}
    short, long = rows.training_excess(Lesson(np.zeros(3), tuned, reported)).values()
    np.testing.assert_array_equal(short, [0.5, 1.0, 2.0])
    np.testing.assert_array_equal(long, [2.0, 3.0, 3.0])


def test_the_share_of_negative_values_is_a_proportion():
    share = rows.negative_share(np.array([-1.0, 0.0, 2.0, -3.0, 4.0, 5.0, 6.0, 7.0]))
    assert (share.estimate, share.n) == (0.25, 8)


def test_one_belief_is_about_a_gradient_that_stands_still_and_one_about_a_walk_with_one_memory():
    still, moving = rows.beliefs(Q, 400, 8, [4, 5])
    np.testing.assert_array_equal(still["two betas"], overstatement(0.0, steps=400, runs=8, seed=4)["two betas"])
    np.testing.assert_allclose(moving["two betas"], moving["one beta"], rtol=1e-9)


def test_the_proxy_overstates_and_the_cured_one_does_not():
    found = {name: of.mean() for name, of in rows.overstatements(*rows.beliefs(Q, 2000, 64, [4, 5])).items()}
    assert found[rows.RESTING] > 10
    assert found["both averages have the memory of m and the gradient wanders as its filter assumes"] > 5
    cured = [of for name, of in found.items() if name.startswith("one memory")]
    assert cured == pytest.approx([1, 1], abs=0.3)


def test_the_aversion_that_explains_adam_falls_a_thousandfold():
    (ratio,) = rows.aversion_ratio().values()
    # sqrt(1 + s^2) / s^2 at 0.1 over that at 10
    assert ratio.estimate == pytest.approx(1000)
    assert ratio == exact(ratio.estimate, 2)


def test_the_numbers_of_the_agent_are_those_of_its_formulas():
    numbers = {key: format(*value) for key, value in rows.agent_numbers((0.3, 1.0), h=0.5, aversion=1.0).items()}
    cara = float(numbers.pop("cara"))
    assert 0 <= cara < 1e-13
    assert numbers == {
        "quoted": "75%",
        "lambda-low": "100",
        "lambda-high": "0.10",
        "bias": "-5.3%",
        "times": "19",
        "rate-before": "0.01502",
        "rate-after": "0.01656",
    }
    wrong = mutant(rows.agent_numbers, "both_costs(rates, s, h, aversion)", "both_costs(rates, s, h, aversion)[0], 0")
    assert wrong((0.3, 1.0), h=0.5, aversion=1.0)["cara"][0] > 0.1


def test_losses_are_ratios_with_their_intervals_problem_by_problem():
    names = ("noise constant", "noise unrelated to curvature", "noise proportional to curvature", "stream", "logistic")
    ratio = {
        name: {rule: exact(np.log(10 * k + j)) for j, rule in enumerate(("SGD", "risk-averse", "IVON", "AdaBayes"), 1)}
        for k, name in enumerate(names)
    }
    numbers = rows.race_numbers(ratio, {"normal": {"risk-averse": exact(np.log(2)), "SGD": exact(0)}})
    assert len(numbers) == 4 * 5 + 1
    assert numbers["sgd-unrel"] == "11.00 [11.00, 11.00]"
    assert numbers["ra-prop"] == "22.00 [22.00, 22.00]"
    assert numbers["ivon-lsq"] == "33.00 [33.00, 33.00]"
    assert numbers["bayes-logit"] == "44.00 [44.00, 44.00]"
    assert numbers["tail-normal"] == "2.00 [2.00, 2.00]"


def test_the_numbers_of_the_training_are_those_of_its_lesson():
    tuned = {beta: 1 + abs(beta - 0.9999) for beta in LONGER}
    reported = dict.fromkeys(LONGER, np.full(3, 9.0)) | {0.9: np.full(3, 6.0), 0.995: np.full(3, 4.0)}
    numbers = rows.training_numbers(Lesson(np.array([0.1, 0.2, 0.3]), tuned, reported | {0.9999: np.full(3, 3.0)}))
    numbers = {key: format(*value) for key, value in numbers.items()}
    assert numbers == {"informed": "20%", "beta": "0.995", "excess": "50%", "excess-longer": "100%"}


def test_the_numbers_of_the_misfits_are_medians():
    unlike, ivon = misfits(8, 400, 0), ivon_units(8, 400, 0)
    numbers = rows.misfit_numbers(unlike, ivon)
    assert numbers["misfit"][0] == np.median(unlike["the method is Adam"])
    assert numbers["misfit-bayes"][0] == np.median(list(unlike.values())[-1])
    assert numbers["misfit-ivon"][0] == np.median(ivon.misfits()) != ivon.typical() == numbers["misfit-typical"][0]


def test_the_numbers_of_several_signals_are_those_of_their_rows():
    several = {name: k + np.array([0.0, 2.0, 9.0]) for k, name in enumerate("abc", 1)}
    numbers = rows.several_numbers(several, (0.98, 0.999))
    assert {key: format(*value) for key, value in numbers.items()} == {
        "misfit-tuned": "3.00", "misfit-several": "4", "misfit-several-adam": "5", "memory": "0.98", "memory-several": "0.999",
    }  # fmt: skip
