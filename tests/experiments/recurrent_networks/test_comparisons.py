"""Two cells against each other: the ratios of a pair, and what the choice of a rate adds to their interval."""

import numpy as np
import pytest

from companion.experiments.recurrent_networks.comparisons import paired, paired_with_choice
from companion.experiments.recurrent_networks.race import PROBLEMS


def test_a_pair_is_compared_network_by_network_and_being_thrown_counts_once():
    chance = PROBLEMS["adding"].task.chance
    races = {
        ("adding", "a", "x"): {"scores": 0.2 * chance * np.array([1, 2, 3, 4, 5.0])},
        ("adding", "a", "y"): {"scores": 0.1 * chance * np.array([1, 2, 3, 4, 5.0])},
        ("adding", "a", "z"): {"scores": np.array([np.inf, 1e132, 1e9, 1e8, 1e7])},
    }
    assert paired(races, "adding", (("a", "x"), ("a", "y"))).estimate == pytest.approx(2)
    assert paired(races, "adding", (("a", "z"), ("a", "z"))).estimate == pytest.approx(1)
    two = paired(races, "adding", (("a", "x"), ("a", "y")), (("a", "y"), ("a", "x")))
    assert (two.low, two.high) == (pytest.approx(1), pytest.approx(1))


def test_an_interval_with_the_choice_inside_knows_whether_the_choice_was_clear():
    rng = np.random.default_rng(0)
    reported = np.exp(0.1 * rng.standard_normal((1, 2, 20))) * np.array([1.0, 3.0])[:, None] / 100
    clear = np.array([[1.0, 2.0]])[..., None] * np.ones(8)
    unclear = np.array([[[1, 1, 1, 1, 1, 9, 9, 9.0], [2.0] * 8]]) / 100
    for tuning, widest in ((clear, 1.2), (unclear, np.inf)):
        races = {
            ("adding", "a", "x"): {"tuning scores": tuning, "reported scores": reported, "scores": reported[0, 0]},
            ("adding", "a", "y"): {"tuning scores": clear, "reported scores": np.full((1, 2, 20), 0.01)},
        }
        races["adding", "a", "y"]["scores"] = races["adding", "a", "y"]["reported scores"][0, 0]
        pair = (("a", "x"), ("a", "y"))
        found, fixed = paired_with_choice(races, "adding", pair), paired(races, "adding", pair)
        assert found.estimate == pytest.approx(fixed.estimate)
        assert found.low == pytest.approx(fixed.low, rel=0.02)
        if widest < np.inf:
            assert found.high == pytest.approx(fixed.high, rel=0.02)
        else:  # the other rate, of three times the error, is chosen in many resamples
            assert found.high > 2.5
