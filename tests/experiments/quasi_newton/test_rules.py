"""Metrics from noisy gradients: what a rotation changes, which rule each is on exact gradients, and what noise does to a pair."""

from itertools import product

import numpy as np
import pytest

from companion.experiments.quasi_newton.race import NOISY_RULES, StreamingRegression, TurnedValley, final_loss
from companion.experiments.quasi_newton.rules import (
    SQN,
    AdaHessian,
    DampedBFGS,
    Folded,
    FullAdaGrad,
    LazyBFGS,
    OnlineBFGS,
    OnlineNewton,
    Secant,
    _learn,
)
from companion.experiments.quasi_newton.secant import bfgs_inverse
from mutants import mutant
from stepsize import SGD, Adam, descend
from stepsize.errors import HyperparameterError
from stepsize.matrix_rules import SOAP, Shampoo
from stepsize.wrappers import LinearDecay


def streams(angle, d=6):
    return StreamingRegression.sample(4, angle, condition=100, d=d, seed=2)


def parted(make, settings):
    """Largest relative difference that a turn by one radian makes to the loss after 60 steps; (4, 5) needs 20 coordinates."""
    loss = [final_loss(make(np.array(0.05), p, *settings), p, 60) for p in (streams(a, 20) for a in (0.0, 1.0))]
    return np.abs(loss[1] / loss[0] - 1).max()


@pytest.mark.parametrize("name", NOISY_RULES)
def test_a_rule_without_axes_does_the_same_in_turned_coordinates(name):
    rule = NOISY_RULES[name]
    for settings in rule.settings:
        apart = parted(rule.make, settings)
        assert apart > 0.01 if rule.axes else apart < 1e-6


def test_noisy_secants_amplify_round_off_and_outer_products_do_not():
    def parted(make, steps=400):
        pair = (StreamingRegression.sample(8, angle, condition=1e4, d=20, seed=1, noise=0.3) for angle in (0.0, 1.0))
        loss = [final_loss(LinearDecay(make(1.0), steps), p, steps) for p in pair]
        return np.abs(loss[1] / loss[0] - 1).max()

    assert min(parted(LazyBFGS), parted(DampedBFGS)) > 0.01
    assert max(parted(SGD), parted(FullAdaGrad)) < 1e-4


@pytest.mark.parametrize("rule", [LazyBFGS, DampedBFGS])
def test_without_noise_the_metric_satisfies_its_last_secant(rule):
    p = TurnedValley.sample(3, 0.5, condition=10, d=4, seed=1)
    path = descend(rule(0.1), p.grad, p.x0, 6)
    s, y = path.x[-2] - path.x[-3], p.grad(path.x[-2]) - p.grad(path.x[-3])
    np.testing.assert_allclose((path.state.H @ y[..., None])[..., 0], s, rtol=1e-9, atol=1e-12)


def test_online_bfgs_on_exact_gradients_is_bfgs_with_a_fixed_step():
    p = TurnedValley.sample(2, 0.5, condition=10, d=4, seed=1)
    path = descend(OnlineBFGS(p.grad, 0.3), p.grad, p.x0, 5)
    x, H = p.x0, np.eye(4)
    for t in range(5):
        g = p.grad(x)
        s = -0.3 * (H @ g[..., None])[..., 0]
        y = p.grad(x + s) - g
        if t == 0:
            H = H * ((s * y).sum(-1) / (y * y).sum(-1))[:, None, None]
        H, x = bfgs_inverse(H, s, y), x + s
    np.testing.assert_allclose(path.x[-1], x, rtol=1e-10)


def test_a_memory_that_holds_all_pairs_is_no_limit_and_a_short_one_keeps_the_newest():
    p = streams(0.4)
    full, long, short = (descend(SQN(p.grad, 0.05, 5, m), p.grad, 0 * p.w, 60) for m in (None, 99, 2))
    np.testing.assert_allclose(long.x, full.x, rtol=1e-12)
    assert len(short.state.pairs) == 2
    s, y = short.state.pairs[-1]
    np.testing.assert_allclose((short.state.secant.H @ y[..., None])[..., 0], s, rtol=1e-9, atol=1e-14)
    assert np.abs(short.x[-1] - full.x[-1]).max() > 1e-6


