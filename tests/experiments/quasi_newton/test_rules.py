"""Noisy secants: rotations do not matter, exact gradients give BFGS, and what noise does to a pair."""

import numpy as np
import pytest

from companion.experiments.quasi_newton.race import StreamingRegression, TurnedValley, final_loss
from companion.experiments.quasi_newton.rules import SQN, DampedBFGS, FullAdaGrad, LazyBFGS, OnlineBFGS, Secant
from companion.experiments.quasi_newton.secant import bfgs_inverse
from mutants import mutant
from stepsize import SGD, Adam, descend
from stepsize.wrappers import LinearDecay


def rules(p, lr=0.05):
    return [
        FullAdaGrad(1.0),
        LazyBFGS(lr),
        DampedBFGS(lr),
        OnlineBFGS(p.grad, lr),
        OnlineBFGS(p.grad, lr, 0.01),
        SQN(p.grad, lr),
    ]


def streams(angle):
    return StreamingRegression.sample(4, angle, condition=100, d=6, seed=2)


@pytest.mark.parametrize("kind", range(6))
def test_a_rule_without_axes_does_the_same_in_turned_coordinates(kind):
    loss = [final_loss(rules(p)[kind], p, 60) for p in map(streams, (0.0, 1.0))]
    np.testing.assert_allclose(loss[1], loss[0], rtol=1e-6)


def test_noisy_secants_amplify_round_off_and_outer_products_do_not():
    def parted(make, steps=400):
        pair = (StreamingRegression.sample(8, angle, condition=1e4, d=20, seed=1, noise=0.3) for angle in (0.0, 1.0))
        loss = [final_loss(LinearDecay(make(1.0), steps), p, steps) for p in pair]
        return np.abs(loss[1] / loss[0] - 1).max()

    assert min(parted(LazyBFGS), parted(DampedBFGS)) > 0.01
    assert max(parted(SGD), parted(FullAdaGrad)) < 1e-4


def test_adam_does_not():
    loss = [final_loss(Adam(0.05), p, 60) for p in map(streams, (0.0, 1.0))]
    assert np.abs(loss[1] / loss[0] - 1).max() > 0.01


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


def test_a_diverged_run_leaves_its_neighbours_alone():
    p = streams(0.0)
    lrs = np.array([0.05, 1e6])[:, None, None]
    together = final_loss(OnlineBFGS(p.grad, lrs), p, 40)[0]
    np.testing.assert_array_equal(together, final_loss(OnlineBFGS(p.grad, lrs[:1]), p, 40)[0])
