"""Rows of the claims and numbers of the prose, from gains, losses and rates that are known."""

import numpy as np
import pytest
from scipy import stats

from companion.evidence import geometric
from companion.evidence.claims import read_claims
from companion.experiments.gradient_clipping import rows
from companion.experiments.gradient_clipping.heavy_tails import TAILS
from companion.experiments.gradient_clipping.race import MEASURES, PLACEMENTS, Retuning, entries
from mutants import mutant
from stepsize.tuning import choose

LRS = 10.0 ** np.arange(-3, 0)
NOISES = ("normal", "t1.5", "spikes")


def gains(factor=1.0, tails=TAILS):
    """Ratios whose geometric mean is factor (1 + tail) 10^measure: no two are alike."""
    spread = np.array([0.5, 0.5, 1, 2, 2])
    return {
        tail: {name: factor * (1 + i) * 10.0**j * spread for j, name in enumerate(MEASURES)}
        for i, tail in enumerate(tails)
    }


def choice(scores):
    return choose([3.0, 1.0, 2.0], LRS)._replace(scores=np.asarray(scores, float))


def placed(cost=2.0):
    """The k-th placement costs `cost`^k times what Adam without a clip, the first, costs."""
    runs = {name: choice(np.arange(1, 7) * cost**k) for k, name in enumerate(PLACEMENTS)}
    return runs | {"clip before, not tuned again": choice(np.arange(1, 7) / 4)}


def estimates(rows):
    return {words: pytest.approx(i.estimate) for words, i in rows.items()}


def moment(function=rows.moment_rows):
    # clipped to 1, all gradients are alike; raw, v' averages 16
    return {words: i.estimate for words, i in function(np.full((50, 1, 1), 4.0), 1.0).items()}


def test_only_a_clip_before_the_rule_makes_the_moment_that_of_clipped_gradients():
    expected = {"the clip stands before the rule": 0.0, "the clip stands behind the rule": 15.0}
    assert moment() == pytest.approx(expected, abs=1e-12)
    broken = mutant(rows.moment_rows, "chain(clip, Adam())", "chain(ClipByNorm(2 * limit), Adam())")
    assert moment(broken)["the clip stands before the rule"] == pytest.approx(3.0)


def test_the_least_rate_gain_is_over_all_signals_and_limits():
    fours, eights = (np.full((20, 1, 1), size) for size in (4.0, 8.0))
    least = rows.least_rate_gain([eights, fours], (1.0, 2.0))
    assert (least.estimate, least.n) == (pytest.approx(2.0), 4)
    assert rows.least_rate_gain([eights], (1.0, 100.0)).estimate == 1
    assert mutant(rows.least_rate_gain, "min(ratios)", "max(ratios)")([fours], (1.0, 2.0)).estimate == pytest.approx(4)


def test_gains_alone_come_first_and_those_in_training_say_so():
    made = rows.gain_rows("step, median", gains(), gains(7.0, NOISES), ("t1.5", "normal"))
    assert estimates(made) == {
        "the noise is heavy-tailed": 40,
        "the noise is normal": 10,
        "in training, the noise is normal": 70,
        "in training, the noise is heavy-tailed": 140,
        "in training, the noise has rare spikes": 210,
    }
    assert len(rows.gain_rows("step, median", gains(), {})) == len(rows.WORDS)


def test_every_percentile_has_a_row_alone_and_one_in_training():
    tails = ("normal", "spikes")
    alone, trained = ({p: gains(factor * p, tails) for p in (10, 90)} for factor in (1, 3))
    made = rows.percentile_rows("rate, median", alone, trained)
    assert estimates(made) == {
        "the limit is the 10th percentile, the noise is normal": 10,
        "in training, the limit is the 10th percentile, the noise is normal": 30,
        "the limit is the 10th percentile, the noise has rare spikes": 20,
        "in training, the limit is the 10th percentile, the noise has rare spikes": 60,
        "the limit is the 90th percentile, the noise is normal": 90,
        "in training, the limit is the 90th percentile, the noise is normal": 270,
        "the limit is the 90th percentile, the noise has rare spikes": 180,
        "in training, the limit is the 90th percentile, the noise has rare spikes": 540,
    }


def test_losses_are_over_those_of_adam_on_the_same_bowl():
    ratio = rows.loss_ratios(placed())
    assert set(ratio) == {*PLACEMENTS, "clip before, not tuned again"} - {"Adam"}
    # bowl by bowl the ratio is one number, so the interval has no width
    for k, name in enumerate(list(PLACEMENTS)[1:], 1):
        assert (ratio[name].low, ratio[name].high) == pytest.approx((2.0**k, 2.0**k))
    unpaired = mutant(rows.loss_ratios, "run.scores / raw", "run.scores / raw[::-1]")(placed())
    assert unpaired["SGD"].low < 0.9 * ratio["SGD"].low


def test_the_rows_of_the_hazard_are_those_of_three_clips():
    made = rows.loss_rows({tail: rows.loss_ratios(placed(1.0 + i)) for i, tail in enumerate(("normal", "spikes"))})
    v_only = 2.0 ** list(PLACEMENTS).index("clip v only, c = 1")
    assert estimates(made) == {
        "the clip stands before the rule and the noise is normal": 1,
        "the clip stands before the rule and the noise has rare spikes": 2,
        "the clip stands before the rule, the rate is not tuned again and the noise is normal": 0.25,
        "the clip stands before the rule, the rate is not tuned again and the noise has rare spikes": 0.25,
        "the clip stands in v alone and the noise is normal": 1,
        "the clip stands in v alone and the noise has rare spikes": v_only,
    }


