"""Closed forms for the length of a step, each against the rule itself; each with a mutant that breaks it."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from stepsize import AdaGrad, Adam, Average, RMSProp, descend, responses
from stepsize.errors import HyperparameterError
from stepsize.responses import adagrad_ratio, adam_ratio, reach, spike_brake, steps_until, time_debt
from stepsize.rules import Moments
from stepsize.signals import respond

SLOPES = np.array([1e-6, 1e-3, 1.0])


def lengths(rule, gradients, state=None):
    """rate * direction at each step, in units of lr."""
    x = np.zeros((1,))
    state, steps = rule.init(x) if state is None else state, []
    for g in gradients:
        state, rate, direction = rule.step(state, np.array([g]), x)
        steps.append(float((rate * direction)[0]))
    return np.array(steps)


def after_an_endless_flat(*_):
    """Adam's state when it has seen zeros for ever: no total, full weight."""
    empty = Average(np.zeros(1), np.ones(1))
    return Moments(empty, empty)


def cliff_defect(formula):
    """Largest deviation of a formula for u_k from Adam on a plateau of exactly zero slope, k = 1 ... 2000."""
    seen = lengths(Adam(1.0, eps=0.0), np.ones(2000), after_an_endless_flat())
    return np.abs(formula(np.arange(1, 2001)) - seen).max()


def test_adams_response_to_a_cliff_is_the_closed_form():
    assert cliff_defect(responses.adam_cliff) < 1e-12
    for old, new in (
        ("moment(beta1, 1 / contrast)", "moment(beta1, 1 / contrast) * (1 - beta1)"),
        ("np.sqrt", "np.cbrt"),
    ):
        assert cliff_defect(mutant(responses.adam_cliff, old, new)) > 1e-3


@given(
    beta1=st.floats(0.0, 0.98),
    beta2=st.floats(0.5, 0.9999),
    plateau=st.integers(0, 300),
    contrast=st.floats(1.0, 1e6),
)
def test_after_a_finite_plateau_the_bias_correction_is_in_the_closed_form(beta1, beta2, plateau, contrast):
    def defect(formula):
        signal = np.r_[np.full(plateau, 1 / contrast), np.ones(40)]
        seen = lengths(Adam(1.0, beta1, beta2, eps=0.0), signal)[plateau:]
        return np.abs(formula(np.arange(1, 41), beta1, beta2, plateau, contrast) - seen).max()

    assert defect(responses.adam_cliff) < 1e-10
    if plateau and contrast > 2 and beta1 > 0.1:
        assert defect(mutant(responses.adam_cliff, "(plateau + k)", "k")) > 1e-10


def test_the_default_adam_takes_its_longest_step_of_6_57_rates_at_the_twelfth_steep_gradient():
    k, peak = responses.adam_cliff_peak()
    assert k == 12
    assert abs(peak - 6.56852025) < 1e-8
    assert abs(responses.adam_cliff(np.arange(1, 100), plateau=100).max() - 2.147) < 1e-3  # bias correction hides it
    assert abs(responses.adam_cliff_peak(beta2=0.99)[1] - 2.131078) < 1e-6
    assert responses.adam_cliff_peak(beta2=0.9)[1] <= 1


def attained(t, beta1, beta2):
    return lengths(Adam(1.0, beta1, beta2, eps=0.0), responses.adam_worst_gradients(t, beta1, beta2))[-1]


def test_the_longest_step_at_any_t_is_attained_by_geometric_gradients():
    t = np.r_[1:40, 40:401:20]
    seen = np.array([attained(n, 0.9, 0.999) for n in t])
    assert np.abs(responses.adam_worst(t) - seen).max() < 1e-13
    for old, new in (("beta1**2 / beta2", "beta1 / beta2"), ("np.sqrt(1 - beta2**t)", "1"), ("1 - q**t", "1")):
        assert np.abs(mutant(responses.adam_worst, old, new)(t) - seen).max() > 1e-3
    weaker = mutant(responses.adam_worst_gradients, "beta2 / beta1", "beta2")(400)
    assert lengths(Adam(1.0, eps=0.0), weaker)[-1] < 0.9 * seen[-1]


