"""Figures of the primer draw the series that they are given, and hand back their axes."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.experiments.the_rules import figures
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, Average, HeavyBall, RMSProp
from stepsize.signals import noisy_bowl, respond, signals, step_size
from stepsize.tuning import tune

pytestmark = pytest.mark.usefixtures("in_house_style")

STEPS = 400
RULES = {"heavy ball": HeavyBall, "AdaGrad": AdaGrad, "RMSProp": RMSProp, "Adam": Adam}
PATHS = {
    name: {key: respond(rule(lr=1), g) for key, g in signals(STEPS, runs=3).items()} for name, rule in RULES.items()
}


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def test_rate_and_step_of_four_rules_stand_side_by_side():
    axes = figures.response_figure(PATHS, first=300)
    for row, key in zip(axes, ("constant", "random signs", "alternating"), strict=True):
        rate, step = map(lines, row)
        assert list(rate) == list(step) == list(RULES)
        np.testing.assert_array_equal(rate["AdaGrad"], PATHS["AdaGrad"][key].rate[:300, 0, 0])
        np.testing.assert_array_equal(step["Adam"], step_size(PATHS["Adam"][key])[:300])


def test_the_impulse_stands_at_step_zero():
    rate, step = figures.impulse_figure(PATHS, STEPS)
    since = rate.lines[0].get_xdata()
    rates, steps = lines(rate)["RMSProp"], lines(step)["heavy ball"]
    assert np.argmin(rates) == np.argmax(steps) == list(since).index(0)
    assert steps[list(since).index(0)] == pytest.approx(109, abs=0.1)


def test_a_step_counter_is_wrong_as_soon_as_beta_changes_and_a_weight_never():
    betas = np.r_[np.full(5, 0.5), np.full(4, 0.9)]
    average, total = Average.empty(np.zeros(1)), []
    for beta in betas:
        average = average.push(np.ones(1), beta)
        total.append(average.total[0])
    counted = figures.counter_corrected(np.array(total), betas)
    np.testing.assert_allclose(counted[:5], 1, rtol=1e-14)
    assert counted[5] == pytest.approx((0.9 * (1 - 0.5**5) + 0.1) / (1 - 0.9**6))
    late = mutant(figures.counter_corrected, "len(betas) + 1", "len(betas) + 2")
    with pytest.raises(ValueError, match="broadcast"):
        late(np.array(total), betas)
    above, below = figures.average_figure(np.array(total), np.ones(9), betas)
    np.testing.assert_allclose(lines(above)["total, no correction"], 1 - 0.999 ** np.arange(1, 10))
    np.testing.assert_array_equal(lines(below)["total / (1 − βᵗ), a step counter"], counted)
    assert below.get_title("left") == "β = 0.5, from step 6 on 0.9"


def test_second_moment_and_rate_are_drawn_over_their_first_values():
    rate = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 8.0]])
    axes = figures.half_life_figure(rate, np.array([[0.9], [0.99], [0.999]]))
    v, up, *_ = axes.lines
    np.testing.assert_array_equal(up.get_ydata(), [1, 2])
    np.testing.assert_array_equal(v.get_ydata(), [1, 0.25])


def test_below_eps_the_step_follows_the_gradient_and_above_it_does_not():
    sizes, eps = np.geomspace(1e-6, 1e2, 9), np.array([[1e-2], [1e-1], [1.0]])
    rate, step = figures.eps_figure(respond(Adam(1, eps=eps), np.ones((20, 3, 1)) * sizes), sizes, eps)
    np.testing.assert_allclose(lines(rate)["eps = $10^{-1}$"], 1 / (sizes + 0.1))
    np.testing.assert_allclose(lines(step)["eps = $10^{-2}$"], sizes / (sizes + 0.01))


def test_a_curve_of_tuning_ends_where_its_runs_diverge():
    lrs = np.geomspace(1e-3, 1, 7)
    result = tune(lambda lrs, seeds: noisy_bowl(SGD, lrs, seeds), lrs, [1, 2], [3], statistic=np.median)
    shown = lines(figures.tuning_figure({"SGD": result}, lrs))["SGD"]
    assert np.isnan(shown[-1])
    np.testing.assert_array_equal(shown[:3], result.curve[:3])
