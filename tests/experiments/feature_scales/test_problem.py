"""One feature in other units: what stays the same, what grows like S, and the closed forms around eps and dead weights."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.experiments.feature_scales.problem import (
    MatrixRegression,
    Minibatches,
    Regression,
    _hessian,
    curvature,
    descent_peaks,
    descent_time,
    drift,
    imbalance,
    later_pace,
    magnifications,
    paces,
    rate_slopes,
    response,
    time_and_peak,
)
from companion.experiments.feature_scales.race import exponent
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, AMSGrad, Coupled, Decoupled, HeavyBall, RMSProp, SignDescent, descend
from stepsize.errors import HyperparameterError
from stepsize.signals import respond

LAND = Regression.sample(range(5))
SIZES = np.array([1.0, 10.0, 1000.0])

# the power of s_j by which the units multiply the rate of coordinate j, seen in u = s w
POWERS = [
    (lambda lr: SGD(0.01 * lr), 2),
    (lambda lr: HeavyBall(0.01 * lr), 2),
    (lambda lr: SignDescent(lr), 1),
    (lambda lr: AdaGrad(lr, eps=0.0), 1),
    (lambda lr: RMSProp(lr, eps=0.0), 1),
    (lambda lr: Adam(lr, eps=0.0), 1),
    (lambda lr: AMSGrad(lr, eps=0.0), 1),
]


def test_the_gradient_is_that_of_the_mean_squared_error():
    land = LAND.sized(30.0)
    w = np.random.default_rng(0).normal(size=land.start.shape)
    f = lambda w: ((land.X @ (land.scale * w)[..., 0, :, None])[..., 0] - land.y) ** 2 / 2  # noqa: E731
    loss = lambda w: f(w).mean(-1)  # noqa: E731
    np.testing.assert_allclose(land.grad(w)[:, 0], land.single(w).mean(1), rtol=1e-10)
    for j in range(8):
        h = 1e-4 * np.eye(8)[j]
        slope = (loss(w + h) - loss(w - h)) / 2e-4
        np.testing.assert_allclose(land.grad(w)[:, 0, j], slope, rtol=1e-7, atol=1e-7)
    least, first = loss(land.home / land.scale), loss(land.start)
    np.testing.assert_allclose(land.excess(w)[:, 0, 0], (loss(w) - least) / (first - least), rtol=1e-10)


def test_at_equal_predictions_a_feature_s_times_larger_has_s_times_the_gradient_and_s_squared_the_curvature():
    u = np.random.default_rng(1).normal(size=(5, 1, 8))
    one, big = LAND.sized(1.0), LAND.sized(1000.0)
    np.testing.assert_allclose(big.grad(u / big.scale)[..., 0], 1000 * one.grad(u)[..., 0], rtol=1e-12)
    np.testing.assert_allclose(big.grad(u / big.scale)[..., 1:], one.grad(u)[..., 1:], rtol=1e-12)
    np.testing.assert_allclose(curvature(big)[..., 0] / 1e6, one.H[:, None, 0, 0], rtol=1e-5)


@pytest.mark.parametrize(("make", "power"), POWERS)
def test_units_are_a_rate_for_each_coordinate(make, power):
    scale = np.array([100.0, 0.2, 1, 3, 1, 1, 7, 1])
    raw = LAND.sized(1.0)
    other = replace(raw, scale=scale)

    def gap(power):
        w = descend(make(0.01), other.grad, other.start, 40, nonfinite="record").x
        u = descend(make(0.01 * scale**power), raw.grad, raw.start, 40, nonfinite="record").x
        return np.nanmax(np.abs(w * scale - u) / (1 + np.abs(u)))

    assert gap(power) < 1e-13
    assert gap(3 - power) > 1e-2
    # powers of two rescale without rounding: not a bit may differ
    scale = np.array([128.0, 0.25, 1, 4, 1, 1, 8, 1])
    other = replace(raw, scale=scale)
    assert gap(power) == 0


def test_eps_breaks_the_invariance_to_the_units_of_the_gradient():
    g = np.random.default_rng(0).normal(size=(50, 4, 1))
    gaps = []
    for eps in (0.0, 1e-3):
        x = [respond(Adam(eps=eps), factor * g).x for factor in (1.0, 1e-3)]
        gaps.append(np.abs(x[0] - x[1]).max())
    assert gaps[0] < 1e-14
    assert gaps[1] > 1e-3


@pytest.mark.parametrize("make", [AdaGrad, RMSProp, Adam, AMSGrad])
def test_the_rate_falls_in_proportion_to_the_size_of_the_gradient(make):
    g = np.random.default_rng(0).normal(size=(60, 3, 1))
    small, large = (respond(make(eps=0.0), factor * g).rate for factor in (1.0, 1000.0))
    np.testing.assert_allclose(large * 1000, small, rtol=1e-12)
    slopes = rate_slopes((make(eps=0.0), make(eps=1e3)), 0, steps=60)
    assert slopes[make.__name__] > -0.9  # the second, whose eps hides the gradient, took the name
    assert rate_slopes((make(eps=0.0),), 0, steps=60)[make.__name__] == pytest.approx(-1, abs=1e-12)


def batch_defect(kind):
    """The largest difference between the gradient of a minibatch and the mean over its examples, one by one."""
    land, w = LAND.sized(10.0), np.random.default_rng(2).normal(size=(5, 1, 8))
    rows = np.random.default_rng((3, 7)).integers(256, size=16)
    return np.abs(kind.of(land, 16, 3).grad(w, 7)[:, 0] - land.single(w)[:, rows].mean(1)).max()


def test_the_gradient_of_a_minibatch_is_the_mean_over_its_examples():
    assert batch_defect(Minibatches) < 1e-12
    assert batch_defect(mutant(Minibatches, "error @ X / self.size * self.scale", "error @ X / self.size")) > 0.1
    noisy = Minibatches.of(LAND, 16, 3)
    assert not np.array_equal(noisy.grad(LAND.start, 0), noisy.grad(LAND.start, 1))


def test_standardised_features_forget_their_units():
    for size in SIZES:
        other = Regression(LAND.X * np.where(np.arange(8) == 0, size, 1), LAND.y, None, None, None)
        scale = other.standardised().scale * np.where(np.arange(8) == 0, size, 1)
        np.testing.assert_allclose(scale, LAND.standardised().scale, rtol=1e-14)
    H = _hessian(LAND.standardised())
    np.testing.assert_allclose(np.diagonal(H, axis1=-2, axis2=-1), 1, rtol=1e-13)


@pytest.mark.parametrize("size", [1.0, 10.0])
def test_the_time_of_gradient_descent_is_that_of_a_walk(size):
    land = LAND.sized(size)
    lr = 1.3 / curvature(land)[:, 0, 0].max()
    walked, peak = time_and_peak(SGD(lr), land, 3000)
    np.testing.assert_array_equal(descent_time(land, lr), walked)
    assert (peak == 1).all()
    assert (mutant(descent_time, "h * c**2", "c**2", 2)(land, lr) != walked).any()


def test_gradient_descent_explodes_above_two_over_the_curvature():
    land = LAND.sized(10.0)
    edge = 2 / curvature(land)
    assert np.isinf(descent_time(land, np.array(1.001 * edge[:, 0, 0].max()))).any()
    assert time_and_peak(SGD(1.05 * edge), land, 200)[1].min() > 10


@given(st.floats(0.5, 0.999))
@settings(max_examples=10)
def test_gradient_descent_does_not_explode_below_two_over_the_curvature(share):
    land = LAND.sized(10.0)
    edge = 2 / curvature(land)
    assert np.isfinite(descent_time(land, np.array(share * edge[:1, 0, 0]))[0]).all()
    assert time_and_peak(SGD(share * edge), land, 200)[1].max() == 1


def test_gradient_descent_takes_s_squared_steps():
    sizes = 10.0 ** np.arange(1, 5)
    times = np.stack([descent_time(LAND.sized(s), 1 / curvature(LAND.sized(s)).max())[:, 0] for s in sizes])
    slope, used = exponent(sizes, times)
    assert slope.low == pytest.approx(2, abs=5e-3)
    assert used.tolist() == sizes.tolist()


def test_a_run_is_home_when_it_stays_and_its_peak_is_on_the_way():
    # alternating between inside and outside counts for nothing, and neither does what follows after the hold
    class Script:
        def __init__(self, losses):
            self.losses, self.start = losses, np.zeros((1, 1, 1))

        def look(self, x, t):
            return self.losses[np.minimum(x[..., 0].astype(int) - 1, len(self.losses) - 1)], -np.ones((1, 1, 1))

    losses = np.array([0.5, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 9.0])
    time, peak = time_and_peak(SGD(1.0), Script(losses), 8, hold=3)
    assert (time.item(), peak.item()) == (5, 3)
    assert np.isinf(time_and_peak(SGD(1.0), Script(losses), 8, hold=4)[0]).all()
    early = mutant(time_and_peak, "t - last >= hold", "t - last >= 1")
    assert early(SGD(1.0), Script(losses), 8, hold=3)[0].item() == 3


def test_the_first_step_is_the_same_for_every_weight_and_s_times_larger_in_predictions():
    weights, predictions = paces(Adam(0.1, eps=0.0), LAND.sized(1000.0), 1)
    np.testing.assert_allclose(weights, 1, rtol=1e-13)
    np.testing.assert_allclose(predictions, 1000, rtol=1e-13)


def test_gradient_descent_hides_the_large_gradient_that_single_examples_keep():
    same, begin, single, after, *_ = magnifications(LAND, 1000.0, 0).values()
    assert (same == 1).all()
    assert np.median(begin) == pytest.approx(1, abs=0.7)
    assert np.median(single) == pytest.approx(1, abs=0.3)
    assert after.max() < 1e-4
    shrunk = mutant(magnifications, "np.ravel(ratio) / size", "np.ravel(ratio)")(LAND, 1000.0, 0)
    assert shrunk["predictions are the same"][0] == pytest.approx(1000)


def test_the_gradient_of_minibatches_is_the_root_mean_square_over_all_of_them():
    big = LAND.sized(1000.0)
    w = descend(SGD(1 / curvature(big)), big.grad, big.start, 50).x[-1]
    pairs = (big.single(w)[:, :, None] + big.single(w)[:, None]) / 2
    drawn = imbalance(np.sqrt((pairs**2).mean((1, 2)))) / 1000
    name = "the gradient is of minibatches of 2, after 50 steps"
    np.testing.assert_allclose(magnifications(LAND, 1000.0, 0, batch=2)[name], drawn, rtol=1e-8)
    broken = mutant(magnifications, "(square - mean) / batch", "(square - mean)")(LAND, 1000.0, 0, batch=2)
    assert np.abs(broken[name] / drawn - 1).max() > 1e-4


def test_after_a_training_on_minibatches_the_full_gradient_is_the_one_at_its_end():
    big = LAND.sized(1000.0)
    w = descend(SGD(1 / curvature(big)), Minibatches.of(big, 16, 3).grad, big.start, 50).x[-1]
    row = magnifications(LAND, 1000.0, 3)["the gradient is of the full batch, after 50 steps on minibatches of 16"]
    np.testing.assert_allclose(row, imbalance(big.grad(w))[:, 0] / 1000, atol=1e-9)


def test_gradient_descent_explodes_above_two_over_the_curvature_and_at_the_rate_of_the_old_units():
    before = 1 / curvature(LAND.sized(1.0)).max()
    peaks = descent_peaks(LAND.sized(100.0), before, before / 100**2)
    exploded = {name: (peak > 10).mean() for name, peak in peaks.items()}
    assert exploded["the rate was tuned before the feature grew"] == exploded["the rate is 1 % above 2/λ"] == 1
    assert exploded["the rate is 1 % below 2/λ"] == exploded["the rate is tuned with the large feature"] == 0
    wrong = mutant(descent_peaks, "2 / curvature(land)", "1 / curvature(land)")(LAND.sized(100.0), before, before)
    assert (wrong["the rate is 1 % above 2/λ"] == 1).all()


MATRIX = MatrixRegression.sample(range(3), m=2).sized([(1.0, 1.0), (100.0, 1.0), (100.0, 10.0)])


def slope_defect(problem):
    """The largest difference between the gradient and the slope of half the excess, in units of the first loss."""
    W = np.random.default_rng(0).normal(size=problem.start.shape) / problem.scale
    first = (problem.home @ problem.H * problem.home).sum((-1, -2))
    defect = 0.0
    for i, j in np.ndindex(*W.shape[-2:]):
        h = np.zeros(W.shape[-2:])
        h[i, j] = 1e-6
        slope = (problem.excess(W + h) - problem.excess(W - h))[..., 0] / 4e-6 * first
        defect = max(defect, np.abs(problem.grad(W)[..., i, j] / slope - 1).max())
    return defect


def test_the_gradient_of_a_matrix_is_the_slope_of_its_loss():
    assert slope_defect(MATRIX) < 1e-5
    broken = mutant(
        MatrixRegression,
        "((W * self.scale - self.home) @ self.H) * self.scale",
        "(W * self.scale - self.home) @ self.H",
    )
    assert slope_defect(broken(MATRIX.H, MATRIX.home, MATRIX.scale)) > 0.5


def test_units_of_features_and_outputs_change_the_weights_and_not_the_loss():
    U = np.random.default_rng(1).normal(size=MATRIX.start.shape)[:, :1]
    excess = MATRIX.excess(U / MATRIX.scale)[..., 0]
    np.testing.assert_allclose(excess, excess[:, :1] * np.ones(3), rtol=1e-12)
    np.testing.assert_allclose(MATRIX.excess(MATRIX.start), 1, rtol=1e-12)
    np.testing.assert_allclose(MATRIX.excess(MATRIX.home / MATRIX.scale), 0, atol=1e-20)
    assert MATRIX.scale[2].tolist() == [[1000, 10, 10, 10], [100, 1, 1, 1]]


def test_imbalance_is_that_of_the_first_coordinate():
    assert imbalance(np.array([30.0, 3.0, -3.0, 3.0])) == pytest.approx(10)


RATIOS = np.array([1e-3, 0.1, 1.0, 10.0, 1e6])


@pytest.mark.parametrize(("make", "full"), [(Adam, 1), (AMSGrad, 1), (AdaGrad, 1), (RMSProp, 1 / np.sqrt(0.01))])
def test_the_first_step_answers_to_eps_as_r_over_one_plus_r(make, full):
    eps = 1e-3
    scale = full if make is RMSProp else 1.0
    # RMSProp's accumulator starts at (1 - beta) g^2: its r is sqrt(1 - beta) |g| / eps
    step = np.abs(respond(make(1.0, eps=eps), (RATIOS * eps * scale)[None, :, None]).x[-1, :, 0])
    assert np.abs(step / full / response(RATIOS) - 1).max() < 1e-12
    assert (
        np.abs(step / full / mutant(response, "return r / (1 + r)", "return r / (1 + r**2)")(RATIOS) - 1).max() > 0.01
    )


def test_adam_on_a_loss_c_times_larger_is_adam_with_eps_over_c():
    g = np.random.default_rng(0).normal(size=(80, 3, 2))
    np.testing.assert_allclose(
        respond(Adam(eps=1e-3), 1e-5 * g).x, respond(Adam(eps=100.0), g).x, rtol=1e-11, atol=1e-20
    )
    inside = mutant(Adam, "self.lr / (sqrt(v.mean) + self.eps)", "self.lr / sqrt(v.mean + self.eps)")
    gap = respond(inside(eps=1e-3), 1e-5 * g).x[1:] / respond(inside(eps=100.0), g).x[1:] - 1
    assert np.abs(gap).min() > 0.5


@pytest.mark.parametrize("make", [AdaGrad, RMSProp, Adam, AMSGrad])
def test_a_gradient_of_zero_moves_nothing_unless_eps_is_zero(make):
    g = np.zeros((5, 2, 1))
    assert (respond(make(), g).x == 0).all()
    x = np.zeros((2, 1))
    with np.errstate(all="ignore"):
        _, rate, direction = make(eps=0.0).step(make(eps=0.0).init(x), x, x)
        assert np.isnan(rate * direction).all()


def test_the_drift_after_a_gradient_has_stopped():
    beta1, beta2 = np.array([(0.9, 0.999), (0.9, 0.99), (0.5, 0.9)]).T
    g = np.concatenate([np.ones((30000, 3, 1)), np.zeros((3000, 3, 1))])
    x = respond(Adam(1.0, beta1[:, None], beta2[:, None], eps=0.0), g).x[..., 0]
    np.testing.assert_allclose(x[30000] - x[-1], drift(beta1, beta2), rtol=1e-9)
    wrong = mutant(drift, "np.sqrt(beta2)", "beta2")(beta1, beta2)
    assert np.abs((x[30000] - x[-1]) / wrong - 1).min() > 1e-4


def test_the_drift_of_adam_at_its_defaults():
    assert drift() == pytest.approx(9.0452375, abs=5e-8)


DECAYS = np.array([1e-6, 1e-4, 1e-2])[:, None]
SHARE = 1 - (1 - 1e-3 * DECAYS[:, 0]) ** 500


def lost(rule, steps=500):
    return 1 - descend(rule, lambda x, t: 0 * x, np.ones((len(DECAYS), 1)), steps).x[-1, :, 0]


def test_decoupled_decay_takes_its_share_of_a_dead_weight():
    np.testing.assert_allclose(lost(Decoupled(Adam(1e-3), DECAYS)), SHARE, atol=1e-13)
    broken = mutant(Decoupled, "self.decay * (self.lr / positive(rate)) * x", "self.decay * (1 / positive(rate)) * x")
    assert (lost(broken(Adam(1e-3), DECAYS)) > 500 * SHARE * 0.3).all()


def test_coupled_decay_takes_almost_half_of_a_dead_weight_whatever_its_strength():
    np.testing.assert_allclose(lost(Coupled(Adam(1e-3), DECAYS)), [0.4353, 0.4394, 0.4395], atol=5e-5)
    same = lost(Coupled(Adam(1e-3, eps=0.0), DECAYS))
    np.testing.assert_allclose(same, same[0], rtol=1e-12)
    # and no more than SGD's where nothing is divided
    np.testing.assert_allclose(lost(Coupled(SGD(1e-3), DECAYS)), SHARE, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: Regression.sample([0], correlation=1.0), "correlation"),
        (lambda: LAND.sized([1.0, 0.0]), "sizes"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(HyperparameterError) as caught:
        call()
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("steps", "hold"), [(40, 100), (2, 4)])
def test_the_later_pace_is_that_of_the_first_steps_in_a_row_with_a_low_loss(steps, hold):
    land, rule = LAND.sized(10.0), Adam(0.5, eps=0.0)
    path = descend(rule, land.grad, land.start, 400)
    size = np.abs(path.rate * path.direction)[:, :, 0]
    high = (np.stack([land.excess(x)[:, 0, 0] for x in path.x[1:]]) > 0.1).T
    opens = np.array([next(t for t in range(400) if not row[t : t + hold].any()) for row in high])
    moved = np.stack([size[t : t + steps, p].sum(0) for p, t in enumerate(opens)])
    settings = rule, land, 300, 0.1, steps, hold
    pace = later_pace(*settings)[:, 0]
    np.testing.assert_allclose(pace, moved[:, 0] / moved[:, 1:].mean(1), rtol=1e-12)
    assert ((~high).argmax(1) < opens).all()  # a low loss in passing does not open the window
    unsettled = np.isnan(later_pace(rule, land, opens.max(), 0.1, steps, hold))[:, 0]
    np.testing.assert_array_equal(unsettled, opens == opens.max())
    wrong = {"t - last <= steps": "t - last < steps", "total[above], last[above] = 0, t": "last[above] = t"}
    if hold == 4:  # nor does a later relapse move it
        assert any(row[t:].any() for row, t in zip(high, opens, strict=True))
        wrong["t - last <= hold"] = "True"
    for term, other in wrong.items():
        assert (mutant(later_pace, term, other)(*settings)[:, 0] != pace).any()