@given(
    g=st.lists(st.floats(-1e3, 1e3).filter(lambda a: abs(a) > 1e-3), min_size=1, max_size=60),
    beta1=st.floats(0.0, 0.99),
    beta2=st.floats(0.3, 0.9999),
)
def test_no_gradients_make_a_longer_step(g, beta1, beta2):
    seen = np.abs(lengths(Adam(1.0, beta1, beta2, eps=0.0), g))
    assert (seen <= responses.adam_worst(np.arange(1, len(g) + 1), beta1, beta2) * (1 + 1e-9)).all()


def test_the_supremum_is_7_27_rates_and_the_published_bound_is_exceeded():
    assert abs(responses.adam_worst() - 7.2702918) < 1e-7
    assert abs(responses.adam_worst(beta2=0.99) - 2.345208) < 1e-6
    assert abs(responses.adam_spike() - 10**0.5) < 1e-12
    assert responses.adam_spike(beta2=0.99) == 1
    assert responses.adam_cliff_peak()[1] / responses.adam_spike() > 2.07
    assert abs(responses.adam_worst(1e5) - responses.adam_worst()) < 1e-12


@pytest.mark.parametrize("beta", [0.0001, 0.5, 0.9, 0.999])
def test_with_equal_betas_no_step_is_longer_than_the_learning_rate(beta):
    assert np.abs(responses.adam_worst(np.array([1, 2, 10, 1e4, np.inf]), beta, beta) - 1).max() < 1e-10


def test_without_a_longer_memory_of_squares_the_step_is_unbounded():
    t = np.array([10.0, 100.0, 1000.0])
    assert (np.diff(responses.adam_worst(t, 0.9, 0.8)) > 0).all()
    assert responses.adam_worst(np.inf, 0.9, 0.8) == np.inf
    assert responses.adam_worst(np.inf, 0.9, 0.81) == np.inf
    with pytest.raises(HyperparameterError, match="beta1"):
        responses.adam_worst(3, 1.0, 0.9)


def test_adagrad_gets_as_far_on_any_slope():
    land = np.broadcast_to(-SLOPES[:, None], (3, 1))
    path = descend(AdaGrad(1.0, eps=0.0), lambda x, t: land, np.zeros((3, 1)), 10**4)
    assert np.abs(path.x[-1] - responses.adagrad_distance(10**4)).max() < 1e-9
    assert abs(path.x[-1, 0, 0] - 198.5446) < 1e-4
    slower = descend(mutant(AdaGrad, "s + g * g", "s + abs(g)")(1.0, eps=0.0), lambda x, t: land, np.zeros((3, 1)), 10)
    assert np.ptp(slower.x[-1]) > 1


def test_adagrads_distance_is_2_root_t_plus_zeta_of_one_half():
    T = 10.0 ** np.arange(2, 7)
    rest = np.array([responses.adagrad_distance(n) for n in T]) - 2 * np.sqrt(T) - responses.ZETA_HALF
    assert np.abs(rest * np.sqrt(T) - 0.5).max() < 1e-3  # the next term is 1 / (2 sqrt(T))


@given(plateau=st.integers(1, 200), contrast=st.floats(1.0, 1e5))
def test_adagrads_first_steep_step_is_the_whole_learning_rate_again(plateau, contrast):
    def defect(formula):
        seen = lengths(AdaGrad(1.0, eps=0.0), np.r_[np.full(plateau, 1 / contrast), 1.0])[-1]
        return abs(formula(plateau, contrast) - seen)

    assert defect(responses.adagrad_cliff) < 1e-12
    if contrast > 2 and plateau / contrast**2 > 1e-6:
        assert (
            defect(mutant(responses.adagrad_cliff, "np.asarray(contrast, float) ** 2", "np.asarray(contrast, float)"))
            > 1e-8
        )
    assert responses.adagrad_cliff(plateau) == 1