def retuned():
    """Without the clip the second of three rates is best, with it the first; there the loss is e^-2 of that at the second."""
    curve = np.array([[0.0], [2], [3]]) * np.ones(6)
    return Retuning(LRS, np.eye(3), np.roll(curve, 1, 0), curve, curve, np.roll(curve, 2, 0))


def test_retuning_has_a_row_for_every_tail():
    tuned = {"t1.5": retuned(), "normal": retuned()}
    best = rows.retuning_rows("the best rate", Retuning.rates, tuned)
    assert estimates(best) == {
        "the best rate, the noise is heavy-tailed": 0.1,
        "the best rate, the noise is normal": 0.1,
    }
    cost = rows.retuning_rows("kept", Retuning.loss, tuned)
    assert cost["kept, the noise is normal"].estimate == pytest.approx(np.exp(2))
    wide = rows.retuning_rows("c = 10", Retuning.wide_rates, tuned)
    assert estimates(wide) == {"c = 10, the noise is heavy-tailed": 10, "c = 10, the noise is normal": 10}
    numbers = rows.retuning_numbers(best, cost, wide, {"t1.5": 2000, "normal": 5})
    assert {key: format(*value) for key, value in numbers.items()} == {
        "best-least": "0.10", "best-most": "0.10", "best-t15": "0.10", "best-normal": "0.10",
        "keep-t15": "7.39", "keep-normal": "7.39", "retuning-t15": "2,000", "retuning-normal": "5",
        "wide-t15": "10.00", "wide-normal": "10.00",
    }  # fmt: skip


def test_the_numbers_of_the_prose_are_gains():
    follows, followed = ({p: gains(factor * p, NOISES) for p in (10, 90)} for factor in (1, 0.02))
    numbers = rows.gain_numbers(gains(1.5), gains(5.0, NOISES), follows, followed)
    assert numbers["rate-normal"][0] == pytest.approx(0.5)
    assert numbers["rate-spikes"][0] == pytest.approx(9)
    assert numbers["rms"][0] == pytest.approx(1.5 * 4 * 100)
    assert numbers["longest"][0] == numbers["longest-spikes"][0] == pytest.approx(9000)  # the last tail has most
    assert [numbers[f"rate-p{p}"][0] for p in ("10", "90", "10-spikes", "90-spikes", "90-trained")] == pytest.approx(
        [10, 89, 30, 270, 0.8]
    )
    assert numbers["median-trained"][0] == pytest.approx(50)
    assert numbers["longest-trained"][0] == pytest.approx(5000)


def clipped_shares(function=rows.limit_numbers):
    races = {tail: placed() for tail in ("normal", "spikes")}
    return function(races, np.random.default_rng(0), 20_000)


def test_the_share_of_normal_vectors_that_a_limit_clips_is_that_of_the_chi_distribution():
    numbers = clipped_shares()
    share = [float(part.rstrip("%")) / 100 for part in numbers["clipped-tight"].split(" and ")]
    expected = stats.chi(10).sf(10**0.5 * stats.norm.ppf(0.75))
    # 20 000 vectors: five standard errors are a false alarm in two million; spikes come on top, in every two hundredth
    assert abs(share[0] - expected) < 5 * np.sqrt(expected * (1 - expected) / 20_000) + 5e-4
    assert numbers["clipped-wide"].startswith("0.0% and 0.")
    assert (
        clipped_shares(mutant(rows.limit_numbers, "c * d**0.5", "c * d"))["clipped-tight"] != numbers["clipped-tight"]
    )


def test_best_rates_are_over_that_without_a_clip():
    races = {tail: placed() for tail in NOISES}
    races["t1.5"]["clip before, c = 1"] = choose([1.0, 2.0, 3.0], LRS)
    numbers = rows.limit_numbers(races, np.random.default_rng(0), 10)
    assert numbers["grid-tight"] == "1, 0.1 and 1"
    assert numbers["grid-wide"] == numbers["grid-p10"] == "1, 1 and 1"


def test_the_numbers_of_the_prose_are_losses_of_the_placement_named():
    races = {tail: placed(cost) for tail, cost in zip(NOISES, (2.0, 3.0, 1.0), strict=True)}
    numbers = rows.loss_numbers(races, {tail: rows.loss_ratios(run) for tail, run in races.items()})
    place = list(PLACEMENTS).index
    assert numbers["v-normal"][0] == pytest.approx(2.0 ** place("clip v only, c = 1"))
    assert numbers["p10-t15"][0] == pytest.approx(3.0 ** place("percentile clip, p = 10"))
    assert numbers["kept"][0] == pytest.approx(0.25)
    assert numbers["sgd-t15"][0] == pytest.approx(3.0 ** (place("clipped SGD") - place("clip before, c = 1")))
    assert numbers["tight-normal"][0] == pytest.approx(1 / 2)
    assert numbers["tight-spikes"][0] == 1


def test_the_longest_step_along_a_sequence_is_that_with_the_clip_over_that_without():
    ((words, row),) = rows.sequence_rows([6.0, 3.0]).items()
    assert (row.estimate, row.low, row.high) == (2, 2, 2)
    assert read_claims("gradient_clipping")["C4b"].measures["longest"].setting(words) == "beyond"


def test_a_race_reports_every_placement_that_has_a_rate_of_its_own():
    reported = entries(placed())
    assert list(reported) == [{"clip before, c = 1": "clipped Adam"}.get(name, name) for name in PLACEMENTS]
    assert geometric(reported["clipped Adam"][0].scores) == pytest.approx(2 * geometric(np.arange(1, 7)))
