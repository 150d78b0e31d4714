"""What an average knows: weights, shares, spreads; the filter behind the average; v - m^2 and its bias."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.experiments.risk_aversion import filtering
from companion.experiments.risk_aversion.filtering import (
    Spread,
    averaged,
    belief_moment,
    excess,
    expected_proxy,
    kalman,
    mean_share,
    overstatement,
    proxies,
    walk_ratio,
    wandering,
    weights,
)
from mutants import mutant
from stepsize import Average
from stepsize.errors import HyperparameterError, ShapeError

BETAS = st.floats(0.05, 0.995)


def gradients(steps=200, shape=(4, 3), seed=0):
    return 0.7 + np.random.default_rng(seed).standard_normal((steps, *shape))


@given(beta=BETAS, t=st.integers(1, 400))
def test_the_share_of_the_mean_is_the_sum_of_the_squared_weights(beta, t):
    w = weights(beta, t)
    assert w.sum() == pytest.approx(1, rel=1e-13)
    assert mean_share(beta, 1 - beta**t) == pytest.approx((w**2).sum(), rel=1e-11)
    assert mean_share(0.0) == 1


def test_the_sum_guards_the_share():
    for old, new in (("(2 - weight)", "(1 - weight)"), ("1 + beta", "2 + beta")):
        assert mutant(mean_share, old, new)(0.9, 0.5) != pytest.approx(mean_share(0.9, 0.5), rel=1e-3)


def test_weights_are_what_an_average_does():
    g = gradients(30)
    np.testing.assert_allclose(averaged(g, 0.8)[-1], np.tensordot(weights(0.8, 30), g, 1), rtol=1e-13)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.9, 0.9), (0.5, 0.99)])
@pytest.mark.parametrize("t", [1, 2, 10, 2000])
def test_the_expected_proxy_is_one_minus_the_share_whatever_beta2(beta1, beta2, t):
    def expected(w1, w2):
        # E[sum w2 g^2 - (sum w1 g)^2] for independent gradients of mean 1.7 and variance 1
        return w2.sum() * (1.7**2 + 1) - (1.7 * w1.sum()) ** 2 - (w1**2).sum()

    exact = expected(weights(beta1, t), weights(beta2, t))
    assert expected_proxy(beta1, t) == pytest.approx(exact, abs=7e-15)
    forgotten = mutant(expected_proxy, "mean_share(beta1, 1 - np.asarray(beta1, float) ** t)", "0.0")
    assert forgotten(beta1, t) != pytest.approx(exact, abs=1e-2)


def test_the_bias_of_adam_s_proxy_is_five_per_cent():
    assert expected_proxy(0.9) - 1 == pytest.approx(-1 / 19, rel=1e-14)


def test_one_beta_makes_a_sum_of_squares():
    g, beta = gradients(), 0.97
    got = proxies(g, 0.9, beta)
    for t in (1, 2, 50, 200):
        w = weights(beta, t)[:, None, None]
        scatter = (w * (g[:t] - (w * g[:t]).sum(0)) ** 2).sum(0)
        np.testing.assert_allclose(got["one beta"][t - 1], scatter, atol=1e-15)
        if t > 1:
            np.testing.assert_allclose(got["one beta, unbiased"][t - 1], scatter / (1 - (w**2).sum()), rtol=1e-10)
    m, v = (averaged(a, beta) for a in (g, g * g))
    np.testing.assert_allclose(got["one beta"], v - m**2, atol=1e-13)


def test_the_sum_of_squares_guards_the_spread(monkeypatch):
    g = gradients()
    sound = proxies(g, 0.9, 0.97)["one beta, unbiased"][-1]
    for old, new in (
        ("(1 - beta) * (g - self.mean) * (g - mean)", "(1 - beta) * (g - mean) ** 2"),
        ("2 * (self.weight - (1 - beta))", "2 * self.weight"),
    ):
        broken = mutant(Spread, old, new)
        monkeypatch.setattr(filtering, "Spread", broken)
        assert np.abs(proxies(g, 0.9, 0.97)["one beta, unbiased"][-1] / sound - 1).max() > 1e-3


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), BETAS)
def test_the_spread_is_never_negative(values, beta):
    spread = Spread.empty(np.zeros(1))
    for g in values:
        spread = spread.push(np.array([g]), beta)
        assert spread.scatter[0] >= 0
        assert spread.variance(beta)[0] >= 0


def test_one_gradient_has_no_spread_and_two_have_half_their_squared_distance():
    spread = Spread.empty(np.zeros(1)).push(np.array([3.0]), 0.9)
    assert spread.variance(0.9)[0] == 0
    spread = Spread.empty(np.zeros(1)).push(np.array([3.0]), 0.9).push(np.array([5.0]), 0.9)
    assert spread.variance(0.9)[0] == pytest.approx(2.0, rel=1e-13)


def test_no_cancellation_far_from_zero():
    g = 1e8 + gradients()
    spread, naive = Spread.empty(g[0]), [Average.empty(g[0]), Average.empty(g[0])]
    for now in g:
        spread = spread.push(now, 0.97)
        naive = [a.push(value, 0.97) for a, value in zip(naive, (now, now * now), strict=True)]
    exact = proxies(g - 1e8, 0.9, 0.97)["one beta"][-1]
    np.testing.assert_allclose(spread.scatter / spread.weight, exact, rtol=1e-6)
    assert np.abs((naive[1].mean - naive[0].mean ** 2) / exact - 1).max() > 0.1


def test_the_cured_proxy_is_unbiased_and_the_others_are_not():
    # 4000 runs: five standard errors of a mean, one false alarm in a million for each of the three
    g = 3.0 + np.random.default_rng(2).standard_normal((60, 4000, 1))
    got = {name: p[-1, :, 0] for name, p in proxies(g, 0.9, 0.9).items()}
    for name, expected in (
        ("one beta, unbiased", 1.0),
        ("one beta", expected_proxy(0.9, 60)),
        ("two betas", expected_proxy(0.9, 60)),
    ):
        assert abs(got[name].mean() - expected) < 5 * got[name].std() / np.sqrt(4000)
    assert abs(got["one beta"].mean() - 1) > 5 * got["one beta"].std() / np.sqrt(4000)


def test_one_memory_is_forty_times_as_sure_of_the_variance():
    # signal 3, noise 1: sqrt(2 rho(beta2)) against 2 * 3 sqrt(rho(beta1)); 2000 runs know a deviation to 1.6 %, five of these
    g = 3.0 + np.random.default_rng(5).standard_normal((2000, 2000))
    m, v, w = weights(0.9, 2000) @ g, weights(0.999, 2000) @ g**2, weights(0.999, 2000)
    one = (w @ (g - w @ g) ** 2) / (1 - (w**2).sum())
    assert abs(one.mean() - 1) < 5 * one.std() / np.sqrt(2000)
    assert one.std() == pytest.approx(0.036, rel=0.08)
    assert one.std() == pytest.approx(np.sqrt(2 * mean_share(0.999, 1 - 0.999**2000)), rel=0.08)
    assert (v - m * m).std() == pytest.approx(1.37, rel=0.08)
    assert (v - m * m).std() == pytest.approx(np.sqrt(4 * 9 * mean_share(0.9)), rel=0.08)


def test_after_a_tenfold_rise_the_proxy_is_minus_26_times_v():
    g = np.r_[np.ones(8000), np.full(400, 10.0)][:, None]
    k = np.arange(1, 401)
    m, v = 1 + 9 * (1 - 0.9**k), 1 + 99 * (1 - 0.999**k) / (1 - 0.999 ** (8000 + k))
    two = proxies(g)["two betas"][8000:, 0]
    np.testing.assert_allclose(two, v - m * m, rtol=1e-9)
    assert (two[1:] < 0).all()
    assert (two / v).min() == pytest.approx(-26.05, abs=0.01)
    assert (proxies(g)["one beta"] >= 0).all()


@pytest.mark.parametrize(("snr", "share"), [(1, 0.037), (3, 0.24), (10, 0.41)])
def test_the_proxy_with_two_betas_is_often_negative(snr, share):
    # 2000 independent runs: five standard errors
    g = snr + np.random.default_rng(3).standard_normal((2000, 2000))
    m, v = weights(0.9, 2000) @ g, weights(0.999, 2000) @ g**2
    assert abs((v - m * m < 0).mean() - share) < 5 * np.sqrt(share * (1 - share) / 2000) + 0.005


def test_without_bias_correction_the_proxy_is_negative_at_first():
    g = 3.0 + np.random.default_rng(3).standard_normal((100, 500, 1))
    assert (proxies(g)["uncorrected"][-1] < 0).mean() > 0.98


def deviation_moment(beta1):
    """E(g - m)^2 over s^2 from the weights of g_t - m_t: beta1 on the newest, -(1 - beta1) beta1^k on the others."""
    k = np.arange(1, 4000)
    return beta1**2 + (((1 - beta1) * beta1**k) ** 2).sum()


def test_adabelief_s_moment_is_biased_by_a_known_factor():
    assert belief_moment(0.9) == pytest.approx(deviation_moment(0.9), rel=1e-13)
    assert belief_moment(0.9) == pytest.approx(0.8526, abs=5e-5)
    assert mutant(belief_moment, "beta1**2", "beta1")(0.9) != pytest.approx(deviation_moment(0.9), rel=1e-3)


def steady(K, runs=16, steps=400):
    _, g = wandering(steps, runs, float(walk_ratio(K)), seed=0)
    return g, averaged(g, 1 - K, start=0.0)


@pytest.mark.parametrize("K", [0.01, 0.1, 0.5])
def test_the_average_is_the_steady_state_filter_of_a_random_walk(K):
    g, m = steady(K)
    found = kalman(g, walk_ratio(K), mean=0.0, variance=K)
    np.testing.assert_allclose(found.mean, m, atol=4e-15)
    np.testing.assert_allclose(found.gain, K, rtol=1e-12)
    np.testing.assert_allclose(found.variance, K, rtol=1e-12)
    wrong = kalman(g, mutant(walk_ratio, "K**2 / (1 - K)", "K / (1 - K)")(K), variance=K)
    assert np.abs(wrong.mean - m).max() > 1e-4


def test_the_filter_of_a_gradient_that_stands_still_is_the_plain_mean():
    g = gradients(50, (3,))
    found = kalman(g, 0.0, 2.0)
    np.testing.assert_allclose(found.mean[-1], g.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.variance, 2.0 / np.arange(1, 51), rtol=1e-13)
    broken = mutant(kalman, "prior / (prior + r)", "prior / (prior + 2 * r)")
    assert np.abs(broken(g, 0.0, 2.0).mean[-1] - g.mean(0)).max() > 1e-3


def test_the_posterior_variance_is_the_squared_error():
    # 64 runs of 2000 steps, about 100 independent errors in each: five standard errors
    true, g = wandering(2000, 64, float(walk_ratio(0.1)), seed=4)
    error = ((averaged(g, 0.9)[1000:] - true[1000:]) ** 2).mean(0)
    assert abs(error.mean() - 0.1) < 5 * error.std(ddof=1) / 8


def test_the_average_is_the_posterior_mean_of_one_walk_only():
    assert np.abs(excess(walk_ratio(0.1), seed=0)).max() < 1e-12
    assert excess(0.0, seed=0).mean() > 10
    assert excess(1.0, seed=0).mean() > 1


def test_adam_s_proxy_is_0947_of_the_variance_of_the_gradient():
    # 64 runs: five standard errors, of a gradient whose variance is not 1
    share = overstatement(0.0, r=4.0, beta2=0.99, seed=1)["over the noise"]
    assert abs(share.mean() - 18 / 19) < 5 * share.std(ddof=1) / 8
    unscaled = mutant(overstatement, 'level["two betas"] / r', 'level["two betas"]')
    assert unscaled(0.0, r=4.0, beta2=0.99, seed=1)["over the noise"].mean() > 3


def test_the_proxy_overstates_nineteenfold_and_its_share_does_not():
    # 64 runs: five standard errors
    found = overstatement(0.0, seed=0)
    for name, expected in (("one beta, unbiased", 19.0), ("share of it", 1.0)):
        assert abs(1 / (1 / found[name]).mean() / expected - 1) < 5 * (1 / found[name]).std() * expected / 8


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: weights(1.0, 5), HyperparameterError, "beta must be"),
        (lambda: weights(0.9, 0), HyperparameterError, "t must be"),
        (lambda: proxies(np.ones(5)), ShapeError, "g[:, None]"),
        (lambda: proxies(np.ones((5, 1)), beta1=1.0), HyperparameterError, "beta1 must be"),
        (lambda: proxies(np.ones((5, 1)), beta2=-0.1), HyperparameterError, "beta2 must be"),
        (lambda: walk_ratio(0.0), HyperparameterError, "K must be"),
        (lambda: walk_ratio(1.0), HyperparameterError, "below 1"),
        (lambda: kalman(3.0, 0.1), ShapeError, "write [g]"),
        (lambda: kalman([1.0], -0.1), HyperparameterError, "q must be"),
        (lambda: kalman([1.0], 0.1, 0.0), HyperparameterError, "r must be"),
        (lambda: wandering(5, 2, -1.0, seed=0), HyperparameterError, "q must be"),
        (lambda: wandering(5, 2, 1.0, r=np.nan, seed=0), HyperparameterError, "r must be finite"),
    ],
)
def test_bad_input_is_named(call, error, names):
    with pytest.raises(error) as caught:
        call()
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)
