"""The rows of the claims on word vectors: slopes, differences and numbers whose values are known beforehand."""

import numpy as np
import pytest

from companion.evidence import Chapter, exact, student
from companion.evidence.verdict import compare
from companion.experiments.sparse_embeddings import by_word, epochs, race, readings, rows
from companion.experiments.sparse_embeddings.skip_gram import BINS, corpus
from mutants import mutant


@pytest.fixture
def raced():
    """Two trainings of every rule whose facts are powers of the count, and whose losses say which rule and bin they are of."""
    counts, runs = corpus().counts.astype(float), {}
    for k, name in enumerate(["SGD", "SGD, 1/√count", *rows.WITH_MOMENTS, "lazy Adam × D(gap)"]):
        facts = [np.stack([counts**power] * 2) for power in (0.1 * k, -0.05 * k, -0.2 - 0.01 * k)]
        loss = np.tile(np.arange(7) + 10.0 * k, (1, 2, 1))
        runs[name] = race.Raced(loss, loss - 0.5 * k, *facts, np.full((2, len(counts)), 9.0))
    return runs


def test_exponents_are_powers_of_the_count_and_those_of_another_rule_are_subtracted(raced):
    rate = rows.exponents(raced, "rate", "the rule is")
    assert list(rate) == [f"the rule is {rows.title(name)}" for name in rows.WITH_MOMENTS]
    np.testing.assert_allclose(rate["the rule is AdaGrad"], -0.1, atol=1e-10)
    np.testing.assert_allclose(rate["the rule is dense Adam"], -0.2, atol=1e-10)
    steps = rows.exponents(raced, "distance", "steps of", minus="SGD")
    np.testing.assert_allclose(steps["steps of dense Adam"], -0.04, atol=1e-10)
    alone = mutant(rows.exponents, "slope[name] - less", "slope[name]")(raced, "distance", "steps of", minus="SGD")
    assert abs(alone["steps of dense Adam"] + 0.04).min() > 0.1


def test_rare_words_are_compared_with_the_common_vector_after_five_epochs_and_after_a_fifth_of_one(raced):
    found = rows.beside_common(raced)
    np.testing.assert_array_equal(found["a fifth of an epoch, dense Adam"], [2.0, 2.0])
    np.testing.assert_array_equal(found["the rule is dense Adam"], epochs.against_common("Adam", "1-2"))
    np.testing.assert_array_equal(found["words seen 3 to 9 times, AdaGrad"], epochs.against_common("AdaGrad", "3-9"))
    np.testing.assert_array_equal(
        found["mixed with the common vector, AdaGrad"], epochs.best_mixture("AdaGrad", "1-2")[1]
    )
    assert len(found) == len(epochs.NAMES) + 3 * len(rows.ADAPTIVE)


def test_words_seen_once_or_twice_are_compared_with_sgd(raced):
    gain = rows.beside_sgd(raced)
    assert set(gain) == set(raced) - {"SGD"}
    np.testing.assert_array_equal(gain["Adam"], [40.0, 40.0])
    raced["Adam"].loss[0, :, 1] -= [1.0, 2.0]
    np.testing.assert_array_equal(rows.beside_sgd(raced)["Adam"], [39.0, 38.0])


def test_after_five_epochs_the_rarest_words_are_compared_with_sgd_of_the_same_length():
    found, sgd = rows.after_five_epochs(), np.array(readings.recorded()["SGD"]["loss"])[:, 1]
    assert list(found) == [f"five epochs, {rows.title(name)}" for name in (*rows.ADAPTIVE, "SGD, 1/√count")]
    np.testing.assert_array_equal(
        found["five epochs, dense Adam"], np.array(readings.recorded()["Adam"]["loss"])[:, 1] - sgd
    )
    # the static rate's losses are of the other file: beside the common vector they are those of N6
    static, common = (epochs.recorded()["SGD, 1/√count"]["reporting"][:, at, 1] for at in (-1, 0))
    np.testing.assert_allclose(found["five epochs, SGD, 1/√count"] + sgd, static)
    np.testing.assert_allclose(static - common, epochs.against_common("SGD, 1/√count", "1-2"))
    other = mutant(rows.after_five_epochs, "list(BINS).index(RAREST)", "list(BINS).index('10-49')")()
    assert abs(other["five epochs, dense Adam"] - found["five epochs, dense Adam"]).min() > 0.1


def test_the_numbers_of_the_prose_are_those_of_the_trainings(raced):
    said = {key: value[0] for key, value in rows.numbers(raced).items() if isinstance(value, tuple)}
    assert said["rate-Adam"] == pytest.approx(-0.2)
    assert said["moved-SGD"] == pytest.approx(-0.2)
    assert said["gain-lazy Adam"] == pytest.approx(50.0)
    assert said["static_share"] == pytest.approx(10 / 40)
    assert (said["lost"], said["left"]) == (10.0, 30.0)
    assert (said["early-Adam"], said["unread"]) == (2.0, 0.0)
    assert said["idle_share"] == pytest.approx(0.9 / 0.999**0.5, rel=1e-6)
    raced["Adam"].visits[0, corpus().counts <= 2] = 0
    assert rows.numbers(raced)["unread"][0] == 0.5