def test_full_matrix_adagrad_on_one_coordinate_is_adagrad():
    x0 = np.array([[1.0], [-2.0]])
    full = descend(FullAdaGrad(0.5, eps=0), lambda x, t: x, x0, 30).x
    expected, s = [x0], 0
    for _ in range(30):
        g = expected[-1]
        s = s + g * g
        expected.append(g - 0.5 * g / np.sqrt(s))
    np.testing.assert_allclose(full, np.stack(expected), rtol=1e-12)
    broken = mutant(FullAdaGrad, "self.eps", "1")
    assert np.abs(descend(broken(0.5, eps=0), lambda x, t: x, x0, 30).x - np.stack(expected)).max() > 1e-3


def newton_defect(rule):
    """Relative distance of the direction of `rule` from that with S = ridge I + sum g g' inverted, over 30 steps."""
    p, S, worst = streams(0.4), 0.1 * np.eye(6), 0.0
    state = rule(1.0, 0.1).init(p.w)
    for t in range(30):
        g = p.grad(0 * p.w, t)
        S = S + g[..., :, None] * g[..., None, :]
        state, _, direction = rule(1.0, 0.1).step(state, g, None)
        expected = np.linalg.solve(S, g[..., None])[..., 0]
        worst = max(worst, (np.abs(direction - expected).max(-1) / np.abs(expected).max(-1)).max())
    return worst


def test_the_online_newton_step_inverts_the_ridge_and_the_sum_of_outer_products():
    assert newton_defect(OnlineNewton) < 1e-10
    assert (
        newton_defect(mutant(OnlineNewton, "1 + np.vecdot(g, Hg)[..., None]", "2 + np.vecdot(g, Hg)[..., None]")) > 1e-3
    )


def probed_curvature(rule):
    """v.mean of `rule` after each of the 2^4 probes once, all weighted alike, and a Hessian with entries off its diagonal."""
    C = np.random.default_rng(0).normal(size=(4, 4))
    A, signs = C @ C.T + np.eye(4), np.array(list(product([-1.0, 1.0], repeat=4)))
    rule = rule(lambda x, t: x @ A, lambda t: signs[t], beta2=np.nextafter(1, 0))
    state = rule.init(np.zeros(4))
    for _ in signs:
        state, _, _ = rule.step(state, np.zeros(4), np.zeros(4))
    return state.v.mean, A


def test_a_probe_measures_the_length_of_a_row_of_the_hessian_and_not_its_diagonal():
    # E (z_i (A z)_i)^2 = sum_j A_ij^2: what stands off the diagonal adds to it, and by a turn much does
    v, A = probed_curvature(AdaHessian)
    np.testing.assert_allclose(v, (A * A).sum(1), rtol=1e-12)
    broken, _ = probed_curvature(mutant(AdaHessian, "self.grad(x + z, t) - g", "self.grad(x + abs(z), t) - g"))
    assert np.abs(broken / v - 1).max() > 0.01


def test_adahessian_with_the_gradient_for_its_probe_is_adam():
    p = streams(0.3)
    probing = AdaHessian(lambda x, t: p.grad(x - 1, t) * 2, lambda t: 1.0, 0.05)  # z = 1: 2 g - g
    np.testing.assert_allclose(descend(probing, p.grad, p.w + 1, 40).x, descend(Adam(0.05), p.grad, p.w + 1, 40).x)


def test_a_probe_is_asked_for_every_few_steps():
    p, asked = streams(0.3), []
    descend(AdaHessian(p.grad, lambda t: asked.append(t) or p.probe(t), every=10), p.grad, p.w + 1, 35)
    assert asked == [0, 10, 20, 30]


@pytest.mark.parametrize("rule", [Shampoo(0.1), SOAP(0.1)])
def test_a_folded_rule_is_the_rule_on_matrices(rule):
    p = streams(0.4)
    path = descend(Folded(rule, (2, 3)), p.grad, p.w + 1, 20)
    matrices = descend(rule, lambda x, t: p.grad(x.reshape(4, 6), t).reshape(4, 2, 3), (p.w + 1).reshape(4, 2, 3), 20)
    np.testing.assert_array_equal(path.x, matrices.x.reshape(21, 4, 6))


