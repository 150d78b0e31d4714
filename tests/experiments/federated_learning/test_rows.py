"""The rows of the chapter on federated learning, from numbers whose rows are known."""

import numpy as np
import pytest

from companion.evidence import exact
from companion.experiments.federated_learning import consortia, patients, rows, synthetic
from companion.experiments.federated_learning.hospitals import Predicted, Study
from companion.experiments.federated_learning.synthetic import Raced
from mutants import mutant


def raced(quiet, noisy):
    """Seven runs of two quiet clients and a noisy one, with these excesses."""
    return Raced(np.tile([quiet, quiet, noisy], (7, 1)).astype(float), None)


RACES = {
    s: {"FedAvg": raced(4, 10), "inverse variance": raced(1, 1 + s), "FedAdam": raced(8, 10), "SCAFFOLD": raced(2, 10)}
    for s in (0.0, 0.5, 1.0, 2.0)
}
RACES[2.0]["client rate"] = raced(1, np.inf)


def study():
    """Four hospitals of ten patients, two settings and three more: of FedAvg hospital k loses k, of inverse variances 2 k, raw 1 more each."""
    methods = ("FedAvg", "inverse variance", "equal weights", "own intercept")
    factors = np.array([1.0, 2.0, 1.5, 0.5])
    excess = [np.tile(k * factors, (10, 5, 1)) for k in range(4)]
    weights = {"FedAvg": np.full(4, 0.25), "inverse variance": np.array([0.1, 0.2, 0.3, 0.4])}
    settings = {"as recorded": Predicted([], weights, methods, 2e-9)}
    return Study(excess, [1.0 + 3 * table for table in excess], methods, settings)


def test_an_excess_is_compared_run_by_run_for_the_clients_that_are_asked_for():
    rule, rival = RACES[2.0]["inverse variance"], RACES[2.0]["FedAvg"]
    for part, ratio in (("macro", 5 / 18), ("clean", 1 / 4), ("outlier", 3 / 10)):
        np.testing.assert_allclose(rows.log_ratio(rule, rival, part), np.log(ratio))


def test_harm_is_what_the_quiet_clients_lose_by_the_presence_of_the_noisy_one():
    def race(name, sigma):
        return raced(sigma if name == "FedAvg" else 0.3, 100)

    harm = rows.harm_by_noise(race, times=(1.2, 10))
    assert list(harm) == ["its noise is 1.2 times the others'", "its noise is 10 times the others'"]
    np.testing.assert_allclose([h[0] for h in harm.values()], np.log([1.2, 10]))


def test_noise_is_estimated_at_the_client_that_each_row_names(monkeypatch):
    def residuals(seeds, shift=0.0, sigma=3.0):
        return np.tile([1.0, 2.0, 30.0 if shift else 6.0], (len(seeds), 1))

    monkeypatch.setattr(synthetic, "global_estimate", residuals)
    monkeypatch.setattr(synthetic, "own_estimate", lambda seeds: np.full(len(seeds), 9.0))
    assert [values.tolist() for values in rows.noise_estimates(range(2)).values()] == [
        [9, 9],
        [6, 6],
        [1.5, 1.5],
        [30, 30],
    ]


def test_single_estimates_count_within_both_limits():
    own = {"the residuals are those of the client's own fit": np.array([0.5, 0.75, 1.0, 1.25, 1.3, 1.1])}
    (share,) = rows.single_estimates(own, (0.75, 1.25)).values()
    assert share.estimate == pytest.approx(4 / 6)
    low = mutant(rows.single_estimates, "own <= within[1]", "own < np.inf")(own, (0.75, 1.25))
    assert [i.estimate for i in low.values()] == pytest.approx([5 / 6])


def test_excesses_and_their_spreads_are_compared_with_fedavg_at_each_distance():
    ratios = rows.excess_ratios(RACES, {"FedAvg": raced(2, 2), "inverse variance": raced(1, 1)}, {"Krum": raced(6, 6)})
    assert {name: values[0] for name, values in ratios.items()} == {
        "the noisy client's truth lies 0 away": pytest.approx(np.log(3 / 18)),
        "the noisy client's truth lies 0.5 away": pytest.approx(np.log(3.5 / 18)),
        "the noisy client's truth lies 2 away": pytest.approx(np.log(5 / 18)),
        "one truth, Krum": pytest.approx(0),
        "one truth, three of six clients answer a round": pytest.approx(np.log(1 / 2)),
    }
    spreads = rows.spread_ratios(RACES)
    np.testing.assert_allclose([values[0] for values in spreads.values()], np.log([1 / 6, 2 / 6]))
    raw = mutant(rows.spread_ratios, 'fairness.spread(races[s]["FedAvg"].excess)', "1.0")
    assert raw(RACES)["the noisy client's truth lies 1 away"][0] == pytest.approx(np.log(np.sqrt(2) / 3))