def test_the_numbers_on_cost_are_those_of_the_rows_they_name():
    ratios = {name: exact(k + 2.0) for k, name in enumerate(race.cost_ratios())}
    memory = {name: exact(10.0 * k) for k, name in enumerate(race.memory_ratios(50, 8, 5))}
    said = {key: value for key, (value, _) in rows.cost_numbers(ratios, memory).items()}
    assert said["factored-time"] == 1 / ratios["Adafactor, 1,000,000 rows"].estimate
    assert said["torch-10000"] == ratios["SparseAdam (torch), 10,000 rows"].estimate
    assert said["gradient"] == memory["memory of the gradient is meant"].estimate
    assert said["ours-together"] == ratios["all rules in one race, lazy Adam, 1,000,000 rows"].estimate


def test_a_ratio_of_one_race_is_of_times_of_the_same_round(monkeypatch):
    """Both rules take twice as long in the second round and four times as long in the third: the ratio does not change."""
    noise, recorded = np.array([1.0, 2.0, 4.0]), race.large_costs()
    times = {name: noise * (k + 1) for k, name in enumerate(recorded)}
    monkeypatch.setattr(race, "large_costs", lambda: times)
    found, dense = race.cost_ratios(), times["dense Adam, fused (torch)"][0]
    for name in ("SparseAdam (torch)", "lazy Adam"):
        np.testing.assert_allclose(found[f"all rules in one race, {name}, 1,000,000 rows"], dense / times[name][0])
    apart = mutant(race.cost_ratios, "large[dense] / large[name]", "large[dense] / large[name][::-1]")()
    assert np.ptp(apart["all rules in one race, lazy Adam, 1,000,000 rows"]) > 1


def test_a_race_is_shown_by_the_losses_of_rare_words_at_the_rate_for_all_words(raced):
    choice, lrs = rows.race_entries(raced)["Adam"]
    assert choice.lr == race.chosen("Adam").lr
    np.testing.assert_array_equal(choice.scores, [41.5, 41.5])
    np.testing.assert_allclose(choice.curve, race.table()["Adam"][..., 1:3].mean((1, 2)))
    np.testing.assert_array_equal(lrs, race.grid("Adam"))
    assert list(BINS)[:2] == ["1-2", "3-9"]


def test_rows_after_five_epochs_and_beside_wordnet_are_those_of_the_file():
    steps = rows.five_epochs("distance", "steps of", minus="SGD")
    own, sgd = (readings.exponents(name, "distance") for name in ("Adam", "SGD"))
    np.testing.assert_array_equal(steps["five epochs, steps of dense Adam"], own - sgd)
    often = rows.five_epochs("rate", of="often")["five epochs, words visited 1,000 times or more, AdaGrad"]
    np.testing.assert_array_equal(often, readings.exponents("AdaGrad", "rate", "often"))
    share, chance, _ = np.array(readings.recorded()["Adam"]["agreement"]["category"])[..., 1].T
    np.testing.assert_array_equal(rows.kinship()["WordNet, seen 3 to 9 times, dense Adam"], share - chance)
    assert len(rows.kinship()) == 2 * len(rows.ADAPTIVE)


def test_after_five_epochs_frequent_words_still_have_smaller_rates_and_shorter_steps():
    book = Chapter("sparse_embeddings")
    measured = {
        ("N4", "slope"): rows.five_epochs("rate") | rows.five_epochs("rate", of="often"),
        ("N5", "steps"): rows.five_epochs("distance", "steps of", minus="SGD"),
        ("N5", "moment"): rows.five_epochs("moment", "second moment of"),
    }
    for (claim, measure), found in measured.items():
        for values in found.values():
            assert compare(student(values, level=1 - 0.05 / 10), book.region(claim, measure)) == "supports"
    shared, dense = (
        rows.five_epochs("rate", of="often")[f"five epochs, words visited 1,000 times or more, {n}"].mean()
        for n in ("lazy Adam, shared clock", "dense Adam")
    )
    assert 0.4 < shared / dense < 0.6


def test_over_words_the_intervals_are_wider_and_on_the_same_side_of_zero():
    found, said = rows.over_words(), rows._of_words()
    assert len(found) == 2 * len(by_word.NAMES)
    for name in by_word.NAMES:
        over = found[f"words resampled, seen 3 to 9 times, {rows.title(name)}"]
        assert over.estimate == pytest.approx(epochs.against_common(name, "3-9").mean(), abs=5e-4)
        assert over.high < 0
    assert said["words-below"] == said["words-rules"] == len(by_word.NAMES)
    assert said["words-above"] == len(by_word.NAMES) - 1, "AdaGrad's is a tie"
    assert 1 < said["words-wider"][0] < 20
