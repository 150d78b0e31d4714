"""BFGS as mathematics: exact identities of the update, the nearest-metric theorem, conjugate gradients, damping, errors."""

import numpy as np
import pytest
from scipy import optimize

from companion.experiments.quasi_newton.rules import DampedBFGS, FullAdaGrad, Secant
from companion.experiments.quasi_newton.secant import (
    Dense,
    Limited,
    _two_loop,
    bfgs_inverse,
    bfgs_metric,
    damp,
    dfp_inverse,
    divergence_margins,
    minimise,
    powell_damping,
    two_loop,
    weak_wolfe,
)
from mutants import mutant
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError


def problem(n=8, seed=0, runs=50, positive=True):
    """Random metrics B, their inverses H and pairs (s, y), runs along the leading axis."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(runs, n, n))
    B = A @ np.swapaxes(A, 1, 2) + np.eye(n)
    s, y = rng.normal(size=(2, runs, n))
    if positive:
        C = rng.normal(size=(runs, n, n))
        y = s + (C @ np.swapaxes(C, 1, 2) @ s[..., None])[..., 0]
    return B, np.linalg.inv(B), s, y


def secant_defect(update):
    _, H, s, y = problem()
    new = update(H, s, y)
    defect = np.linalg.norm((new @ y[..., None])[..., 0] - s, axis=-1)
    return (defect / (np.linalg.norm(new, 2, axis=(1, 2)) * np.linalg.norm(y, axis=-1))).max()


@pytest.mark.parametrize("update", [bfgs_inverse, dfp_inverse])
def test_the_secant_condition_holds_to_round_off(update):
    assert secant_defect(update) < 6e-16


@pytest.mark.parametrize(
    ("old", "new"), [("(1 + _dot(y, Hy) / sy)", "(_dot(y, Hy) / sy)"), ("Hy / sy", "-Hy / sy"), ("(2 * sy)", "sy")]
)
def test_a_broken_bfgs_update_misses_the_secant_condition(old, new):
    assert secant_defect(mutant(bfgs_inverse, old, new)) > 1e-3


def broken_metric(B, s, y):
    """BFGS with its first term doubled: `bfgs_metric` is DFP with the roles exchanged."""
    return mutant(dfp_inverse, "s / (2 * _dot(s, y))", "s / _dot(s, y)")(B, y, s)


def inverse_defect(update):
    """|H+ B+ - I| over the condition number of B+."""
    B, H, s, y = problem()
    metric = update(B, s, y)
    defect = np.linalg.norm(bfgs_inverse(H, s, y) @ metric - np.eye(8), 2, axis=(1, 2))
    return (defect / np.linalg.cond(metric)).max()


def test_the_metric_and_its_inverse_are_updated_to_inverses_of_each_other():
    assert inverse_defect(bfgs_metric) < 4e-16
    assert inverse_defect(broken_metric) > 1e-3


def determinant_defect(update):
    B, _, s, y = problem()
    ratio = np.linalg.det(update(B, s, y)) / np.linalg.det(B)
    predicted = (s * y).sum(-1) / np.einsum("ri,rij,rj->r", s, B, s)
    return np.abs(ratio / predicted - 1).max()


def test_the_determinant_grows_by_the_ratio_of_curvatures():
    assert determinant_defect(bfgs_metric) < 1e-12
    assert determinant_defect(broken_metric) > 1e-3


def test_the_metric_stays_positive_definite_exactly_where_the_curvature_is_positive():
    _, H, s, y = problem(runs=400, positive=False)
    good = (s * y).sum(-1) > 0

    def definite(update):
        return np.linalg.eigvalsh(update(H, s, y))[:, 0] > 0

    assert (definite(bfgs_inverse) == good).all()
    assert 100 < good.sum() < 300
    assert (definite(mutant(bfgs_inverse, "(1 + _dot(y, Hy) / sy)", "(_dot(y, Hy) / sy - 1)")) != good).any()


def affine_defect(update):
    _, H, s, y = problem()
    J = np.random.default_rng(1).normal(size=(8, 8)) + 3 * np.eye(8)
    there = update(J @ H @ J.T, s @ J.T, y @ np.linalg.inv(J))
    here = J @ update(H, s, y) @ J.T
    return np.abs(there - here).max() / np.abs(here).max()


def test_an_affine_change_of_coordinates_commutes_with_the_update():
    assert affine_defect(bfgs_inverse) < 4e-12
    assert affine_defect(mutant(bfgs_inverse, "sy, Hy = _dot(s, y), apply(H, y)", "sy, Hy = _dot(s, y), y")) > 1e-3


def kl_gap(update):
    """Smallest margin of update(B, s, y) over random metrics with the same secant, near and far."""
    B, _, s, y = problem(n=5, runs=40)
    rng = np.random.default_rng(3)
    return min(divergence_margins(update(B, s, y), B, s, 25, size, rng).min() for size in (0.01, 0.5))


def test_bfgs_is_the_kl_nearest_metric_that_satisfies_the_secant_condition():
    assert kl_gap(bfgs_metric) > 0


def test_another_update_with_the_same_secant_condition_is_not_the_nearest():
    assert kl_gap(lambda B, s, y: np.linalg.inv(dfp_inverse(np.linalg.inv(B), s, y))) < 0


def test_dfp_is_the_kl_nearest_inverse_metric_and_bfgs_is_not():
    # the same theorem with (s, y) and the metric and its inverse exchanged: the direction must be said
    _, H, s, y = problem(n=5, runs=40)
    rng = np.random.default_rng(3)
    found = {
        update: min(divergence_margins(update(H, s, y), H, y, 25, size, rng).min() for size in (0.01, 0.5))
        for update in (bfgs_inverse, dfp_inverse)
    }
    assert found[dfp_inverse] > 0
    assert found[bfgs_inverse] < 0


def across(slope, normal):
    """The part of a symmetric matrix between vectors orthogonal to `normal`, over its largest entry: 0 if slope = a n' + n a'."""
    P = np.eye(normal.shape[-1]) - normal[..., :, None] * normal[..., None, :] / (normal**2).sum(-1)[..., None, None]
    return (np.abs(P @ slope @ P).max((1, 2)) / np.abs(slope).max((1, 2))).max()


def test_the_gradient_of_the_divergence_is_normal_to_the_secant_constraint():
    # stationarity at B' = B+: (B^-1 - B+^-1) / 2 = a s' + s a' for some a; with the secant condition, that is the minimum
    _, H, s, y = problem()
    assert across(H - bfgs_inverse(H, s, y), s) < 4e-15
    assert across(H - dfp_inverse(H, s, y), s) > 1e-2


def weight(s, y):
    """A random positive definite W with W s = y."""
    C = np.random.default_rng(2).normal(size=(*s.shape, s.shape[-1]))
    W = bfgs_metric(C @ np.swapaxes(C, 1, 2) + np.eye(s.shape[-1]), s, y)
    assert np.abs((W @ s[..., None])[..., 0] - y).max() < 1e-12
    assert np.linalg.eigvalsh(W).min() > 0
    return W


def test_bfgs_is_the_least_change_of_the_inverse_in_any_norm_weighted_by_the_secant():
    # min |W^(1/2) (H' - H) W^(1/2)| over H'y = s: the gradient W (H' - H) W is normal to the constraint
    _, H, s, y = problem()
    W = weight(s, y)
    change = bfgs_inverse(H, s, y) - H
    assert across(W @ change @ W, y) < 2e-14
    assert across(W @ (dfp_inverse(H, s, y) - H) @ W, y) > 1e-2
    other = W + np.eye(8)  # W s = y is needed: with another weight the least change is another update
    assert across(other @ change @ other, y) > 1e-2


def test_no_random_inverse_with_the_same_secant_changes_less():
    _, H, s, y = problem()
    W, new = weight(s, y), bfgs_inverse(H, s, y)
    P = np.eye(8) - y[..., :, None] * y[..., None, :] / (y * y).sum(-1)[..., None, None]
    S = np.random.default_rng(5).normal(size=(56, *H.shape))
    D = P @ (S + np.swapaxes(S, -1, -2)) @ P

    def change(inverse):
        return np.einsum("...ij,...ji->...", W @ (inverse - H), W @ (inverse - H))

    assert D[..., 0, 0].size == 2800
    for size in (0.01, 1.0):
        assert (change(new + size * D) > change(new)).all()
    assert (change(dfp_inverse(H, s, y)) > change(new)).all()


def conjugate(update, n=6):
    """Exact searches on a quadratic: worst distance from the iterates of conjugate gradients, last gradient, H_n A - I."""
    B = np.linalg.qr(np.random.default_rng(4).normal(size=(n, n)))[0]
    B = B * np.geomspace(1, 10, n) @ B.T
    x = np.random.default_rng(5).normal(size=n)
    H, p_cg, x_cg, g_old, worst = np.eye(n), np.zeros(n), x, B @ x, 0.0
    for _ in range(n):
        g, g_cg = B @ x, B @ x_cg
        p = -H @ g
        s = -(g @ p) / (p @ B @ p) * p
        H, x = update(H, s, B @ s), x + s
        p_cg, g_old = -g_cg + (g_cg @ g_cg) / (g_old @ g_old) * p_cg, g_cg
        x_cg = x_cg - (g_cg @ p_cg) / (p_cg @ B @ p_cg) * p_cg
        worst = max(worst, np.abs(x - x_cg).max())
    return worst, np.linalg.norm(B @ x), np.abs(H @ B - np.eye(n)).max()


def test_exact_line_search_on_a_quadratic_gives_conjugate_gradients_and_the_inverse_hessian():
    iterates, gradient, inverse = conjugate(bfgs_inverse)
    assert iterates < 1e-12
    assert gradient < 1e-15
    assert inverse < 1e-12
    iterates, gradient, inverse = conjugate(mutant(bfgs_inverse, "Hy / sy", "Hy / (2 * sy)"))
    assert min(iterates, gradient, inverse) > 1e-3


def damped_share(damping):
    B, _, s, y = problem(runs=2000, positive=False)
    Bs = (B @ s[..., None])[..., 0]
    damped = damping(s, y, Bs)
    return (s * damped).sum(-1) / (s * Bs).sum(-1), damped, y, bfgs_metric(B, s, damped)


def test_damping_keeps_a_fifth_of_the_curvature_and_leaves_good_pairs_alone():
    share, damped, y, metric = damped_share(powell_damping)
    assert share.min() > 0.2 - 7e-16
    untouched = share > 0.2 + 1e-9
    assert (damped[untouched] == y[untouched]).all()
    assert 0 < untouched.mean() < 1
    assert np.linalg.eigvalsh(metric)[:, 0].min() > 0


def test_a_broken_damping_lets_the_curvature_fall():
    with np.errstate(divide="ignore"):
        share = damped_share(mutant(damp, "(1 - share) * sBs", "sBs"))[0]
    assert share.min() < 0.2 - 1e-3


def test_the_two_loops_equal_the_dense_inverse_built_from_the_same_pairs():
    B, _, s, _ = (a[:5] if i == 2 else a[0] for i, a in enumerate(problem(n=7, seed=5)))
    y = s @ B
    H = np.eye(7) * (s[-1] @ y[-1]) / (y[-1] @ y[-1])
    for pair in zip(s, y, strict=True):
        H = bfgs_inverse(H, *pair)
    g = np.random.default_rng(6).normal(size=7)
    np.testing.assert_allclose(two_loop(g, list(zip(s, y, strict=True))), H @ g, rtol=1e-11)
    broken = mutant(_two_loop, "reversed(pairs)", "list(pairs)")
    assert np.abs(broken(g, list(zip(s, y, strict=True))) - H @ g).max() > 1e-3


def rosenbrock(x):
    return optimize.rosen(x), optimize.rosen_der(x)


@pytest.mark.parametrize("metric", [Dense, Limited])
def test_the_minimisers_find_the_minimum_of_rosenbrock(metric):
    result = minimise(rosenbrock, np.full(20, -1.0) + 0.1 * np.arange(20), metric(), gtol=1e-8)
    assert result.converged
    assert np.abs(result.x - 1).max() < 1e-6
    assert (np.diff(result.values) < 0).all()


def test_bfgs_learns_the_inverse_hessian_of_a_quadratic_in_place():
    B, H, x0, _ = (a[0] for a in problem(n=6, seed=7))
    result = minimise(lambda x: (x @ B @ x / 2, B @ x), x0, gtol=1e-12)
    # the search is inexact, so the end is near the inverse Hessian, not at it as with exact searches above
    assert np.abs(result.metric - H).max() / np.abs(H).max() < 1e-2
    assert np.abs(np.eye(6) - H).max() / np.abs(H).max() > 0.5
    assert (result.metric == result.metric.T).all()


def test_the_in_place_update_is_the_formula():
    _, _, s, y = problem(n=6, runs=5)
    dense, H = Dense(), np.eye(6)
    for pair in zip(s, y, strict=True):
        dense.learn(*pair)
        H = bfgs_inverse(H, *pair)
    np.testing.assert_allclose(dense.inverse, H, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: bfgs_inverse(np.eye(3), np.ones(2), np.ones(2)), ShapeError, "(3, 3)"),
        (lambda: bfgs_inverse(np.eye(2), np.ones(2), np.ones(3)), ShapeError, "(3,)"),
        (lambda: bfgs_inverse(np.eye(2), np.array([1.0, 0]), np.array([0, 1.0])), HyperparameterError, "s'y is 0"),
        (lambda: bfgs_inverse(np.eye(2), np.array([1.0, np.nan]), np.ones(2)), NonFiniteError, "s[1] is nan"),
        (lambda: bfgs_inverse(np.eye(2), np.ones(2), np.array([np.inf, 1.0])), NonFiniteError, "y[0] is inf"),
        (lambda: dfp_inverse(np.eye(4), np.ones(3), np.ones(3)), ShapeError, "(4, 4)"),
        (lambda: powell_damping(np.ones(2), np.ones(2), np.ones(2), share=0), HyperparameterError, "share"),
        (lambda: powell_damping(np.ones(2), np.ones(2), np.ones(2), share=1.5), HyperparameterError, "1.5"),
        (lambda: Limited(0), HyperparameterError, "memory"),
        (lambda: minimise(rosenbrock, np.ones((2, 2))), ShapeError, "(2, 2)"),
        (lambda: minimise(rosenbrock, []), ShapeError, "(0,)"),
        (lambda: minimise(lambda x: (np.nan, x), [1.0]), NonFiniteError, "x0"),
    ],
)
def test_bad_input_is_named(call, error, names):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert names in message
    assert "\n" not in message


def test_a_pair_of_negative_curvature_is_not_learned():
    # a double well: the search may cross a maximum, the metric must stay positive definite
    result = minimise(lambda x: ((x**4 / 4 - x**2 / 2).sum(), x**3 - x), np.array([0.01, -0.02]))
    assert np.linalg.eigvalsh(result.metric)[0] > 0
    np.testing.assert_allclose(np.abs(result.x), 1, atol=1e-4)


def outside_is(value):
    """x - 0.01 log x, which has a value of its own only for x > 0."""
    return lambda x: (float(x[0] - 0.01 * np.log(x[0])), 1 - 0.01 / x) if x[0] > 0 else (value, np.full(1, np.nan))


@pytest.mark.parametrize("metric", [Dense, Limited])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_step_out_of_the_domain_is_shortened_whatever_is_returned_there(metric, value):
    result = minimise(outside_is(value), [5.0], metric())
    assert result.converged
    np.testing.assert_allclose([result.x[0], result.f], [0.01, 0.0560517], rtol=1e-5)
    assert result.evaluations < 50


def test_a_search_that_takes_nan_for_a_value_would_be_noticed():
    f, x, p = outside_is(np.nan), np.array([5.0]), np.array([-100.0])
    assert 0 < weak_wolfe(f, x, p, *f(x)) < 0.05
    broken = mutant(
        weak_wolfe, "not (-np.inf < value <= f + 1e-4 * a * slope and value < f)", "value > f + 1e-4 * a * slope"
    )
    assert broken(f, x, p, *f(x)) >= 0.05


def test_the_logarithm_s_user_needs_no_guard_of_his_own():
    with np.errstate(invalid="ignore"):
        result = minimise(lambda x: ((x - np.log(x)).sum(), 1 - 1 / x), [10.0])
    assert result.converged
    assert abs(result.x[0] - 1) < 1e-4


def test_an_unbounded_function_has_not_converged_and_the_result_says_why():
    with np.errstate(over="ignore"):
        result = minimise(lambda x: (-np.exp(x).sum(), -np.exp(x)), [1.0])
    assert not result.converged
    assert np.isfinite(result.f)
    assert "no minimum" in result.reason


def powell(x):
    a, b = 1e4 * x[0] * x[1] - 1, np.exp(-x).sum() - 1.0001
    return a * a + b * b, 2 * a * 1e4 * x[::-1] - 2 * b * np.exp(-x)


def brown(x):
    """Brown's almost linear function: its last equation is prod x = 1."""
    residual, jacobian = x + x.sum() - (x.size + 1), np.eye(x.size) + 1
    residual[-1], jacobian[-1] = x.prod() - 1, [np.delete(x, i).prod() for i in range(x.size)]
    return residual @ residual, 2 * jacobian.T @ residual


