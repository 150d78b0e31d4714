"""Attackers stay in their ball, climb steepest in its norm, and are the library's own rules."""

import numpy as np
import pytest
import torch

from companion.experiments.adversarial_training import attacks
from companion.experiments.adversarial_training.attacks import (
    Box,
    Disc,
    Rival,
    Target,
    Unit,
    auto_pgd,
    checkpoints,
    confine,
    judge,
    walk_in_ball,
)
from companion.experiments.adversarial_training.classifiers import Classifier, Images, digits, margin, train
from mutants import mutant
from stepsize import SGD, Adam, SignDescent, chain
from stepsize.errors import HyperparameterError, ShapeError
from stepsize.wrappers import Pooled

BALLS = [Box(0.1), Disc(0.6)]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def victims():
    """Three models after a short training, and images that they have not seen."""
    images, validation, _ = digits()
    return train(Classifier(), Adam(0.01), range(3), images, 4), validation[:60]


def rngs(n=3, seed=0):
    return [np.random.default_rng([seed, k]) for k in range(n)]


@pytest.mark.parametrize("ball", BALLS)
def test_no_step_of_the_ball_climbs_more_than_the_steepest(ball):
    g = torch.tensor(RNG.normal(size=64))
    best = float((ball.steepest(g) * g).sum())
    rivals = torch.tensor(RNG.normal(size=(10_000, 64)))
    rivals = rivals / ball.length(rivals)[:, None]
    assert float((rivals @ g).max()) < best
    assert best == pytest.approx(float(g.abs().sum() if isinstance(ball, Box) else g.norm()), rel=1e-14)
    assert float(ball.length(ball.steepest(g))) == pytest.approx(1.0, rel=1e-14)


def test_the_wrong_geometry_climbs_less():
    g = torch.tensor(RNG.normal(size=64))
    for ball, other in (BALLS, BALLS[::-1]):
        wrong = other.steepest(g)
        assert (wrong / ball.length(wrong) * g).sum() < 0.9 * (ball.steepest(g) * g).sum()


@pytest.mark.parametrize("ball", BALLS)
def test_a_confined_perturbation_is_in_the_ball_and_in_the_picture(ball):
    u = torch.tensor(RNG.uniform(size=(200, 64)))
    delta = confine(ball, u, torch.tensor(RNG.normal(size=(200, 64))))
    assert float(ball.length(delta).max()) <= ball.radius + 1e-15
    assert 0 <= float((u + delta).min()) <= float((u + delta).max()) <= 1
    assert (confine(ball, u, delta) - delta).abs().max() < 1e-15


def test_clipping_pixels_first_would_be_no_projection():
    broken = mutant(confine, "ball.project(delta).clamp(-u, 1 - u)", "ball.project((u + delta) - u)")
    u = torch.zeros(1, 64, dtype=torch.float64)
    assert float((u + broken(Box(0.1), u, -torch.ones_like(u))).min()) < 0


def test_random_starts_fill_the_disc_and_the_box():
    for ball, power in ((Disc(0.6), 8), (Box(0.1), 8)):
        length = np.asarray(ball.length(torch.tensor(ball.random([np.random.default_rng(1)], (20_000, 8))[0])))
        assert length.max() <= ball.radius
        # the share within r of the radius is r^d in either ball; 5 standard errors
        assert np.mean(length < 0.9 * ball.radius) == pytest.approx(0.9**power, abs=5 * (0.25 / 20_000) ** 0.5)


def test_for_a_linear_model_one_step_of_the_steepest_is_the_exact_worst():
    net = Classifier((64, 2))
    x = net.start(range(2))
    images = Images(torch.tensor(RNG.uniform(0.3, 0.7, size=(30, 64))), torch.tensor(RNG.integers(2, size=30)))
    W = net.layers(x)[0][0]
    slope = W[..., 1] - W[..., 0]
    clean = margin(net.logits(x, images.u), images.y.expand(2, 30))
    for ball, dual in ((Box(0.1), slope.abs().sum(-1)), (Disc(0.3), slope.norm(dim=-1))):
        rule = SignDescent(1e15) if isinstance(ball, Box) else chain(Unit(), SGD(1e15))
        found = walk_in_ball(rule, Target.of(net, x, images), ball, 1, rngs(2))
        assert (found.margin[:, 0] - (clean - ball.radius * dual[:, None])).abs().max() < 1e-12


