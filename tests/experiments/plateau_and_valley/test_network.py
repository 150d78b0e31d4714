"""The curvature of a small network: derivatives that belong together, and the threshold that an adaptive rule stays at."""

import numpy as np

from companion.experiments.plateau_and_valley.network import (
    TanhRegression,
    chebyshev_fit,
    hessian,
    preconditioned_sharpness,
    watch_sharpness,
)
from mutants import mutant
from stepsize import Adam, responses
from stepsize.quadratic import Quadratic

S = np.linspace(-1, 1, 9)
NETWORK = TanhRegression(S, 4 * S**3 - 3 * S, hidden=5)
THETA = NETWORK.start(3, np.random.default_rng(0)) + 0.1


def slope_defect(network):
    """Largest difference between the gradient and the complex-step derivative of the loss."""
    h = 1e-30
    derivative = np.imag(network.f(THETA[:, None] + 1j * h * np.eye(16))) / h
    return np.abs(derivative - network.grad(THETA)).max()


def test_the_gradient_of_a_network_is_the_derivative_of_its_loss():
    assert slope_defect(NETWORK) < 1e-15
    broken = mutant(TanhRegression, "1 - unit**2", "1 - unit")
    assert slope_defect(broken(S, NETWORK.y, 5)) > 1e-2


def test_the_hessian_of_a_network_is_the_derivative_of_its_gradient():
    H, h = hessian(NETWORK.grad, THETA), 1e-5
    assert np.abs(H - H.swapaxes(-1, -2)).max() < 1e-15
    moved = [NETWORK.grad(THETA[:, None] + sign * h * np.eye(16)) for sign in (1, -1)]
    assert np.abs(H - (moved[0] - moved[1]) / (2 * h)).max() < 1e-9
    assert np.array_equal(hessian(Quadratic([2.0, 5.0]).grad, np.ones(2)), np.diag([2.0, 5.0]))


def test_the_preconditioned_sharpness_is_the_largest_eigenvalue_of_rate_times_hessian():
    rate = np.random.default_rng(1).uniform(0.1, 2, THETA.shape)
    expected = np.linalg.eigvals(rate[..., :, None] * hessian(NETWORK.grad, THETA)).real.max(-1)
    assert np.abs(preconditioned_sharpness(NETWORK.grad, THETA, rate) / expected - 1).max() < 1e-10
    once = mutant(preconditioned_sharpness, "np.sqrt(rate)", "rate")
    assert np.abs(once(NETWORK.grad, THETA, rate) / expected - 1).min() > 1e-3


def test_in_one_parabola_the_preconditioned_sharpness_is_rate_times_curvature():
    sharpness = preconditioned_sharpness(Quadratic([7.0]).grad, np.array([[1.0], [2.0]]), np.array([[0.5], [0.1]]))
    assert np.abs(sharpness - [3.5, 0.7]).max() < 1e-14


def test_adam_drives_a_network_to_the_threshold_and_keeps_it_there():
    network = chebyshev_fit()
    np.testing.assert_allclose(network.y, np.cos(4 * np.arccos(network.s)), atol=1e-14)
    seen = watch_sharpness(Adam(0.02), network, network.start(4, np.random.default_rng(2)), 2000, 100)
    assert seen.time.tolist() == list(range(100, 2001, 100))
    assert seen.sharpness.shape == seen.loss.shape == (20, 4)
    assert (seen.sharpness[0] < 0.9 * responses.ema_threshold()).all()
    assert np.abs(np.median(seen.sharpness[10:]) / responses.ema_threshold() - 1) < 0.1
    assert (seen.loss[-1] < 0.01 * seen.loss[0]).all()


def test_starts_have_the_variance_of_their_inputs():
    wide = TanhRegression(S, S, hidden=4000).start(1, np.random.default_rng(3))
    u, c, w = wide[0, :-1].reshape(3, 4000)
    # 4,000 normal numbers: the standard deviation is within 5 % but once in a million
    assert abs(u.std() - 1) < 0.05
    assert abs(w.std() * 4000**0.5 - 1) < 0.05
    assert not c.any()
