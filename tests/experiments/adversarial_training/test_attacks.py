"""Attackers stay in their ball, climb steepest in its norm, and are the library's own rules."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from companion.experiments.adversarial_training import attacks
from companion.experiments.adversarial_training.attacks import (
    Box,
    Disc,
    EuclideanProjection,
    Rival,
    Target,
    Unit,
    auto_pgd,
    checkpoints,
    confine,
    judge,
    stands_walk,
    walk_from,
    walk_in_ball,
)
from companion.experiments.adversarial_training.classifiers import Classifier, Images, digits, margin, train
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, AMSGrad, RMSProp, SignDescent, chain
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError
from stepsize.wrappers import InverseRoot, Pooled

BALLS = [Box(0.1), Disc(0.6)]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def victims():
    """Three models after a short training, and images that they have not seen."""
    images, validation, _ = digits(0)
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


def projection_cases(decades, n=300, d=12):
    """Points outside the disc of radius 0.6, and rates that spread over so many decades."""
    y = RNG.normal(size=(n, d)) * 10 ** RNG.uniform(0, 2, size=(n, 1))
    return y, 10 ** RNG.uniform(-decades / 2, decades / 2, size=(n, d))


def by_brentq(y, rate, radius):
    """The same projection through the logarithm of the multiplier, bracketed: no Newton step, no scaling."""

    def excess(log_s):
        return np.sqrt(((y / (1 + np.exp(log_s) * rate)) ** 2).sum()) - radius

    return y / (1 + np.exp(brentq(excess, -60, 60, xtol=1e-15, rtol=1e-15)) * rate)


@pytest.mark.parametrize("decades", [0, 2, 8])
def test_the_projection_in_the_metric_is_that_of_a_reference_solver(decades):
    y, rate = projection_cases(decades)
    z = Disc(0.6).project_in_metric(torch.tensor(y), torch.tensor(rate)).numpy()
    reference = np.stack([by_brentq(*case, 0.6) for case in zip(y, rate, strict=True)])
    assert np.abs(z - reference).max() < 1e-10
    broken = y.copy()
    mutant(attacks._nearest, "y[i, j] /= 1 + s * rate[i, j] / largest", "y[i, j] /= 1 + s")(broken, rate, 0.6)
    assert decades == 0 or np.abs(broken - reference).max() > 0.01


def test_no_point_of_the_disc_is_nearer_in_the_metric_than_the_projection():
    y, rate = projection_cases(3)
    z = Disc(0.6).project_in_metric(torch.tensor(y), torch.tensor(rate)).numpy()
    far = Disc(0.6).random([np.random.default_rng(1)], (2000, 12))[0]
    for point, rates, found in zip(y, rate, z, strict=True):
        rivals = Disc(0.6).project(torch.tensor(np.concatenate([far, found + 1e-3 * far]))).numpy()
        nearest_rival = ((rivals - point) ** 2 / rates).sum(-1).min()
        assert ((found - point) ** 2 / rates).sum() <= nearest_rival * (1 + 1e-12)
    euclid = Disc(0.6).project(torch.tensor(y)).numpy()
    assert (((euclid - y) ** 2 / rate).sum(-1) > 1.001 * ((z - y) ** 2 / rate).sum(-1)).mean() > 0.9


def test_points_inside_stay_and_points_outside_come_to_the_sphere_whatever_the_rates():
    y, _ = projection_cases(0)
    inside = torch.tensor(0.59 * y / np.linalg.norm(y, axis=-1, keepdims=True))
    for decades in (8, 300):
        rate = torch.tensor(10 ** RNG.uniform(-decades / 2, decades / 2, size=y.shape))
        assert torch.equal(Disc(0.6).project_in_metric(inside, rate), inside)
        length = Disc(0.6).project_in_metric(torch.tensor(y), rate).norm(dim=-1)
        assert (length - 0.6).abs().max() < 1e-12
    assert not Disc(0.0).project_in_metric(torch.tensor(y), torch.ones(y.shape)).any()


@pytest.mark.parametrize("rule", [SGD(3.0), SignDescent(0.3), chain(Unit(), SGD(0.3)), Pooled(Adam(0.3))])
def test_with_one_rate_for_all_pixels_the_projection_is_euclids(rule, victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    own, euclid = (walk_in_ball(r, target, BALLS[1], 1, rngs()) for r in (rule, EuclideanProjection(rule)))
    assert (own.delta - euclid.delta).abs().max() < 1e-12


@pytest.mark.parametrize("make", [AdaGrad, RMSProp, Adam, AMSGrad])
def test_the_two_projections_differ_in_the_disc_alone(make, victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    for ball, least in ((BALLS[0], 0.0), (BALLS[1], 0.05)):
        own, euclid = (walk_in_ball(r, target, ball, 5, rngs()) for r in (make(0.3), EuclideanProjection(make(0.3))))
        apart = float((own.delta - euclid.delta).abs().max())
        assert apart < 1e-12 if ball is BALLS[0] else apart > least


def test_in_its_own_metric_a_large_rate_makes_a_rule_steepest_ascent():
    """Theorem adversarial-own-metric: |z - r m / |m|| <= 4 r^2 max(s) / (lr |m|), for rates lr / s, and the order of the bound."""
    r, d = 0.6, 12
    delta = torch.tensor(Disc(r).random([np.random.default_rng(2)], (300, d))[0])
    m, s = torch.tensor(RNG.normal(size=(300, d))), torch.tensor(10 ** RNG.uniform(-2, 2, size=(300, d)))
    off = {}
    for lr in (1e3, 1e5, 1e7):
        z = Disc(r).project_in_metric(delta + lr / s * m, lr / s)
        off[lr] = (z - r * m / m.norm(dim=-1, keepdim=True)).norm(dim=-1)
        assert (off[lr] <= 4 * r**2 * s.amax(-1) / (lr * m.norm(dim=-1))).all()
    assert (off[1e5] / off[1e7]).median() == pytest.approx(100, rel=0.05)
    euclid = Disc(r).project(delta + 1e7 / s * m)
    assert ((euclid - r * m / m.norm(dim=-1, keepdim=True)).norm(dim=-1) > 0.1).all()


@pytest.mark.parametrize("make", [AdaGrad, RMSProp])
def test_with_a_huge_rate_a_rule_walks_as_normalised_ascent(make, victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    steepest = walk_in_ball(chain(Unit(), SGD(1e9)), target, BALLS[1], 4, rngs())
    own, euclid = (walk_in_ball(r, target, BALLS[1], 4, rngs()) for r in (make(1e9), EuclideanProjection(make(1e9))))
    assert (own.delta - steepest.delta).abs().max() < 1e-6
    assert (euclid.delta - steepest.delta).abs().max() > 0.1


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
    a, b = (walk_in_ball(rule, target, BALLS[0], 1, rngs()) for rule in (Adam(0.05, eps=0.0), SignDescent(0.05)))
    live = target.look(target.start(BALLS[0], rngs()))[1] != 0
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


@pytest.mark.parametrize("ball", BALLS)
def test_the_margins_and_the_gradients_of_a_step_are_those_of_the_classifier(ball, victims):
    x, images = victims
    target = Target.of(Classifier(scale=3.0), x, images)
    delta = torch.cat(
        [target.start(ball, rngs(seed=k)) for k in range(3)], 1
    )  # 180 points of a model: more than one block
    z, g = target.look(delta)
    lead, down = target.fall(delta)
    assert torch.equal(lead, margin(z, target.y[:, None]))
    assert torch.equal(down, -g)
    assert torch.equal(target.fall(delta, steepest=False)[0], lead)


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize(
    "make",
    [SGD, Adam, RMSProp, AdaGrad, AMSGrad, lambda lr: Pooled(Adam(lr)), lambda lr: InverseRoot(chain(Unit(), SGD(lr)))],
)
def test_an_image_that_has_fallen_need_not_walk_on(ball, make, victims):
    x, images = victims
    rates = torch.tensor([0.005, 0.05, 0.2])
    for k in range(3):
        target = Target.of(Classifier(), x[k : k + 1], images)
        starts = [target.start(ball, rngs(1, seed)) for seed in range(4)]
        rule = make(rates[:, None, None].double())
        stands = walk_from(starts[0], rule, target, ball, 7).margin > 0
        assert torch.equal(stands_walk(starts[0], rule, target, ball, 7), stands)
        again = [walk_from(start, make(0.05), target, ball, 7).margin > 0 for start in starts]
        assert torch.equal(stands_walk(torch.cat(starts, 1), make(0.05), target, ball, 7), torch.cat(again, 1))


def test_rows_keep_their_rates_and_states_when_others_fall(victims):
    x, images = victims
    target, rates = Target.of(Classifier(), x[:1], images), torch.tensor([0.2, 0.05, 0.005])[:, None, None].double()
    start = target.start(BALLS[1], rngs(1))
    sound = stands_walk(start, Adam(rates), target, BALLS[1], 7)
    for name in ("v", "leaf", "rows"):
        broken = mutant(stands_walk, f"{name}[on]", f"{name}[: len(on)]")(start, Adam(rates), target, BALLS[1], 7)
        assert not torch.equal(broken, sound)


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
        stands = judge(Classifier(), x, images, ball, seed=0, steps=10)
        single = auto_pgd(Target.of(Classifier(), x, images), ball, 10, [np.random.default_rng([0, 2, 0]) for _ in x])
        assert bool((stands <= (single.margin[:, 0] > 0)).all())
        rival = Rival.ranked(Classifier(), x, images, 0)
        assert not bool((rival.chosen == images.y).any())


def test_in_a_ball_of_radius_zero_what_stands_is_what_is_right(victims):
    x, images = victims
    for ball in (Box(0.0), Disc(0.0)):
        stands = judge(Classifier(), x, images, ball, seed=0, steps=4)
        assert torch.equal(stands.double().mean(-1), Classifier().right(x, images))


def test_bad_attacks_are_refused(victims):
    x, images = victims
    target = Target.of(Classifier(), x, images)
    with pytest.raises(HyperparameterError, match="whole number at least 2"):
        auto_pgd(target, BALLS[0], 1, rngs())
    with pytest.raises(ShapeError, match="as many generators"):
        walk_in_ball(SGD(1.0), target, BALLS[0], 3, rngs(2))
    with pytest.raises(HyperparameterError, match="make an instance"):
        attacks.walk_in_ball(SGD, target, BALLS[0], 3, rngs())


@pytest.mark.parametrize("ball", [Box(0.0), Disc(0.0)])
def test_in_a_ball_without_room_robustness_is_accuracy(victims, ball):
    """In the disc it was 0: the projection divided 0 by 0."""
    x, images = victims
    right = Classifier().logits(x, images.u).argmax(-1) == images.y
    assert (judge(Classifier(), x, images, ball, seed=0, steps=5, rivals=1) == right).all()
    for rule in (SGD(1.0), Adam(0.1)):
        walked = walk_in_ball(rule, Target.of(Classifier(), x, images), ball, 3, rngs())
        assert not walked.delta.any()
        assert ((walked.margin[:, 0] > 0) == right).all()


def test_a_projection_that_divides_by_the_length_alone_would_be_noticed():
    zero = torch.zeros(2, 3, dtype=torch.float64)
    assert not Disc(0.0).project(zero).any()
    unguarded = mutant(Disc, "positive(norm(delta).clamp(min=self.radius))", "norm(delta).clamp(min=self.radius)")
    assert unguarded(0.0).project(zero).isnan().all()


@pytest.mark.parametrize(
    ("x", "u", "y", "error", "says"),
    [
        (np.nan, None, None, NonFiniteError, "model 1 has NaN or infinite weights; its training diverged"),
        (None, np.nan, None, HyperparameterError, "pixels must lie from 0 to 1, got nan"),
        (None, 7.0, None, HyperparameterError, "pixels must lie from 0 to 1, got .* to 7; scale the images"),
        (None, None, 10, ShapeError, "labels go from .* to 10; they must lie from 0 to 9"),
        (None, None, -1, ShapeError, "labels go from -1"),
    ],
)
def test_what_cannot_be_attacked_is_named(victims, x, u, y, error, says):
    """Weights that are NaN counted as models that every image fools, and a label beyond the classes was read from memory."""
    weights, images = victims[0].clone(), Images(victims[1].u.clone(), victims[1].y.clone())
    for tensor, value, at in ((weights, x, (1, 0)), (images.u, u, (0, 0)), (images.y, y, (0,))):
        if value is not None:
            tensor[at] = value
    for attack in (
        lambda: walk_in_ball(SGD(1.0), Target.of(Classifier(), weights, images), BALLS[0], 2, rngs()),
        lambda: auto_pgd(Target.of(Classifier(), weights, images), BALLS[1], 2, rngs()),
        lambda: judge(Classifier(), weights, images, BALLS[1], seed=0, steps=2),
    ):
        with pytest.raises(error, match=says):
            attack()
