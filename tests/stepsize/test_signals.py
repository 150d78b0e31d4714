"""What a rule makes of a gradient that is known beforehand: the propositions of the chapter `the_rules`."""

import inspect
import re

import numpy as np
import pytest

from mutants import mutant
from stepsize import SGD, AdaBelief, AdaGrad, Adam, AMSGrad, RMSProp, SignDescent, rules
from stepsize.average import Average
from stepsize.errors import ShapeError
from stepsize.signals import ZOO, noisy_bowl, respond, signals, step_size

SEEN = {"AdaGrad": AdaGrad(), "RMSProp": RMSProp(), "Adam": Adam(), "AMSGrad": AMSGrad()}


def step(path):
    return path.rate * path.direction


@pytest.mark.parametrize("eps", [0.0, 1e-8, 1e-2, 3.0])
@pytest.mark.parametrize("g", [1e-6, -0.3, 700.0])
def test_a_constant_gradient_moves_adam_by_lr_at_every_step(g, eps):
    path = respond(Adam(lr=0.1, eps=eps), np.full((500, 1), g))
    np.testing.assert_allclose(step(path), 0.1 * g / (abs(g) + eps), rtol=1e-12)


def test_adam_without_its_weights_would_not(monkeypatch):
    monkeypatch.setattr(rules, "Average", mutant(Average, "self.total / self.weight", "self.total"))
    path = respond(Adam(lr=0.1, eps=0.0), np.ones((5, 1)))
    assert abs(step(path)[0, 0] / 0.1 - 1) > 1


@pytest.mark.parametrize("name", SEEN)
def test_the_rate_does_not_know_which_sign_a_gradient_had(name):
    rates = [respond(SEEN[name], g).rate for key, g in signals(300, runs=3).items() if key != "impulse"]
    assert np.array_equal(rates[0], rates[1])
    assert np.array_equal(rates[0], rates[2])


def test_adabelief_does_know():
    same, alternating = (respond(AdaBelief(), signals(2000)[key]).rate[-1] for key in ("constant", "alternating"))
    assert same > 10 * alternating


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.99])
def test_alternating_signs_shrink_adams_step(beta1):
    path = respond(Adam(lr=1.0, beta1=beta1, eps=0.0), signals(5000)["alternating"])
    np.testing.assert_allclose(abs(step(path))[-1], (1 - beta1) / (1 + beta1), rtol=1e-10)
    np.testing.assert_allclose(path.rate[-1], 1.0, rtol=1e-12)


@pytest.mark.parametrize("beta1", [0.5, 0.9])
def test_random_signs_shrink_it_less(beta1):
    # 4000 independent runs: the mean square of m is normal with relative sd <= sqrt(2 / 4000) = 0.022;
    # a band of 5 sd fails falsely with probability below 1e-6
    path = respond(Adam(lr=1.0, beta1=beta1, eps=0.0), signals(200, runs=4000, seed=1)["random signs"])
    assert np.mean(step(path)[-1] ** 2) == pytest.approx((1 - beta1) / (1 + beta1), rel=0.112)


@pytest.mark.parametrize("beta", [0.9, 0.99, 0.999])
def test_in_silence_the_rate_needs_twice_as_long_as_v(beta):
    n = round(np.log(2) / np.log(1 / beta))
    path = respond(RMSProp(lr=1.0, beta=beta, eps=0.0), np.r_[np.ones(100), np.zeros(2 * n)][:, None])
    rate = path.rate[99:, 0]
    v = 1 / rate**2
    np.testing.assert_allclose(v[n] / v[0], beta**n, rtol=1e-10)
    np.testing.assert_allclose(rate[2 * n] / rate[0], beta**-n, rtol=1e-10)
    assert rate[2 * n] / rate[0] == pytest.approx(2, rel=0.06)


def test_a_wider_memory_is_not_the_half_life_of_the_rate(monkeypatch):
    forgetful = mutant(RMSProp, "self.beta * v", "self.beta**2 * v")
    path = respond(forgetful(lr=1.0, beta=0.99, eps=0.0), np.r_[np.ones(100), np.zeros(138)][:, None])
    assert path.rate[-1, 0] / path.rate[99, 0] > 3


def test_adam_and_rmsprop_without_memory_are_sign_descent():
    g = np.random.default_rng(0).normal(size=(50, 4))
    for rule in (Adam(lr=0.1, beta1=0.0, beta2=0.0, eps=0.0), RMSProp(lr=0.1, beta=0.0, eps=0.0)):
        np.testing.assert_allclose(step(respond(rule, g)), step(respond(SignDescent(0.1), g)), rtol=1e-14)


def test_adagrad_under_a_constant_gradient_covers_two_lr_root_t():
    path = respond(AdaGrad(lr=1.0, eps=0.0), np.full((10_000, 1), 7.0))
    np.testing.assert_allclose(-step(path)[:, 0], -1 / np.sqrt(np.arange(1, 10_001)), rtol=1e-12)
    assert abs(path.x[-1, 0]) == pytest.approx(2 * np.sqrt(10_000), rel=0.01)


def test_signals_have_size_one_but_for_one_step():
    found = signals(400, runs=3, height=50.0)
    assert all(g.shape == (400, 3, 1) for g in found.values())
    assert all(np.all(abs(g) == 1) for key, g in found.items() if key != "impulse")
    assert np.argwhere(found["impulse"][:, 0, 0] == 50.0).tolist() == [[100]]


def test_a_signal_needs_a_coordinate_axis():
    with pytest.raises(ShapeError, match="steps"):
        respond(SGD(), np.ones(10))


def test_the_size_of_a_step_is_its_root_mean_square_over_runs_and_coordinates():
    path = respond(SGD(0.5), np.tile([[3.0, 4.0]], (6, 1, 1)))
    np.testing.assert_allclose(step_size(path), np.full(6, 0.5 * np.sqrt(12.5)), rtol=1e-15)


def test_the_bowl_gives_a_loss_per_rate_and_seed_and_calls_divergence_infinite():
    loss = noisy_bowl(SGD, [1e-3, 1e-2, 1e3], range(4), steps=50)
    assert loss.shape == (3, 4)
    assert np.isfinite(loss[:2]).all()
    assert np.isinf(loss[2]).all()


def test_every_rate_and_seed_of_the_bowl_is_the_run_alone():
    grid = noisy_bowl(Adam, [1e-2, 1e-1], [3, 4, 5], steps=30)
    assert noisy_bowl(Adam, [1e-1], [4], steps=30)[0, 0] == grid[1, 1]


def test_without_noise_a_bowl_is_descended_to_its_closed_form():
    loss = noisy_bowl(SGD, [0.01], [0], steps=10, noise=0.0)
    h = np.geomspace(1, 100, 10)
    assert loss[0, 0] == pytest.approx((h * (1 - 0.01 * h) ** 20 / 2).sum(), rel=1e-12)


def test_the_zoo_is_every_rule_in_the_order_of_the_file_by_its_label():
    defined = re.findall(r"^@dataclass.*\nclass (\w+)", inspect.getsource(rules), re.MULTILINE)
    assert [rule.__name__ for rule in ZOO.values()] == defined
    assert {"sign", "heavy ball", "Adam"} <= set(ZOO)
