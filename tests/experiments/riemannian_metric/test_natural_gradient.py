"""Directions, step lengths and step counts of preconditioned gradients on regressions."""

import numpy as np
import pytest
from scipy.integrate import quad

from companion.experiments.riemannian_metric import natural_gradient
from companion.experiments.riemannian_metric.natural_gradient import (
    KINDS,
    RACERS,
    angle,
    angles,
    angles_by_kind,
    batch_moments,
    directions,
    distant,
    gains,
    grown_metrics,
    law_defects,
    mixed,
    predicted_steps,
    race,
    races,
    regression,
    share_of_gain,
    spread,
    steepest_deviations,
    steps_from,
    steps_to,
    stretched,
    trained,
    two_roads,
)
from mutants import mutant
from stepsize import Adam
from stepsize.errors import ShapeError
from stepsize.measures import first_hit, log_slope
from stepsize.metric import DiagonalPower, Riemannian, second_moment


def test_angles_are_those_of_the_metric():
    assert angle(np.eye(2), np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(45)
    # in the metric diag(1, 4) the second axis counts double
    assert angle(np.diag([1.0, 4.0]), np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(
        np.degrees(np.arctan(2))
    )


def test_the_angle_in_the_fisher_metric_is_the_same_in_all_coordinates_and_the_euclidean_one_is_not():
    plain, turned = (regression(kind, range(5)) for kind in KINDS[-2:])
    found = []
    for model in (plain, turned):
        x = 0.5 * model.minimiser()
        u = directions(model, x)
        F = model.fisher(x)
        found.append(
            (angle(F, u["empirical Fisher"], u["natural gradient"]), angle(F, u["SGD"], u["natural gradient"]))
        )
    assert np.abs(found[0][0] - found[1][0]).max() < 1e-6
    assert np.abs(found[0][1] - found[1][1]).max() < 1e-6  # a rotation is Euclidean, too


def test_on_a_diagonal_fisher_information_the_diagonal_is_exact():
    model = regression("unit scales", range(3))
    model = type(model)(np.linalg.qr(model.X)[0] * 20, model.y)
    u = directions(model, np.zeros((3, 8)))  # at 0 the weights are equal, so that F = X'X / 4n
    assert np.abs(u["diagonal Fisher"] - u["natural gradient"]).max() < 1e-12


@pytest.mark.parametrize(("power", "expected"), [(0.0, 1.0), (0.25, 0.5), (0.5, 0.0), (1.0, -1.0)])
def test_a_stretched_coordinate_takes_steps_of_scale_to_the_1_minus_2p(power, expected):
    scales = np.logspace(-3, 3, 7)
    for snr in (0.3, 3.0):
        rate, step = stretched(DiagonalPower(1.0, 0.99, power), scales, snr, range(10), 400)
        assert log_slope(scales, step).mean() == pytest.approx(expected, abs=0.02)
        assert log_slope(scales, rate).mean() == pytest.approx(-2 * power, abs=0.02)


def test_adam_without_noise_steps_lr_in_every_unit():
    _, step = stretched(Adam(0.1, eps=0.0), np.logspace(-3, 3, 7), 1e12, range(2), 100)
    assert np.abs(step / 0.1 - 1).max() < 1e-10


def test_natural_gradient_solves_a_linear_regression_in_one_step_and_the_empirical_needs_the_distance_squared():
    model, best, x0 = distant([10.0, 30.0], range(5))
    assert np.linalg.norm(x0 - best, axis=-1) == pytest.approx(np.array([[10.0] * 5, [30.0] * 5]))
    assert (steps_to(Riemannian(model.fisher), model, 1e-8, 5, x0, best) == 1).all()
    near, far = np.median(steps_to(Riemannian(model.empirical), model, 1e-8, 3000, x0, best), -1)
    assert far / near > 3**1.8
    assert (steps_to(Riemannian(model.empirical), model, 1e-8, 5, x0, best) == 6).all()


def test_the_empirical_rule_arrives_where_its_matrix_is_more_than_half_of_the_fisher_information():
    # the error is multiplied by 1 - F / E in each direction near the minimum; two of these data sets have F / E above 2
    model, best, x0 = distant([1.0], [*range(5000, 5020), 5254, 5262])
    ratio = np.linalg.eigvals(np.linalg.solve(model.empirical(best), model.fisher(best))).real.max(-1)
    never = steps_to(Riemannian(model.empirical), model, 1e-8, 600, x0, best)[0] > 600
    assert (never == (ratio > 2)).all()
    assert never.sum() == 2


@pytest.mark.parametrize("name", ["Adam", "empirical Fisher"])
def test_the_loss_is_left_out_only_where_it_cannot_be_within_the_gap(name):
    model, lrs = regression("unit scales", range(4), 100, 4), np.array([0.1, 0.5, 30.0])[:, None, None]
    level = model.loss(model.minimiser()) + 1e-4
    x0, rule = np.zeros((4, 4)), RACERS[name](model, lrs)
    plain = np.minimum(first_hit(rule, model.grad, x0, lambda x: model.loss(x) <= level, 150), 151)
    assert 1 < plain.min() < plain.max() == 151
    np.testing.assert_array_equal(steps_to(rule, model, 1e-4, 150), plain)
    # with a bound that is too tight the arrivals come later
    later = mutant(steps_to, "2.002 * gap", "1e-3 * gap")(rule, model, 1e-4, 150)
    assert (later > plain).any()


def test_the_control_of_adam_lacks_its_momentum_and_nothing_else():
    model = regression("unit scales", range(2))
    rule, adam = (RACERS[name](model, 0.1) for name in ("Adam without momentum", "Adam"))
    assert (rule.beta1, rule.beta2, rule.eps) == (0, adam.beta2, adam.eps)


def test_racing_learning_rates_together_gives_what_each_gives_alone():
    model = regression("unit scales", range(3), 100, 4)
    lrs = np.array([0.1, 0.3])[:, None, None]
    together = steps_to(RACERS["Adam"](model, lrs), model, 1e-6, 200)
    for row, lr in zip(together, lrs, strict=True):
        assert np.array_equal(row, steps_to(RACERS["Adam"](model, lr), model, 1e-6, 200)[..., :].reshape(-1))


def test_diagonal_racer_is_blind_to_correlation_and_the_natural_one_is_not():
    tuned = {
        name: race(name, "unequal units, rotated", [0.1, 1.0], [10, 11], range(5), cap=50)
        for name in ("diagonal Fisher", "natural gradient")
    }
    assert tuned["natural gradient"].scores.max() < 15
    assert tuned["diagonal Fisher"].scores.min() == 51


def test_a_racer_with_the_wrong_matrix_is_noticed(monkeypatch):
    broken = mutant(natural_gradient._diagonal, "diagonal(np.diagonal(metric(x), axis1=-2, axis2=-1))", "metric(x)")
    monkeypatch.setattr(natural_gradient, "_diagonal", broken)
    assert race("diagonal Fisher", "unequal units, rotated", [0.1, 1.0], [10, 11], range(5), cap=50).scores.max() < 15


def test_a_gain_is_how_much_nearer_a_direction_is_than_the_gradient_in_euclids_metric():
    apart = {"a": {"SGD": np.array([[50.0, 60.0], [1.0, 1.0]]), "Adam": np.array([[20.0, 70.0], [0.0, 0.0]])}}
    np.testing.assert_array_equal(gains(apart, "Adam")["a"], [30, -10])


def test_a_share_of_gain_is_a_ratio_of_means_and_keeps_the_pairs():
    best = np.random.default_rng(0).uniform(1, 3, 200)
    half = share_of_gain(best / 2, best)
    assert half.estimate == half.low == half.high == 0.5
    assert share_of_gain(best[::-1] / 2, best).low < 0.49


def test_after_any_history_the_step_is_steepest_in_the_root_of_the_second_moment():
    assert max(d.max() for d in steepest_deviations(10, 0).values()) < 1e-12
    for old, new in (
        ("np.sqrt(np.tensordot(weight, g**2, 1))", "np.tensordot(weight, g**2, 1)"),
        ("0.99**age", "0.9**age"),
    ):
        assert max(d.max() for d in mutant(steepest_deviations, old, new)(10, 0).values()) > 0.01


def test_which_second_moment_is_a_tensor_under_which_map():
    broken = law_defects(regression("unequal units", range(10)).scores(np.zeros(8)), 0)
    assert max(broken["v, units"].max(), broken["V, both"].max()) < 1e-10
    assert min(broken["√v, units"].min(), broken["v, rotation"].min()) > 0.1


def test_two_roads_leave_two_accumulators_until_they_forget():
    arrived, rested = two_roads(regression("unit scales", range(5)), 0, steps=300).values()
    assert arrived.min() > 1.5
    assert rested.max() < 1 + 1e-3


def test_the_average_over_road_and_standstill_is_the_one_of_the_concatenated_walk(monkeypatch):
    # walk on for 50 more steps at the end point: the closed form for the standstill must agree
    model, seen = regression("unit scales", range(3)), []

    def watched(gradients, beta):
        seen.append(np.sqrt(second_moment(np.concatenate([gradients, np.repeat(gradients[-1:], 50, 0)]), beta)[-1]))
        return second_moment(gradients, beta)

    monkeypatch.setattr(natural_gradient, "second_moment", watched)
    rested = list(two_roads(model, 0, steps=200, idle=50, beta=0.99).values())[1]
    ratio = seen[0][1] / seen[0][0]
    assert np.abs(rested / (ratio.max(-1) / ratio.min(-1)) - 1).max() < 1e-12


def test_batch_moments_are_those_of_the_scores_and_spread_is_a_ratio_of_ratios():
    model = regression("unequal units", range(3), 60, 4)
    x = 0.1 * np.ones((3, 4))
    f, moments = batch_moments(model, x, (1, 60))
    assert np.array_equal(f, np.diagonal(model.fisher(x), axis1=-2, axis2=-1))
    assert np.abs(moments[60] / model.grad(x) ** 2 - 1).max() < 1e-12
    assert np.array_equal(spread(np.array([[2.0, 8.0, 4.0]])), [4.0])


def test_mixed_inputs_have_the_correlation_and_the_scales_they_are_named_for():
    # 4000 examples: both statistics within 4.5 standard errors, false alarms below 1e-5
    X = mixed(0.8, 0).X[0]
    assert abs(np.corrcoef(X.T)[0, 1] - 0.8) < 4.5 * (1 - 0.8**2) / np.sqrt(4000)
    assert abs(X[:, 1].std() / X[:, 0].std() / 3 - 1) < 4.5 / np.sqrt(4000)


def test_angles_are_those_of_the_directions():
    model = regression("unequal units", range(3))
    x = 0.5 * model.minimiser()
    u = directions(model, x)
    found = angles(model)
    assert "natural gradient" not in found
    assert np.array_equal(found["SGD"][1], angle(model.fisher(x), u["SGD"], u["natural gradient"]))


def test_every_kind_has_the_angles_of_its_regressions():
    found = angles_by_kind(range(2))
    assert tuple(found) == KINDS
    np.testing.assert_array_equal(found["collinear"]["SGD"], angles(regression("collinear", range(2)))["SGD"])


def test_races_hold_the_race_of_each_method_on_each_kind(monkeypatch):
    monkeypatch.setattr(natural_gradient, "RACERS", {"natural gradient": RACERS["natural gradient"]})
    raced = races([0.1, 1.0], [10, 11], range(5), cap=30)
    assert {kind for _, kind in raced} == set(natural_gradient.RACED)
    one = race("natural gradient", "unequal units", [0.1, 1.0], [10, 11], range(5), cap=30)
    np.testing.assert_array_equal(raced["natural gradient", "unequal units"].scores, one.scores)


def test_where_the_median_is_not_solved_the_rate_with_most_arrivals_is_chosen(monkeypatch):
    solved_first = natural_gradient.solved_first
    assert solved_first([10, 20, 31], 30) == 20
    assert solved_first([10, 31, 31], 30) == pytest.approx(30 + 2 / 3)
    assert solved_first([31, 31, 31], 30) == 31
    assert mutant(solved_first, "np.mean(steps > cap)", "1")([10, 31, 31], 30) == 31
    # of three rates the second solves one data set of four in time, the others none
    counts = np.array([[31, 31, 31, 31], [31, 9, 31, 31], [31, 31, 31, 31]])
    known = {0.1: 0, 1.0: 1, 10.0: 2}

    def steps_to(rule, *rest):
        return counts[[known[lr] for lr in np.ravel(rule.lr)]]

    monkeypatch.setattr(natural_gradient, "steps_to", steps_to)
    choice = race("SGD", "unequal units", list(known), range(4), range(4, 8), cap=30)
    assert choice.lr == 1.0
    np.testing.assert_array_equal(choice.scores, counts[1])


def test_steps_from_a_distance_are_those_of_the_two_rules():
    needed = steps_from([3.0], range(3), cap=100)
    model, best, x0 = distant([3.0], range(3))
    assert (needed["natural gradient"] == 1).all()
    alone = steps_to(Riemannian(model.empirical), model, 1e-8, 100, x0, best)
    np.testing.assert_array_equal(needed["empirical Fisher"], alone)


def test_the_predicted_steps_are_the_time_of_the_flow():
    time, _ = quad(lambda D: (1 + 3 * D**2) / D, np.sqrt(2e-4), 3.0)
    assert predicted_steps(3.0, gap=1e-4) == pytest.approx(time, rel=1e-10)
    assert mutant(predicted_steps, "np.sqrt(2 * gap)", "np.sqrt(gap)")(3.0, gap=1e-4) > time + 0.3
    # a step is not infinitesimal: the count is within a tenth of it once the distance is large
    counts = np.median(steps_from([10.0], range(10))["empirical Fisher"], 1)
    assert counts == pytest.approx(predicted_steps([10.0]), rel=0.1)


def test_three_rules_are_trained_and_their_metrics_grow_with_the_gradient():
    grown = grown_metrics(regression("unequal units", range(3)), 16, 300, [0, 1, 2])
    assert list(grown) == [f"trained with {name}, batches of 16" for name in ("Adam", "RMSProp", "AdaGrad")]
    assert np.abs(np.stack([*grown.values()]) - 1).max() < 0.1


def test_the_metric_of_rmsprop_grows_with_the_gradients_it_saw():
    model = regression("unequal units", range(3))
    seen, metric = trained(DiagonalPower(0.01, 0.99, 0.5), model, 16, 300, 0)
    assert np.abs(log_slope(seen, metric) - 1).max() < 0.1


def test_unknown_regressions_are_refused_and_known_ones_repeat():
    with pytest.raises(ShapeError, match="unit scales"):
        regression("cubic", [0])
    for kind in KINDS:
        a, b = regression(kind, [4, 5], 50, 3), regression(kind, [5], 50, 3)
        assert np.array_equal(a.X[1], b.X[0])
        assert np.array_equal(a.y[1], b.y[0])
