"""Losses word by word: their sums, an interval over words, and a file that agrees with that of the same trainings."""

import numpy as np
import pytest

from companion.evidence import bootstrap
from companion.experiments.sparse_embeddings import by_word, epochs
from companion.experiments.sparse_embeddings.skip_gram import HeldOut, losses, towards_common
from mutants import mutant


def test_the_sum_of_a_word_is_that_of_its_pairs():
    rng = np.random.default_rng(0)
    a, b, counts = *rng.normal(size=(2, 30, 4)), np.repeat([2, 5, 20], 10)
    pairs = HeldOut(rng.integers(30, size=200), rng.integers(30, size=(200, 6)))
    found = by_word.sums(a, b, pairs, counts, np.array([3, 12]))
    for word, total in zip((3, 12), found, strict=True):
        own = HeldOut(*(part[pairs.centre == word] for part in pairs))
        assert total == pytest.approx((losses(a, b, *own) - losses(towards_common(a, counts, 0), b, *own)).sum())
    other = mutant(by_word.sums, "towards_common(a, counts, 0)", "towards_common(a, counts, 1)")
    assert np.abs(other(a, b, pairs, counts, np.array([3, 12])) - found).min() > 1e-3


def test_the_interval_over_words_is_that_of_resampled_words():
    rng = np.random.default_rng(1)
    pairs = rng.geometric(0.3, size=400)
    total = pairs * rng.normal(1.0, 0.5, size=400) + rng.normal(size=400)
    found = by_word.over_words(pairs, total)
    drawn = bootstrap(np.arange(400), lambda k, axis: total[k.astype(int)].sum(axis) / pairs[k.astype(int)].sum(axis))
    assert found.estimate == pytest.approx(drawn.estimate)
    assert (found.high - found.low) == pytest.approx(drawn.high - drawn.low, rel=0.06)
    # a word that is asked for often adds to both sums, and what that adds to their variation cancels in the ratio
    alike = mutant(by_word.over_words, "total - ratio * pairs", "total")(pairs, total)
    assert (alike.high - alike.low) / (found.high - found.low) > 1.2


def test_the_sums_are_those_of_the_trainings_of_the_other_file():
    sizes = {of: len(words) for of, words in by_word.asked().items()}
    for name in by_word.NAMES:
        for of in by_word.RARE:
            kept = by_word.recorded()[name][of]
            assert len(kept["pairs"]) == len(kept["sums"]) == sizes[of]
            mean = kept["sums"].sum() / kept["pairs"].sum()
            assert mean == pytest.approx(epochs.against_common(name, of).mean(), abs=5e-4)