def test_hospitals_change_by_what_the_method_adds_of_the_losses_that_are_asked_for():
    """The excesses 0 ... 3 have the mean 1.5 and the standard deviation sqrt(5) / 2; doubled, both grow by themselves."""
    made = study()
    assert [i.estimate for i in rows.mean_changes(made).values()] == [1.5, 1.5]
    for of, factor in (("excess", 1), ("raw", 3)):
        changes = [i.estimate for i in rows.spread_changes(made, of).values()]
        assert changes == pytest.approx([factor * np.sqrt(5) / 2] * 2)


def test_consortia_are_asked_with_seeds_of_their_own_and_by_method(monkeypatch):
    asked = []

    def seed(purpose):
        asked.append(purpose)
        return 3

    errors = {"FedAvg": 4.0, "inverse variance": 2.0, "own levels": 1.0, "shrunk levels": 0.5}
    errors = {method: np.full(6, error) for method, error in errors.items()}
    monkeypatch.setattr(consortia, "squared_errors", lambda people, repeats, seed: errors)
    ratios = rows.error_ratios(1, seed)
    assert asked == [f"folds, {what}" for what in rows.CONSORTIA]
    for method, factor in (("inverse variance", 1 / 2), ("own levels", 1 / 4), ("shrunk levels", 1 / 8)):
        assert [i.estimate for i in ratios[method].values()] == pytest.approx([np.log(factor)] * 2)


def test_the_spread_of_noise_is_that_of_the_institutions_named(monkeypatch):
    """Forty institutions with one noise, and forty whose log variances have the standard deviation 1."""

    def consortium(sd):
        def load():
            rng = np.random.default_rng(1)
            y = np.exp(sd * rng.standard_normal((40, 1)) / 2) * rng.standard_normal((40, 60))
            return patients.Patients(rng.standard_normal((40, 60, 1)), y, np.ones((40, 60), bool))

        return load

    monkeypatch.setattr(rows, "CONSORTIA", {"equal": consortium(0.0), "unequal": consortium(1.0)})
    levels = rows.noise_levels(20, lambda purpose: len(purpose))
    spreads, extremes = rows.noise_spreads(levels), rows.noise_extremes(levels)
    assert list(spreads) == [rows.HEART, "equal", "unequal"]
    assert list(extremes) == ["equal", "unequal"]
    assert extremes["equal"].estimate < 2 < 20 < extremes["unequal"].estimate
    assert spreads["equal"].low == 0
    assert spreads["unequal"].estimate == pytest.approx(1, abs=0.25)
    assert rows.noise_ratio(0)[rows.HEART].estimate > 1


def test_the_prose_is_told_what_was_measured():
    assert rows.told(exact(0.12345), "+.2f") == "+0.12 [+0.12, +0.12]"
    estimates = {name: np.full(5, value) for name, value in (("own", 1), ("noisy", 2), ("quiet", 3), ("other", 4))}
    better = {
        "one truth, coordinate median": np.full(5, -2.0),
        "the noisy client's truth lies 0 away": np.full(5, -4.0),
    }
    half = {0.0: RACES[0.5], 2.0: {"client rate": raced(6, 11)}}
    numbers = rows.synthetic_numbers(RACES, half, estimates, better, [0.09] * 5 + [9.0])
    assert numbers["crossover-share"][0] == pytest.approx(numbers["crossover"][0] / 3)
    assert numbers["median-share"] == (0.5, ".0%")
    assert numbers["adam-half"] == "+0.69 [+0.69, +0.69]"  # log 2
    assert numbers["scaffold-half"] == "-0.69 [-0.69, -0.69]"
    assert numbers["quiet-estimate"][0] == 3
    assert (numbers["lost-all"], numbers["lost-half"]) == (7, 0)

    spreads = {rows.HEART: exact(0.5)} | {what: exact(0.25) for what in rows.CONSORTIA}
    methods = ("inverse variance", "own levels", "shrunk levels")
    errors = {method: {what: exact(k / 8) for what in rows.CONSORTIA} for k, method in enumerate(methods)}
    numbers = rows.hospital_numbers(study(), spreads, {what: exact(3.0) for what in rows.CONSORTIA}, errors)
    assert numbers["mat-extremes"] == "3.00 [3.00, 3.00]"
    assert numbers["len-shrunk"] == "+0.250 [+0.250, +0.250]"
    assert numbers["equal-part"] == (pytest.approx(0.5), ".0%")
    assert (numbers["swiss-before"][0], numbers["swiss-after"][0]) == (0.25, 0.3)
    assert numbers["intercept"] == "-0.750 [-0.750, -0.750]"
    assert numbers["largest"] == "+3.000 [+3.000, +3.000]"
    assert numbers["len-spread"] == numbers["mat-spread"] == "0.25 [0.25, 0.25]"
    assert numbers["pairs"] == 1.61  # exp(sqrt 2 * 0.6745 / 2)
