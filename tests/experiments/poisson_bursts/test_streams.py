"""Streams of counts: the likelihood's identities, the coupling of twins, and two rules in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from companion.experiments.poisson_bursts import streams
from companion.experiments.poisson_bursts.streams import (
    ETA_LIMIT,
    EWMA,
    ImplicitSGD,
    Stream,
    _mean,
    _Regression,
    calendar_stream,
    deviance,
    follow,
    gradient,
    kl,
    length,
    level,
    log_rate,
    mean,
    poisson_stream,
    recorded_kl,
)
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, Average, HeavyBall, InverseRoot, LinearDecay, RMSProp, ScheduleFree, walk
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError

RNG = np.random.default_rng(11)
X = np.insert(RNG.standard_normal((40, 3)), 0, 1.0, axis=1)
THETA = 0.3 * RNG.standard_normal((40, 4))
Y = RNG.poisson(mean(THETA, X))


def loss(theta, x, y):
    eta = (theta * x).sum(-1)
    return np.exp(eta) - y * eta


def difference(theta, h=1e-6):
    steps = h * np.eye(4)
    return np.stack([(loss(theta + e, X, Y) - loss(theta - e, X, Y)) / (2 * h) for e in steps], -1)


def test_the_gradient_is_the_derivative_of_the_negative_log_likelihood():
    np.testing.assert_allclose(gradient(THETA, X, Y), difference(THETA), atol=1e-8)
    broken = mutant(gradient, "mu - y", "y - mu")
    assert np.abs(broken(THETA, X, Y) - difference(THETA)).max() > 1


def test_the_summed_gradient_is_minus_the_score_of_statsmodels():
    import statsmodels.api as sm

    model = sm.GLM(Y, X, family=sm.families.Poisson())
    np.testing.assert_allclose(-gradient(THETA[0], X, Y).sum(0), model.score(THETA[0]), rtol=1e-12)
    fitted = model.fit()
    np.testing.assert_allclose(deviance(Y, mean(fitted.params, X)).sum(), fitted.deviance, rtol=1e-12)
    np.testing.assert_allclose(gradient(fitted.params, X, Y).sum(0), 0, atol=1e-6)


@given(st.one_of(st.just(0.0), st.floats(1e-9, 1e5)), st.floats(1e-5, 1e5))
def test_kl_is_not_negative_and_equals_its_definition(lam, mu):
    value = kl(lam, mu)
    assert value >= 0
    plain = (lam * np.log(lam / mu) if lam else 0.0) - lam + mu
    np.testing.assert_allclose(value, plain, rtol=1e-9, atol=1e-10 * (1 + lam + mu))


def test_kl_vanishes_at_equality_and_near_it_is_half_the_squared_error_over_the_mean():
    lam = np.array([0.01, 1.0, 300.0])
    assert (kl(lam, lam) == 0).all()
    np.testing.assert_allclose(kl(lam, lam * (1 + 1e-6)), lam * 1e-12 / 2, rtol=1e-3)
    broken = mutant(recorded_kl, "np.expm1(d) - d", "np.expm1(d)")
    assert kl(1.0, 0.5) > 0 > broken(1.0, 0.5)


def test_the_expected_loss_exceeds_the_least_by_kl():
    # E[mu - y log mu] - E[lam - y log lam] = KL, since E[y] = lam
    lam, mu = np.array([0.5, 3.0, 40.0]), np.array([1.0, 2.5, 80.0])
    np.testing.assert_allclose((mu - lam * np.log(mu)) - (lam - lam * np.log(lam)), kl(lam, mu), rtol=1e-12)


def test_the_linear_predictor_is_clipped_for_every_method_alike():
    x = np.ones((1, 1))
    assert mean(np.array([[50.0]]), x) == np.exp(ETA_LIMIT)
    assert mean(np.array([[-50.0]]), x) == np.exp(-ETA_LIMIT)
    assert mutant(_mean, "ETA_LIMIT", "99", 2)(np.array([[50.0]]), x) > np.exp(ETA_LIMIT)


@pytest.mark.parametrize("leads", ["members", "coordinates"])
def test_a_walk_has_the_means_and_gradients_of_the_formulas_bit_for_bit(leads):
    rng = np.random.default_rng(5)
    x, y, theta = rng.normal(size=(3, 5, 4)), rng.poisson(2.0, size=(3, 5)), rng.normal(size=(7, 5, 4))
    theta[0], theta[1] = 40 * theta[0], np.nan  # where the clip acts, and a run that has diverged
    if leads == "coordinates":
        x, theta = (np.moveaxis(np.moveaxis(a, -1, -2).copy(), -2, -1) for a in (x, theta))
    walked = _Regression(Stream(x, y), (7, 5))
    for t in range(3):
        mu = _mean(theta, x[t])
        np.testing.assert_array_equal(walked.means(theta, t), mu)
        np.testing.assert_array_equal(walked.gradient(mu, t), (mu - y[t])[..., None] * x[t])
    assert {mu[0].min(), mu[0].max()} == {np.exp(-ETA_LIMIT), np.exp(ETA_LIMIT)}


def test_twins_share_features_and_all_counts_outside_the_burst():
    with_burst, without = (
        poisson_stream(range(6), steps=900, start=300, stop=350, flip=500),
        poisson_stream(range(6), steps=900, start=300, stop=350, flip=500, burst=1),
    )
    inside = np.zeros(900, bool)
    inside[300:350] = True
    np.testing.assert_array_equal(with_burst.x, without.x)
    np.testing.assert_array_equal(with_burst.y[~inside], without.y[~inside])
    assert (with_burst.y[inside] >= without.y[inside]).all()
    np.testing.assert_allclose(with_burst.lam[inside], 60 * without.lam[inside])


def test_a_longer_stream_begins_with_the_shorter_one_and_a_member_does_not_depend_on_the_others():
    short, long = (
        poisson_stream([3, 8], steps=400, start=100, stop=120),
        poisson_stream([8], steps=700, start=100, stop=120),
    )
    for a, b in zip(short[:3], long[:3], strict=True):
        np.testing.assert_array_equal(a[:, 1], b[:400, 0])


def test_counts_have_the_mean_and_the_variance_of_their_law():
    # standardised sums over 60 seeds x 400 steps; each of the four statements false with probability < 1e-5 (4.5 sd)
    s = poisson_stream(range(60), steps=400, start=100, stop=200)
    for at in (slice(0, 100), slice(100, 200)):
        z = (s.y[at] - s.lam[at]) / np.sqrt(s.lam[at])
        assert abs(z.mean()) * np.sqrt(z.size) < 4.5
        assert abs((z**2).mean() - 1) < 4.5 * (z**2).std() / np.sqrt(z.size)


def test_the_slopes_change_sign_and_nothing_else_does():
    s = poisson_stream([1], steps=50, start=0, stop=0, flip=20, slopes=(0.5,), base=2.0)
    sign = np.where(np.arange(50) < 20, 1, -1)
    np.testing.assert_allclose(np.log(s.lam[:, 0] / 2), sign * 0.5 * s.x[:, 0, 1], atol=1e-14)
    assert np.abs(s.x[..., 1:]).max() <= 2


@pytest.mark.parametrize("wrong", [{"burst": 0.5}, {"start": 9, "stop": 5}, {"stop": 7000}, {"base": 0}])
def test_a_stream_that_cannot_be_is_refused(wrong):
    with pytest.raises(HyperparameterError, match="poisson_stream needs"):
        poisson_stream([0], **wrong)


def test_a_grid_of_rates_over_all_members_equals_the_runs_apart():
    s, lrs = poisson_stream(range(3), steps=60, start=20, stop=30), np.array([1e-3, 1e-2, 0.1])
    for make in (AdaGrad, RMSProp, Adam, ImplicitSGD):
        together = follow(make(lrs[:, None, None]), s).mu
        for i, lr in enumerate(lrs):
            for j in range(3):
                alone = follow(make(lr), Stream(s.x[:, j], s.y[:, j])).mu
                np.testing.assert_array_equal(together[:, i, j], alone)


def test_a_forecast_is_made_before_its_count_is_seen():
    s = poisson_stream([5], steps=40, start=10, stop=12)
    changed = s._replace(y=s.y.copy())
    changed.y[25] += 1000
    a, b = follow(SGD(0.01), s).mu, follow(SGD(0.01), changed).mu
    np.testing.assert_array_equal(a[:26], b[:26])
    assert (a[26:] != b[26:]).all()


def test_follow_is_the_walk_along_the_gradients_and_can_be_watched():
    s, rule = poisson_stream([2], steps=30, start=10, stop=15), HeavyBall(0.01)
    seen = follow(rule, s, watch=lambda now: (log_rate(now), length(now)))
    steps = walk(rule, lambda theta, t: gradient(theta, s.x[t], s.y[t]), np.zeros((1, 4)))
    *_, last = [now for _, now in zip(s.y, steps, strict=False)]
    np.testing.assert_array_equal(seen.theta, last.x)
    assert seen.watched.shape == (30, 2, 1)
    np.testing.assert_allclose(seen.watched[:, 0], np.log(0.01))
    np.testing.assert_allclose(seen.watched[-1, 1], np.linalg.norm(last.rate * last.direction))


def test_schedule_free_forecasts_with_its_average_and_takes_gradients_where_it_stands():
    rule, stream = ScheduleFree(SGD(0.05), 0.7), Stream(X[:, None], Y[:, None])
    z = average = np.zeros((1, 4))
    expected = []
    for t in range(40):
        expected.append(mean(average, X[t]))
        y = 0.3 * z + 0.7 * average
        z = z - 0.05 * gradient(y, X[t], Y[t])
        average = average + (z - average) / (t + 2)
    np.testing.assert_allclose(follow(rule, stream).mu, expected, rtol=1e-12)
    elsewhere = mutant(follow, "means(rule.average(now.state, theta), t) if averaged and t else here", "here")
    assert np.abs(elsewhere(rule, stream).mu / np.array(expected) - 1).max() > 0.01


def test_features_and_counts_that_do_not_belong_together_are_refused():
    with pytest.raises(ShapeError, match="do not belong together"):
        follow(SGD(), Stream(np.ones((5, 2, 1)), np.ones((5, 3))))


def implicit_defect(rule, lr=0.7):
    """Largest violation of theta' = theta - lr (exp(theta' . x) - y) x."""
    g = gradient(THETA, X, Y)
    _, rate, direction = rule(lr).step((), g, THETA)
    there = THETA - rate * direction
    return np.abs(there - THETA + lr * (np.exp((there * X).sum(-1)) - Y)[:, None] * X).max()


def test_the_implicit_step_solves_its_equation():
    assert implicit_defect(ImplicitSGD) < 1e-12
    assert implicit_defect(mutant(ImplicitSGD, "c + np.log(a)", "c - np.log(a)")) > 0.01
    assert implicit_defect(mutant(ImplicitSGD, "eta + a * y", "eta - a * y")) > 0.01


def test_the_implicit_step_agrees_with_a_bracketing_root_finder():
    g = gradient(THETA, X, Y)
    _, rate, direction = ImplicitSGD(0.7).step((), g, THETA)
    there = ((THETA - rate * direction) * X).sum(-1)

    def defect(z, eta, a, y):
        return z - eta + a * (np.exp(z) - y)

    for *known, found in zip((THETA * X).sum(-1), 0.7 * (X * X).sum(-1), Y, there, strict=True):
        root = brentq(defect, -50, 50, args=tuple(known), xtol=1e-14)
        assert abs(found - root) < 1e-10


def test_the_implicit_rate_is_below_sgds_and_equals_it_for_small_steps():
    g = gradient(THETA, X, Y)
    rate = ImplicitSGD(0.7).step((), g, THETA)[1]
    assert ((rate > 0) & (rate < 0.7)).all()
    np.testing.assert_allclose(ImplicitSGD(1e-7).step((), g, THETA)[1], 1e-7, rtol=1e-3)


def test_the_implicit_step_never_passes_the_count_however_large_the_rate():
    x, y = X, np.full(40, 300)
    _, rate, direction = ImplicitSGD(1e3).step((), gradient(THETA, x, y), THETA)
    after = mean(THETA - rate * direction, x)
    assert (after < 300 + 1e-6).all()
    assert (after > mean(THETA, x)).all()
    explicit = ((THETA - 1e3 * gradient(THETA, x, y)) * x).sum(-1)
    assert (explicit > 1e5).all()


def test_a_count_equal_to_its_forecast_moves_nothing():
    for rule in (ImplicitSGD(0.3), EWMA(0.3)):
        _, rate, direction = rule.step((), np.zeros((2, 3)), np.full((2, 3), 0.4))
        np.testing.assert_allclose(rate * direction, 0, atol=1e-16)
        assert np.isfinite(rate).all()


def ewma_defect(rule):
    y = np.random.default_rng(3).poisson(4.0, 200)
    mu = follow(rule(0.25), Stream(np.ones((200, 1)), y)).mu
    memory, expected = Average(1.0, 1.0), []  # full weight on the first forecast, exp(0)
    for count in y:
        expected.append(memory.mean)
        memory = memory.push(count, 1 / 1.25)
    return np.abs(mu - np.array(expected)).max()


def test_the_ewma_rule_is_the_exponential_average_of_the_counts():
    assert ewma_defect(EWMA) < 1e-12
    assert (
        ewma_defect(
            mutant(
                EWMA,
                "np.log1p(-weight * g * self.cells / np.exp(log_mean))",
                "-weight * g * self.cells / np.exp(log_mean)",
            )
        )
        > 1e-2
    )


def test_the_ewma_is_the_natural_gradient_in_the_mean():
    # d(loss)/d(mu) = 1 - y / mu, Fisher information 1 / mu: the natural gradient is mu - y
    mu, y, weight = 3.0, 7, 0.2
    natural = (1 - y / mu) / (1 / mu)
    theta = np.array([[np.log(mu)]])
    _, rate, direction = EWMA(weight / (1 - weight)).step((), gradient(theta, np.ones((1, 1)), np.array([y])), theta)
    np.testing.assert_allclose(np.exp(theta - rate * direction), mu - weight * natural, rtol=1e-14)


def test_cells_of_the_ewma_rest_while_they_are_not_seen():
    x = np.eye(3)[[0, 1, 0, 2, 0]]
    y = np.array([5, 2, 9, 0, 1])
    f = follow(EWMA(1.0), Stream(x, y), theta=np.log([4.0, 2.0, 3.0]))
    np.testing.assert_allclose(np.exp(f.theta), [((4 + 5) / 2 + 9) / 4 + 0.5, 2.0, 1.5])
    resting = EWMA(1.0, cells=np.array([1.0, 0, 0])).step((), np.ones((1, 3)), np.zeros((1, 3)))
    np.testing.assert_array_equal((resting[1] * resting[2])[0, 1:], 0)


def test_the_calendar_has_one_cell_an_hour_and_its_level_forecasts_the_mean():
    hour, weekend = np.arange(96) % 24, np.arange(96) >= 48
    counts = np.random.default_rng(0).poisson(5.0, (96, 2)) + 1
    for constant in (True, False):
        s = calendar_stream(counts, hour, weekend, constant)
        assert s.x.shape == (96, 2, 48 + constant)
        np.testing.assert_array_equal(s.x.sum(-1), 1 + constant)
        np.testing.assert_allclose(mean(level(s, 24), s.x), np.broadcast_to(counts[:24].mean(0), (96, 2)))


def river_run(optimizer, s, intercept_lr=0.0):
    from river import linear_model, optim

    model = linear_model.LinearRegression(
        optimizer=optimizer(optim), loss=optim.losses.Poisson(), intercept_lr=intercept_lr, l2=0
    )
    for x, y in zip(s.x, s.y, strict=True):
        model.learn_one({str(i): float(v) for i, v in enumerate(x)}, int(y))
    return model


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        # river's eps stands inside AdaGrad's root, where it is our initial sum
        (lambda optim: optim.AdaGrad(0.3, eps=1e-8), AdaGrad(0.3, eps=0, initial=1e-8)),
        (lambda optim: optim.SGD(0.01), SGD(0.01)),
    ],
    ids=["AdaGrad", "SGD"],
)
def test_river_ends_where_the_same_rule_ends(theirs, ours):
    s = poisson_stream([4], steps=1500, start=500, stop=550, burst=10, flip=1000)
    s = Stream(s.x[:, 0], s.y[:, 0])
    model = river_run(theirs, s)
    found = np.array([model.weights[str(i)] for i in range(4)])
    np.testing.assert_allclose(found, follow(ours, s).theta, atol=1e-12)
    assert np.abs(found - follow(replace(ours, lr=1.001 * ours.lr), s).theta).max() > 1e-6


def test_rivers_default_intercept_is_plain_sgd_outside_the_optimizer():
    s = Stream(np.ones((1, 1)), np.array([7]))
    model = river_run(lambda optim: optim.AdaGrad(0.3), s, intercept_lr=0.01)
    np.testing.assert_allclose(model.intercept, 0.01 * (7 - 1))


def test_streams_imports_scipy_only_when_the_implicit_step_needs_it():
    import inspect

    assert "import scipy" not in inspect.getsource(streams).split("class ImplicitSGD")[0]


def counts(mean, steps=400, members=3, seed=0):
    y = np.random.default_rng(seed).poisson(mean, (steps, members))
    return Stream(np.ones((steps, members, 1)), y)


def test_counts_above_the_highest_forecast_are_refused_with_the_limit_named():
    """An exponential average of counts of mean 10^6 was 162,755, silently."""
    for rule in (EWMA(0.05), SGD(1e-2)):
        with pytest.raises(HyperparameterError, match=r"at step \d+ lies above e\^12.*give the stream its exposure"):
            follow(rule, counts(1e6))


def test_with_their_exposure_large_counts_are_followed():
    s = counts(1e6)._replace(exposure=np.full((400, 3), 1e5))
    for rule in (EWMA(0.05), ImplicitSGD(0.05)):
        found = follow(rule, s)
        np.testing.assert_allclose(found.mu[-1], 1e6, rtol=5e-3)
        np.testing.assert_allclose(np.exp(found.theta[:, 0]), 10, rtol=5e-3)
    np.testing.assert_allclose(np.exp(level(s, 100)[:, 0]), 10, rtol=1e-2)


def test_an_exposure_of_one_changes_nothing_and_a_unit_is_a_choice():
    """Counts per day with an exposure of 24 hours and counts without: the same model, shifted by log 24."""
    s = poisson_stream(range(3), steps=300, start=100, stop=110, burst=1)
    ones = np.ones_like(s.lam)
    for rule in (SGD(0.01), AdaGrad(0.1), ImplicitSGD(0.1), LinearDecay(ImplicitSGD(0.5), 300)):
        plain = follow(rule, s)
        np.testing.assert_array_equal(plain.mu, follow(rule, s._replace(exposure=ones)).mu)
        start = np.array([-np.log(24), 0, 0, 0])
        hourly = follow(rule, s._replace(exposure=24 * ones), start)
        np.testing.assert_allclose(plain.mu, hourly.mu, rtol=1e-9)
        np.testing.assert_allclose(plain.theta, hourly.theta - start, rtol=1e-8, atol=1e-10)


def test_the_offset_is_that_of_a_generalised_linear_model():
    import statsmodels.api as sm

    exposure = RNG.uniform(0.5, 20, 40)
    y = RNG.poisson(exposure * np.exp(0.3 * X[:, 1]))
    fitted = sm.GLM(y, X, family=sm.families.Poisson(), exposure=exposure).fit()
    np.testing.assert_allclose(mean(fitted.params, X, exposure), fitted.mu, rtol=1e-10)
    np.testing.assert_allclose(gradient(fitted.params, X, y, exposure).sum(0), 0, atol=1e-6)


def test_the_implicit_step_with_exposure_solves_its_equation():
    """theta' = theta - lr (e exp(theta' . x) - y) x, under a schedule that has hardly begun too."""
    exposure, lr = 7.0, 0.3
    s = Stream(X[:1], np.array([40]), exposure=np.array([exposure]))
    for rule in (ImplicitSGD(lr), LinearDecay(ImplicitSGD(lr), 1e12)):
        theta = follow(rule, s, np.full(4, 0.1)).theta
        assert np.abs(theta - 0.1 + lr * (exposure * np.exp(theta @ X[0]) - 40) * X[0]).max() < 1e-9


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"y": (17, np.nan)}, NonFiniteError, r"y\[17, 0\] is nan at step 17; .*fill the gap"),
        ({"y": (17, -3.0)}, HyperparameterError, r"y\[17, 0\] is -3 at step 17"),
        ({"x": (17, np.inf)}, NonFiniteError, r"x\[17, 0, 0\] is inf at step 17"),
    ],
)
def test_a_bad_count_or_feature_is_named_by_its_step(change, error, says):
    """One NaN made every later forecast NaN, silently."""
    s = counts(3.0)
    ((name, (step, value)),) = change.items()
    bad = np.array(getattr(s, name), float)
    bad[(step,) + (0,) * (bad.ndim - 1)] = value
    with pytest.raises(error, match=says):
        follow(SGD(0.01), s._replace(**{name: bad}))


def test_a_warm_up_without_a_count_is_said_in_words_of_the_stream():
    s = counts(3.0)
    s.y[:10, 1] = 0
    with pytest.raises(
        HyperparameterError, match=r"member \(1,\) has no count in its first 10 steps.*warm up for longer"
    ):
        level(s, 10)


def test_an_empty_stream_is_refused():
    with pytest.raises(ShapeError, match="the stream is empty"):
        follow(SGD(0.01), Stream(np.ones((0, 1)), np.zeros(0)))


def test_the_implicit_step_refuses_features_from_which_it_cannot_read():
    """Its coefficients were wrong without the constant 1 in front, silently."""
    s = poisson_stream([1], steps=50, start=10, stop=12)
    for rule in (ImplicitSGD(0.1), LinearDecay(ImplicitSGD(0.1), 50)):
        with pytest.raises(ShapeError, match="put the constant 1 in front"):
            follow(rule, s._replace(x=s.x[..., 1:]))


def test_a_rate_that_drives_forecasts_to_their_limit_shows_in_the_result():
    wild, calm = (follow(SGD(lr), counts(1e3)) for lr in (1e-2, 1e-5))
    assert (wild.clipped == 2).all()
    assert (calm.clipped == -1).all()


def test_a_run_that_overflows_is_an_error_unless_it_is_recorded():
    x = np.stack([np.ones((30, 2)), RNG.standard_normal((30, 2))], axis=-1)  # no indicators: not for this rule
    s = Stream(x, np.zeros((30, 2)))
    with pytest.raises(
        NonFiniteError, match=r"theta of run \(\d,\) is NaN or infinite from step \d+ on; lower the rate"
    ):
        follow(EWMA(5.0), s)
    assert np.isnan(follow(EWMA(5.0), s, nonfinite="record").theta).any()


@pytest.mark.parametrize("schedule", [lambda rule: LinearDecay(rule, 2000), InverseRoot], ids=["linear", "1 / root t"])
def test_a_schedule_scales_the_rate_inside_an_implicit_rule(schedule):
    """Counts 0 or 6 of mean 2.98: a schedule that shrinks the finished step from outside ended at 1.64.

    The median of 400 streams; its standard error is below 0.05.
    """
    y = 6 * np.random.default_rng(0).binomial(1, 2.98 / 6, (2000, 400))
    s = Stream(np.ones((2000, 400, 1)), y)
    found = np.exp(follow(schedule(ImplicitSGD(2.0)), s).theta)

    class Outside(ImplicitSGD):
        """Without `scaled`: a schedule takes it for any other rule."""

        scaled = property()

    outside = np.exp(follow(schedule(Outside(2.0)), s).theta)
    assert abs(np.median(found) - 2.98) < 0.25
    assert abs(np.median(outside) - 2.98) > 0.5
