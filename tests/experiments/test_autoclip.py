"""AutoClip: the limit is numpy's percentile of all norms so far, of every run for itself."""

import numpy as np
import pytest

from companion.experiments.autoclip import AutoClip
from mutants import mutant
from stepsize import Adam, descend
from stepsize.errors import HyperparameterError
from stepsize.signals import respond


def gradients(steps=200, runs=3, d=4, seed=0):
    return np.random.default_rng(seed).standard_t(1.5, size=(steps, runs, d))


def autoclip_defect(clip, g, percentile):
    length = np.linalg.norm(g, axis=-1)
    limit = np.stack([np.percentile(length[: t + 1], percentile, axis=0) for t in range(len(g))])
    reached = respond(clip(Adam(beta1=0.0), percentile), g).direction  # without a memory, what reaches the rule
    return np.abs(np.linalg.norm(reached, axis=-1) / np.minimum(length, limit) - 1).max()


@pytest.mark.parametrize("percentile", [0, 10, 37.5, 90, 100])
def test_autoclip_limits_the_norm_to_a_percentile_of_all_norms_so_far(percentile):
    g = gradients()
    assert autoclip_defect(AutoClip, g, percentile) < 1e-12
    assert autoclip_defect(AutoClip, g[:, 0], percentile) < 1e-12
    late = mutant(AutoClip, "self.percentile / 100 * sum(sizes)", "self.percentile / 101 * sum(sizes)")
    assert percentile == 0 or autoclip_defect(late, g, percentile) > 1e-4


@pytest.mark.parametrize("order", [np.arange(300.0), np.arange(300.0)[::-1], np.arange(300) % 7, np.ones(300)])
def test_autoclip_keeps_norms_that_rise_fall_or_repeat(order):
    g = (1 + order)[:, None, None] * np.ones((1, 2, 1))
    for percentile in (25, 50, 80):
        assert autoclip_defect(AutoClip, g, percentile) < 1e-12


def test_autoclip_at_the_highest_norm_clips_nothing():
    g = gradients()
    np.testing.assert_array_equal(respond(AutoClip(Adam(), 100), g).x, respond(Adam(), g).x)


def test_autoclip_keeps_the_norms_of_every_run_apart():
    g = gradients(runs=5)
    together = respond(AutoClip(Adam(), 10), g).x
    apart = [respond(AutoClip(Adam(), 10), g[:, run]).x for run in range(5)]
    np.testing.assert_array_equal(together, np.stack(apart, axis=1))


def test_autoclip_keeps_the_norms_of_every_rate_apart_from_one_start():
    lrs, noise = np.array([0.01, 0.1]), gradients(steps=100, runs=1)[:, 0]
    bowl = lambda x, t: x + noise[t]  # noqa: E731
    together = descend(AutoClip(Adam(lrs[:, None]), 10), bowl, np.ones(4), 100).x[-1]
    apart = [descend(AutoClip(Adam(lr), 10), bowl, np.ones(4), 100).x[-1] for lr in lrs]
    np.testing.assert_array_equal(together, apart)


def test_a_gradient_of_zero_is_a_norm_like_any_other():
    g = np.array([0.0, 0.0, 4.0, 0.0, 6.0])[:, None]
    reached = respond(AutoClip(Adam(beta1=0.0), 50), g).direction[:, 0]
    np.testing.assert_allclose(reached, [0, 0, 0, 0, 0], atol=0)
    reached = respond(AutoClip(Adam(beta1=0.0), 75), g).direction[:, 0]
    np.testing.assert_allclose(reached, [0, 0, 2, 0, 4], rtol=1e-14)


@pytest.mark.parametrize(("call", "names"), [(lambda: AutoClip(Adam(), 101), "percentile"), (lambda: AutoClip(Adam, 10), "AutoClip")])  # fmt: skip
def test_bad_input_is_named(call, names):
    with pytest.raises(HyperparameterError) as caught:
        call()
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)
