"""One huge gradient: closed forms against the rules, the split of a step, and what infinity leaves behind."""

from functools import cache

import numpy as np
import pytest
import torch

from companion.experiments.recurrent_networks import spikes as module
from companion.experiments.recurrent_networks.spikes import (
    Brakes,
    aftermath,
    corrected,
    fates,
    largest_spikes,
    longest_steps,
)
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, AMSGrad, ClipByNorm, ClipByValue, HeavyBall, RMSProp, SignDescent, chain
from stepsize.errors import ShapeError
from stepsize.responses import adam_worst, reach, spike_brake, spike_halved, spike_knee, spike_step, steps_until
from stepsize.signals import respond

SIZES = 3.0, 10.0, 1 / np.sqrt(1e-3), 100.0, 1000.0
HUGE = 100.0, 1e3, 1e4, 1e9


@cache
def struck(beta2, sizes=SIZES, after=1, sign=1.0, beta1=0.9):
    """Adam on gradients 1, -1, ..., then a spike of each size, then `after` - 1 more ordinary steps."""
    before = round(25 / (1 - beta2))
    signs = np.where(np.arange(before + after) % 2, -1.0, 1.0)[:, None, None] * np.ones((1, len(sizes), 1))
    signs[before, :, 0] = sign * np.array(sizes)
    return before, respond(Adam(1.0, beta1, beta2, eps=0.0), signs)


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_the_brake_is_what_v_does_to_the_rate_in_the_step_of_the_spike(beta2):
    at, path = struck(beta2)
    np.testing.assert_allclose(path.rate[at, :, 0] / path.rate[at - 1, :, 0], spike_brake(SIZES, beta2), rtol=1e-10)


def test_a_brake_that_came_a_step_late_would_be_seen():
    square = "(1 - beta2) * np.square(np.asarray(size, float))"
    late = mutant(spike_brake, f"beta2 + {square}", f"1 + {square}")
    at, path = struck(0.9)
    assert np.abs(path.rate[at, :, 0] / path.rate[at - 1, :, 0] / late(SIZES, 0.9) - 1).max() > 0.01


@pytest.mark.parametrize(("beta2", "t"), [(0.999, 2), (0.999, 102), (0.999, 500), (0.9, 30)])
def test_early_in_training_the_bias_correction_makes_the_brake_stronger(beta2, t):
    signs = np.where(np.arange(t) % 2, -1.0, 1.0)[:, None, None] * np.ones((1, len(SIZES), 1))
    signs[-1, :, 0] = SIZES
    rate = respond(Adam(1.0, 0.9, beta2, eps=0.0), signs).rate[:, :, 0]
    np.testing.assert_allclose(rate[-1] / rate[-2], spike_brake(SIZES, corrected(t, beta2)), rtol=1e-10)
    assert (spike_brake(SIZES, corrected(t, beta2)) < spike_brake(SIZES, beta2)).all()
    late = mutant(corrected, "beta2**t", "beta2 ** (t - 1)")(t, beta2) if t > 2 else beta2
    assert np.abs(rate[-1] / rate[-2] / spike_brake(SIZES, late) - 1).max() > 1e-4


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_the_step_at_a_spike_is_the_closed_form_once_the_older_direction_is_averaged_out(beta2):
    # spikes of either sign after the same past: what m was before cancels
    (at, up), (_, down) = (struck(beta2, sign=sign) for sign in (1.0, -1.0))
    step = ((up.rate * up.direction)[at] - (down.rate * down.direction)[at])[:, 0] / 2
    np.testing.assert_allclose(step, spike_step(SIZES, beta2=beta2), rtol=1e-10)


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_the_step_grows_in_proportion_below_the_knee_and_not_at_all_far_above(beta2):
    knee = spike_knee(beta2)
    assert spike_brake(knee, beta2) == pytest.approx(1 / np.sqrt(1 + beta2), rel=1e-12)
    assert spike_brake(spike_halved(beta2), beta2) == pytest.approx(0.5, rel=1e-12)
    assert spike_step(0.1 * knee, beta2=beta2) == pytest.approx(0.1 * 0.1 * knee, rel=0.06)
    assert spike_step(1e9, beta2=beta2) == pytest.approx(0.1 * knee, rel=1e-12)


def test_the_rate_is_half_again_within_two_steps_of_the_prediction():
    at, path = struck(0.999, HUGE, after=11_000)
    rate = path.rate[:, :3, 0]
    measured = np.argmax(rate[at:] >= 0.5 * rate[at - 1], axis=0)
    np.testing.assert_allclose(measured, steps_until(0.5, spike_brake(HUGE[:3]), 0.999), rtol=0, atol=2)


def test_all_steps_of_a_huge_spike_together_are_thirty_two_learning_rates():
    at, path = struck(0.999, HUGE, after=11_000)
    assert path.x[at, -1, 0] - path.x[at + 400, -1, 0] == pytest.approx(reach(), rel=1e-6)
    assert reach() == pytest.approx(31.8, abs=0.05)


def test_the_longest_steps_come_near_their_bounds_and_not_beyond():
    longest = longest_steps()
    assert longest["spikes of any size"] == pytest.approx(0.1 / np.sqrt(1e-3), rel=1e-3)
    assert 0.97 < longest["the worst sequence of gradients"] / adam_worst() <= 1


