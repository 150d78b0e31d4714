"""The rate of a mean-variance agent, from first principles and by quadrature; the rules that come of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.experiments.risk_aversion.rules import (
    IVON,
    MSVAG,
    AdaBayes,
    InverseDeviation,
    InverseVariance,
    Observing,
    RiskAverse,
)
from companion.experiments.risk_aversion.theory import (
    SPREAD,
    averse_rate,
    averse_shared_rate,
    averse_step,
    both_costs,
    certainty_equivalent,
    elasticity,
    implied_aversion,
    outlook,
    powers_of_uncertainty,
    powers_of_variance,
    quoted_rate,
    sampled_outlook,
    sampled_rate,
    spread_power,
    two_sided_rate,
)
from mutants import mutant
from stepsize import SGD, Adam, Average, descend
from stepsize.errors import HyperparameterError, ShapeError
from stepsize.signals import respond

SIZES = st.floats(0.05, 20)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(8)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def moments(change):
    """Mean and variance of change(z), z standard normal, by quadrature that is exact for polynomials of degree 15."""
    mean = (change(NODES) * WEIGHTS).sum()
    return mean, ((change(NODES) - mean) ** 2 * WEIGHTS).sum()


def outlook_defect(formula, change):
    """Largest error, relative to its size, of a formula's mean and variance at three rates."""
    m, s, h = 1.3, 0.8, 0.6
    pairs = [(formula(a, m, s, h), moments(lambda z, a=a: change(a, m, s, h, z))) for a in (0.1, 0.7, 2.0)]
    return max(abs(x / y - 1) for got, exact in pairs for x, y in zip(got, exact, strict=True))


def along_the_belief(a, m, s, h, z):
    return -a * m * (m + s * z) + h * (a * m) ** 2 / 2


def along_the_sample(a, m, s, h, z):
    return -a * (m + s * z) * m + h * (a * (m + s * z)) ** 2 / 2


@pytest.mark.parametrize(
    ("formula", "change", "old", "new"),
    [
        (outlook, along_the_belief, "a**2 * m**2 * s**2", "a**2 * s**2"),
        (sampled_outlook, along_the_sample, "(1 - h * a) ** 2", "1"),
        (sampled_outlook, along_the_sample, "h**2 * a**4 * s**4 / 2", "h**2 * a**4 * s**4"),
    ],
)
def test_mean_and_variance_of_the_loss_are_those_of_quadrature(formula, change, old, new):
    assert outlook_defect(formula, change) < 2e-15
    assert outlook_defect(mutant(formula, old, new), change) > 1e-2


def slope(rate, m, s, h, aversion):
    """Derivative of the cost at `rate`, over its size at 0: exact, for the cost is a parabola."""
    cost = [outlook(a, m, s, h).cost(aversion) for a in (0.5 * rate, 1.5 * rate)]
    return abs(cost[1] - cost[0]) / (m * m * rate)


@given(m=SIZES, s=SIZES, h=SIZES, aversion=SIZES)
def test_the_averse_rate_is_the_bottom_of_the_parabola(m, s, h, aversion):
    rate = averse_rate(s, h, aversion)
    assert slope(rate, m, s, h, aversion) < 1e-14
    assert abs(-1 + (h + aversion * s**2) * rate) < 5e-16


def test_the_slope_guards_the_averse_rate():
    for old, new in (
        ("h + aversion * s**2", "h + 2 * aversion * s**2"),
        ("h + aversion * s**2", "aversion * s**2"),
        ("s**2", "s"),
    ):
        assert slope(mutant(averse_rate, old, new)(0.8, 0.6, 1.5), 1.3, 0.8, 0.6, 1.5) > 1e-2


@given(m=SIZES, s=SIZES)
def test_without_curvature_the_rate_is_inverse_to_the_variance_and_with_it_it_is_not(m, s):
    assert averse_rate(s, 0.0, 2.0) == pytest.approx(1 / (2 * s * s), rel=1e-15)
    assert elasticity(lambda s: averse_rate(s, 0.0, 2.0), s) == pytest.approx(-2, abs=1e-9)
    h = 2 * s * s
    assert elasticity(lambda x: averse_rate(x, h, 2.0), s) == pytest.approx(-1, abs=1e-9)


