"""Measures of a run: the last visit counts, the first hit is the first, the late loss is late, and divergence has no voice."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from stepsize import SGD, Adam, descend
from stepsize.errors import ShapeError
from stepsize.measures import first_hit, late_loss, log_slope, monitor, penalised, settle, times_as_long


def visits(pattern, measure=settle, **settings):
    """What `measure` says of one run that is inside exactly where `pattern` has a 1."""
    x = np.array([float(c == "0") for c in pattern])
    move = np.append(np.diff(x, prepend=0.0), 0)
    grad = lambda x, t: -move[t : t + 1]  # noqa: E731
    return float(measure(SGD(1.0), grad, [0.0], lambda x: x == 0, len(pattern), **settings)[0])


def test_a_run_settles_after_its_last_excursion_not_at_its_first_visit():
    assert visits("000011111111") == 5
    assert visits("001101111111") == 6
    assert visits("111111111111") == 1
    first = mutant(settle, "np.where(now, last, t)", "np.where(now | (last < t - 1), last, t)")
    assert visits("001101111111", first) == 3


def test_a_run_that_hops_in_and_out_does_not_settle_when_the_clock_stops():
    assert visits("010101010101") == np.inf
    assert visits("000000000011") == np.inf
    assert visits("000000000011", stay=0.1) == 11
    assert visits("000000000000", stay=0.0) == np.inf
    lucky = mutant(settle, "(1 - stay) * steps", "steps")
    assert visits("010101010101", lucky) == 12


def test_without_a_stay_the_last_step_alone_has_to_be_inside():
    assert visits("000000000001", stay=0.0) == 12
    assert visits("000000000010", stay=0.0) == np.inf


@given(st.text("01", min_size=1, max_size=30))
def test_the_first_hit_is_the_first_one_inside(pattern):
    assert visits(pattern, first_hit) == (pattern.index("1") + 1 if "1" in pattern else np.inf)


def test_a_hit_that_forgets_the_earlier_one_would_be_seen():
    forgetful = mutant(first_hit, "np.minimum(hit, t)", "t")
    inside = lambda x: np.abs(x - [[0.5], [0.06]]) < 0.01  # noqa: E731
    walk = SGD(0.5), lambda x, t: x, np.ones((2, 1))
    np.testing.assert_array_equal(first_hit(*walk, inside, 20), [[1], [4]])
    slow = SGD(np.array([[0.5], [0.01]])), lambda x, t: x, np.ones((2, 1))
    assert first_hit(*slow, lambda x: x < 0.9, 20)[0, 0] == 1 < forgetful(*slow, lambda x: x < 0.9, 20)[0, 0]


def test_a_diverged_run_is_outside():
    walk = SGD(np.array([[3.0], [0.5]])), lambda x, t: x**3, np.array([[1.0], [1.0]])
    for measure in (settle, first_hit):
        time = measure(*walk, lambda x: np.abs(x) < 0.5, 400)
        assert time[0, 0] == np.inf
        assert time[1, 0] < 400


def test_divergence_raises_no_warning_and_leaves_the_caller_guarded():
    explosion = SGD(3.0), lambda x, t: x**3, [2.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first_hit(*explosion, lambda x: x == 0, 50) == np.inf
        assert late_loss(*explosion, lambda x: x**2, 50, 40) == np.inf
        end = [(x, np.geterr()["over"]) for _, x in monitor(*explosion, 50, lambda x: x)][-1]
    assert np.isnan(end[0]).all()
    assert end[1] == "warn"


def test_a_late_loss_is_the_mean_over_the_end_of_the_path():
    lrs = np.array([0.02, 0.1])[:, None, None]
    grad, x0 = lambda x, t: x + np.cos(t), np.ones((3, 4))
    path = descend(Adam(lrs), grad, x0, 50)
    loss = lambda x: (x**2).sum(-1)  # noqa: E731
    for last, every, steps in ((20, 1, range(31, 51)), (13, 5, (40, 45, 50)), (1, 1, [50])):
        expected = loss(path.x[list(steps)]).mean(0)
        np.testing.assert_allclose(late_loss(Adam(lrs), grad, x0, loss, 50, last, every), expected, rtol=1e-14)
        early = mutant(late_loss, "steps - last + 1", "steps - last")(Adam(lrs), grad, x0, loss, 50, last)
        assert np.abs(early / loss(path.x[50 - last + 1 :]).mean(0) - 1).min() > 1e-5
    with pytest.raises(ShapeError, match="last 3 of 50 is a multiple of 9"):
        late_loss(Adam(lrs), grad, x0, loss, 50, 3, 9)


def test_nonsense_horizons_are_refused():
    for steps, stay in ((0, 0.25), (10, 1.0), (10, -0.1)):
        with pytest.raises(ShapeError, match="stay"):
            settle(SGD(), lambda x, t: x, [1.0], lambda x: x == 0, steps, stay)


def test_a_run_that_does_not_settle_costs_ten_horizons():
    assert penalised(np.array([1.0, np.inf]), 100) == 500.5
    np.testing.assert_array_equal(times_as_long(np.array([20.0, np.inf]), np.array([10.0, 20.0]), 100), [2, 50])


@given(st.floats(-3, 3), st.floats(1e-3, 1e3), st.sampled_from([-1, 1]))
def test_the_slope_of_a_power_is_its_exponent_whatever_its_factor_and_sign(power, factor, sign):
    x = np.array([[1.0, 3.0, 10.0, 40.0], [0.2, 0.3, 0.7, 0.9]])
    np.testing.assert_allclose(log_slope(x, sign * factor * x**power), power, atol=1e-10)


def test_the_slope_is_that_of_least_squares():
    x, y = np.random.default_rng(0).lognormal(size=(2, 5, 9))
    expected = [np.polyfit(np.log(a), np.log(b), 1)[0] for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(log_slope(x, y), expected, rtol=1e-12)
    uncentred = mutant(log_slope, "np.log(np.abs(a)) - np.log(np.abs(a)).mean(-1, keepdims=True)", "np.log(np.abs(a))")
    assert np.abs(uncentred(x, y) - expected).max() > 1e-3
