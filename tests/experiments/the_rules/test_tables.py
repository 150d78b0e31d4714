"""Tables and numbers of the primer have the values of its propositions."""

import numpy as np
import pandas as pd
import pytest

from companion.experiments.the_rules.tables import (
    average_numbers,
    decay_numbers,
    half_lives,
    paired_losses,
    reported,
    response_numbers,
    response_table,
    tuning_numbers,
    tuning_table,
)
from mutants import mutant
from stepsize import AdaBelief, Adam, RMSProp
from stepsize.signals import respond, signals, step_size
from stepsize.tuning import Choice

STEPS = 1000
RULES = {"Adam": Adam, "AdaBelief": AdaBelief}
PATHS = {
    name: {key: respond(rule(lr=1), g) for key, g in signals(STEPS, runs=400).items()} for name, rule in RULES.items()
}
TABLE = response_table(PATHS, STEPS)


def values(numbers):
    return {key: value[0] if isinstance(value, tuple) else value for key, value in numbers.items()}


def test_adams_row_is_that_of_the_propositions():
    row = TABLE.loc["Adam"]
    assert row["rate"] == pytest.approx(1, abs=1e-7)
    assert row["constant"] == pytest.approx(1, abs=1e-7)
    assert row["alternating"] == pytest.approx(0.1 / 1.9, rel=1e-6)
    # a mean over 400 runs and the 500 steps of the second half
    assert row["random signs"] == pytest.approx((0.1 / 1.9) ** 0.5, rel=0.02)
    early = mutant(response_table, "steps // 4", "steps // 2")
    assert early(PATHS, STEPS).loc["Adam", "impulse"] < row["impulse"]


def test_at_the_impulse_the_rate_falls_and_the_step_grows():
    found = values(response_numbers(PATHS["Adam"], TABLE, STEPS))
    w = 1 - 0.999 ** (STEPS // 4 + 1)
    assert found["dip"] == pytest.approx(((w + 0.001 * (1e4 - 1)) / w) ** 0.5, rel=1e-6)
    assert found["kick"] == TABLE.loc["Adam", "impulse"] > 1
    after = step_size(PATHS["Adam"]["impulse"])[STEPS // 4 :]
    assert (after[: found["longer"]] > 1).all()
    assert after[found["longer"]] < 1
    assert found["belief"] == TABLE.loc["AdaBelief", "rate"] > 10


def test_a_rate_needs_twice_as_long_as_its_second_moment():
    beta = np.array([[0.9], [0.99]])
    silence = np.r_[np.ones((3000, 2, 1)), np.zeros((400, 2, 1))]
    lives = half_lives(respond(RMSProp(1, beta=beta, eps=0.0), silence).rate[2999:, :, 0], beta)
    v = np.ceil(np.log(0.5) / np.log([0.9, 0.99]))
    assert lives["v has halved"].tolist() == v.tolist()
    assert lives["rate has doubled"].tolist() == np.ceil(2 * np.log(0.5) / np.log([0.9, 0.99])).tolist()
    assert list(lives.index) == ["β = 0.9", "β = 0.99"]


def test_a_step_counter_is_wrong_by_a_factor_that_adams_rate_takes_the_root_of():
    betas = np.r_[np.full(50, 0.9), np.full(10, 0.999)]
    found = values(average_numbers(np.ones(60), betas))
    assert found["counter"] == pytest.approx(1 / (1 - 0.999**51))
    assert found["counter_rate"] ** 2 == pytest.approx(found["counter"])


def test_weights_are_told_by_decay_and_noise():
    shrunk = pd.DataFrame({"quiet": [0.1, 0.3], "loud": [0.9, 0.5]}, index=["Coupled", "Decoupled"])
    assert values(decay_numbers(shrunk)) == {"quiet": 0.1, "loud": 0.9, "decoupled": 0.4}


def tuned(lr, at_edge, scores):
    return Choice(lr, None, (0,), at_edge, np.array([1.0, 2.0]), np.array(scores))


def test_the_best_rule_has_the_lowest_median_and_edges_are_told():
    results = {"SGD": tuned(0.01, False, [1.0] * 5), "Adam": tuned(0.2, True, [0.1, 0.2, 0.3, 9.0, 9.0])}
    table = tuning_table(results)
    assert table.loc["SGD"].tolist() == ["0.01", "no", "1.0000", "1.0000 to 1.0000"]
    assert table.loc["Adam"].tolist()[:3] == ["0.2", "yes", "0.3000"]
    assert values(tuning_numbers(results)) == {
        "spread": pytest.approx(20), "best": "Adam", "level": "SGD", "nearest": "SGD", "nearest-loss": "3.33 [0.11, 10.00]"
    }  # fmt: skip
    worst = mutant(tuning_numbers, "min(results, key=lambda name: np.median(results[name].scores))", "max(results)")
    assert worst(results)["best"] == "SGD"
    apart = results | {"Adam": tuned(0.2, True, [0.1, 0.2, 0.3, 0.4, 0.5])}
    assert tuning_numbers(apart)["level"] == "none"
    race = reported(results, [0.1, 0.2], "the-rules-fig-tuning")
    assert race["statistic"](race["entries"]["Adam"][0].scores) == 0.3


def test_rules_on_the_same_noise_are_compared_seed_by_seed():
    noise = np.random.default_rng(0).lognormal(size=50)
    scores = {"Adam": noise, "SGD": 1.1 * noise, "sign": noise[::-1] * 1.1, "Lion": 3 * noise}
    results = {name: tuned(0.1, False, values) for name, values in scores.items()}
    paired = paired_losses(results, "Adam")
    assert {name: (i.low, i.high) for name, i in paired.items() if name != "sign"} == {
        "SGD": pytest.approx((1.1, 1.1)), "Lion": pytest.approx((3, 3))
    }  # fmt: skip
    # four rules are six pairs; over the three with the best alone the interval would be narrower
    assert paired["sign"].method.endswith("99.17%")
    alone = mutant(paired_losses, "math.comb(len(results), 2)", "len(results) - 1")(results, "Adam")["sign"]
    assert alone.high - alone.low < paired["sign"].high - paired["sign"].low
    # SGD is told from Adam by a tenth, although the losses of each spread over decades
    numbers = tuning_numbers(results)
    assert (numbers["level"], numbers["nearest"]) == ("sign", "sign")
