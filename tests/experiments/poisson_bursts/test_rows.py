"""Evidence and numbers of the prose, on streams and costs whose values are known."""

import numpy as np
import pytest

from companion.evidence import geometric
from companion.evidence.claims import read_claims
from companion.experiments.autoclip import AutoClip
from companion.experiments.poisson_bursts import rows
from companion.experiments.poisson_bursts.race import CHOICES, METHODS, PERCENTILES, UNTUNED, Backtest, Race, Twins, law
from mutants import mutant
from stepsize import AdaGrad, Adam, ClipByNorm, chain
from stepsize.tuning import Choice

START, STOP, STEPS = 40, 50, 200
BURST = slice(START, STOP)
SPREAD = np.linspace(1, 2, 7)  # of costs over streams


def adagrad(extra=8.0, members=6, steps=STEPS):
    """Twins whose squared gradients are 4 in the quiet and `extra` more in a burst of 10 steps; steps of length 1, in the burst 3."""
    square = np.full((2, steps, members), 4.0)
    square[0, BURST] += extra
    length = np.ones_like(square)
    length[0, BURST] = 3
    return Twins(-0.5 * np.log(np.cumsum(square, axis=1)), length)


def test_the_debt_is_what_the_burst_added_in_units_of_a_quiet_step():
    np.testing.assert_allclose(rows.debts(adagrad(), 5, START, STOP), 10 * 8 / 4, rtol=1e-12)
    broken = mutant(rows.debts, "start - first", "start")
    assert broken(adagrad(), 5, START, STOP)[0] != pytest.approx(20, rel=1e-2)


def test_the_law_of_adagrad_is_exact_for_constant_gradients():
    pair = adagrad()
    np.testing.assert_allclose(law(pair, AdaGrad(), STOP), geometric(pair.ratio, axis=1)[STOP:], rtol=1e-12)


def test_the_law_of_a_forgetting_rule_starts_from_the_ratio_at_the_end_of_the_burst():
    v = np.ones((2, STEPS, 6))
    v[0, STOP - 1 :] += 99 * 0.9 ** np.arange(STEPS - STOP + 1)[:, None]
    pair = Twins(-0.5 * np.log(v), np.ones_like(v))
    np.testing.assert_allclose(law(pair, Adam(beta2=0.9), STOP), pair.ratio[STOP:, 0], rtol=1e-12)


def test_the_law_of_a_forgetting_rule_is_drawn_stream_by_stream():
    v, excess = np.ones((2, STEPS, 6)), np.logspace(0, 4, 6)  # streams of very different bursts
    v[0, STOP - 1 :] += excess * 0.9 ** np.arange(STEPS - STOP + 1)[:, None]
    pair = Twins(-0.5 * np.log(v), np.ones_like(v))
    measured = geometric(pair.ratio, axis=1)[STOP:]
    np.testing.assert_allclose(law(pair, Adam(beta2=0.9), STOP), measured, rtol=1e-12)
    mean_first = mutant(law, "pair.ratio[stop - 1]", "geometric(pair.ratio[stop - 1])")
    assert (mean_first(pair, Adam(beta2=0.9), STOP) / measured).max() > 1.3  # Jensen's inequality, one-sided
    assert (mean_first(pair, Adam(beta2=0.9), STOP) >= measured).all()


def test_the_share_recovered_is_taken_of_the_logarithm():
    lost = np.zeros((2, STEPS, 6))
    lost[0, STOP - 1], lost[0, STOP:] = np.log(1e-4), np.log(1e-1)
    share = rows.recovered(Twins(lost, np.ones_like(lost)), STOP)
    assert share.estimate == pytest.approx(0.75, rel=1e-12)
    broken = mutant(rows.recovered, "lost[stop - 1]", "lost[stop]")
    assert broken(Twins(lost, np.ones_like(lost)), STOP).estimate == pytest.approx(0)


def test_distances_are_taken_in_the_burst_and_once_it_has_been_over_for_as_long():
    pairs = {"Adam": adagrad(), "Adam, β₂ = 0.99": adagrad()}
    pairs["Adam"].length[0, STOP + 10 : STOP + 20] = 0.5
    moved = rows.distances(pairs, START, STOP)
    assert [i.estimate for i in moved.values()] == pytest.approx([3, 3, 3, 3, 0.5, 1], rel=1e-12)
    late = mutant(rows.distances, "stop + length", "stop")(pairs, START, STOP)
    assert late["the burst has been over for as long as it lasted"].estimate == pytest.approx(0.75)


@pytest.fixture(scope="module")
def raced():
    """A race in which every method costs as many times AdaGrad as its place in the list says, twice as many after the turn."""
    names = [*METHODS, *CHOICES, *UNTUNED]
    cost = {
        goal: {
            name: {"burst": 10 * (k + 1) * SPREAD, "whole": (k + 1) * SPREAD, "after": 2 * (k + 1) * SPREAD}
            for k, name in enumerate(names)
        }
        for goal in rows.SCORED
    }
    settings = METHODS | {name: rules[0] for name, rules in CHOICES.items()} | UNTUNED
    tuned = {name: Choice(0.5, settings[name], (), False, np.empty(0)) for name in names}
    return Race(dict.fromkeys(rows.SCORED, tuned), cost)