def test_rmsprops_response_to_a_cliff_is_the_closed_form():
    rule, k = RMSProp(1.0, 0.99, eps=0.0), np.arange(1, 500)
    seen = lengths(rule, np.ones(499))
    assert np.abs(responses.rmsprop_cliff(k) - seen).max() < 1e-12
    assert abs(seen[0] - 10) < 1e-12
    assert np.abs(mutant(responses.rmsprop_cliff, "np.sqrt", "np.cbrt")(k) - seen).max() > 1


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.99])
def test_an_averaged_gradient_leaves_a_parabola_exactly_above_the_threshold(beta1):
    def radius(a):
        """Spectral radius of (x, m) -> one step of x - a m on x^2 / 2."""
        m = np.array([1 - beta1, beta1])
        return np.abs(np.linalg.eigvals([[1 - a * m[0], -a * m[1]], m])).max()

    edge = responses.ema_threshold(beta1)
    assert radius(edge * 0.999) < 1 < radius(edge * 1.001)
    assert abs(radius(edge) - 1) < 1e-7
    wrong = mutant(responses.ema_threshold, "2 * (1 + beta1)", "2")(beta1) if beta1 else edge / 2
    assert radius(wrong * 1.001) < 1
    assert responses.ema_threshold(0.0) == 2


OUTLIERS = (10.0, 100.0, 1000.0, 10000.0)


@lru_cache
def outlier_rates(at=32000, steps=14000):
    # 0.999^32000 is 1e-14: the background is as old as the tolerance can tell
    g = np.ones((at + steps, len(OUTLIERS), 1))
    g[at, :, 0] = OUTLIERS
    return dict(zip(OUTLIERS, respond(Adam(1.0, eps=0), g).rate[at:, :, 0].T, strict=True))


@pytest.mark.parametrize("size", OUTLIERS)
def test_the_rate_after_an_outlier_follows_its_closed_form(size):
    rate = outlier_rates()[size]
    k = np.arange(rate.size)
    np.testing.assert_allclose(rate, adam_ratio(spike_brake(size), 0.999, k), rtol=1e-12)
    broken = mutant(adam_ratio, "np.power(beta2, steps)", "np.power(beta2, 2 * steps)")
    assert np.abs(broken(spike_brake(size), 0.999, k) / rate - 1).max() > 0.01
    broken = mutant(spike_brake, "np.square(np.asarray(size, float))", "np.asarray(size, float)")
    assert np.abs(adam_ratio(broken(size), 0.999, k) / rate - 1).max() > 0.01


@pytest.mark.parametrize(("size", "steps"), [(100.0, 3862), (1000.0, 8465), (10000.0, 13068)])
def test_recovery_takes_the_predicted_number_of_steps(size, steps):
    reached = int(np.argmax(outlier_rates()[size] >= 1 / 1.1))
    assert reached == steps == np.ceil(steps_until(1 / 1.1, spike_brake(size), 0.999))
    broken = mutant(steps_until, "1 / np.square(restored)", "1 / restored")
    assert reached != np.ceil(broken(1 / 1.1, spike_brake(size), 0.999))


def test_the_kick_of_an_outlier_is_the_sum_of_its_steps():
    # at the first step weight and average start together, which a long past of nothing avoids
    steps = lengths(Adam(1.0, eps=0.0), np.r_[1e6, np.zeros(3999)], after_an_endless_flat())
    assert steps.sum() == pytest.approx(reach(), rel=1e-13)
    assert reach() == pytest.approx(31.7658, abs=5e-5)
    assert mutant(reach, "beta1 / beta2**0.5", "beta1")() != pytest.approx(reach(), rel=1e-4)


def rates(rule, gradients):
    """The rate after every gradient of a series of numbers."""
    x, state, out = np.zeros(1), rule.init(np.zeros(1)), []
    for g in gradients:
        state, rate, _ = rule.step(state, np.array([g]), x)
        out.append(rate[0])
    return np.array(out)


QUIET, BURST, AFTER = np.full(400, 0.7), np.full(30, 25.0), np.full(3000, 0.7)