def coupled(seed=0, d=5):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(2, d, d))
    return rng.normal(size=d), A @ A.T + np.eye(d), B @ B.T + np.eye(d)


def joint_defect(step):
    """Gradient of -u'm + u'Hu/2 + aversion/2 u'Su at the step u, over |m|."""
    m, H, S = coupled()
    u = step(m, H, S, 1.7)
    return np.abs(-m + H @ u + 1.7 * S @ u).max() / np.abs(m).max()


def test_the_joint_step_solves_for_all_coordinates_at_once():
    assert joint_defect(averse_step) < 6e-15
    assert joint_defect(mutant(averse_step, 'require("aversion", aversion, "eps")', "-aversion")) > 1e-2
    m, H, S = coupled()
    alone = averse_step(m, np.diag(np.diag(H)), np.diag(np.diag(S)), 1.7)
    np.testing.assert_allclose(alone, averse_rate(np.sqrt(np.diag(S)), np.diag(H), 1.7) * m, rtol=1e-14)


def test_a_shared_rate_is_the_best_multiple_of_the_belief():
    m, H, S = coupled(1)

    def cost(a):
        return -a * m @ m + a * a / 2 * m @ (H + 1.7 * S) @ m

    best = averse_shared_rate(m, H, S, 1.7)
    assert abs(cost(1.5 * best) - cost(0.5 * best)) < 1e-14 * abs(cost(best))
    wrong = mutant(averse_shared_rate, "H + aversion * S", "H - aversion * S")(m, H, S, 1.7)
    assert cost(wrong) > cost(best) + 1e-2


def certainty_defect(formula):
    m, s, h, aversion = 1.2, 0.7, 0.5, 2.0
    a = np.array([0.05, 0.3, 1.0])
    got = formula(a, np.full(3, m), np.full(3, s), h, np.full(3, aversion))
    return np.abs(got - outlook(a, m, s, h).cost(aversion)).max()


def test_constant_absolute_risk_aversion_is_the_variance_penalty_with_one_half():
    assert certainty_defect(certainty_equivalent) < 1.4e-15
    assert certainty_defect(mutant(certainty_equivalent, "np.log(mean)", "np.log(mean) / 2")) > 1e-2


@given(m=SIZES, s=SIZES, h=SIZES, aversion=SIZES)
def test_the_sampled_rate_is_the_least_cost(m, s, h, aversion):
    best = float(sampled_rate(m, s, h, aversion))

    def cost(a):
        return sampled_outlook(a, m, s, h).cost(aversion)

    others = np.geomspace(1e-4, 1e2, 4001) / h
    assert cost(best) <= cost(others).min() + 1e-12 * abs(cost(best))


def test_the_least_cost_guards_the_sampled_rate():
    m, s, h, aversion = 1.0, 1.0, 1.0, 1.0
    best = sampled_outlook(sampled_rate(m, s, h, aversion), m, s, h).cost(aversion)
    for old, new in (("-3 * aversion", "-aversion"), ("2 * noise + s**4", "noise + s**4"), ("m**2 + s**2", "m**2")):
        wrong = mutant(sampled_rate, old, new)(m, s, h, aversion)
        assert sampled_outlook(wrong, m, s, h).cost(aversion) > best + 1e-4


def test_the_quoted_rate_is_only_the_leading_order():
    m = np.array([0.1, 0.3, 1.0, 3.0, 10.0])
    np.testing.assert_allclose(
        quoted_rate(m, 1.0, 1.0, 1.0) / sampled_rate(m, 1.0, 1.0, 1.0), [1.000, 0.988, 0.753, 0.529, 0.5025], atol=5e-4
    )
    h = np.array([1e-3, 1e-4, 1e-5])
    error = np.abs(quoted_rate(1.0, 1.0, h, 1.0) / sampled_rate(1.0, 1.0, h, 1.0) - 1)
    assert np.polyfit(np.log(h), np.log(error), 1)[0] == pytest.approx(1, abs=0.01)


@given(m=SIZES, s=SIZES, h=SIZES)
def test_without_aversion_the_quoted_rate_is_exact(m, s, h):
    assert quoted_rate(m, s, h, 0.0) == pytest.approx(float(sampled_rate(m, s, h, 0.0)), rel=1e-12)