def test_costs_are_registered_and_each_is_over_adagrad_treated_alike(raced):
    names = [*METHODS, *CHOICES, *UNTUNED]
    place = {name: k + 1 for k, name in enumerate(names)}
    cost = rows.costs(raced)
    measure = read_claims("poisson_bursts")["G5"].measures["cost"]
    settings = [measure.setting(condition) for condition in cost]
    assert settings.count("stated") == 4
    assert settings.count("beyond") == len(cost) - 4
    assert [*cost][-2:] == [f"both are clipped at a percentile, the rule is RMSProp, {w}" for w in rows.SCORED.values()]
    for words, name, rival in (
        ("nothing is clipped, the rule is RMSProp", "RMSProp", "AdaGrad"),
        ("both are clipped, the rule is Adam", "clipped Adam", "clipped AdaGrad"),
        (
            "both are clipped at a percentile, the rule is RMSProp",
            "RMSProp, percentile clip",
            "AdaGrad, percentile clip",
        ),
        ("nothing is tuned, the rule is Prodigy", "Prodigy, as it is", "AdaGrad, as it is"),
    ):
        for scored in rows.SCORED.values():
            assert cost[f"{words}, {scored}"].estimate == pytest.approx(place[name] / place[rival], rel=1e-12)


def test_the_prose_names_the_costs_of_the_race(raced):
    numbers = rows.cost_numbers(raced)
    names = [*METHODS, *CHOICES, *UNTUNED]
    place = {name: (k + 1) / (names.index("AdaGrad") + 1) for k, name in enumerate(names)}
    for key, name in (rows.BOTH | rows.WHOLE).items():
        for end in ("", "-mean"):
            assert numbers[key + end][0] == pytest.approx(place[name], rel=1e-12)
        assert numbers[f"{key}-burst"][0] == pytest.approx(10 * (names.index(name) + 1) * geometric(SPREAD), rel=1e-12)
    assert numbers["rms-asis"][0] == pytest.approx(place["RMSProp, as it is"] / place["AdaGrad, as it is"], rel=1e-12)
    assert numbers["adam-far"][0] == pytest.approx(0.5 / UNTUNED["Adam, as it is"].lr)
    assert numbers["beta1-chosen"] == 0
    low, high = (numbers[f"adam-after-{end}"][0] for end in ("low", "high"))
    assert low < place["Adam"] - 1 < high


def test_the_grid_of_percentiles_is_read_at_the_best_rate_of_each():
    curve = np.array([[4.0, p / 10, np.nan] for p in PERCENTILES])
    tuned = {"AdaGrad, percentile clip": Choice(0.5, None, None, False, curve)}
    tuned["AdaGrad"] = Choice(1, None, None, False, np.array([5.0, 2, 9]))
    told = "0.50 at 10, 2.00 at 50, 2.00 at 90, 2.00 at 99, 2.00 at 99.9, 2.00 at 100"
    assert rows.percentile_numbers(Race({"whole": tuned}, {})) == {"percentile-grid": told}
    first = mutant(rows.percentile_numbers, "np.nanmin(tuned[name].curve, axis=-1)", "tuned[name].curve[..., 0]")
    assert first(Race({"whole": tuned}, {}))["percentile-grid"] != told


def test_the_numbers_of_rates_are_those_of_the_twins():
    names = "AdaGrad", "Adam", "Adam, β₂ = 0.99"
    pairs = dict.fromkeys(names, adagrad(steps=2 * STEPS))
    numbers = rows.rate_numbers(pairs, dict.fromkeys(names, AdaGrad()), START, STOP, STEPS)
    ratio = pairs["Adam"].ratio[:, 0]
    for key in ("adam", "adagrad"):
        assert numbers[f"{key}-end"][0] == pytest.approx(ratio[STOP - 1])
        assert numbers[f"{key}-last"][0] == numbers[f"{key}-law"][0] == pytest.approx(ratio[STEPS - 1])
        assert numbers[f"{key}-long"][0] == pytest.approx(ratio[-1])
        assert numbers[f"{key}-off"][0] == pytest.approx(0, abs=1e-12)
    assert (numbers["debt"][0], numbers["onset"][0], numbers["since"]) == (20, pytest.approx(3), "150")


def test_deviances_are_read_over_the_spans_that_the_prose_names():
    loss = {"AdaGrad": np.full((9, 3), 2.0), "EWMA": np.full((9, 3), 2.0)}
    loss["EWMA"][5:] = 5
    limit, percentile = chain(ClipByNorm(30), AdaGrad()), AutoClip(AdaGrad(), 50)
    chosen = {"AdaGrad, limit tuned": limit, "AdaGrad, percentile clip": percentile}
    chosen = {name: Backtest(Choice(0.5, setting, (), False, np.empty(0)), None) for name, setting in chosen.items()}
    numbers = rows.street_numbers(chosen, loss, np.arange(9) >= 5)
    assert (numbers["akl-limit-chosen"], numbers["akl-percentile-chosen"]) == ("30", 50)
    assert rows.street_numbers({}, loss, np.arange(9) >= 5)["akl-limit-chosen"] == "–"
    assert numbers["akl-ewma"][0] == pytest.approx(2.5)
    assert numbers["akl-clip"] == "–"
    assert numbers["akl-sensors"] == 3
    year = {name: np.arange(365.0)[:, None] for name in ("AdaGrad", "Adam", "implicit SGD", "EWMA", "RMSProp")}
    numbers = rows.epidemic_numbers(year)
    assert (numbers["1849-adam"][0], numbers["1849-adam-tail"][0]) == (189, 332)
