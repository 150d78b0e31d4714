"""Passages: what is seen at the lip and at the bottom is what the closed forms say."""

import numpy as np

from companion.experiments.plateau_and_valley.landscapes import PlateauValley
from companion.experiments.plateau_and_valley.transients import enter, peaks, rate_left, thrown_back
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, RMSProp, descend, responses
from stepsize.quadratic import Quadratic

LAND = PlateauValley.sample(60, seed=11)


def test_on_a_plateau_the_rate_that_is_left_does_not_depend_on_the_slope():
    slopes = np.array([1e-6, 1e-3, 1.0])
    for rule, share in ((AdaGrad(eps=0.0), 0.02), (RMSProp(eps=0.0), 0.1), (Adam(eps=0.0), 1.0)):
        assert np.abs(rate_left(rule, slopes, 2500) / share - 1).max() < 1e-9
    leaky = mutant(AdaGrad, "s + g * g", "maximum(s, constant(1.0, s)) + g * g")(eps=0.0)
    assert np.ptp(rate_left(leaky, slopes, 100)) > 0.01


def test_an_accumulator_that_begins_above_zero_keeps_more_of_the_rate_on_a_flatter_plateau():
    slopes = np.array([1e-6, 1e-3, 1.0])
    left = rate_left(AdaGrad(eps=0.0, initial=0.1), slopes, 10_000)
    squares = slopes**2
    np.testing.assert_allclose(left, np.sqrt((0.1 + squares) / (0.1 + 10_000 * squares)), rtol=1e-9)
    assert left[0] > 0.999 > 0.96 > left[1] > 0.9 > 0.02 > left[2]
    forgetful = mutant(AdaGrad, "constant(self.initial, x)", "constant(0.0, x)")(eps=0.0, initial=0.1)
    assert np.ptp(rate_left(forgetful, slopes, 10_000)) < 1e-9


def entry_defect(function):
    """AdaGrad's first steep step against its closed form, where the plateau's steps can be counted."""
    land = PlateauValley([[0.01], [0.1]], [[1000.0], [500.0]], [[3.0], [3.0]], [[0.25], [0.1]])
    lr = 0.05
    steps = np.array([np.argmax(lr * np.cumsum(1 / np.sqrt(np.arange(1.0, 9999))) >= 3.0) + 1] * 2)
    inside = lr * np.array([responses.adagrad_distance(n) for n in steps]) - 3.0
    contrast = land.curvature[:, 0] * (land.width[:, 0] - inside) / land.slope[:, 0]
    seen = function(AdaGrad(lr, eps=0.0), land, 2000)
    return np.abs(seen.first / (responses.adagrad_cliff(steps, contrast) * np.sqrt(steps)) - 1).max()


def test_the_first_steep_step_of_adagrad_is_its_closed_form():
    assert entry_defect(enter) < 1e-9
    late = mutant(enter, "relative(size, k)", "relative(size, k + 1)")
    assert entry_defect(late) > 0.01


def test_at_the_lip_the_rate_falls_and_the_step_grows():
    land = PlateauValley([[0.001]], [[1e4]], [[5.0]], [[0.3]])
    seen = enter(Adam(0.002, eps=0.0), land, 6000)
    assert seen.rate[0] < seen.first_rate[0] < 1e-2
    assert seen.rate[0] < 1e-3
    assert 3 < seen.first[0] < responses.adam_spike()
    assert 6 < seen.peak[0] < responses.adam_worst()
    rms = enter(RMSProp(0.002, eps=0.0), land, 6000)
    assert abs(rms.first[0] - 10) < 0.1


def test_a_run_that_stays_on_the_plateau_has_no_entry():
    seen = enter(SGD(1e-6), LAND, 50)
    assert np.isnan(seen.peak).all()
    assert not seen.ejected.any()
    bowl = PlateauValley(1.0, 2.5, 0.01, 1.0)
    seen = enter(SGD(1.0), bowl, 60)
    assert seen.ejected.all()
    assert seen.overshoot.max() > 1


def overshoot_defect(rule):
    """How far the second step ends from the start, in lengths of the first; and |rate * curvature - 1| from then on."""
    path = descend(rule(1e4, eps=0.0), LAND.grad, LAND.start, 3)
    return np.abs(path.x[2] - LAND.start).max() / 1e4, np.abs(path.rate[2] * LAND.curvature - 1).max()


def test_an_overshoot_leaves_adagrad_at_its_start_with_the_rate_of_newton():
    back, rate = overshoot_defect(AdaGrad)
    assert back < 1e-9
    assert rate < 2e-3
    blind = mutant(AdaGrad, "s + g * g", "s + abs(g)")
    assert overshoot_defect(blind)[1] > 0.1


def test_a_quick_gradient_descent_is_thrown_back_where_its_rate_is_too_large_for_the_curvature():
    land = PlateauValley([[1.0], [1.0]], [[2.5], [0.5]], [[0.01], [0.01]], [[1.0], [1.0]])
    assert thrown_back(land, 0.01, 60) == 0.5
    # a hundred times slower, and both come to rest
    assert thrown_back(land, 1.0, 2000) == 0
    careless = mutant(thrown_back, "land.length / (crossing * land.slope)", "land.length / land.slope")
    assert careless(land, 0.01, 60) == 0


def test_peaks_are_taken_over_each_window():
    seen = peaks(SGD(0.5), Quadratic([1.0]).grad, np.array([[1.0], [-8.0]]), [1, 3, 4])
    assert np.allclose(seen[..., 0], [[0.25, 2.0], [0.0625, 0.5]])