@given(m=SIZES, h=SIZES, aversion=SIZES)
def test_the_agent_on_the_sample_slows_down_with_the_noise(m, h, aversion):
    rates = sampled_rate(m, np.geomspace(0.01, 30, 60), h, aversion)
    assert (np.diff(rates) <= 1e-12 * rates[:-1]).all()


@given(m=SIZES, s=SIZES, h=SIZES)
def test_adam_s_step_is_the_root_of_the_factor_of_an_agent_without_aversion(m, s, h):
    # the step over lr is m / sqrt(m^2 + s^2); the agent that walks along the sample shortens 1 / h by m^2 / (m^2 + s^2)
    step = m * averse_rate(s, 0.0, implied_aversion(m, s))
    assert step**2 == pytest.approx(h * float(sampled_rate(m, s, h, 0.0)), rel=1e-12)


def test_adam_is_averse_only_with_an_aversion_that_falls_with_the_noise():
    s = np.array([0.1, 1.0, 10.0, 100.0])
    np.testing.assert_allclose(implied_aversion(1.0, s), [100.4988, 1.41421, 0.100499, 0.0100005], rtol=1e-5)
    adam = 0.3 / np.sqrt(1 + s**2)
    np.testing.assert_allclose(averse_rate(s, 0.0, implied_aversion(1.0, s, 0.3)), adam, rtol=1e-14)
    broken = mutant(implied_aversion, "np.square(m) + np.square(s)", "np.square(s)")
    assert np.abs(averse_rate(s, 0.0, broken(1.0, s, 0.3)) / adam - 1).max() > 0.1


def test_a_spread_of_the_good_outcome_lengthens_the_step():
    before, after = (two_sided_rate(*belief) for belief in SPREAD)
    assert before == pytest.approx(0.01502, abs=5e-6)
    assert after == pytest.approx(0.01656, abs=5e-6)
    assert spread_power() > 0.5
    for (values, odds), rate in zip(SPREAD, (before, after), strict=True):
        # the bottom of the cost itself, on a grid
        g, p, a = np.array(values), np.array(odds), rate * np.linspace(0.9, 1.1, 2001)
        cost = np.log(np.exp(-a[:, None] * (p @ g) * g) @ p)
        assert a[cost.argmin()] == pytest.approx(rate, rel=2e-4)
    assert mutant(two_sided_rate, "aversion * abs(m)", "aversion")(*SPREAD[0]) != pytest.approx(before, rel=0.1)


@given(st.integers(0, 10**6), st.floats(1.1, 3.0))
def test_a_belief_scaled_about_its_mean_shortens_the_step_whatever_its_shape(seed, by):
    rng = np.random.default_rng(seed)
    z, odds = rng.standard_normal(5) ** 3, rng.dirichlet(np.ones(5))
    z = z - odds @ z
    s = 1.5 / np.abs(z.min())  # so that some gradient is negative
    near, far = (two_sided_rate(1 + s * scale * z, odds) for scale in (1, by))
    assert far < near


@pytest.mark.parametrize("s", [1.2, 2.0, 10.0])
def test_the_rate_under_a_two_valued_belief_is_the_closed_form(s):
    assert two_sided_rate((1 - s, 1 + s), (0.5, 0.5)) == pytest.approx(np.arctanh(1 / s) / s, rel=1e-10)
    assert two_sided_rate((s - 1, -1 - s), (0.5, 0.5), 3.0) == pytest.approx(np.arctanh(1 / s) / s / 3, rel=1e-10)


def test_where_no_gradient_has_the_other_sign_no_step_is_too_long():
    with pytest.raises(HyperparameterError, match="another sign"):
        two_sided_rate((0.5, 1.5), (0.5, 0.5))


def test_the_powers_of_the_agents_are_those_of_their_formulas():
    # 1 / (1 + s^2) has the power -s^2 / (1 + s^2) of s^2
    expected = {"the loss has no curvature": -1, "λs² is a hundred times the curvature": -100 / 101,
                "λs² equals the curvature": -0.5, "λs² is a hundredth of the curvature": -1 / 101}  # fmt: skip
    found = powers_of_variance()
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-8)
    assert powers_of_uncertainty()["the loss has curvature"] == pytest.approx([-2 / 101, -1, -200 / 101], abs=1e-8)


