"""Steepest descent in a metric, the tensor law, and the rules that divide by a power of the second moment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutants import mutant
from stepsize import SGD, Adam, descend
from stepsize import metric as library
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError
from stepsize.metric import (
    DiagonalPower,
    FullPower,
    Riemannian,
    apply,
    diagonal,
    inner,
    law_defect,
    pull_back,
    second_moment,
)


def problems(runs=200, d=6, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((runs, d, d))
    return root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(d), rng.standard_normal((runs, d)), rng


def kkt(steepest, radius=0.7):
    """Largest residuals of stationarity, constraint and value, each relative."""
    G, g, _ = problems()
    step = steepest(G, g, radius)
    dual = np.sqrt(inner(np.linalg.inv(G), g, g))
    stationarity = np.abs(g + dual[:, None] / radius * apply(G, step)).max(-1) / np.abs(g).max(-1)
    value = (g * step).sum(-1) / (-radius * dual)
    return stationarity.max(), np.abs(inner(G, step, step) / radius**2 - 1).max(), np.abs(value - 1).max()


def test_steepest_descent_satisfies_the_lagrange_conditions():
    stationarity, constraint, value = kkt(library.steepest)
    assert stationarity < 1e-12
    assert constraint < 1e-13
    assert value < 1e-13


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.sqrt((g * ascent).sum(-1, keepdims=True))", "(g * ascent).sum(-1, keepdims=True)"),
        ("-radius * ascent", "-ascent"),
        ("solve(checked_metric(G, g.shape[-1]), g)", "apply(G, g)"),
    ],
)
def test_a_wrong_steepest_descent_violates_them(old, new):
    assert max(kkt(mutant(library.steepest, old, new))) > 1e-2


def test_no_feasible_direction_descends_faster():
    G, g, rng = problems()
    best = (g * library.steepest(G, g)).sum(-1)
    for u in rng.standard_normal((2000, *g.shape)):
        u /= np.sqrt(inner(G, u, u))[:, None]
        assert ((g * u).sum(-1) >= best).all()


def test_steepest_descent_in_the_euclidean_metric_is_gradient_descent():
    _, g, _ = problems()
    unit = -g / np.linalg.norm(g, axis=-1, keepdims=True)
    assert np.abs(library.steepest(np.eye(6), g) - unit).max() < 1e-15


@pytest.mark.parametrize(
    ("G", "error", "says"),
    [
        (np.diag([1.0, 0.0]), HyperparameterError, "full rank"),
        (np.diag([1.0, -1.0]), HyperparameterError, "full rank"),
        (np.array([[2.0, 1.0], [0.0, 2.0]]), HyperparameterError, "symmetric"),
        (np.eye(3), ShapeError, "coordinates"),
    ],
)
def test_what_is_no_metric_is_refused(G, error, says):
    with pytest.raises(error, match=says):
        library.steepest(G, np.ones(2))


def one_step(rule, g):
    _, rate, direction = rule.step(rule.init(g), g, g)
    return rate * direction


def test_the_powers_nought_and_a_half_are_gradient_descent_and_adam_without_momentum():
    gradients = np.random.default_rng(0).standard_normal((40, 5))

    def walk(rule):
        return descend(rule, lambda x, t: gradients[t], np.zeros(5), 40).x

    assert np.array_equal(walk(DiagonalPower(0.1, power=0.0)), walk(SGD(0.1)))
    assert np.abs(walk(DiagonalPower(0.1, 0.9, 0.5)) - walk(Adam(0.1, 0.0, 0.9, 0.0))).max() < 1e-14


POWERS = st.floats(0, 2)
FACTORS = st.floats(0.01, 100)


def scaling(rule, power, factor):
    """Two exponents: how the step, mapped back, scales with the loss, and with the units of a coordinate."""
    g = np.array([0.3, -2.0])
    step = one_step(rule(1.0, power=power), g)
    # theta = factor * phi: the gradient in phi is factor * g, and the step in theta is factor * the step in phi
    return one_step(rule(1.0, power=power), factor * g) / step, factor * one_step(
        rule(1.0, power=power), factor * g
    ) / step


@settings(deadline=None, max_examples=100)
@given(POWERS, FACTORS)
def test_a_step_scales_with_the_loss_as_c_to_the_1_minus_2p_and_with_units_as_d_to_the_2_minus_2p(power, factor):
    loss, units = scaling(DiagonalPower, power, factor)
    assert np.allclose(loss, factor ** (1 - 2 * power), rtol=1e-12)
    assert np.allclose(units, factor ** (2 - 2 * power), rtol=1e-12)


def test_one_half_alone_ignores_the_loss_scale_and_one_alone_the_units():
    powers = np.linspace(0, 2, 41)
    loss, units = np.array([scaling(DiagonalPower, p, 37.0) for p in powers])[..., 0].T
    assert np.array_equal(powers[np.isclose(loss, 1, rtol=1e-9)], [0.5])
    assert np.array_equal(powers[np.isclose(units, 1, rtol=1e-9)], [1.0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("g * g", "abs(g)"),
        ("self.power", "2 * self.power"),
        ("self.lr / v.mean**self.power", "self.lr * v.mean**self.power"),
    ],
)
def test_a_wrong_power_breaks_the_scaling(old, new):
    loss, _ = scaling(mutant(DiagonalPower, old, new), 0.5, 37.0)
    assert not np.allclose(loss, 1, rtol=1e-3)


def test_on_a_diagonal_moment_the_full_power_is_the_diagonal_one():
    v = np.array([4.0, 0.25, 9.0])
    rule = FullPower(np.diag(v), lr=0.1, beta=0.5, power=0.5)
    g = np.array([0.0, 3.0, 0.0])  # keeps V diagonal
    _, rate, direction = rule.step(rule.init(np.zeros(3)), g, g)
    assert np.abs(rate * direction - 0.1 * g / np.sqrt(0.5 * v + 0.5 * g * g)).max() < 1e-15


def test_full_power_is_the_inverse_matrix_power():
    G, g, _ = problems(5)
    for power in (0.5, 1.0):
        rule = FullPower(G, 1.0, 0.9, power)
        V, _, direction = rule.step(rule.init(g), g, g)
        back = direction
        for _ in range(int(2 * power)):
            w, Q = np.linalg.eigh(V)
            back = apply((Q * np.sqrt(w)[:, None, :]) @ np.swapaxes(Q, -1, -2), back)
        assert np.abs(back - g).max() < 1e-12
        assert np.abs(V - (0.9 * G + 0.1 * g[..., :, None] * g[..., None, :])).max() < 1e-14


def test_a_cold_start_of_the_full_matrix_is_refused():
    with pytest.raises(HyperparameterError, match="full rank"):
        FullPower(np.zeros((3, 3))).init(np.zeros(3))


def test_riemannian_descent_goes_down_the_steepest_direction():
    G, g, _ = problems(5)
    _, rate, direction = Riemannian(lambda x: G, 0.3).step((), g, g)
    step = -rate * direction
    steepest = library.steepest(G, g)
    assert (
        np.abs(
            step / np.linalg.norm(step, axis=-1, keepdims=True) * np.linalg.norm(steepest, axis=-1, keepdims=True)
            - steepest
        ).max()
        < 1e-12
    )


def test_a_singular_metric_is_an_error_and_damping_its_remedy():
    g = np.ones(2)
    with pytest.raises(NonFiniteError, match="damping"):
        Riemannian(lambda x: np.zeros((2, 2))).step((), g, g)
    assert np.array_equal(Riemannian(lambda x: np.zeros((2, 2)), 1.0, 0.5).step((), g, g)[2], [2.0, 2.0])


def moments(seed=0, runs=50, n=200, d=5):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((runs, n, d)) * np.exp(rng.normal(size=(runs, 1, d))), rng


def unit_defect(power, law=pull_back):
    s, rng = moments()
    units = np.exp(rng.uniform(-2, 2, (50, 5)))

    def of(s):
        return diagonal((s**2).mean(-2) ** power)

    return law_defect(of(s * units[:, None]), law(of(s), diagonal(units))), units


def test_v_obeys_the_tensor_law_under_a_change_of_units():
    assert unit_defect(1.0)[0].max() < 1e-13


def test_the_root_of_v_breaks_the_law_by_the_root_of_the_spread_of_units():
    defect, units = unit_defect(0.5)
    assert np.allclose(defect, np.sqrt(units.max(-1) / units.min(-1)) - 1, rtol=1e-10)


def test_a_wrong_law_would_be_noticed():
    wrong = mutant(pull_back, "np.swapaxes(J, -1, -2) @ G @ J", "np.swapaxes(J, -1, -2) @ G")
    assert unit_defect(1.0, wrong)[0].max() > 0.5


def test_the_full_moment_obeys_the_law_under_every_linear_map_and_its_diagonal_does_not():
    s, rng = moments()
    A = rng.standard_normal((50, 5, 5)) + 3 * np.eye(5)

    def full(s):
        return np.swapaxes(s, -1, -2) @ s / s.shape[-2]

    assert law_defect(full(s @ A), pull_back(full(s), A)).max() < 1e-11
    diag = law_defect(diagonal(((s @ A) ** 2).mean(-2)), pull_back(diagonal((s**2).mean(-2)), A))
    assert diag.min() > 1e-2


def test_law_defect_ignores_a_common_factor_and_sees_everything_else():
    G, _, _ = problems(5)
    assert law_defect(7 * G, G).max() < 1e-11
    assert law_defect(np.diag([1.0, 4.0]), np.eye(2)) == pytest.approx(1.0, abs=1e-14)


def test_second_moment_is_the_state_of_adam():
    g = np.random.default_rng(0).standard_normal((30, 4))
    state = descend(Adam(0.1), lambda x, t: g[t], np.zeros(4), 30).state
    assert np.array_equal(second_moment(g, 0.999)[-1], state.v.mean)
    assert not np.allclose(mutant(second_moment, "g * g", "abs(g)")(g, 0.999)[-1], state.v.mean)


def test_two_roads_to_one_point_leave_two_metrics_and_patience_makes_them_one():
    # beta2 = 0.999; gradients of a quadratic with curvatures 1 ... 5, one road straight, one by a detour
    curvature, end = np.arange(1.0, 6.0), np.ones(5)
    share = np.linspace(0, 1, 1000)[:, None]
    straight = 3 * (1 - share) * np.ones(5) + share * end
    bend = straight + np.sin(np.pi * share) * np.array([5.0, -5.0, 2.0, -2.0, 0.0])
    idle = np.repeat(end[None], 8000, 0)
    v = [second_moment(curvature * np.concatenate([road, idle])) for road in (straight, bend)]
    ratio = np.sqrt(v[1] / v[0])
    assert ratio[999].max() / ratio[999].min() > 1.5
    assert np.abs(ratio[-1] - 1).max() < 5e-3


def test_the_unit_circle_of_a_metric_has_length_one_and_the_area_of_a_circle():
    G = np.array([[2.0, 0.7], [0.7, 0.9]])
    circle = library.unit_circle(G, 20_001)
    assert np.ptp(inner(G, circle, circle)) < 1e-14
    a, b = circle[:-1], circle[1:]
    assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2 == pytest.approx(np.pi, rel=1e-6)
