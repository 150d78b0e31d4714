"""Evidence says what was measured where, and the prose names the medians of it."""

import numpy as np
import pytest

from companion.evidence.claims import read_claims
from companion.experiments.feature_scales import rows
from companion.experiments.feature_scales.precision import tables
from companion.experiments.feature_scales.problem import (
    Minibatches,
    Regression,
    later_pace,
    paces,
    response,
    time_and_peak,
)
from companion.experiments.feature_scales.race import METHODS, Race
from mutants import mutant
from stepsize import Adam
from stepsize.tuning import choose

SIZES = np.array([1.0, 10.0, 100.0, 1000.0])
INDEX = {1: 0, 10: 1, 100: 2, 1000: 3}
BIG = Regression.sample(range(5)).sized(1000.0)
RULES = {"fast": Adam(1.0, eps=0.0), "calm": Adam(0.003, eps=0.0)}


def raced(power, first=20.0, lr=0.1):
    """A race whose times grow like S to a power from `first`, the rate `lr` at every size; its peaks are 100 S."""
    times = first * SIZES[:, None] ** power * np.linspace(0.9, 1.1, 9)
    choices = [choose([1.0, 2.0], [lr, 2 * lr])] * 4
    return Race(choices, times, 100 * SIZES[:, None] * np.ones(9))


def unchosen(race):
    return race._replace(choices=[None] * 4)


def test_paces_are_told_apart_by_measure_moment_and_rate():
    weights, prediction = rows.compared_paces(RULES, BIG, 20)
    when = ["at the first step", "in the mean of 20 steps at the fast rate", "in the mean of 20 steps at the calm rate"]
    assert list(weights) == [f"pace is measured in weights, {w}" for w in when]
    assert list(prediction) == [f"pace is measured in the prediction, {w}" for w in when]
    first, fast, calm = weights.values()
    np.testing.assert_allclose(first, 1, rtol=1e-12)
    assert 1 / 3 < np.median(fast) < 3
    assert np.median(calm) < 1 / 3
    for w, p in zip(weights.values(), prediction.values(), strict=True):
        np.testing.assert_allclose(p, 1000 * w, rtol=1e-12)


def test_with_minibatches_the_paces_of_a_race_stand_beside_them_where_it_chose_a_rate():
    chosen = raced(1)._replace(choices=[choose([2.0, 1.0], [0.1, 0.2])])
    noisy = Minibatches.of(BIG, 16, 3)
    pace = rows.noisy_paces(RULES, {"fast": chosen, "calm": unchosen(raced(1))}, noisy, 20, 0)
    *_, calm, of_race = pace
    assert calm == "pace is measured in weights, in the mean of 20 steps at the calm rate, minibatches of 16"
    assert (
        of_race
        == "pace is measured in weights, in the mean of 20 steps at the fast rate of their race, minibatches of 16"
    )
    np.testing.assert_array_equal(pace[of_race], paces(Adam(0.2, eps=0.0), noisy, 20)[0])
    np.testing.assert_array_equal(pace[calm], paces(RULES["calm"], noisy, 20)[0])


def test_the_peaks_are_those_of_the_race_and_those_at_the_rate_of_equal_scales():
    races = {"Adam": raced(1, lr=0.2), "Adam, β₂ = 0.9": raced(1)}
    noisy = Minibatches.of(BIG, 16, 3)
    peak = rows.peaks(races, 3, BIG, noisy, 50)
    assert (peak["Adam is tuned for speed"] == 1e5).all()
    np.testing.assert_array_equal(peak[rows.OLD_RATE], time_and_peak(Adam(0.2, eps=0.0), BIG, 50)[1])
    at_another = mutant(rows.peaks, 'races["Adam"].rate(0)', '2 * races["Adam"].rate(0)')(races, 3, BIG, noisy, 50)
    assert (peak[rows.OLD_RATE] != at_another[rows.OLD_RATE]).all()
    assert (peak[f"{rows.OLD_RATE}, minibatches of 16"] != peak[rows.OLD_RATE]).any()


def test_the_peaks_at_stable_rates_are_registered_beyond_and_minibatches_have_them_where_a_rate_was_chosen():
    races = {"fast": raced(1)._replace(peak=2 * raced(1).peak), "calm": unchosen(raced(1))}
    peak = rows.stable_peaks(raced(1), 3, races, BIG, 50)
    assert (peak["Adam is tuned with a ceiling on the loss"] == 1e5).all()
    assert (peak["Adam is tuned for speed, minibatches of 16"] == 2e3).all()
    np.testing.assert_array_equal(peak["Adam at its default rate"], time_and_peak(Adam(0.001, eps=0.0), BIG, 50)[1])
    assert len(peak) == 3
    both = rows.stable_peaks(raced(1), 3, dict.fromkeys(races, raced(1)), BIG, 5)
    measure = read_claims("feature_scales")["S4c"].measures["peak"]
    assert {measure.setting(condition) for condition in both} == {"beyond"}
    assert len(both) == 4


PACE = "pace is measured in weights, in the mean of 100 steps at the calm rate"
PEAKS = {
    "Adam is tuned for speed": [7.0],
    rows.OLD_RATE: [8.0],
    f"{rows.OLD_RATE}, minibatches of 16": [9.0],
    "Adam is tuned with a ceiling on the loss": [2.0],
    "Adam at its default rate": [3.0],
}
PACES = {PACE: [0.25], f"{PACE}, minibatches of 16": [0.5]}
RATIOS = {
    "the gradient is of the full batch, after 50 steps": [1 / 4000],
    "the gradient is of the full batch, after 50 steps on minibatches of 16": [0.5],
}