def test_both_costs_agree_under_a_normal_belief():
    cost, sure = both_costs(np.linspace(0, 2, 7), 0.8, 0.5, 1.3)
    np.testing.assert_allclose(cost, sure, atol=1e-13)
    assert cost[2] == outlook(np.linspace(0, 2, 7)[2], 1.0, 0.8, 0.5).cost(1.3)


def test_exponents_of_adam_and_of_the_averse_rate():
    s = np.array([0.01, 1.0, 100.0])
    np.testing.assert_allclose(elasticity(lambda s: 1 / np.sqrt(1 + s**2), s), [-1e-4, -0.5, -0.9999], atol=1e-8)
    np.testing.assert_allclose(elasticity(lambda s: averse_rate(s), s), -2, atol=1e-8)


def gradients(seed=0, shape=(300, 8, 3)):
    return 0.5 + np.random.default_rng(seed).standard_normal(shape)


def test_an_agent_without_aversion_is_sgd_on_an_average():
    path = respond(RiskAverse(0.1, aversion=0.0), gradients())
    np.testing.assert_array_equal(path.rate, np.full_like(path.rate, 0.1))
    plain = respond(RiskAverse(0.1, beta1=0.0, aversion=0.0), gradients())
    np.testing.assert_allclose(plain.x, respond(SGD(0.1), gradients()).x, rtol=1e-12, atol=1e-13)


def test_a_floor_under_the_variance_is_a_curvature():
    g = gradients()
    floor, averse = respond(InverseVariance(0.2, eps=0.4), g), respond(RiskAverse(0.2 / 0.4, aversion=1 / 0.2), g)
    np.testing.assert_allclose(floor.x, averse.x, rtol=1e-12, atol=1e-13)
    wrong = mutant(RiskAverse, "self.lr * self.aversion", "self.aversion")
    assert np.abs(respond(wrong(0.5, aversion=5.0), g).x - floor.x).max() > 1e-2


def test_the_rules_settle_at_their_formulas():
    # 64 runs of a variance from 1999 weights' worth of gradients: off by 5 standard errors once in a million
    g = 2.0 + 3.0 * np.random.default_rng(1).standard_normal((6000, 64, 1))
    for rule, expected in (
        (RiskAverse(0.5, aversion=0.2), averse_rate(3.0, 2.0, 0.2)),
        (InverseVariance(1.0, eps=1.0), 1 / 10),
        (InverseDeviation(1.0, eps=1e-9), 1 / 3),
    ):
        assert respond(rule, g).rate[-1].mean() == pytest.approx(expected, rel=5 * np.sqrt(2 / 2000 / 64) + 0.003)


def msvag_by_its_authors(g, lr, beta):
    """m, v, rho and the factor as its authors write them, without any of the library's averages."""
    m = v = np.zeros_like(g[0])
    x, rows = np.zeros_like(g[0]), []
    for t, now in enumerate(g, 1):
        m, v = beta * m + (1 - beta) * now, beta * v + (1 - beta) * now**2
        mean, second = m / (1 - beta**t), v / (1 - beta**t)
        rho = (1 - beta) * (1 + beta**t) / ((1 + beta) * (1 - beta**t))
        s = (second - mean**2) / (1 - rho) if t > 1 else 0 * mean
        x = x - lr * mean**2 / (mean**2 + rho * s) * mean
        rows.append(x)
    return np.stack(rows)


def test_msvag_is_the_formula_of_its_authors():
    g = gradients()
    expected = msvag_by_its_authors(g, 0.1, 0.9)
    np.testing.assert_allclose(respond(MSVAG(0.1), g).x[1:], expected, rtol=1e-9, atol=1e-12)
    broken = mutant(MSVAG, "positive(square + noise)", "positive(noise)")
    assert np.abs(respond(broken(0.1), g).x[1:] - expected).max() > 1e-2