def watched(rule, size, steps=300, seed=0):
    """Brakes on a stream of normal gradients, whose step 200 is `size` times as large."""
    rng, brakes = np.random.default_rng(seed), Brakes()
    x = torch.zeros(1, 6, 50, dtype=torch.float64)
    state = rule.init(x)
    for t in range(steps):
        g = torch.from_numpy(rng.standard_normal(x.shape)) * (size if t == 200 else 1.0)
        state, rate, direction = rule.step(state, g, x)
        brakes(t, x, g, rate, direction)
    return brakes


def test_the_split_of_a_step_is_complete():
    brakes = Brakes()
    rng, rule = np.random.default_rng(0), Adam(0.1)
    x = torch.zeros(2, 3, 5, dtype=torch.float64)
    state, before, whole = rule.init(x), None, []
    for t in range(30):
        g = torch.from_numpy(rng.standard_normal(x.shape))
        state, rate, direction = rule.step(state, g, x)
        brakes(t, x, g, rate, direction)
        if before is not None:
            whole.append(((rate * direction).norm(dim=-1) / (before * g).norm(dim=-1)).numpy())
        before = rate
    np.testing.assert_allclose(np.stack(brakes.by_m) * np.stack(brakes.by_v), np.stack(whole), rtol=1e-12)


def test_the_largest_spike_of_each_run_is_found():
    rows = np.array([[9.0, 0.5, 0.1, 0], [30.0, 0.4, 0.2, 0], [9.0, 0.5, 0.9, 0], [4.0, 0.4, 0.7, 3]])
    assert largest_spikes(rows).tolist() == [rows[1].tolist(), rows[3].tolist()]
    smallest = mutant(largest_spikes, "-rows[:, 0]", "rows[:, 0]")
    assert smallest(rows)[0].tolist() != rows[1].tolist()


def test_the_longest_step_is_that_of_the_coordinate_that_moves_most():
    brakes = Brakes()
    for rate in (1.0, 2.0):
        brakes(0, None, torch.ones(1, 1, 2), torch.tensor([rate, 0.1]), torch.tensor([[[-3.0, 5.0]]]))
    assert brakes.longest == 6.0


def test_planted_spikes_are_found_with_the_brakes_of_their_rules():
    for rule, by_v in ((SGD(), 1.0), (HeavyBall(), 1.0), (RMSProp(beta=0.9), spike_brake(40.0, 0.9))):
        rows = watched(rule, 40.0).spikes()
        assert rows[:, 3].tolist() == [0, 1, 2, 3, 4, 5]
        assert (rows[:, 4] == 201).all(), "step 200 makes the gradient number 201"
        np.testing.assert_allclose(rows[:, 0], 40, rtol=0.3)
        np.testing.assert_allclose(np.median(rows[:, 2]), by_v, rtol=0.15)
    rows = watched(SGD(), 40.0).spikes()
    np.testing.assert_allclose(rows[:, 1:3], 1.0, rtol=1e-12)
    rows = watched(HeavyBall(momentum=0.9), 1e6).spikes()
    # the sum b is as long as g at a spike, and usually 1 / sqrt(1 - 0.81) times as long
    np.testing.assert_allclose(np.median(rows[:, 1]), np.sqrt(1 - 0.81), rtol=0.1)


def test_no_spike_is_found_where_there_is_none_and_short_records_are_refused():
    assert len(watched(Adam(), 1.0).spikes()) == 0
    with pytest.raises(ShapeError, match="train longer"):
        watched(Adam(), 1.0, steps=50).spikes()


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("rule", "at_infinity", "at_1e20"),
    [
        (SGD(), "infinite", "thrown"),
        (HeavyBall(), "infinite", "thrown"),
        (SignDescent(), "moves", "moves"),
        (AdaGrad(), "NaN", "stands still"),
        (RMSProp(), "NaN", "stands still"),
        (Adam(), "NaN", "stands still"),
        (AMSGrad(), "NaN", "stands still"),
        (chain(ClipByNorm(1.0), Adam()), "NaN", "moves"),
        (chain(ClipByValue(1.0), Adam()), "moves", "moves"),
        (chain(ClipByValue(1.0), SGD()), "moves", "moves"),
    ],
)
def test_what_infinity_leaves_behind(rule, at_infinity, at_1e20):
    assert aftermath(rule, INF) == (at_infinity, "moves")
    assert aftermath(rule, 1e20) == (at_1e20, "moves")
    assert aftermath(rule, 1e20, torch.float64)[0] in ("moves", "stands still", "thrown")


def test_a_nan_goes_through_every_rule_but_the_sign_and_a_clip_of_the_norm_spreads_it():
    assert aftermath(Adam(), NAN) == ("NaN", "moves")
    assert aftermath(chain(ClipByNorm(1.0), Adam()), NAN) == ("NaN", "NaN")


def test_the_table_says_of_every_rule_what_becomes_of_both_coordinates():
    table = fates()
    assert len(table) == 21
    assert table["Adam large"] == aftermath(Adam(), 1e20)[0] == "stands still"
    assert table["norm nan"] == "NaN, the other too"
    assert table["value inf"] == "moves"


def test_torch_does_the_same_with_its_own_clip_and_its_own_adam():
    for value in (INF, 1e20):
        x = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=1e-3)
        for t in range(101):
            x.grad = torch.full((2,), (-1.0) ** t)
            if t == 50:
                x.grad[0] = value
            torch.nn.utils.clip_grad_norm_([x], 1.0)
            optimizer.step()
        assert (x[0].isnan().item(), x[1].isfinite().item()) == (value == INF, True)


def test_the_fates_are_told_apart():
    assert [module._fate(0.0, after) for after in (1.0, 0.0, 1e7, INF, NAN)] == [
        "moves",
        "stands still",
        "thrown",
        "infinite",
        "NaN",
    ]
