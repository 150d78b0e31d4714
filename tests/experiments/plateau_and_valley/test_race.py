"""Races to settle: arithmetic says who can, and the tuning landscapes are not reported."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from companion.experiments.plateau_and_valley import race as module
from companion.experiments.plateau_and_valley.landscapes import PlateauValley
from companion.experiments.plateau_and_valley.race import (
    METHODS,
    Raced,
    decided_cost,
    finite,
    plane_race,
    plateau_race,
    settle_together,
    turned_race,
)
from mutants import mutant
from stepsize import SGD
from stepsize.errors import EvidenceError
from stepsize.measures import settle
from stepsize.quadratic import Quadratic

LAND = PlateauValley.sample(60, seed=11)


def test_gradient_descent_settles_where_arithmetic_says_it_must():
    """lr < 2 / curvature is stable; the plateau alone takes length / (lr slope) steps."""
    lrs, steps = np.logspace(-4, 0, 17), 2000
    times = settle(SGD(lrs[:, None, None]), LAND.grad, LAND.start, LAND.settled, steps)[..., 0]
    lr, land = lrs[:, None], SimpleNamespace(**{k: v[:, 0] for k, v in vars(LAND).items()})
    across = land.length / (lr * land.slope)
    stable = lr * land.curvature < 1.9
    rest = np.log(30) / -np.log(np.abs(1 - lr * land.curvature))
    assert np.isfinite(times)[stable & (across + rest < 0.7 * steps)].all()
    assert not np.isfinite(times)[across > steps].any()
    inside = np.isfinite(times) & stable
    assert (times[inside] >= np.floor(across[inside])).all()
    assert inside.any()


def test_on_most_landscapes_every_stable_rate_is_too_slow_for_the_plateau():
    across = LAND.length * LAND.curvature / (2 * LAND.slope)
    assert np.mean(across > 20000) > 0.5


def some_times():
    rng = np.random.default_rng(5)
    a = rng.integers(1, 100, (2, 4, 30)).astype(float)
    a[0, 1, ::3] = np.inf
    a[1, 2, :10] = 1
    return {"a": a[0], "b": a[1]}


def test_the_choice_sees_only_tuning_landscapes_and_the_report_only_the_others():
    lrs, times = np.logspace(-3, 0, 4), some_times()
    raced = Raced.of(times, lrs, 10, 100)
    assert (raced.choice.setting, raced.choice.lr) == ("b", lrs[2])
    assert not raced.choice.at_edge
    assert np.array_equal(raced.one, times["b"][2, 10:])
    assert np.array_equal(raced.times, times["b"][:, 10:])
    assert np.array_equal(raced.oracle, np.minimum(times["a"], times["b"]).min(0)[10:])
    spoiled = {name: np.where(np.arange(30) < 10, t, np.inf) for name, t in times.items()}
    assert Raced.of(spoiled, lrs, 10, 100).choice.index == raced.choice.index
    peeking = mutant(Raced, "stacked[..., :tuning]", "stacked[..., tuning:]")
    times["a"][0, 10:] = 0.5
    assert peeking.of(times, lrs, 10, 100).choice.index == (0, 0)
    assert Raced.of(times, lrs, 10, 100).choice.index == (1, 2)
    assert np.isinf(Raced.of(spoiled, lrs, 10, 100).one).all()
    for tuning in (0, 30):
        with pytest.raises(EvidenceError, match="landscapes"):
            Raced.of(times, lrs, tuning, 100)


def test_windows_are_counted_in_decades():
    raced = Raced.of({"": np.array([[1, 1, np.inf], [1, 1, 1.0], [1, np.inf, 1]])}, [0.1, 1.0, 10.0], 1, 10)
    assert np.allclose(raced.window([0.1, 1.0, 10.0]), [2, 2])


def test_adaptive_rules_settle_with_one_rate_where_gradient_descent_cannot():
    lrs, land = np.logspace(-4, 1, 11), PlateauValley.sample(40, seed=2)
    share = {
        m: np.isfinite(plateau_race(m, land, lrs, 15, 4000).one).mean() for m in ("SGD", "Adam, β₂ = 0.9", "AdaGrad")
    }
    # 25 landscapes: even at a true share of 1/2, 21 or more settle with probability 5e-4
    assert share["SGD"] < 0.5
    assert share["Adam, β₂ = 0.9"] > 0.8
    assert share["AdaGrad"] > 0.8


def test_a_turned_valley_costs_adaptive_rules_their_lead_and_heavy_ball_nothing():
    args = ([0.0, 45.0], np.logspace(-4, 0, 9), 4, 6, 5000, 0)
    straight, turned = (np.median(r.one) for r in turned_race("AMSGrad", *args))
    pooled = [np.median(r.one) for r in turned_race("AMSGrad", *args, pooled=True)]
    heavy = [np.median(r.one) for r in turned_race("heavy ball", *args)]
    assert turned > 5 * straight
    assert np.abs(np.array(pooled) / turned - 1).max() < 0.1
    assert abs(heavy[0] / heavy[1] - 1) < 0.1


def test_runs_that_overflow_never_settle_and_leave_the_others_alone():
    lrs, args = np.logspace(-4.5, 1.5, 7), ([0, 45], np.logspace(-4.5, 1.5, 7), 3, 5, 1500, 0)
    everyone = mutant(turned_race, "finite(twin(lr), grad, x0, max(1, steps // 100)).any(0)", "np.ones(len(x0), bool)")
    for pooled in (False, True):
        raced, whole = (race("heavy ball", *args, pooled=pooled) for race in (turned_race, everyone))
        for one, other in zip(raced, whole, strict=True):
            assert np.array_equal(one.times, other.times)
            assert np.isfinite(one.times).any()
    # one run has no steep part; the other grows by |1 - lr 1e4| a step
    alive = finite(SGD(lrs[:, None, None]), Quadratic([1.0, 1e4]).grad, np.array([[1.0, 0.0], [0.5, 0.5]]), 200)
    assert alive[:, 0].all()
    assert np.array_equal(alive[:, 1], 200 * np.log10(np.abs(1 - 1e4 * lrs)) < 308)


def test_the_gradient_of_a_turned_race_is_that_of_the_turned_valley_to_the_last_bit():
    args = ([0, 20, 45], np.logspace(-4, 0, 5), 3, 5, 2000, 0)
    direct = mutant(turned_race, "diagonal * x + h12 * x[..., ::-1]", "land.grad(x)")
    wrong = mutant(turned_race, "diagonal * x + h12 * x[..., ::-1]", "diagonal * x - h12 * x[..., ::-1]")
    for name in ("AMSGrad", "heavy ball"):
        raced, known, broken = (race(name, *args) for race in (turned_race, direct, wrong))
        assert all(np.array_equal(one.times, other.times) for one, other in zip(raced, known, strict=True))
        assert np.isfinite(raced[0].times).any()
    # turned the other way round, the same starts lie elsewhere in the valley
    assert not np.array_equal(raced[1].times, broken[1].times)


def test_a_twin_at_one_angle_is_what_it_is_among_many():
    args = np.logspace(-3, 0, 4), 3, 4, 300, 0
    alone, among = (turned_race("Adam", degrees, *args, pooled=True)[0] for degrees in ([0], [0, 15, 45]))
    assert np.array_equal(alone.times, among.times)


def test_a_plateau_and_valley_along_the_axes_needs_a_rate_for_each_parameter_and_a_turned_one_has_no_use_for_it():
    args = ([0, 45], np.logspace(-3.5, 0, 8), 6, 18, 4000, 9)
    each, one = (plane_race("AdaGrad", *args, pooled=p) for p in (False, True))
    settled = np.array([[np.isfinite(r.one).mean() for r in races] for races in (each, one)])
    assert settled[0, 0] > 0.8
    assert (settled[0, 0] > settled[0, 1] + 0.3).all()
    assert abs(settled[1, 0] - settled[1, 1]) < 0.2
    assert np.median(decided_cost(one[0], each[0], 4000)) > 2


def test_where_neither_settles_the_cost_says_nothing():
    choice = Raced.of({"": np.ones((2, 5))}, [0.1, 1.0], 1, 10).choice
    slow, fast = (
        Raced(choice, np.array(t), np.array(t), np.array([t]))
        for t in ([np.inf, 4.0, np.inf, 6.0], [2.0, np.inf, np.inf, 3.0])
    )
    assert decided_cost(slow, fast, 10).tolist() == [50, 0.04, 2]


def test_every_method_makes_a_rule_at_every_setting():
    for settings in METHODS.values():
        for make in settings.values():
            assert settle(make(0.1), lambda x, t: x, [1.0], lambda x: np.abs(x) < 2, 5).shape == (1,)


@pytest.mark.parametrize("name", METHODS)
def test_what_cannot_settle_any_more_is_left_behind_without_a_trace(name):
    lrs, steps = np.logspace(-3, 2, 11), 400
    lr, settings = lrs[:, None, None], METHODS[name].items()
    for _, make in settings:
        whole = settle(make(lr), LAND.grad, LAND.start, LAND.settled, steps)
        quick = settle_together(make(lr), LAND.grad, LAND.start, LAND.settled, steps, axis=-3, every=10)
        np.testing.assert_array_equal(quick, whole)
    assert np.isfinite(whole).any() or name in ("SGD", "clipped SGD", "ADOPT", "heavy ball")


def test_runs_of_a_turned_valley_that_cannot_settle_are_left_behind_without_a_trace(monkeypatch):
    args = [0, 30], np.logspace(-3, 1, 7), 3, 4, 1200, 5
    for name, pooled in product(("AMSGrad", "Adam, β₂ = 0.9"), (False, True)):
        quick = turned_race(name, *args, condition=30.0, pooled=pooled)
        flat = plane_race(name, *args[:1], args[1], 6, 6, 1200, 2, pooled=pooled)
        with monkeypatch.context() as m:
            m.setattr(module, "settle_together", lambda *a, axis: settle(*a))
            slow = turned_race(name, *args, condition=30.0, pooled=pooled)
            slow_flat = plane_race(name, *args[:1], args[1], 6, 6, 1200, 2, pooled=pooled)
        for one, other in zip(quick + flat, slow + slow_flat, strict=True):
            np.testing.assert_array_equal(one.times, other.times)
        assert np.isinf(slow[0].times).any()
        assert np.isfinite(slow[0].times).any()