def test_adams_first_step_is_sign_ascent(victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    a, b = (walk_in_ball(rule, target, BALLS[1], 1, rngs()) for rule in (Adam(0.05, eps=0.0), SignDescent(0.05)))
    live = target.look(target.start(BALLS[1], rngs()))[1] != 0
    assert (a.delta - b.delta)[live].abs().max() < 1e-12


def test_plain_ascent_with_a_huge_rate_is_sign_ascent(victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    a, b = (walk_in_ball(rule, target, BALLS[0], 6, rngs()) for rule in (SGD(1e200), SignDescent(0.2)))
    assert torch.equal(a.delta, b.delta)
    assert torch.equal(a.margin, b.margin)
    c, d = (walk_in_ball(rule, target, BALLS[1], 6, rngs()) for rule in (SGD(1e200), SignDescent(1.2)))
    assert not torch.equal(c.delta, d.delta)  # not in the other ball


def test_normalised_ascent_does_not_see_the_scale_of_the_loss():
    g = torch.tensor(RNG.normal(size=(5, 64)))
    for factor in (1e-200, 1e200):
        assert (Unit()(factor * g) - Unit()(g)).abs().max() < 1e-14
    assert torch.equal(Unit()(torch.zeros(2, 3)), torch.zeros(2, 3))
    broken = mutant(Unit, "g / positive(abs(g).amax(-1, keepdim=True))", "g")()
    assert (broken(1e-200 * g) - Unit()(g)).abs().max() > 0.1


def test_pooled_adam_has_one_rate_for_every_image():
    rule = Pooled(Adam(0.1))
    _, rate, _ = rule.step(rule.init(torch.zeros(4, 64)), torch.tensor(RNG.normal(size=(4, 64))), torch.zeros(4, 64))
    assert rate.shape == (4, 1)


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize(
    "rule", [Adam, SignDescent, lambda lr: chain(Unit(), SGD(lr)), lambda lr: Pooled(Adam(lr)), None]
)
def test_an_attack_of_many_is_the_attacks_of_each_to_1e_6(ball, rule, victims):
    x, images = victims
    rates = torch.tensor([0.02, 0.05, 0.2])[:, None, None].double()

    def attack(models, lr, generators, some):
        target = Target.of(Classifier(), models, some)
        return (
            auto_pgd(target, ball, 7, generators)
            if rule is None
            else walk_in_ball(rule(lr), target, ball, 7, generators)
        )

    together = attack(x, rates, rngs(), images)
    for m in range(3):
        for r in range(1 if rule is None else 3):
            alone = attack(x[m : m + 1], float(rates[r]), [rngs()[m]], images)
            assert (alone.margin[0, 0] - together.margin[m, r]).abs().max() < 1e-6
            assert (alone.delta[0, 0] - together.delta[m, r]).abs().max() < 1e-6


def test_the_kept_point_has_the_margin_it_says_and_lies_in_the_ball(victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    for ball in BALLS:
        for found in (walk_in_ball(SignDescent(0.3), target, ball, 5, rngs()), auto_pgd(target, ball, 5, rngs())):
            again = margin(target.look(found.delta)[0], target.y[:, None])
            assert (again - found.margin).abs().max() < 1e-12
            assert float(ball.length(found.delta).max()) <= ball.radius + 1e-12
            assert found.robust.shape == (3, 1)


def test_more_steps_never_spare_an_image(victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    few, many = (walk_in_ball(SignDescent(0.05), target, BALLS[0], n, rngs()).margin for n in (3, 9))
    assert bool((many <= few).all())


def test_the_checkpoints_of_a_hundred_steps_are_those_of_the_paper():
    assert checkpoints(100)[:6] == [0, 22, 41, 57, 70, 80]
    assert mutant(checkpoints, "0.03", "0.02")(100)[:3] != [0, 22, 41]


def test_auto_pgd_is_as_strong_as_the_best_of_a_grid(victims):
    x, images = victims
    rates = torch.logspace(-2, 0, 7, dtype=torch.float64)[:, None, None]
    for ball in BALLS:
        target = Target.of(Classifier(), x, images)
        rule = SignDescent(rates) if isinstance(ball, Box) else chain(Unit(), SGD(rates))
        best = float(walk_in_ball(rule, target, ball, 20, rngs()).robust.mean(0).min())
        assert float(auto_pgd(target, ball, 20, rngs()).robust.mean()) <= best + 0.02


def test_auto_pgd_without_halving_is_weaker(victims, monkeypatch):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    sound = auto_pgd(target, BALLS[1], 20, rngs()).margin.mean()
    broken = mutant(auto_pgd, "eta / 2", "eta")(target, BALLS[1], 20, rngs()).margin.mean()
    assert broken > sound + 0.05


def test_the_judge_is_stricter_than_each_of_its_attacks(victims):
    x, images = victims
    for ball in BALLS:
        stands = judge(Classifier(), x, images, ball, steps=10)
        single = auto_pgd(Target.of(Classifier(), x, images), ball, 10, [np.random.default_rng([0, 2, 0]) for _ in x])
        assert bool((stands <= (single.margin[:, 0] > 0)).all())
        rival = Rival.ranked(Classifier(), x, images, 0)
        assert not bool((rival.chosen == images.y).any())


def test_bad_attacks_are_refused(victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    with pytest.raises(HyperparameterError, match="at least 2 steps"):
        auto_pgd(target, BALLS[0], 1, rngs())
    with pytest.raises(ShapeError, match="as many generators"):
        walk_in_ball(SGD(1.0), target, BALLS[0], 3, rngs(2))
    with pytest.raises(HyperparameterError, match="make an instance"):
        attacks.walk_in_ball(SGD, target, BALLS[0], 3, rngs())
