"""What schedule-free averaging is, by its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from references import CURVATURE, NOISE, START
from stepsize import SGD, Adam, Decoupled, HeavyBall, ScheduleFree


def paths(rule, steps=60, lrs=None, make=np.asarray):
    """x, and by the state u the walk z = x + beta u and the average, before the first step and after each."""
    x = make(START)
    state, out = rule.init(x), []
    out.append((x, x + rule.beta * state.u, rule.average(state, x)))
    for t in range(steps):
        now = rule if lrs is None else ScheduleFree(type(rule.rule)(lrs[t]), rule.beta)
        state, rate, direction = now.step(state, make(CURVATURE) * x + make(NOISE[t]), x)
        x = x - rate * direction
        out.append((x, x + rule.beta * state.u, rule.average(state, x)))
    return tuple(np.array([np.asarray(a) for a in series]) for series in zip(*out, strict=True))


def running_mean(z):
    return np.cumsum(z, 0) / np.arange(1, len(z) + 1)[:, None]


@given(
    st.floats(0, 0.99), st.sampled_from([SGD(0.05), HeavyBall(0.02), Adam(0.1, beta1=0.0), Decoupled(Adam(0.1), 0.3)])
)
def test_the_average_is_the_mean_of_the_walk_and_x_lies_between(beta, rule):
    x, z, average = paths(ScheduleFree(rule, beta))
    np.testing.assert_allclose(average, running_mean(z), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(x, (1 - beta) * z + beta * average, rtol=1e-10, atol=1e-12)


def test_on_tensors_too():
    for tensor, array in zip(
        paths(ScheduleFree(SGD(0.05)), make=torch.as_tensor), paths(ScheduleFree(SGD(0.05))), strict=True
    ):
        np.testing.assert_allclose(tensor, array, rtol=1e-12, atol=1e-14)


def test_the_walk_steps_as_the_rule_does_with_the_gradients_at_x():
    x, z, _ = paths(ScheduleFree(SGD(0.05), 0.7))
    gradients = CURVATURE * x[:-1] + NOISE[:60]
    np.testing.assert_allclose(np.diff(z, axis=0), -0.05 * gradients, rtol=1e-9, atol=1e-12)


def test_with_beta_zero_x_is_the_walk_of_the_rule_alone():
    free, plain = ScheduleFree(Adam(0.1), 0.0), Adam(0.1)
    x, state = START, plain.init(START)
    for t in range(60):
        state, rate, direction = plain.step(state, CURVATURE * x + NOISE[t], x)
        x = x - rate * direction
    np.testing.assert_allclose(paths(free)[0][-1], x, rtol=1e-12)


def test_under_a_constant_gradient_the_average_stays_behind_by_half_the_distance():
    """z = -lr g t, its mean from 0 to t is -lr g t / 2."""
    rule, x = ScheduleFree(SGD(0.1)), np.zeros(1)
    state = rule.init(x)
    for _ in range(40):
        state, rate, direction = rule.step(state, np.ones(1), x)
        x = x - rate * direction
    assert rule.average(state, x)[0] == pytest.approx(-0.1 * 40 / 2, rel=1e-12)
    assert rate[0] == 0.1


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_where_the_rate_becomes_zero_the_walk_rests_and_the_average_goes_on(make):
    lrs = [0.05] * 30 + [0.0] * 30
    _, z, average = paths(ScheduleFree(SGD(0.05)), lrs=lrs, make=make)
    np.testing.assert_allclose(z[31:], np.broadcast_to(z[30], z[31:].shape), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(average, running_mean(z), rtol=1e-9, atol=1e-12)
    bare = mutant(ScheduleFree, "floored(rate)", "rate")(SGD(0.0))
    state = bare.init(START)._replace(u=START)
    with np.errstate(all="ignore"):
        _, rate, direction = bare.step(state, START, START)
        assert not np.isfinite(rate * direction).any()


def test_a_read_off_average_that_is_wrong_would_be_noticed():
    broken = mutant(ScheduleFree, "(1 - self.beta) * state.u", "self.beta * state.u")(SGD(0.05), 0.7)
    _, z, average = paths(broken)
    assert np.abs(average - running_mean(z)).max() > 1e-3