def test_slowdowns_of_all_races_are_registered_and_compare_with_equal_scales():
    cases = {name: raced(1)._replace(times=raced(1).times[[0, 3, 3]]) for name in ("Adam", "Muon")}
    cost = rows.all_slowdowns(
        {"AdaGrad": raced(1), "Adam": raced(0)}, INDEX, 10**6, {"Adam": cases["Adam"]}, cases, 10**6
    )
    measure = read_claims("feature_scales")["S5"].measures["slowdown"]
    assert {measure.setting(condition) for condition in cost} == {"stated", "beyond"}
    typical = {condition: np.median(ratio) for condition, ratio in cost.items()}
    assert typical["one feature is 10 times as large, the rule is AdaGrad"] == pytest.approx(10)
    assert typical["one feature is 1,000 times as large, the rule is Adam"] == 1
    assert typical["minibatches of 16, one feature is 1,000 times as large, the rule is Adam"] == pytest.approx(1000)
    assert typical[f"{rows.LAYERS[1]}, the rule is Muon"] == pytest.approx(1000)
    numbers = rows.evidence_numbers(cost, PEAKS, PACES, RATIOS)
    assert (numbers["adagrad-1000"][0], numbers["ten-worst"][0]) == (pytest.approx(1000), pytest.approx(10))
    assert (numbers["peak"][0], numbers["pace-calm"][0], numbers["noisy-ratio"][0]) == (7, 0.25, 0.5)
    assert numbers["vanished"][0] == pytest.approx(4)
    assert (numbers["peak-calm"][0], numbers["peak-default"][0], numbers["peak-noisy"]) == (2, 3, "–")
    with_noise = PEAKS | {"Adam is tuned for speed, minibatches of 16": [4.0]}
    assert rows.evidence_numbers(cost, with_noise, PACES, RATIOS)["peak-noisy"][0] == 4


def test_first_steps_are_those_of_the_formula():
    assert list(rows.first_steps(1e-5).values()) == pytest.approx(list(response(np.array([1e3, 1.0, 0.1]))), rel=1e-12)


def test_the_numbers_of_the_races_are_medians_slopes_and_rates():
    free = {name: raced(1) for name in METHODS} | {"gradient descent": raced(2, 7), "standardised": raced(0, 7)}
    calm = free | {"Adam": raced(1, lr=0.01)}
    numbers = rows.race_numbers(SIZES, INDEX, free, calm, 10**6)
    assert (numbers["standard"], numbers["gd-100"], numbers["gd-10"][0]) == ("7", "70,000", pytest.approx(100))
    assert (numbers["lr-fast"][0], numbers["lr-calm"][0]) == (0.1, 0.01)
    assert numbers["calm-slow"][0] == pytest.approx(1000)
    assert (numbers["gd-slope"], numbers["ball-slope"]) == ("2.00 [2.00, 2.00]", "1.00 [1.00, 1.00]")
    assert numbers["choices"] == numbers["edges"] == 4 * (2 * len(METHODS) + 2)  # of two rates the first


def test_the_numbers_of_noise_and_of_matrices_are_shares_of_problems():
    some = raced(0)
    some.times[1, 3:] = np.inf
    numbers = rows.noise_numbers({"Adam": some}, {"Shampoo": some, "Muon": raced(0)}, 6000, 1500)
    assert (numbers["noise-done"], numbers["muon-done"], numbers["shampoo-done"]) == ("33%", "100%", "33%")
    assert numbers["noise-factor"][0] == pytest.approx(300)


def test_the_numbers_of_formats_are_those_of_the_table():
    lost = {"coupled": np.array([[0.0, 0, 0], [0.1, 0.2, 0.3]]), "decoupled": np.array([[0.0, 0, 0], [0.4, 0.5, 0.6]])}
    numbers = rows.format_numbers(tables(), lost)
    assert numbers["too-far"][0] == pytest.approx(840, rel=0.01)
    assert (numbers["coupled-6"][0], numbers["decoupled-2"][0]) == (0.1, 0.6)
    assert numbers["fused"][0] == pytest.approx(31.6, abs=0.1)


def test_the_share_of_nan_is_exact():
    share = rows.nans([np.nan, 0.0, 1.0, np.nan])
    assert (share.low, share.estimate, share.high) == (0.5, 0.5, 0.5)


def test_later_paces_are_of_the_problems_whose_loss_falls_in_time_and_of_five_at_least():
    rules = {"fast": Adam(0.05, eps=0.0), "calm": Adam(1e-6, eps=0.0)}
    land = Regression.sample(range(12)).sized(10.0)
    ((condition, ratio),) = rows.later_paces(rules, land, 60, 100, 20).items()  # at the calm rate no loss falls in time
    assert condition.endswith("20 steps after the loss has fallen tenfold, at the fast rate")
    seen = later_pace(rules["fast"], land, 60, steps=20, hold=100)
    np.testing.assert_array_equal(ratio, seen[np.isfinite(seen)])
    assert ratio.size >= 5
    assert not rows.later_paces(rules, Regression.sample(range(4)).sized(10.0), 60, 100, 20)