def test_damping_needs_no_inverse():
    # s = -a H g under a schedule, so B s = -a g: a pair of negative curvature is left with its share of s'Bs
    p, rule = streams(0.4), LinearDecay(DampedBFGS(0.5, 0.6), 30)
    path = descend(rule, p.grad, p.w + 1, 12)
    last = path.state.state
    s = -0.1 * (last.H @ last.g[..., None])[..., 0]
    Bs = np.linalg.solve(last.H, s[..., None])[..., 0]

    def share(rule):
        _, y = rule(0.5, 0.6).pair(last, last.g - s, last.x + s)
        return (s * y).sum(-1) / (s * Bs).sum(-1)

    np.testing.assert_allclose(share(DampedBFGS), 0.6, rtol=1e-9)
    assert np.abs(share(mutant(DampedBFGS, "-a * last.g", "-a * g")) - 0.6).max() > 1e-3


def noisy_pairs(rule, sigma, lr=0.01, n=20, runs=4000):
    """s'y and s'As of `runs` first pairs of plain descent on f = x'Ax / 2, gradients with independent noise of size sigma."""
    rng = np.random.default_rng(0)
    A, x = np.logspace(0, -2, n), np.ones(n)
    e, later = sigma * rng.normal(size=(2, runs, n))
    g = A * x + e
    moved = x - lr * g
    s, y = rule.pair(Secant(None, np.broadcast_to(x, g.shape), g, 1), A * moved + later, moved)
    return (s * y).sum(-1), (s * A * s).sum(-1)


def test_noise_of_the_old_gradient_passes_for_curvature():
    # y = A s + e' - e with s = -lr (A x + e): s'y - s'As has the mean lr n sigma^2; five standard errors
    def excess(rule):
        sy, sAs = noisy_pairs(rule, 3.0)
        extra = sy - sAs - 0.01 * 20 * 3.0**2
        return abs(extra.mean()) / (extra.std() / np.sqrt(4000))

    assert excess(LazyBFGS(0.01)) < 5
    assert excess(mutant(LazyBFGS, "g - last.g", "g")(0.01)) > 5


def test_every_pair_of_pure_noise_passes_the_curvature_test():
    sy, sAs = noisy_pairs(LazyBFGS(0.01), 10.0)
    assert (sy > 0).all()
    assert np.median(sy / sAs) > 100
    exact, curvature = noisy_pairs(LazyBFGS(0.01), 0.0)
    np.testing.assert_allclose(exact, curvature, rtol=1e-10)


def test_a_pair_without_positive_curvature_leaves_its_run_as_it_is():
    rng = np.random.default_rng(0)
    C, s = rng.normal(size=(5, 4, 4)), rng.normal(size=(5, 4))
    H = C @ C.mT + np.eye(4)
    y = s * np.array([1, -1, 0, np.nan, 1])[:, None]
    learned = _learn(H, s, y, 2)
    np.testing.assert_array_equal(learned[1:4], H[1:4])
    np.testing.assert_allclose(learned[[0, 4]], bfgs_inverse(H[[0, 4]], s[[0, 4]], y[[0, 4]]), rtol=1e-12)
    broken = mutant(_learn, "np.where(usable, s, apply(H, one))", "s")
    assert np.abs(broken(H, s, y, 2)[1:4] - H[1:4]).max() > 1e-3


def test_a_metric_that_has_vanished_stops_no_batch():
    H, s = np.stack([np.eye(2), np.zeros((2, 2))]), np.ones((2, 2))
    learned = _learn(H, s, s * np.array([[1.0], [-1.0]]), 2)
    np.testing.assert_array_equal(learned, H)
    with pytest.raises(HyperparameterError, match="s'y is 0"):
        mutant(_learn, "~np.isfinite(curvature) | (curvature == 0)", "~np.isfinite(curvature)")(
            H, s, s * np.array([[1.0], [-1.0]]), 2
        )


def test_a_diverged_run_leaves_its_neighbours_alone():
    p = streams(0.0)
    lrs = np.array([0.05, 1e6])[:, None, None]
    together = final_loss(OnlineBFGS(p.grad, lrs), p, 40)[0]
    np.testing.assert_allclose(together, final_loss(OnlineBFGS(p.grad, lrs[:1]), p, 40)[0], rtol=1e-9)
