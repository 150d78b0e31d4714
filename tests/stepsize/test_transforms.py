"""Maps in front of a rule."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepsize import SGD, Adam, ClipByNorm, ClipByValue, Decoupled, HeavyBall, chain

vectors = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8).map(np.array)
limits = st.floats(1e-3, 1e3)


@given(vectors, limits)
def test_a_norm_clip_is_the_projection_on_the_ball(g, limit):
    clipped, length = ClipByNorm(limit)(g), np.linalg.norm(g)
    assert np.linalg.norm(clipped) <= limit * (1 + 1e-14)
    np.testing.assert_allclose(clipped * length, g * min(length, limit), rtol=1e-12, atol=1e-300)
    if length < limit:
        np.testing.assert_allclose(clipped, g, rtol=1e-15)


@given(vectors, limits)
def test_a_value_clip_is_the_projection_on_the_cube(g, limit):
    np.testing.assert_array_equal(ClipByValue(limit)(g), np.clip(g, -limit, limit))


@given(vectors, limits)
def test_clipping_twice_is_clipping_once(g, limit):
    for clip in (ClipByNorm(limit), ClipByValue(limit)):
        np.testing.assert_allclose(clip(clip(g)), clip(g), rtol=1e-14)


@given(vectors, limits)
def test_only_the_norm_clip_keeps_the_direction(g, limit):
    clipped = ClipByNorm(limit)(g)
    np.testing.assert_allclose(np.outer(clipped, g), np.outer(g, clipped), rtol=1e-12, atol=1e-300)
    assert ClipByValue(1.0)(np.array([3.0, 0.5])).tolist() == [1, 0.5]


def test_the_norm_clip_equals_torch():
    g = np.random.default_rng(0).standard_normal(9)
    p = torch.nn.Parameter(torch.zeros(9, dtype=torch.float64))
    p.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_([p], 0.7)
    # torch adds 1e-6 to the norm
    np.testing.assert_allclose(ClipByNorm(0.7)(g), p.grad, rtol=1e-6)


def test_each_run_has_its_own_norm_and_may_have_its_own_limit():
    g = np.random.default_rng(0).standard_normal((3, 5))
    limits = np.array([[0.1], [1.0], [99.0]])
    apart = [ClipByNorm(float(limit))(run) for limit, run in zip(limits[:, 0], g, strict=True)]
    np.testing.assert_array_equal(ClipByNorm(limits)(g), apart)


def test_the_zero_gradient_passes_and_one_beyond_the_float_range_is_skipped():
    assert ClipByNorm(1.0)(np.zeros(3)).tolist() == [0, 0, 0]
    with np.errstate(over="ignore"):
        assert ClipByNorm(1.0)(np.array([1e200, 1.0])).tolist() == [0, 0]


def test_a_clip_bounds_a_spike_before_the_memory_sees_it():
    spike = np.array([1e6])
    clipped, bare = chain(ClipByValue(1.0), HeavyBall(0.1)), HeavyBall(0.1)
    assert clipped.step(clipped.init(spike), spike, spike)[2] == 1
    assert bare.step(bare.init(spike), spike, spike)[2] == 1e6


def test_transforms_act_in_the_order_in_which_they_are_written():
    g, rule = np.array([6.0, 8.0]), SGD(1.0)
    first = chain(ClipByNorm(5.0), ClipByValue(3.5), rule).step((), g, g)[2]
    second = chain(ClipByValue(3.5), ClipByNorm(5.0), rule).step((), g, g)[2]
    assert first.tolist() == pytest.approx([3, 3.5])
    assert second.tolist() == pytest.approx([3.5, 3.5])


def test_a_chain_is_a_rule_and_knows_its_learning_rate():
    rule = Decoupled(chain(ClipByNorm(1.0), Adam(0.2)), 0.1)
    assert rule.lr == 0.2
    assert not rule.elementwise
    assert chain(ClipByValue(1.0), Adam()).elementwise
    assert not chain(lambda g: g, Adam()).elementwise
