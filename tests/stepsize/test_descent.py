"""The loop."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from references import RULES, START, STEPS, gradient, reference
from stepsize import SGD, Adam, SignDescent, descend, walk
from stepsize.errors import NonFiniteError


def bowl(x, t):
    return x


@pytest.mark.parametrize("name", ["Adam", "AdamW", "ClipByNorm"])
def test_the_loop_makes_the_steps_of_its_rule(name):
    path = descend(RULES[name], gradient, START, STEPS)
    np.testing.assert_allclose(path.x[1:], reference(name), rtol=0, atol=1e-12)


def test_every_step_of_a_path_is_rate_times_direction():
    path = descend(Adam(0.1), gradient, START, 50)
    np.testing.assert_array_equal(path.x[1:], path.x[:-1] - path.rate * path.direction)
    assert path.time.tolist() == list(range(51))
    assert path.rate.shape == path.direction.shape == (50, 7)


@given(st.floats(0.01, 1.9), st.integers(1, 50))
def test_gradient_descent_on_a_bowl_shrinks_by_one_minus_lr(lr, steps):
    end = descend(SGD(lr), bowl, [1.0, -3.0], steps).x[-1]
    np.testing.assert_allclose(end, (1 - lr) ** steps * np.array([1, -3]), rtol=1e-10, atol=1e-12)


@given(st.integers(1, 30), st.integers(1, 30))
def test_thinning_keeps_the_start_every_kth_and_the_last(steps, every):
    full, thin = descend(Adam(0.1), bowl, START, steps), descend(Adam(0.1), bowl, START, steps, every=every)
    assert thin.time.tolist() == sorted({0, steps, *range(every, steps + 1, every)})
    np.testing.assert_array_equal(thin.x, full.x[thin.time])
    np.testing.assert_array_equal(thin.rate, full.rate[thin.time[1:] - 1])


def test_a_grid_of_rules_from_one_start_equals_the_rules_apart():
    lrs = np.logspace(-3, 0, 5)
    grid = descend(Adam(lrs[:, None]), bowl, START, 20)
    assert grid.x.shape == (21, 5, 7)
    for i, lr in enumerate(lrs):
        np.testing.assert_array_equal(grid.x[:, i], descend(Adam(lr), bowl, START, 20).x)


def test_the_start_is_not_changed_and_a_walk_has_no_end():
    x0 = START.copy()
    assert len(list(islice(walk(Adam(), bowl, x0), 1000))) == 1000
    np.testing.assert_array_equal(x0, START)


def test_the_gradient_is_told_the_time_from_zero_on():
    times = []
    descend(SGD(), lambda x, t: times.append(t) or x, START, 4)
    assert times == [0, 1, 2, 3]


def spike(run, step, value):
    """A bowl whose gradient is `value` for one run at one step."""

    def grad(x, t):
        g = x.copy()
        g[run] = np.where(t == step, value, g[run])
        return g

    return grad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", [SGD(0.1), Adam(0.1), SignDescent(0.1)])
def test_a_non_finite_gradient_stops_with_step_and_run(rule, value):
    with pytest.raises(NonFiniteError, match=r"step 4, run \(2,\)"):
        descend(rule, spike(2, 3, value), np.ones((5, 3)), 10)


def test_without_the_watch_on_the_gradient_sign_descent_would_pass_over_an_infinity():
    blind = mutant(descend, "_finite(now.x) & _finite(seen[0])", "_finite(now.x)")
    assert np.isfinite(blind(SignDescent(0.1), spike(2, 3, np.inf), np.ones((5, 3)), 10).x).all()


def test_a_diverged_run_is_recorded_and_the_others_do_not_notice():
    sound = descend(Adam(0.1), bowl, np.ones((5, 3)), 10)
    path = descend(Adam(0.1), spike(2, 3, np.nan), np.ones((5, 3)), 10, nonfinite="record")
    assert path.diverged.tolist() == [-1, -1, 4, -1, -1]
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(path.x[:, others], sound.x[:, others])
    assert sound.diverged.tolist() == [-1] * 5


def test_a_single_run_is_recorded_too():
    assert descend(SGD(3.0), lambda x, t: x**3, [2.0], 50, nonfinite="record").diverged > 0