def test_adagrad_after_a_burst_is_adagrad_later_on_the_quiet_stream():
    # 25^2 - 0.5^2 = 2499 quiet steps of 0.5^2 = 1/4 exactly: 9996 a step of burst, minus nothing that floats lose
    quiet, steps = 0.5, 6
    debt = int(time_debt(steps * 25.0**2, quiet**2))
    burst = rates(AdaGrad(1.0), np.r_[np.full(100, quiet), np.full(steps, 25.0), np.full(500, quiet)])
    calm = rates(AdaGrad(1.0), np.full(100 + debt + 500, quiet))
    np.testing.assert_array_equal(burst[106:], calm[100 + debt :])
    assert mutant(time_debt, "burst / quiet_per_step", "burst * quiet_per_step")(steps * 25.0**2, quiet**2) != debt


def test_adagrads_ratio_to_its_twin_is_the_root_of_the_energies():
    with_burst = rates(AdaGrad(1.0, eps=0), np.r_[QUIET, BURST, AFTER])
    without = rates(AdaGrad(1.0, eps=0), np.r_[QUIET, QUIET[:30], AFTER])
    energy = 1 / without[429:] ** 2
    extra = (BURST**2 - QUIET[:30] ** 2).sum()
    ratio = with_burst[429:] / without[429:]
    np.testing.assert_allclose(ratio, adagrad_ratio(energy, extra), rtol=1e-12)
    assert (np.diff(ratio) > 0).all()
    broken = mutant(adagrad_ratio, "quiet / (quiet + burst)", "quiet / burst")
    assert np.abs(broken(energy, extra) / ratio - 1).max() > 1e-3


def test_adagrad_needs_three_times_its_sum_to_halve_again_and_never_rises():
    g = rates(AdaGrad(1.0, eps=0), np.full(4 * 64, 0.5))
    assert g[63] == 2 * g[4 * 64 - 1]
    assert (np.diff(rates(AdaGrad(1.0), np.r_[QUIET, BURST, AFTER])) <= 0).all()


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_the_rate_of_an_exponential_memory_recovers_by_the_law(beta2):
    series = rates(RMSProp(1.0, beta=beta2, eps=0), np.r_[np.full(40_000, 0.7), BURST, AFTER])
    ratio = series[40_029:] / series[39_999]
    law = adam_ratio(ratio[0], beta2, np.arange(len(ratio)))
    np.testing.assert_allclose(ratio, law, rtol=1e-10)
    forgets_slowly = mutant(adam_ratio, "np.power(beta2, steps)", "np.power(beta2, steps / 2)")
    assert np.abs(forgets_slowly(ratio[0], beta2, np.arange(len(ratio))) / ratio - 1).max() > 0.3


def test_adams_rate_follows_the_same_law_once_its_average_is_full():
    series = rates(Adam(1.0, beta2=0.99, eps=0), np.r_[np.full(5000, 0.7), BURST, AFTER])
    ratio = series[5029:] / series[4999]
    np.testing.assert_allclose(ratio, adam_ratio(ratio[0], 0.99, np.arange(len(ratio))), rtol=1e-9)


@given(st.floats(1e-3, 0.5), st.sampled_from([0.9, 0.99, 0.999]), st.floats(0.6, 0.999))
def test_steps_until_inverts_the_law(ratio, beta2, restored):
    np.testing.assert_allclose(adam_ratio(ratio, beta2, steps_until(restored, ratio, beta2)), restored, rtol=1e-9)


def test_the_rate_doubles_in_two_half_lives_of_the_second_moment():
    half_life = np.log(2) / np.log(1 / 0.999)
    np.testing.assert_allclose(half_life, 692.8, atol=0.05)
    np.testing.assert_allclose(steps_until(2e-6, 1e-6, 0.999), 2 * half_life, rtol=1e-9)
    broken = mutant(steps_until, "np.square(ratio)", "ratio")
    assert abs(broken(2e-6, 1e-6, 0.999) / (2 * half_life) - 1) > 0.1


def test_a_dense_memory_seen_every_pth_step_forgets_beta_to_the_p():
    p, g = 24, np.random.default_rng(0).standard_normal(50)
    dense = np.zeros(50 * p)
    dense[::p] = g
    v_dense = 1 / rates(RMSProp(1.0, beta=0.999, eps=0), dense)[::p] ** 2
    v, expected = 0.0, []
    for value in g:
        v = 0.999**p * v + 0.001 * value**2
        expected.append(v)
    np.testing.assert_allclose(v_dense, expected, rtol=1e-12)