def test_adabayes_is_the_fixed_point_of_its_filter():
    # the posterior variance of one weight as the authors' program has it, g^2 being constant; batches of one
    lr, sgd, g = 0.01, 0.05, 3.0
    kept, variance = np.exp(-(lr**2) / sgd), sgd
    for _ in range(3000):
        variance = 1 / (1 / (kept * variance + sgd * (1 - kept)) + g**2)
    rate = respond(AdaBayes(lr, damping=lr / sgd), np.full((5, 1, 1), g)).rate[-1].item()
    # the fixed point is that of small steps of time: exact to first order in lr g
    assert rate == pytest.approx(1 / (0.5 / sgd + np.sqrt((0.5 / sgd) ** 2 + (g / lr) ** 2)), rel=1e-12)
    assert rate == pytest.approx(variance, rel=2 * lr * g)
    broken = mutant(AdaBayes, "4 * state.v.mean", "state.v.mean")(lr, damping=lr / sgd)
    assert respond(broken, np.full((5, 1, 1), g)).rate[-1].item() != pytest.approx(variance, rel=0.5)


def test_adabayes_lies_between_sgd_and_adam():
    g = gradients()
    np.testing.assert_allclose(respond(AdaBayes(0.1, damping=0.0), g).x, respond(Adam(0.1, eps=0), g).x, rtol=1e-12)
    np.testing.assert_allclose(respond(AdaBayes(1e4, damping=1e5), g).rate, 0.1, rtol=1e-8)


def ivon_moments(rule, h, curvature, g, s):
    """Mean of the next h, and of the estimate f of the curvature, at curvature and gradient g at x, noise s: by quadrature."""
    z, e = np.meshgrid(NODES, NODES)
    weight = (WEIGHTS[:, None] * WEIGHTS).ravel()
    state = rule(draws=np.zeros((2, 64, 1))).init(np.zeros((64, 1)))
    noise = e.reshape(-1, 1) / np.sqrt(100.0 * h)
    state = state._replace(h=np.full((64, 1), h), noise=noise)
    seen = g + curvature * noise + s * z.reshape(-1, 1)
    after = rule(ess=100.0, draws=np.zeros((2, 64, 1))).step(state, seen, None)[0]
    return weight @ after.h[:, 0], weight @ (100 * h * noise * seen)[:, 0]


def test_the_perturbed_gradient_of_ivon_estimates_the_curvature():
    assert ivon_moments(IVON, 0.7, 2.0, 0.5, 3.0)[1] == pytest.approx(2.0, rel=1e-12)


def test_noise_lifts_the_curvature_of_ivon_by_an_aversion():
    g, s, a = 0.5, 3.0, 0.01
    lifted = a / 2 * 100 * (g**2 + s**2)
    # without curvature the balance is exact at lifted / (1 - a / 2)
    at_rest = lifted / (1 - a / 2)
    assert ivon_moments(IVON, at_rest, 0.0, g, s)[0] == pytest.approx(at_rest, rel=1e-12)
    broken = mutant(IVON, "off * off / (2 * state.h)", "0 * off")
    with np.errstate(invalid="ignore"):  # without that term some h is negative
        assert ivon_moments(broken, at_rest, 0.0, g, s)[0] < 0.995 * at_rest
    # with it, it is the sum, to first order in 1 - beta2
    drift = [ivon_moments(IVON, (2 + lifted) * by, 2.0, g, s)[0] / (2 + lifted) / by - 1 for by in (0.98, 1.02)]
    assert drift[0] > 0 > drift[1]


def test_the_curvature_of_ivon_stays_positive():
    rng = np.random.default_rng(0)
    path = respond(
        IVON(1.0, ess=1e6, beta2=0.0, draws=rng.standard_normal((201, 8, 1))), 1e3 * gradients(1, (200, 8, 1))
    )
    assert (path.rate > 0).all()
    assert np.isfinite(path.rate).all()


@given(st.floats(0.01, 100))
def test_no_rate_of_the_averse_exceeds_its_cap(scale):
    g = scale * gradients()
    for rule in (RiskAverse(0.3), MSVAG(0.3)):
        rate = respond(rule, g[:50]).rate
        assert (rate <= 0.3 * (1 + 1e-12)).all()
        assert (rate >= 0).all()


def test_constant_gradients_leave_no_doubt():
    path = respond(RiskAverse(0.3), np.full((50, 1, 1), 7.1))
    np.testing.assert_allclose(path.rate, 0.3, rtol=1e-13)