@pytest.mark.parametrize(
    ("f", "x0", "least"),
    [
        (powell, [0.0, 10.0], 1e-8),
        (rosenbrock, np.tile([-12.0, 10.0], 25), 1e-10),
        (brown, np.full(10, 5.0), 1 + 1e-9),  # a local minimum of value 1, where others end too
    ],
    ids=["Powell badly scaled", "Rosenbrock, 50", "Brown almost linear"],
)
@pytest.mark.parametrize("metric", [Dense, Limited])
def test_a_failed_search_is_tried_again_without_the_metric(f, x0, least, metric):
    result = minimise(f, x0, metric(), iterations=5000)
    assert result.converged
    assert result.f <= least


def test_without_a_second_search_powell_s_function_stays_where_it_began():
    once = mutant(minimise, "weak_wolfe(evaluate, x, p, f, g)", "None", 2)(powell, [0.0, 10.0])
    assert once.f > 0.9
    assert not once.converged
    assert "no lower point" in once.reason


@pytest.mark.parametrize(
    ("f", "options", "reason", "converged"),
    [
        (rosenbrock, {}, "within gtol", True),
        (rosenbrock, {"target": 1.0}, "reached the target", True),
        (rosenbrock, {"iterations": 3}, "3 iterations are spent", False),
        (lambda x: (rosenbrock(x)[0], -rosenbrock(x)[1]), {}, "no lower point", False),
        (lambda x: (1.0, x), {}, "no lower point", False),
    ],
    ids=["gradient", "target", "iterations", "wrong gradient", "constant"],
)
def test_the_result_says_why_it_stopped(f, options, reason, converged):
    result = minimise(f, [-1.2, 1.0], **options)
    assert reason in result.reason
    assert result.converged == converged
    assert result.evaluations < 2500


