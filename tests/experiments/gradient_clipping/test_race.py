"""Clips in every place: what feeds the moments, closed forms of what is kept, and a race in which divergence counts."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from companion.evidence.intervals import student
from companion.experiments.gradient_clipping.heavy_tails import TAILS, heavy_tailed, kept_share, rms_ceiling, rms_step
from companion.experiments.gradient_clipping.kernel import adam_late_losses
from companion.experiments.gradient_clipping.race import (
    MEASURES,
    PLACEMENTS,
    NoisyBowl,
    Retuning,
    gains_in_training,
    longest_steps,
    outlier_then_drift,
    place,
    resampled,
    retune,
    steady_gains,
    steady_steps,
    steps_in_training,
)
from companion.experiments.gradient_clipping.rules import ClippedStep, SplitAdam
from mutants import mutant
from stepsize import Adam, ClipByNorm, ClipByValue, chain
from stepsize.errors import HyperparameterError
from stepsize.signals import respond


def gradients(tail="t1.5", steps=300, runs=8, d=3, seed=0):
    return heavy_tailed(tail, (steps, runs, d), np.random.default_rng(seed))


@pytest.mark.parametrize("clip", [ClipByNorm(1.0), ClipByValue(0.5)])
def test_a_clip_in_front_feeds_both_moments(clip):
    g = gradients()
    chained, split, fed = (
        respond(rule, signal)
        for rule, signal in (
            (chain(clip, Adam()), g),
            (SplitAdam(mean=clip, square=clip), g),
            (Adam(), clip(g)),
        )
    )
    for path in (split, fed):
        np.testing.assert_array_equal(path.x, chained.x)


def test_a_split_without_clips_is_adam_and_a_swapped_one_is_not():
    g = gradients()
    np.testing.assert_array_equal(respond(SplitAdam(), g).x, respond(Adam(), g).x)
    swapped = mutant(SplitAdam, "self.square(g) ** 2", "self.mean(g) ** 2")
    clip = ClipByNorm(1.0)
    assert np.abs(respond(swapped(mean=clip), g).x - respond(SplitAdam(mean=clip), g).x).max() > 1e-6


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("clip", [ClipByNorm(0.3), ClipByNorm(3.0), ClipByValue(1.0)])
def test_the_clipped_second_moment_never_exceeds_the_raw_one(tail, clip):
    g = gradients(tail)
    rate, raw = (respond(rule, g).rate for rule in (chain(clip, Adam(eps=0)), Adam(eps=0)))
    assert (rate >= raw * (1 - 1e-12)).all()


def test_a_clip_that_lengthens_would_lower_the_rate():
    g, longer = gradients(), mutant(ClipByNorm, "maximum", "minimum")
    rate, raw = (respond(rule, g).rate for rule in (chain(longer(1.0), Adam(eps=0)), Adam(eps=0)))
    assert (rate < raw * 0.99).any()


def test_a_constant_factor_on_the_gradient_is_invisible():
    g = gradients()
    steps = [respond(Adam(eps=0), factor * g).x for factor in (1.0, 1e-3)]
    assert np.abs(steps[1] - steps[0]).max() < 5e-16
    np.testing.assert_array_equal(respond(Adam(eps=0), g / 1024).x, steps[0])
    visible = mutant(Adam, "sqrt(v.mean)", "v.mean")
    np.testing.assert_allclose(respond(visible(eps=0), g / 1024).x, 1024 * respond(visible(eps=0), g).x, rtol=1e-12)


def test_where_every_gradient_is_clipped_the_threshold_does_not_matter_but_the_clip_does():
    g = gradients()
    low, lower = (respond(chain(ClipByNorm(c), Adam(eps=0)), g).x for c in (1e-3, 1e-6))
    assert np.abs(lower - low).max() < 5.6e-16
    assert np.abs(respond(Adam(eps=0), g).x - low).max() > 1e-3
    # unless eps is of the size of the threshold
    assert np.abs(respond(chain(ClipByNorm(1e-6), Adam(eps=1e-6)), g).x - low).max() > 1e-4


@given(st.floats(1e-3, 10))
def test_a_clipped_step_is_never_longer_than_its_limit(limit):
    path = respond(ClippedStep(Adam(0.1), limit), gradients(steps=60))
    assert np.linalg.norm(path.rate * path.direction, axis=-1).max() <= 0.1 * limit * (1 + 1e-12)


def test_a_generous_limit_leaves_the_steps_alone():
    g = gradients()
    np.testing.assert_array_equal(respond(ClippedStep(Adam(), 100.0), g).x, respond(Adam(), g).x)


DENSITIES = {"normal": stats.halfnorm, "laplace": stats.expon, "pareto3": stats.pareto(3)}


def share_defect(formula, tail, c):
    density, bottom = DENSITIES[tail], float(tail == "pareto3")
    below = integrate.quad(lambda g: g**2 * density.pdf(g), bottom, c, epsabs=1e-14)[0]
    second = {"normal": 1, "laplace": 2, "pareto3": 3}[tail]
    return abs(formula(tail, c) - (below + c**2 * density.sf(c)) / second)


@pytest.mark.parametrize("tail", DENSITIES)
@pytest.mark.parametrize("c", [1.0, 1.7, 4.0])
def test_the_kept_share_of_the_second_moment_is_its_integral(tail, c):
    assert share_defect(kept_share, tail, c) < 3e-16
    old, new = {
        "normal": ("2 * c**2", "c**2"),
        "laplace": ("(1 + c) * np.exp(-c)", "(1 + c / 2) * np.exp(-c)"),
        "pareto3": ("1 - 2 * c ** (2 - a) / a", "1 - 2 * c ** (2 - a) * a"),
    }[tail]
    assert share_defect(mutant(kept_share, old, new), tail, c) > 1e-4


def test_every_tail_has_unit_median():
    # the sample median of 200 000 is off by less than 5 standard errors: one false alarm in a million per tail
    for tail in TAILS:
        g = np.abs(heavy_tailed(tail, (200_000, 1), np.random.default_rng(1)))
        if tail == "normal":
            density = 2 * stats.norm.pdf(stats.norm.ppf(0.75)) * stats.norm.ppf(0.75)
            error = 5 * 0.5 / density / np.sqrt(g.size)
        assert abs(np.median(g) - 1) < 2 * error + (0.01 if tail == "spikes" else 0)


def test_symmetric_noise_has_the_same_rms_step_whatever_its_tail_once_clipped():
    # (1 - beta1) / (1 + beta1) to first order in 1 - beta2; 2 % covers that order and the sampling of 4000 x 64 steps
    expected = np.sqrt(0.1 / 1.9)
    for tail in ("normal", "t1.1", "spikes"):
        ((_, steps),) = steady_steps([chain(ClipByNorm(1.0), Adam(1.0, eps=0))], gradients(tail, 8000, 64, 1, 1))
        assert np.sqrt((steps**2).mean()) == pytest.approx(expected, rel=0.02)


def shares(sizes, chances, n, beta2):
    """w_i = E[g_i^2 / v] and its weights c_i for n gradients, newest first, |g| drawn from `sizes`: all len(sizes)^n cases added up."""
    cases = np.array(list(product(range(len(sizes)), repeat=n)))
    square, chance = np.square(sizes)[cases], np.prod(np.asarray(chances)[cases], axis=1)
    c = (1 - beta2) * beta2 ** np.arange(n) / (1 - beta2**n)
    return chance @ (square / (square @ c)[:, None]), c


@pytest.mark.parametrize("outlier", [3.0, 1e3])
@pytest.mark.parametrize("beta2", [0.5, 0.9, 0.99])
def test_the_newest_gradient_has_the_smallest_share_of_the_moment(outlier, beta2):
    w, c = shares((1.0, outlier), (0.9, 0.1), 12, beta2)
    assert c @ w == pytest.approx(1, abs=1e-12)
    assert (np.diff(w) >= 0).all()
    assert (w <= 1 / np.cumsum(c[::-1])[::-1] * (1 + 1e-12)).all()  # 1 / beta2^i for an infinite past
    # equal gradients share equally: nothing to tell the newest from the oldest
    np.testing.assert_allclose(shares((2.0, 2.0), (0.9, 0.1), 12, beta2)[0], 1, rtol=1e-12)


def test_a_stable_square_shares_the_moment_by_the_closed_form():
    # 1 / Z^2 is stable with exponent 1/2; 5 standard errors: a false alarm in two million, for each of 12 shares
    c, square = 0.9 ** np.arange(12), np.random.default_rng(4).normal(size=(200_000, 12)) ** -2.0
    share = c * square / (square @ c)[:, None]
    error = 5 * share.std(0) / np.sqrt(len(share))
    assert (np.abs(share.mean(0) - np.sqrt(c) / np.sqrt(c).sum()) < error).all()
    assert (np.abs(share.mean(0) - c / c.sum()) > error).any()


def test_the_rms_step_adds_up_the_shares_and_stays_below_its_ceiling():
    i = np.arange(100_000)
    for index in (1.0, 1.5, 2.0):
        a, c = 0.1 * 0.9**i, 0.001 * 0.999**i
        w = c ** (index / 2 - 1) / (c ** (index / 2)).sum()
        assert np.sqrt(a**2 @ w) == pytest.approx(rms_step(index), rel=1e-9)
        assert rms_step(index) < rms_ceiling()
    assert rms_step() == pytest.approx(np.sqrt(0.1 / 1.9), rel=1e-12)
    assert rms_step(1.5, beta2=1 - 1e-9) / rms_step(beta2=1 - 1e-9) == pytest.approx(np.sqrt(0.75), rel=1e-6)
    assert mutant(rms_step, "beta1**2", "beta1")(1.0) != pytest.approx(rms_step(1.0), rel=1e-3)


def test_infinite_variance_shortens_the_rms_step_by_the_root_of_half_its_index():
    # runs are independent, their steps are not: 5 standard errors over 64 runs, a false alarm in a million
    ((_, steps),) = steady_steps([Adam(1.0, eps=0)], gradients("t1.1", 8000, 64, 1, 1))
    mean = (steps**2).mean(0)
    assert abs(mean.mean() - rms_step(1.1) ** 2) < 5 * mean.std() / 8
    assert abs(mean.mean() - rms_step() ** 2) > 5 * mean.std() / 8


def test_bowls_are_the_same_for_every_method_and_rate():
    bowl = NoisyBowl.sample("t1.5", 3, 7, 50)
    again = NoisyBowl.sample.__wrapped__(NoisyBowl, "t1.5", 3, 7, 50)
    np.testing.assert_array_equal(bowl.noise, again.noise)
    np.testing.assert_allclose(np.linalg.eigvalsh(bowl.A), np.tile(np.logspace(-1, 1, 10), (3, 1)), rtol=1e-10)
    x = bowl.x0[1, 0]
    assert bowl.f(bowl.x0)[1, 0] == pytest.approx(x @ bowl.A[1] @ x / 2, rel=1e-12)
    together = bowl.late_loss(Adam(np.array([0.01, 0.1])[:, None]))
    np.testing.assert_allclose(together[:, 1], bowl.late_loss(Adam(0.1))[:, 0], rtol=1e-12)


def kernel_defect(kernel, limit):
    bowl, lrs = NoisyBowl.sample("t1.5", 3, 7, 60), np.array([0.003, 0.02, 0.1])
    rule = chain(ClipByNorm(min(limit, 1e300)), Adam(lrs[:, None]))
    compiled = kernel(bowl.A, bowl.x0[:, 0], bowl.noise[:, :, 0], lrs, limit, 24) / bowl.f(bowl.x0)[:, 0]
    return np.abs(compiled / bowl.late_loss(rule).T - 1).max()


@pytest.mark.parametrize("limit", [np.inf, 10**0.5])
def test_trainings_in_machine_code_are_those_of_the_rule(limit):
    assert kernel_defect(adam_late_losses, limit) < 1e-10
    assert kernel_defect(mutant(adam_late_losses, "t > steps - last", "t >= steps - last"), limit) > 1e-3


def test_a_run_that_diverges_loses_without_hiding():
    bowl = NoisyBowl.sample("normal", 2, 0, 800)
    assert np.isinf(bowl.late_loss(PLACEMENTS["SGD"](10.0, 1.0))).all()


def test_the_placements_are_tuned_and_reported_on_different_bowls(monkeypatch):
    seen = []
    sample = NoisyBowl.sample
    monkeypatch.setattr(
        NoisyBowl,
        "sample",
        lambda tail, n, seed, *more, **spread: seen.append((n, seed)) or sample(tail, n, seed, *more),
    )
    runs = place("normal", range(5), range(5, 11), 20)
    assert set(runs) == {*PLACEMENTS, "clip before, not tuned again"}
    assert runs["clip before, not tuned again"].lr == runs["Adam"].lr
    assert set(seen) == {(5, 0), (6, 5)}


def test_retuning_compares_the_rates_that_are_best_with_and_without_the_clip():
    lrs = 10.0 ** np.arange(-3, 0)
    valley = np.abs(np.log10(lrs)[:, None] - np.array([-1.0, -1, -1, -3, -1])) + 1  # four bowls want 0.1, one 0.001
    reported = np.log([[1.0], [2], [4]]) * np.ones(7)
    tuned = Retuning(lrs, np.eye(3), valley, np.roll(valley, -1, 0), reported)
    bowls, others = np.full((5, 1), 1 / 5), np.full((7, 1), 1 / 7)
    assert tuned.rates(bowls, others) == pytest.approx(0.1)
    assert tuned.loss(bowls, others) == pytest.approx(4 / 2)
    # a resample that holds nothing but the fourth bowl chooses otherwise, and the interval knows it
    assert tuned.rates(np.eye(5)[:, [3]], others) != pytest.approx(0.1)
    chosen = [resampled(Retuning.rates, tuned._replace(raw=raw)) for raw in (valley, valley[:, [0] * 5])]
    assert chosen[0].high > chosen[0].estimate
    assert chosen[1].low <= chosen[1].estimate == pytest.approx(0.1)
    wider = chosen[0].again(0.999, 1)
    assert wider.low <= chosen[0].low and wider.high >= chosen[0].high  # noqa: PT018


def test_the_interval_of_a_mean_of_logarithms_is_that_of_student():
    # nothing to choose, and two rates that differ by normal noise; 8 % are four standard errors of a width from 4000 resamples
    noise = np.random.default_rng(3).normal(size=400)
    valley = np.array([[0.0], [1], [2]]) * np.ones(400)
    tuned = Retuning(np.arange(3.0), np.eye(3), valley[::-1], valley, np.stack([0 * noise, noise, noise]))
    i, expected = resampled(Retuning.loss, tuned).again(0.99, 2), student(noise).again(0.99, 1)
    assert np.log(i.estimate) == pytest.approx(expected.estimate, abs=1e-12)
    assert np.log(i.high / i.low) == pytest.approx(expected.high - expected.low, rel=0.08)


def test_a_spline_between_the_rates_has_the_measured_losses_where_they_were_measured():
    tuned = retune("normal", [0.03, 0.1], range(5), range(5, 11), 60)
    coarse = 10 ** np.linspace(np.log10(tuned.lrs[0]), np.log10(tuned.lrs[-1]), tuned.between.shape[1])
    bowl = NoisyBowl.sample("normal", 6, 5, 60)
    rule = chain(ClipByNorm(10**0.5), Adam(coarse[:, None]))
    np.testing.assert_allclose(np.exp(tuned.between @ tuned.reported)[::32], bowl.late_loss(rule).T, rtol=1e-9)
    np.testing.assert_allclose(tuned.lrs[::32], coarse, rtol=1e-12)


def test_the_steps_in_training_are_those_of_the_same_training():
    seeds = range(7, 10)
    rate, step = steps_in_training("Adam", "t1.5", 0.05, seeds, 50)
    assert rate.shape == step.shape == (20 * 10, 3)
    bowl = NoisyBowl.sample("t1.5", 3, 7, 50)
    x, state, rule = bowl.x0, Adam(0.05).init(bowl.x0), Adam(0.05)
    for t in range(50):
        state, r, direction = rule.step(state, bowl.grad(x, t), x)
        x = x - r * direction
    np.testing.assert_array_equal(rate[-10:], np.broadcast_to(r, x.shape)[:, 0].T)
    np.testing.assert_array_equal(step[-10:], np.abs(r * direction)[:, 0].T)


def test_gains_are_one_for_a_clip_that_never_acts(monkeypatch):
    monkeypatch.setitem(PLACEMENTS, "clip before, c = 1", lambda lr, root: chain(ClipByNorm(1e9), Adam(lr)))
    (alone,) = steady_gains({"": chain(ClipByNorm(1e9), Adam())}, Adam(), {"t1.5": [1, 2]}, 4, 100)[""].values()
    races = place("t1.5", range(5), range(5, 11), 50, ("Adam",))
    (trained,) = gains_in_training(["clip before, c = 1"], {"t1.5": races}, range(7, 10), 50).values()
    for gains, runs in ((alone, 8), (trained["t1.5"], 3)):
        assert set(gains) == set(MEASURES)
        for ratio in gains.values():
            np.testing.assert_array_equal(ratio, np.ones(runs))


def test_gains_are_those_of_every_stream_walked_alone():
    streams, (clip, raw) = {"t1.5": range(1, 9), "spikes": range(20, 24)}, (chain(ClipByNorm(1.0), Adam()), Adam())
    together = steady_gains({"clip": clip, "raw": raw}, raw, streams, 3, 60)
    for tail, seeds in streams.items():
        for k, seed in enumerate(seeds):
            g = gradients(tail, 60, 3, 1, seed)
            rates = [respond(rule, g).rate[30:, :, 0] for rule in (clip, raw)]
            expected = np.median(rates[0], 0) / np.median(rates[1], 0)
            np.testing.assert_array_equal(together["clip"][tail]["rate, median"][3 * k : 3 * k + 3], expected)
            assert (expected > 1).all()
    assert (together["raw"]["spikes"]["step, longest"] == 1).all()


def test_gains_in_training_are_at_the_rate_that_was_best_without_the_clip():
    races = {tail: place(tail, range(5), range(5, 11), 50, ("Adam",)) for tail in ("normal", "t1.5")}
    (gains,) = gains_in_training(["clip before, c = 1"], races, range(7, 10), 50).values()
    for tail, placed in races.items():
        steps = [
            steps_in_training(n, tail, placed["Adam"].lr, range(7, 10), 50)[1] for n in ("clip before, c = 1", "Adam")
        ]
        np.testing.assert_array_equal(gains[tail]["step, longest"], steps[0].max(0) / steps[1].max(0))


def test_after_an_outlier_a_clip_can_double_the_longest_step():
    clipped, raw = longest_steps((chain(ClipByNorm(1.0), Adam(1.0, eps=0)), Adam(1.0, eps=0)), outlier_then_drift())
    assert raw == pytest.approx(0.1 / 0.001**0.5 * (1 - 0.999**5001) ** 0.5, rel=1e-4)  # the outlier's own step
    # the cliff at k = 15 of a v that still holds the clipped outlier; the background adds 1e-4 to v
    cliff = (1 - 0.9**15) / (1 - 0.999**15 + 0.001 * 0.999**515) ** 0.5
    assert clipped == pytest.approx(cliff, rel=5e-3)
    assert clipped / raw == pytest.approx(2.02, abs=0.01)
    at_once = mutant(
        outlier_then_drift, "(-1.0) ** np.arange(before + quiet)", "(-1.0) ** np.arange(before + quiet) * 100"
    )
    loud = longest_steps((chain(ClipByNorm(1.0), Adam(1.0, eps=0)), Adam(1.0, eps=0)), at_once())
    assert loud[0] / loud[1] < 1  # on a background as large as the drift there is no cliff


def test_the_wide_limit_is_ten_times_as_high():
    tuned = retune("t1.5", [0.03, 0.1], range(5), range(5, 11), 60)
    coarse = 10 ** np.linspace(np.log10(tuned.lrs[0]), np.log10(tuned.lrs[-1]), tuned.between.shape[1])
    bowl = NoisyBowl.sample("t1.5", 5, 0, 60)
    rule = chain(ClipByNorm(10 * 10**0.5), Adam(coarse[:, None]))
    np.testing.assert_allclose(np.exp(tuned.wide), bowl.late_loss(rule).T, rtol=1e-9)
    same = tuned._replace(wide=tuned.clipped)
    assert resampled(Retuning.wide_rates, same).estimate == resampled(Retuning.rates, same).estimate


def test_a_clip_that_never_acts_moves_no_best_rate():
    tuned = retune("normal", [0.03, 0.1], range(5), range(5, 11), 60)
    assert tuned.lrs[0] == pytest.approx(0.03 / 10**0.25)
    assert tuned.lrs[-1] == pytest.approx(0.1 * 10**0.25)
    for statistic in (Retuning.rates, Retuning.loss):
        i = resampled(statistic, tuned._replace(clipped=tuned.raw))
        assert i.low == i.high == 1


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: heavy_tailed("t0", (3, 1), np.random.default_rng(0)), "t0"),
        (lambda: NoisyBowl.sample("cauchy", 3, 0, 5), "cauchy"),
        (lambda: kept_share("pareto1.5", 2.0), "pareto1.5"),
        (lambda: kept_share("pareto3", 0.5), "c >= 1"),
        (lambda: ClippedStep(Adam(), 0.0), "limit"),
        (lambda: ClippedStep(Adam(), -1.0), "limit"),
        (lambda: SplitAdam(beta2=1.0), "beta2"),
        (lambda: ClippedStep(Adam, 1.0), "rule"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(HyperparameterError) as caught:
        call()
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)
