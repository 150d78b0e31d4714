"""What five epochs leave in the table: neighbours and categories against chance, and the recorded file."""

import numpy as np
import pytest

from companion.evidence import student
from companion.experiments.sparse_embeddings import epochs, readings
from companion.experiments.sparse_embeddings.skip_gram import BINS, corpus
from mutants import mutant


def words(n=400, labels=7, seed=0):
    """Random vectors of words whose counts fill all bins; labels below `labels` // 2 are nouns', the others verbs', -1 unknown."""
    rng = np.random.default_rng(seed)
    label = rng.integers(-1, labels, size=n)
    return (
        rng.normal(size=(n, 5)),
        np.repeat([1, 5, 20, 100, 500, 3000], n)[::6][:n],
        label,
        (label >= labels // 2).astype(int),
    )


def test_where_all_words_are_neighbours_they_agree_as_often_as_chance():
    share, chance, _ = readings.agreement(*words(), nearest=400)
    np.testing.assert_allclose(share[3:], chance[3:], atol=1e-12)  # words that are neighbours themselves
    assert (share > 0.05).all()
    selfish = mutant(readings.agreement, "near[asking[:, None] == asked] = -np.inf", "pass")
    assert np.abs(np.subtract(*selfish(*words(), nearest=400)[:2])[3:]).max() > 1e-4
    of_any_speech = mutant(readings.agreement, "speech[near] == speech[asking, None]", "speech[near] >= 0")
    assert np.abs(np.subtract(*of_any_speech(*words(), nearest=400)[:2])[3:]).max() > 1e-2


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")  # classes without a word
def test_neighbours_are_the_nearest_known_words_with_a_label_by_the_angle():
    vectors = np.array([[1, 0], [5, 0.1], [1, 0.5], [0, 1], [0.1, 3], [1, 0.01]])
    counts, label = np.array([1, 60, 60, 60, 60, 2]), np.array([0, 0, 1, 1, -1, 0])
    share, *_ = readings.agreement(vectors, counts, label, np.zeros(6, int), nearest=1)
    # the words seen once and twice lie nearest to the second; the second and the fourth to the third, the third to the second
    assert share[0] == 1
    assert share[3] == pytest.approx(1 / 3)


def test_neighbours_that_all_rare_words_have_in_common_are_no_more_than_dealt():
    vectors, counts, label, speech = words(3000)
    vectors[counts < 10] = vectors[0]  # all of them lie in one place
    share, chance, dealt = readings.agreement(vectors, counts, label, speech)
    np.testing.assert_allclose(share[:2], dealt[:2], atol=1e-12)
    assert abs(share[0] - chance[0]) > 1e-3
    with_itself = mutant(
        readings.agreement, "alike[which[asking, None], label[near]] - same", "alike[which[asking, None], label[near]]"
    )
    assert abs(np.subtract(*with_itself(vectors, counts, label, speech)[::2])[0]) > 1e-4


def test_vectors_that_know_the_part_of_speech_alone_are_not_above_chance():
    _, counts, label, speech = words(3000)
    vectors = np.random.default_rng(1).normal(size=(3000, 5)) + 20 * np.eye(5)[speech]
    share, chance, _ = readings.agreement(vectors, counts, label, speech)
    assert abs((share - chance)[:3].mean()) < 0.02
    blind = readings.agreement(vectors, counts, label, np.zeros(3000, int))
    assert (blind[0] - blind[1])[:3].mean() > 0.05


def test_vectors_that_know_the_label_are_above_chance():
    _, counts, label, speech = words(3000)
    vectors = np.random.default_rng(1).normal(size=(3000, 8)) + 20 * np.eye(8)[label]
    share, chance, _ = readings.agreement(vectors, counts, label, speech)
    np.testing.assert_allclose(share, 1)
    assert chance.max() < 0.5


def test_words_of_the_corpus_have_their_numbers_of_wordnet():
    known, text = readings.meanings(), list(corpus().words)
    at = {word: text.index(word) for word in ("king", "prince", "speak", "say", "the")}
    of = {word: known["category"][k] for word, k in at.items()}
    assert of["king"] == of["prince"] == 18
    assert of["speak"] == of["say"] == 32
    assert of["the"] == -1
    assert [known["speech"][at[word]] for word in ("king", "speak", "the")] == [0, 1, -1]
    assert known["hypernym"].max() < len(text)
    # a hypernym has one part of speech
    pairs = np.unique(np.stack([known["hypernym"], known["speech"]])[:, known["hypernym"] >= 0], axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1]


def test_the_readings_are_of_the_trainings_whose_losses_are_recorded():
    for name in readings.NAMES[:-1]:
        cell, kept = readings.recorded()[name], epochs.recorded()[name]
        assert cell["lr"] == kept["lr"]
        np.testing.assert_allclose(cell["loss"], kept["reporting"][:, -1], rtol=2e-3)
    tried = sorted(map(float, readings.recorded()["SGD"]["tried"]))
    assert tried[0] < readings.recorded()["SGD"]["lr"] < tried[-1]


def test_categories_are_found_by_how_often_a_word_was_seen_and_not_by_the_rule():
    classes = list(BINS)[:5]
    points = np.array([[readings.kinship(name, words) for words in classes] for name in readings.NAMES])
    means = points.mean(2)
    assert (means[:, 0] < 0).all()
    assert (means[:, 2:] > 0.02).all()
    # the best rule on one class is behind the worst on the next
    assert (means[:, 1:].min(0) > means[:, :-1].max(0)).all()
    few = [student(of, level=1 - 0.05 / 25) for of in points[:, 1]]  # as wide as beside 24 other rows
    assert [name for name, i in zip(readings.NAMES, few, strict=True) if i.low > 0] == ["AdaGrad"]


@pytest.mark.slow
@pytest.mark.parametrize("draw", range(2))
def test_random_cells_of_the_readings_come_out_again(draw):
    rng = np.random.default_rng([2027, draw])
    name, at = str(rng.choice(readings.NAMES[:-1])), int(rng.integers(5))
    again, kept = readings.reading(name, [epochs.SEEDS["reporting"][at]]), readings.recorded()[name]
    np.testing.assert_allclose(again["loss"][0], kept["loss"][at], rtol=2e-3)
    for of, fields in kept["slopes"].items():
        for field, slopes in fields.items():
            assert again["slopes"][of][field][0] == pytest.approx(slopes[at], abs=0.01)
    for label, shares in kept["agreement"].items():
        np.testing.assert_allclose(
            np.array(again["agreement"][label][0])[:, :4], np.array(shares[at])[:, :4], atol=0.01
        )
    assert len(BINS) == np.shape(kept["agreement"]["category"])[-1]