def test_the_own_search_meets_both_conditions_of_wolfe():
    x = np.array([-1.2, 1.0])
    f, g = rosenbrock(x)
    for scale in (1e-6, 1.0, 1e6):
        p = -scale * g
        a = weak_wolfe(rosenbrock, x, p, f, g)
        value, gradient = rosenbrock(x + a * p)
        assert value <= f + 1e-4 * a * (g @ p)
        assert gradient @ p >= 0.9 * (g @ p)


def both_and_alone(rule, state, g, x):
    """The second run of two after a step of `rule`, beside the first and alone."""
    with np.errstate(all="ignore"):
        _, rate, direction = rule.step(state, g, x)
        alone = rule.step(type(state)(*(a[1:] if np.ndim(a) else a for a in state)), g[1:], x[1:])[2]
    return (rate * direction)[1], (rate * alone)[0 if rate.shape[0] == 1 else 1]


def test_a_run_whose_metric_is_singular_does_not_stop_the_others():
    """LinAlgError: Singular matrix, once in a sweep at condition 1e6."""
    H, x, g = np.stack([np.ones((2, 2)), np.eye(2)]), np.ones((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])
    together, alone = both_and_alone(DampedBFGS(0.1), Secant(H, x + g, 2 * g, 3), g, x)
    np.testing.assert_allclose(together, alone, rtol=1e-14)
    assert np.isfinite(together).all()


def test_a_run_that_has_diverged_does_not_stop_the_eigenvalues_of_the_others():
    rule, x = FullAdaGrad(0.1), np.ones((2, 2))
    g = np.array([[np.nan, 1.0], [3.0, 4.0]])
    _, _, direction = rule.step(rule.init(x), g, x)
    np.testing.assert_allclose(direction[1], rule.step(rule.init(x[1:]), g[1:], x[1:])[2][0], rtol=1e-14)
    assert np.isnan(direction[0]).any()
