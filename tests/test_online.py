"""Noisy secants: rotations do not matter, exact gradients give BFGS, and what noise does to a pair."""

import numpy as np
import pytest
from mutants import mutant
from stepsize import Adam, descend, walk
from stepsize.online import SQN, DampedBFGS, FullAdaGrad, LazyBFGS, OnlineBFGS
from stepsize.secant import bfgs_inverse
from stepsize.valleys import StreamingRegression, TurnedValley, final_loss, generators, rotation, settling
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


def test_full_matrix_adagrad_on_one_coordinate_is_adagrad():
    x0 = np.array([[1.0], [-2.0]])
    full = descend(FullAdaGrad(0.5, eps=0), lambda x, t: x, x0, 30).x
    expected, s = [x0], 0
    for _ in range(30):
        g = expected[-1]
        s = s + g * g
        expected.append(g - 0.5 * g / np.sqrt(s))
    np.testing.assert_allclose(full, np.stack(expected), rtol=1e-12)
    broken = mutant(FullAdaGrad, "np.maximum(w, 0)) + self.eps", "np.maximum(w, 0)) + 1")
    assert np.abs(descend(broken(0.5, eps=0), lambda x, t: x, x0, 30).x - np.stack(expected)).max() > 1e-3


def noise_curvature(sigma, lr=0.01, n=20, steps=400):
    """Mean y's / s'As of pairs with different noise in the two gradients, on f = |x|^2 / 2, plain descent."""
    rng = np.random.default_rng(0)
    x, g, ratios = np.zeros(n), rng.normal(size=n) * sigma, []
    for _ in range(steps):
        s = -lr * g
        x = x + s
        new = x + sigma * rng.normal(size=n)
        ratios.append((new - g) @ s / (s @ s))
        g = new
    return np.mean(ratios)


def test_noise_of_the_old_gradient_passes_for_curvature():
    # y = A s + e' - e with s = -lr (... + e): -e's = lr |e|^2, so y's / s's is 1 / lr of pure noise
    assert noise_curvature(1.0) == pytest.approx(1 / 0.01, rel=0.02)


def test_a_diverged_run_leaves_its_neighbours_alone():
    p = streams(0.0)
    lrs = np.array([0.05, 1e6])[:, None, None]
    together = final_loss(OnlineBFGS(p.grad, lrs), p, 40)[0]
    np.testing.assert_array_equal(together, final_loss(OnlineBFGS(p.grad, lrs[:1]), p, 40)[0])


def test_rotations_are_orthogonal_and_start_at_the_identity():
    K = generators(5, 7, 0)
    R = rotation(0.7, K)
    assert np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(7)).max() < 1e-13
    assert np.abs(rotation(0.0, K) - np.eye(7)).max() < 1e-13
    np.testing.assert_allclose(rotation(0.3, K) @ rotation(0.4, K), R, atol=1e-13)


def test_the_angle_changes_neither_the_start_nor_the_noise_floor():
    a, b = TurnedValley.sample(5, 0.0), TurnedValley.sample(5, 1.0)
    np.testing.assert_allclose(a.f(a.x0), b.f(b.x0), rtol=1e-12)
    p, q = streams(0.0), streams(1.0)
    np.testing.assert_allclose(p.excess(np.zeros_like(p.w)), q.excess(np.zeros_like(q.w)), rtol=1e-12)


def test_the_sampled_gradient_is_unbiased():
    # mean of 4000 batches against A (w - w*); 20 coordinates at |z| < 5: false alarms below 2e-5
    p = StreamingRegression.sample(2, 0.6, condition=10, d=5, seed=3, batch=8)
    w = np.ones_like(p.w)
    draws = np.stack([p.grad(w, t) for t in range(4000)])
    A = (p.R * np.logspace(0, -1, 5)) @ np.swapaxes(p.R, 1, 2)
    exact = (A @ (w - p.w)[..., None])[..., 0]
    assert np.abs((draws.mean(0) - exact) / (draws.std(0) / np.sqrt(4000))).max() < 5
    np.testing.assert_array_equal(p.grad(w, 7), p.grad(w, 7))


def test_settling_counts_the_last_visit_above_the_goal():
    p = TurnedValley.sample(3, 0.2, condition=10, d=4)
    rule = LinearDecay(Adam(0.1), 300)
    steps = settling(rule, p, 300, 1e-4)
    values = np.stack([p.f(now.x) for _, now in zip(range(300), walk(rule, p.grad, p.x0), strict=False)])
    below = values <= 1e-4 * p.f(p.x0)
    for run, first in enumerate(steps.astype(int)):
        assert below[first - 1 :, run].all()
        assert not below[first - 2, run]