def test_an_observer_stands_still_and_then_is_the_rule():
    path = descend(Observing(Adam(0.1), 10), lambda x, t: np.ones_like(x), np.zeros((4, 2)), 30)
    assert (path.x[10] == 0).all()
    assert (path.x[11] != 0).all()
    np.testing.assert_allclose(path.rate[10:], respond(Adam(0.1), np.ones((30, 4, 2))).rate[10:], rtol=1e-15)
    late = mutant(Observing, "state.t - self.horizon + 1", "state.t - self.horizon")(Adam(0.1), 10)
    assert (descend(late, lambda x, t: np.ones_like(x), np.zeros((4, 2)), 30).x[11] == 0).all()


def test_a_batch_of_averse_runs_equals_the_runs_apart():
    g = gradients()
    lrs = np.array([0.01, 0.1, 1.0])[:, None, None]
    for make in (RiskAverse, InverseVariance, InverseDeviation, MSVAG):
        together = respond(make(lrs), np.broadcast_to(g[:, None], (300, 3, 8, 3))).x
        for i, lr in enumerate((0.01, 0.1, 1.0)):
            np.testing.assert_array_equal(together[:, i], respond(make(lr), g).x)


@pytest.mark.parametrize(
    "rule", [RiskAverse(), InverseVariance(), InverseDeviation(eps=0.1), MSVAG(), Observing(SGD(), 3)]
)
def test_every_rule_reads_as_a_formula(rule):
    from stepsize.latex import latex

    assert r"\text{rate}" in latex(rule)


def test_an_average_and_a_spread_forget_alike():
    g, average = gradients(), Average.empty(np.zeros((8, 3)))
    state = MSVAG().init(np.zeros((8, 3)))
    for now in g:
        average = average.push(now, 0.9)
        state = MSVAG().step(state, now, now)[0]
    np.testing.assert_allclose(state.mean, average.mean, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: RiskAverse(aversion=-1.0), HyperparameterError, "RiskAverse: aversion"),
        (lambda: RiskAverse(aversion=np.nan), HyperparameterError, "must be finite"),
        (lambda: RiskAverse(aversion="bold"), HyperparameterError, "got 'bold'"),
        (lambda: RiskAverse(lr=-0.1), HyperparameterError, "lr"),
        (lambda: RiskAverse(beta2=1.0), HyperparameterError, "beta2"),
        (lambda: InverseVariance(eps=-1e-3), HyperparameterError, "InverseVariance: eps"),
        (lambda: InverseDeviation(beta1=1.5), HyperparameterError, "beta1"),
        (lambda: MSVAG(beta=1), HyperparameterError, "MSVAG: beta"),
        (lambda: MSVAG(lr=None), HyperparameterError, "got None"),
        (lambda: AdaBayes(damping=-1.0), HyperparameterError, "AdaBayes: damping"),
        (lambda: Observing(Adam, 5), HyperparameterError, "needs a rule"),
        (lambda: Observing(Adam(), 0), HyperparameterError, "horizon"),
        (lambda: averse_rate(-1.0), HyperparameterError, "s must be finite and at least 0, got -1"),
        (lambda: averse_rate(np.array([1.0, np.inf])), HyperparameterError, "s must be finite"),
        (lambda: averse_rate(1.0, h=-2.0), HyperparameterError, "h must be"),
        (lambda: averse_rate(1.0, aversion=-1.0), HyperparameterError, "aversion must be"),
        (lambda: averse_rate(0.0), HyperparameterError, "no step is too long"),
        (lambda: averse_rate(1.0, 0.0, 0.0), HyperparameterError, "no step is too long"),
        (lambda: averse_step([1.0], np.eye(2), np.eye(2)), ShapeError, "do not fit"),
        (lambda: averse_step([1.0, 2.0], np.eye(2), np.eye(3)), ShapeError, "(3, 3)"),
        (lambda: certainty_equivalent(0.1, 1.0, 1.0, 0.0, 0.0), HyperparameterError, "aversion must be"),
        (lambda: sampled_rate(0.0, 1.0, 1.0, 1.0), HyperparameterError, "|m| must be"),
        (lambda: sampled_rate(1.0, 1.0, 0.0, 0.0), HyperparameterError, "without a minimum"),
        (lambda: implied_aversion(1.0, 0.0), HyperparameterError, "s must be"),
    ],
)
def test_bad_input_is_named(call, error, names):
    with pytest.raises(error) as caught:
        call()
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)
