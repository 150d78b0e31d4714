"""Rows and numbers of the chapter: each says what was measured where, on runs whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from companion.evidence import Chapter
from companion.evidence.wording import median
from companion.experiments.plateau_and_valley.landscapes import PlateauValley
from companion.experiments.plateau_and_valley.network import Training
from companion.experiments.plateau_and_valley.race import METHODS, Raced, lower_median, plateau_race, reported
from companion.experiments.plateau_and_valley.rows import (
    alone_rows,
    closed_form_numbers,
    cost_rows,
    flatness_rows,
    floor_rows,
    passage_numbers,
    passage_rows,
    patient_rows,
    plane_numbers,
    plane_rows,
    race_numbers,
    rate_numbers,
    rate_rows,
    rest_numbers,
    turned_numbers,
    turned_rows,
    verdict_of_all,
)
from companion.experiments.plateau_and_valley.transients import Entry, rate_left
from mutants import mutant
from stepsize import AdaGrad, Adam, RMSProp, responses

EQUAL = "Adam, β₁ = β₂ = 0.95"


def estimates(rows):
    return {condition: row.estimate for condition, row in rows.items()}


def values(numbers):
    return {key: value[0] if isinstance(value, tuple) else value for key, value in numbers.items()}


def raced(*times):
    """A race whose tuning landscapes settle at once and whose others at `times`, at the first of two rates."""
    return Raced.of({"": np.array([[1.0, 1, *times], [9, 9, *times]])}, [0.1, 0.2], 2, 10)


def entry(peak, rate, first_rate=1.0, ejected=False, overshoot=0.0):
    shape = np.shape(peak)
    full = [np.broadcast_to(np.asarray(a), shape) for a in (first_rate, rate, ejected, overshoot)]
    return Entry(np.where(np.isnan(peak), np.nan, 1.0), np.array(peak), *full)


NEVER = np.nan
ENTRIES = {
    "AdaGrad": entry(
        [20.0, 30, 40, 0.5, 10, NEVER], 0.1, ejected=[True, True, True, False, False, False], overshoot=4.0
    ),
    "RMSProp": entry([10.0, 10, 10, 10, NEVER, NEVER], 0.2),
    "Adam": entry([5.0, 6, 7, 3, 4, NEVER], [0.01, 0.02, 0.03, 0.04, 0.05, 9.0], first_rate=[0.1] * 5 + [9.0]),
    EQUAL: entry([0.5, 0.6, 0.7, 0.9, 0.8, 0.4], 0.3),
}


def test_a_passage_is_the_median_over_the_landscapes_entered_and_needs_five_of_them():
    assert estimates(passage_rows(ENTRIES, "peak")) == {
        "the rule is AdaGrad": 20, "the rule is Adam": 5, f"the rule is {EQUAL}": pytest.approx(0.65)
    }  # fmt: skip
    assert estimates(passage_rows(ENTRIES, "rate"))["the rule is Adam"] == 0.03
    everywhere = mutant(passage_rows, "getattr(entry, measure)[entry.arrived]", "getattr(entry, measure)")
    assert estimates(everywhere(ENTRIES, "rate"))["the rule is Adam"] > 0.03


def test_growth_at_the_lip_is_counted_over_the_rules_of_the_text():
    assert values(passage_numbers(ENTRIES)) == pytest.approx(
        {"adagrad-peak": 20, "rmsprop-peak": 10, "adam-peak": 5, "grew": "13 of 14", "equal-peak": 0.9}
        | {"rate_fall": 1 / 0.03, "first_fall": 10, "ejected": 0.5, "overshoot": 4}
    )


def test_a_floor_gives_one_and_a_distance_that_falls_gives_less():
    windows = {"floor": [[2.0] * 5, [2.0] * 5], "half": [[4.0] * 5, [2.0] * 5], "rising": [[1.0] * 5, [3.0] * 5]}
    windows |= {"at rest": [[0.0] * 5, [0.0] * 5]}
    rows = floor_rows({name: np.array(w) for name, w in windows.items()})
    assert estimates(rows) == {"floor": 1, "half": 0.5, "rising": 1, "at rest": 0}


def test_bursts_are_counted_where_the_rate_crosses_the_threshold_upwards():
    t = np.arange(1000)
    rate = np.where(t % 50 < 25, 0.9, 1.1)[:, None] * responses.ema_threshold()
    path = SimpleNamespace(x=np.where(t < 100, 9.0, 0.25)[:, None], rate=rate)
    sharpness = np.concatenate([np.zeros((5, 7)), np.tile(np.linspace(30, 40, 7), (5, 1))])
    training = Training(np.arange(10), sharpness, sharpness)
    short, far = np.array([[1.0, 2, 3], [4, 5, 6]]), {"Adam keeps its learning rate": np.array([[9.0] * 3, [7, 8, 9]])}
    assert values(rest_numbers(path, short, far, training, begin=100)) == pytest.approx(
        {"floor_9": 2, "floor_99": 5, "floor_999": 8, "typical": "0.25", "period": 50}
        | dict(zip(("edge_low", "edge", "edge_high"), np.quantile(sharpness[5:], [0.05, 0.5, 0.95]), strict=True))
    )


def test_what_is_left_of_a_rate_is_its_closed_form():
    slopes = {"10⁻³": 1e-3, "1": 1.0}
    left = lambda rule: rate_left(rule, list(slopes.values()), 2500)  # noqa: E731
    kept = {type(rule).__name__: left(rule) for rule in (AdaGrad(eps=0.0), RMSProp(eps=0.0), Adam(eps=0.0))}
    warm = dict(zip(slopes, left(AdaGrad(eps=0.0, initial=0.1)), strict=True))
    flat, steep = ((0.1 + g * g) ** 0.5 / (0.1 + 2500 * g * g) ** 0.5 for g in (1e-3, 1.0))
    assert estimates(rate_rows(kept, warm)) == pytest.approx(
        {"the rule is AdaGrad": 0.02, "the rule is RMSProp": 0.1, "the rule is Adam": 1}
        | {"AdaGrad begins at 0.1, the slope is 10⁻³": flat, "AdaGrad begins at 0.1, the slope is 1": steep}
    )
    rows = estimates(flatness_rows(kept, warm, decades=3))
    assert rows["accumulators begin at 0"] == 0
    assert rows["AdaGrad's accumulator begins at 0.1"] == pytest.approx((flat / steep) ** (1 / 3) - 1, abs=1e-8)
    assert values(rate_numbers({"10⁻⁶": 1.0, **warm})) == pytest.approx({"warm_6": 1, "warm_3": flat, "warm_0": steep})


def test_a_cost_has_a_row_where_five_runs_are_decided():
    costs = {"slow": np.array([1.0, 2, 3, 4, 9]), "rare": np.ones(4)}
    assert estimates(cost_rows("somewhere", costs)) == {"somewhere, slow": 3}


def test_the_cost_of_one_rate_is_told_along_the_axis_and_at_the_last_angle():
    quick, slow = raced(1, 1, 1, 2, 2), raced(4, 4, 4, 6, np.inf)
    turned = {"Adam": [quick, quick, slow], "AMSGrad": [quick, quick, slow]}
    pooled = {"Adam": [slow], "AMSGrad": [slow, slow, slow]}
    assert estimates(turned_rows(turned, pooled, 10)) == {
        "the valley lies along an axis, Adam": 4,
        "the valley lies along an axis, AMSGrad": 4,
        "the valley is turned by 45°, AMSGrad": 1,
    }
    names = turned | {"heavy ball": [quick] * 3, "AdaGrad": turned["Adam"]}
    assert values(turned_numbers(names, pooled, [0, 5, 45], 10)) == {
        "heavy ball_0": "1", "AdaGrad_0": "1", "AdaGrad_1": "1", "AdaGrad turned": "80%", "Adam turned": "80%"
    } | {"gain_0": 4, "gain_5": 4, "gain_45": 1, "quickest turned": "heavy ball"}  # fmt: skip


def test_on_a_plateau_in_the_plane_only_decided_landscapes_count():
    none, each, one = (raced(*times) for times in ([np.inf] * 6, [2.0] * 6, [4.0] * 4 + [np.inf] * 2))
    plane, pooled = {"Adam": [each, none], "AdaGrad": [none, none]}, {"Adam": one, "AdaGrad": none}
    assert estimates(plane_rows(plane, pooled, 10)) == {"a plateau leads into the valley, along an axis, Adam": 2}, (
        "at 45° but four are decided, and of AdaGrad none"
    )
    assert estimates(patient_rows(one, each, 10)) == {"given twice the steps, turned by 45°, Adam": 2}
    assert patient_rows(none, none, 10) == {}
    assert plane_numbers(plane, pooled, [one, each]) == {
        "plane Adam 0": "100%", "plane Adam 45": "0%", "plane Adam pooled": "67%",
        "plane AdaGrad 0": "0%", "plane AdaGrad 45": "0%", "plane AdaGrad pooled": "0%",
        "patient pooled": "4", "patient each": "2", "patient": "100%",
    }  # fmt: skip


def test_the_lower_median_is_the_time_of_a_run():
    assert lower_median([1.0, 2, 4, 5]) == 2
    assert lower_median([1.0, 2, np.inf, np.inf]) == 2
    assert lower_median([1.0, np.inf, np.inf]) == np.inf


def test_a_verdict_of_all_rows_knows_no_split_between_stated_and_beyond():
    book = Chapter("plateau_and_valley")
    many, one = np.full(9, 40.0), np.ones(9)
    rows = cost_rows("the valley lies along an axis", {"Adam": many}) | cost_rows(
        "there is one parameter", {"Adam": one}
    )
    verdict = book.judge("P6", loss_of_it=rows)
    assert verdict.computed == verdict_of_all(verdict, but="one parameter") == "holds"
    assert verdict_of_all(verdict, but="nowhere") == "in part"
    turned = cost_rows("a plateau leads into the valley, turned by 45°", {"Adam": one})
    verdict = Chapter("plateau_and_valley").judge("P6", loss_of_it=rows | turned)
    assert verdict.computed == "holds"
    assert verdict_of_all(verdict, but="one parameter") == "in part"


def test_with_one_parameter_the_twin_is_the_rule():
    land, lrs = PlateauValley.sample(12, seed=2), np.logspace(-2, 0, 3)
    races = {name: plateau_race(name, land, lrs, 4, 400) for name in ("AdaGrad",)}
    (row,) = alone_rows("AdaGrad", races, land[4:], 400).values()
    assert (row.low, row.estimate, row.high) == (1, 1, 1)


def test_the_numbers_of_the_race_are_those_of_their_own_methods():
    # the plateau takes h L / 2 g = 500 steps at the edge of stability
    land, lrs, steps = (
        PlateauValley(*np.full((4, 9, 1), [[[0.01]], [[10]], [[1]], [[0.1]]])),
        np.logspace(-3, 0, 7),
        300,
    )
    races = {name: plateau_race(name, land, lrs, 3, steps) for name in METHODS}
    found = values(race_numbers(races, land[3:], steps))
    assert found.pop("later") == "100%"
    assert found.pop("too_slow") == 1
    assert found.pop("thrown") == 1
    assert found.pop("slower") == lower_median(races["Adam"].one) / lower_median(races["Adam, β₂ = 0.9"].one)
    assert found.pop("limit") == races["clipped SGD"].choice.setting
    for key, text in found.items():
        kind, _, name = key.partition(" ")
        times = races[name].one if kind == "one" else races[name].oracle
        expected = median(times) if kind == "steps" else f"{np.isfinite(times).mean():.0%}"
        assert text == expected
    shown = reported(races, lrs, steps, "plateau-fig-heat")
    choice, _ = shown["entries"]["Adam"]
    assert shown["statistic"](choice.scores) == races["Adam"].one.mean()


def test_the_closed_forms_have_the_values_of_the_text():
    assert values(closed_form_numbers()) == pytest.approx(
        {"u_at": 12, "u_max": 6.56852025, "spike": 0.1 / 0.001**0.5, "sup": 7.2702918}
        | {"sup_99": 2.345, "distance": 198.5446, "young": 2.147},
        rel=1e-3,
    )
