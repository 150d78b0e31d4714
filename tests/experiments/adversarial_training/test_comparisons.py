"""Rows and numbers of the chapter, from attackers of known strength."""

import numpy as np
import pytest

from companion.experiments.adversarial_training import comparisons
from companion.experiments.adversarial_training.defenses import DEFENDERS
from companion.experiments.adversarial_training.robustness import EUCLIDEAN, MATCHED, Duel, Hardened


def values(numbers):
    return {key: value[0] if isinstance(value, tuple) else value for key, value in numbers.items()}


def leaves(tuned, lazy=50):
    """An attacker that leaves `tuned` of a hundred images of either model standing at its rate 0.3, and `lazy` at the lazy rate."""
    fate = np.broadcast_to(np.arange(100) < np.array([[[tuned]], [[lazy]]]), (2, 2, 100))
    return Duel(0.3, True, np.array([0.1, 0.3]), np.array([0.9, tuned / 100]), fate)


RACED = {
    "L∞": {"SGD": leaves(40, 82), "sign": leaves(40), "Adam": leaves(41, 41), "RMSProp": leaves(39)},
    "L2": {
        "SGD": leaves(45, 80),
        "normalised SGD": leaves(36),
        "Adam": leaves(38, 60),
        "RMSProp": leaves(37),
        "pooled Adam": leaves(34),
        EUCLIDEAN["Adam"]: leaves(57),
    },
}
RIVALS = {
    "L∞": {"pooled RMSProp": leaves(44)},
    "L2": {"pooled RMSProp": leaves(40), "normalised SGD, falling": leaves(35)},
}
HARDENED = {kind: {name: leaves(70 + k) for k, name in enumerate(duels)} for kind, duels in RACED.items()}


def test_points_standing_are_differences_to_the_right_attacker():
    raced = RACED | {"L∞": RACED["L∞"] | {"pooled Adam": leaves(43)}}
    assert values(comparisons.attack_numbers(raced, HARDENED, RIVALS)) == pytest.approx(
        {"lazy-gain": 41, "box-gap": 1, "disc-gap": -7, "hard-gap": 2, "euclid-gap": 12, "disc-control": -9}
        | {"pooled-gap": -2, "adam-gap": 2, "rms-gap": 1, "rms-pixel": -3, "rms-pixel-box": -5}
        | {"rms-falling": 2}
    )


def test_the_scale_per_pixel_is_compared_with_the_same_rule_without_it():
    box = RACED["L∞"] | {"pooled Adam": leaves(43, 60)}
    rows = comparisons.scale_per_pixel({"L∞": box, "L2": RACED["L2"]}, RIVALS)
    assert {row: points.mean() for row, points in rows.items()} == pytest.approx(
        {
            "rates tuned, L∞ ball": -2,
            "both at the lazy rate, L∞ ball": -19,
            "rates tuned, L2 ball": 4,
            "both at the lazy rate, L2 ball": 10,
            "Euclidean projection, rates tuned, L2 ball": 23,
            "RMSProp, rates tuned, L∞ ball": -5,
            "RMSProp, rates tuned, L2 ball": -3,
            "RMSProp beside normalised ascent at a falling rate, L2 ball": 2,
        }
    )


def test_an_attackers_choice_is_its_rate_with_its_curve_in_per_cent():
    choice, grid = comparisons.choices(RACED["L2"])["Adam"]
    assert (choice.lr, choice.at_edge, grid.tolist()) == (0.3, True, [0.1, 0.3])
    assert choice.curve == pytest.approx([90, 38])
    assert choice.scores == pytest.approx([38, 38])


def test_the_share_of_the_maximum_is_that_of_the_models_behind_the_tuning_ones(monkeypatch):
    monkeypatch.setattr(comparisons, "reached", lambda kind, x, seeds, *_: {"it": np.array([len(kind), *x, *seeds])})
    hardened = {kind: Hardened(np.arange(3), None) for kind in MATCHED}
    rows = comparisons.share_of_the_maximum(hardened, [7, 8, 9], 1, None, 5)
    assert {row: share.tolist() for row, share in rows.items()} == {
        "the attacker is it, L∞ ball": [2, 1, 2, 8, 9],
        "the attacker is it, L2 ball": [2, 1, 2, 8, 9],
    }


def test_falls_are_those_of_each_training():
    box, disc, single = (Hardened(None, np.array([[90.0], [90.0 - fall]])) for fall in (3, 4, 12))
    rows = comparisons.falls({"L∞": box, "L2": disc}, single, steps=10)
    assert {row: fall.tolist() for row, fall in rows.items()} == {
        "a network on digits, 10 gradients, L∞ ball": [3],
        "a network on digits, 10 gradients, L2 ball": [4],
        "a network on digits, 1 gradient, L∞ ball": [12],
    }


def test_the_largest_fall_is_that_of_one_network():
    rows = comparisons.largest({"box": np.array([3.0, 11.0, 5.0])})
    assert list(rows) == ["the largest over networks, box"]
    row = rows["the largest over networks, box"]
    assert (row.low, row.estimate, row.high, row.n, row.again) == (11, 11, 11, 3, None)


def test_training_is_told_by_its_worst_ball_and_by_the_spread_of_the_models_of_each_kind(monkeypatch):
    monkeypatch.setattr(comparisons, "spread_of_lengths", lambda x, images: np.array([x, x + 2.0]))
    box, disc, single = (
        Hardened(10 * fall, np.array([[90.0, 90], [90.0 - fall, 90 - more]]))
        for fall, more in ((3, 7), (4, 8), (12, 14))
    )
    found = values(comparisons.training_numbers(99, {"L∞": box, "L2": disc}, single, None))
    assert found == {"spread-standard": 100, "spread-hardened": 41, "worst-fall": 6, "single-fall": 13} | {
        "largest-fall": 8, "largest-single-fall": 14, "networks": 2
    }  # fmt: skip


def test_a_mask_is_read_at_the_last_factor_but_one():
    masks = {name: np.array([[1.0, 1], [k, k + 2.0], [3, 3]]) for name, k in (("sign", 40), ("Adam", 88))}
    found = values(comparisons.mask_numbers([1.0, 10.0, 30.0], masks))
    assert found == {"mask-factor": 10, "mask-adam": "89 %", "mask-sign": "41 %"}


def test_the_dependence_on_the_start_is_told_of_adam_in_both_balls_and_of_the_control():
    rows = "Adam, L∞ ball", "Adam, L2 ball", "steepest ascent without a memory, L2 ball", "RMSProp, L2 ball"
    found = values(comparisons.start_numbers({row: np.array([k, k + 1.0]) for k, row in enumerate(rows)}))
    assert found == {"fickle-box": 0.5, "fickle-disc": 1.5, "fickle-control": 2.5}


def test_pairs_of_defenders_are_counted_by_what_they_say():
    class Row:
        def __init__(self, says):
            self.says = says

    cells = DEFENDERS.read()
    says = ["supports"] * 3 + ["contradicts"] * 2 + ["undecided"]
    found = values(comparisons.defender_numbers(cells, tuple(map(Row, says))))
    lift = np.mean(cells["L2 | Adam"]["robust"]) - np.mean(cells["L2 | SGD"]["robust"])
    bent = np.mean(cells[f"L2 | {EUCLIDEAN['Adam']}"]["robust"]) - np.mean(cells["L2 | SGD"]["robust"])
    assert found == {"pairs-supports": 3, "pairs-contradicts": 2, "pairs-undecided": 1, "pairs-all": 6, "grid-seed": 0} | {
        "own-lift": pytest.approx(lift), "euclid-lift": pytest.approx(bent)
    }  # fmt: skip
