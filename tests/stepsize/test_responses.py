"""Closed forms for the length of a step, each against the rule itself; each with a mutant that breaks it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from stepsize import AdaGrad, Adam, Average, RMSProp, descend
from stepsize import responses as bounds
from stepsize.errors import HyperparameterError
from stepsize.rules import Moments

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
    assert cliff_defect(bounds.adam_cliff) < 1e-12
    for old, new in (("1 / contrast)", "1 / contrast) * (1 - beta1)"), ("np.sqrt(", "np.cbrt(")):
        assert cliff_defect(mutant(bounds.adam_cliff, old, new)) > 1e-3


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

    assert defect(bounds.adam_cliff) < 1e-10
    if plateau and contrast > 2 and beta1 > 0.1:
        assert defect(mutant(bounds.adam_cliff, "(plateau + k)", "k")) > 1e-10


def test_the_default_adam_takes_its_longest_step_of_6_57_rates_at_the_twelfth_steep_gradient():
    k, peak = bounds.adam_cliff_peak()
    assert k == 12
    assert abs(peak - 6.56852025) < 1e-8
    assert abs(bounds.adam_cliff(np.arange(1, 100), plateau=100).max() - 2.147) < 1e-3  # bias correction hides it
    assert abs(bounds.adam_cliff_peak(beta2=0.99)[1] - 2.131078) < 1e-6
    assert bounds.adam_cliff_peak(beta2=0.9)[1] <= 1


def attained(t, beta1, beta2):
    return lengths(Adam(1.0, beta1, beta2, eps=0.0), bounds.adam_worst_gradients(t, beta1, beta2))[-1]


def test_the_longest_step_at_any_t_is_attained_by_geometric_gradients():
    t = np.arange(1, 401)
    seen = np.array([attained(n, 0.9, 0.999) for n in t])
    assert np.abs(bounds.adam_worst(t) - seen).max() < 1e-13
    for old, new in (("beta1**2 / beta2", "beta1 / beta2"), ("np.sqrt(1 - beta2**t)", "1"), ("1 - q**t", "1")):
        assert np.abs(mutant(bounds.adam_worst, old, new)(t) - seen).max() > 1e-3
    weaker = mutant(bounds.adam_worst_gradients, "return (beta2 / beta1)", "return beta2")(400)
    assert lengths(Adam(1.0, eps=0.0), weaker)[-1] < 0.9 * seen[-1]


@given(
    g=st.lists(st.floats(-1e3, 1e3).filter(lambda a: abs(a) > 1e-3), min_size=1, max_size=60),
    beta1=st.floats(0.0, 0.99),
    beta2=st.floats(0.3, 0.9999),
)
def test_no_gradients_make_a_longer_step(g, beta1, beta2):
    seen = np.abs(lengths(Adam(1.0, beta1, beta2, eps=0.0), g))
    assert (seen <= bounds.adam_worst(np.arange(1, len(g) + 1), beta1, beta2) * (1 + 1e-9)).all()


def test_the_supremum_is_7_27_rates_and_the_published_bound_is_exceeded():
    assert abs(bounds.adam_worst() - 7.2702918) < 1e-7
    assert abs(bounds.adam_worst(beta2=0.99) - 2.345208) < 1e-6
    assert abs(bounds.adam_spike() - 10**0.5) < 1e-12
    assert bounds.adam_spike(beta2=0.99) == 1
    assert bounds.adam_cliff_peak()[1] / bounds.adam_spike() > 2.07
    assert abs(bounds.adam_worst(1e5) - bounds.adam_worst()) < 1e-12


@pytest.mark.parametrize("beta", [0.0001, 0.5, 0.9, 0.999])
def test_with_equal_betas_no_step_is_longer_than_the_learning_rate(beta):
    assert np.abs(bounds.adam_worst(np.array([1, 2, 10, 1e4, np.inf]), beta, beta) - 1).max() < 1e-10


def test_without_a_longer_memory_of_squares_the_step_is_unbounded():
    t = np.array([10.0, 100.0, 1000.0])
    assert (np.diff(bounds.adam_worst(t, 0.9, 0.8)) > 0).all()
    assert bounds.adam_worst(np.inf, 0.9, 0.8) == np.inf
    assert bounds.adam_worst(np.inf, 0.9, 0.81) == np.inf
    with pytest.raises(HyperparameterError, match="beta1"):
        bounds.adam_worst(3, 1.0, 0.9)


def test_adagrad_gets_as_far_on_any_slope():
    land = np.broadcast_to(-SLOPES[:, None], (3, 1))
    path = descend(AdaGrad(1.0, eps=0.0), lambda x, t: land, np.zeros((3, 1)), 10**4)
    assert np.abs(path.x[-1] - bounds.adagrad_distance(10**4)).max() < 1e-9
    assert abs(path.x[-1, 0, 0] - 198.5446) < 1e-4
    slower = descend(mutant(AdaGrad, "s + g * g", "s + abs(g)")(1.0, eps=0.0), lambda x, t: land, np.zeros((3, 1)), 10)
    assert np.ptp(slower.x[-1]) > 1


def test_adagrads_distance_is_2_root_t_plus_zeta_of_one_half():
    T = 10.0 ** np.arange(2, 7)
    rest = np.array([bounds.adagrad_distance(n) for n in T]) - 2 * np.sqrt(T) - bounds.ZETA_HALF
    assert np.abs(rest * np.sqrt(T) - 0.5).max() < 1e-3  # the next term is 1 / (2 sqrt(T))


@given(plateau=st.integers(1, 200), contrast=st.floats(1.0, 1e5))
def test_adagrads_first_steep_step_is_the_whole_learning_rate_again(plateau, contrast):
    def defect(formula):
        seen = lengths(AdaGrad(1.0, eps=0.0), np.r_[np.full(plateau, 1 / contrast), 1.0])[-1]
        return abs(formula(plateau, contrast) - seen)

    assert defect(bounds.adagrad_cliff) < 1e-12
    if contrast > 2 and plateau / contrast**2 > 1e-6:
        assert defect(mutant(bounds.adagrad_cliff, "contrast, float) ** 2", "contrast, float)")) > 1e-8
    assert bounds.adagrad_cliff(plateau) == 1


def test_rmsprops_response_to_a_cliff_is_the_closed_form():
    rule, k = RMSProp(1.0, 0.99, eps=0.0), np.arange(1, 500)
    seen = lengths(rule, np.ones(499))
    assert np.abs(bounds.rmsprop_cliff(k) - seen).max() < 1e-12
    assert abs(seen[0] - 10) < 1e-12
    assert np.abs(mutant(bounds.rmsprop_cliff, "np.sqrt", "np.cbrt")(k) - seen).max() > 1


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.99])
def test_an_averaged_gradient_leaves_a_parabola_exactly_above_the_threshold(beta1):
    def radius(a):
        """Spectral radius of (x, m) -> one step of x - a m on x^2 / 2."""
        m = np.array([1 - beta1, beta1])
        return np.abs(np.linalg.eigvals([[1 - a * m[0], -a * m[1]], m])).max()

    edge = bounds.ema_threshold(beta1)
    assert radius(edge * 0.999) < 1 < radius(edge * 1.001)
    assert abs(radius(edge) - 1) < 1e-7
    wrong = mutant(bounds.ema_threshold, "return 2 * (1 + beta1)", "return 2")(beta1) if beta1 else edge / 2
    assert radius(wrong * 1.001) < 1
    assert bounds.ema_threshold(0.0) == 2
