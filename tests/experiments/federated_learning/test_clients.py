"""Clients, rounds and rules of aggregation: identities at round-off, laws against simulations, and what a server must refuse."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import FederationError
from companion.experiments.federated_learning import figures, synthetic
from companion.experiments.federated_learning.aggregation import (
    Agnostic,
    ClientRate,
    Equal,
    EqualWithout,
    FedAvg,
    InverseVariance,
    Krum,
    QFair,
    RandomEffects,
    TrimmedMean,
    Without,
    Yogi,
    fed_adagrad,
    fed_adam,
    fed_yogi,
    shares,
    simplex,
)
from companion.experiments.federated_learning.clients import (
    LeastSquares,
    Logistic,
    Report,
    answer,
    check,
    local_update,
    simulate,
)
from companion.experiments.federated_learning.synthetic import blue_error, final, race, sample, simulated_share
from companion.experiments.federated_learning.theory import (
    aitken,
    crossover,
    effective_share,
    matrix_average,
    noisy_error,
    resting_point,
)
from mutants import mutant
from stepsize import SGD
from stepsize.errors import EvidenceError, HyperparameterError


def hospitals(seed=0, k=4, n=30, d=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((k, n, d)) * rng.uniform(0.5, 2, (k, 1, d))
    y = X @ rng.standard_normal(d) + rng.uniform(0.2, 2, (k, 1)) * rng.standard_normal((k, n))
    return X, y


def logistic(seed=0, k=4, n=60, d=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((k, n, d))
    present = np.arange(n) < rng.integers(d + 20, n + 1, (k, 1))
    return Logistic.of(X, rng.random((k, n)) < 0.5, present)


def derivative(f, x, step=1e-6):
    eye = step * np.eye(x.shape[-1])
    return np.concatenate([(f(x + e) - f(x - e)) / (2 * step) for e in eye], axis=-1)


@pytest.mark.parametrize("clients", [LeastSquares.of(*hospitals()), logistic()], ids=["least squares", "logistic"])
def test_gradients_are_derivatives_and_own_fits_their_zeros(clients):
    theta = np.random.default_rng(1).standard_normal((4, 3))
    np.testing.assert_allclose(clients.gradient(theta), derivative(clients.loss, theta), atol=1e-8)
    np.testing.assert_allclose(clients.gradient(clients.fit().theta), 0, atol=1e-12)


def test_the_noise_of_an_own_fit_is_the_unbiased_residual_variance():
    X, y = hospitals()
    theta, rss = np.linalg.lstsq(X[2], y[2])[:2]
    fit = LeastSquares.of(X, y).fit()
    np.testing.assert_allclose(fit.theta[2], theta, rtol=1e-12)
    assert fit.noise[2, 0] == pytest.approx(rss[0] / 27, rel=1e-12)
    spread = np.diag(rss[0] / 27 * np.linalg.inv(X[2].T @ X[2])).mean()
    assert fit.spread[2, 0] == pytest.approx(spread, rel=1e-12)


def test_outcomes_of_the_same_covariates_are_each_a_federation_of_its_own():
    X, y = hospitals()
    X[0, 25:] = np.nan
    present = np.arange(30) < np.array([[25], [30], [28], [30]])
    redrawn = LeastSquares.outcomes(X, present)
    for outcome in (y, y[:, ::-1] ** 2):
        one, other = redrawn(outcome), LeastSquares.of(X, outcome, present)
        for name, value in vars(other).items():
            assert np.array_equal(getattr(one, name), value)


def test_federations_are_drawn_once_for_all_rules():
    assert sample([1, 2], shift=0.5) is sample((1, 2), shift=0.5)
    assert not np.array_equal(sample([1, 2], shift=0.5).theta, sample([1, 2], shift=1.0).theta)


def alone(clients, k):
    """The k-th client of a single federation."""
    arrays = {name: value[k] for name, value in vars(clients).items() if np.ndim(value)}
    return replace(clients, **arrays)


def test_a_federation_is_its_clients_apart():
    for clients in (LeastSquares.of(*hospitals()), logistic()):
        theta = np.random.default_rng(3).standard_normal(3)
        rule = FedAvg(0.1, 7, prox=0.3)
        together = answer(clients, clients.fit(), np.tile(theta, (4, 1)), rule)
        for k in range(4):
            one = alone(clients, k)
            for a, b in zip(answer(one, one.fit(), theta, rule), together, strict=True):
                np.testing.assert_allclose(a, b[k], rtol=1e-11, atol=1e-13)


def test_the_weighted_average_is_aitkens_estimate_in_fifty_federations():
    assert blue_error(50, 0) <= 1e-12


def test_a_wrong_weight_is_no_aitken_estimate(monkeypatch):
    monkeypatch.setattr(synthetic, "matrix_average", mutant(matrix_average, "clients.n / variance", "clients.n"))
    assert blue_error(5, 0) > 1e-3


def test_one_local_step_with_inverse_variances_rests_at_aitkens_estimate():
    clients = LeastSquares.of(*hospitals())
    ran = simulate(clients, InverseVariance(0.3, cap=1.0), 400)
    np.testing.assert_allclose(ran.theta[-1], aitken(clients, clients.fit().noise), rtol=1e-11)


def test_the_resting_point_of_local_steps_is_where_the_simulation_rests():
    clients = LeastSquares.of(*hospitals())
    noise = clients.fit().noise
    for steps in (1, 5, 40):
        ran = simulate(clients, ClientRate(0.02, steps), 3000 // steps)
        law = resting_point(clients, 0.02 / noise, steps, np.ones((4, 1)))
        np.testing.assert_allclose(ran.theta[-1], law, rtol=1e-9)
    wrong = mutant(resting_point, "clients.gram", "1.1 * clients.gram")
    assert np.abs(wrong(clients, 0.02 / noise, 40, np.ones((4, 1))) - law).max() > 1e-3


def test_effective_shares_begin_at_the_rates_and_end_at_equal():
    rates = np.array([0.1, 0.01, 0.001])
    np.testing.assert_allclose(effective_share(rates, 1), rates / rates.sum(), rtol=1e-12)
    np.testing.assert_allclose(effective_share(rates, 100_000), 1 / 3, rtol=1e-12)
    for steps in (1, 10, 300):
        assert simulated_share(rates, steps) == pytest.approx(effective_share(rates, steps)[-1], rel=1e-3)


def test_a_noisy_client_harms_equal_weights_from_the_proved_ratio_on():
    """Six clients, r below and above sqrt(11/5), 300 federations: paired differences by more than four standard errors."""
    k = 6
    limit = np.sqrt((2 * k - 1) / (k - 1))
    for r, sign in ((0.6 * limit, -1), (1.6 * limit, 1)):
        with_it, without = (k - 1 + r**2) / k**2, 1 / (k - 1)
        assert np.sign(with_it - without) == sign
        federation = sample(range(300), sigma=0.3 * r)
        errors = [final(rule, federation, 150)[:, 0] for rule in (Equal(0.3), Without(0.3, client=-1))]
        harm = np.subtract(*errors)
        assert sign * harm.mean() > 4 * harm.std() / np.sqrt(harm.size)
        assert np.mean(errors[0]) / np.mean(errors[1]) == pytest.approx(with_it / without, rel=0.1)
    assert (k - 1 + limit**2) / k**2 == pytest.approx(1 / (k - 1))


def test_the_crossover_is_where_the_two_errors_meet_and_the_simulation_agrees():
    variance = np.array([0.09] * 5 + [9.0])
    star = crossover(variance, 8, 40)
    inverse = (1 / variance) / (1 / variance).sum()
    equal = np.full(6, 1 / 6)
    assert noisy_error(star, variance, 8, 40, equal) == pytest.approx(noisy_error(star, variance, 8, 40, inverse))
    assert star == pytest.approx(0.4027, abs=1e-3)
    below, above = (
        np.mean(
            final(InverseVariance(0.3), sample(range(300), shift=s), 150)[:, -1]
            - final(Equal(0.3), sample(range(300), shift=s), 150)[:, -1]
        )
        for s in (0.6 * star, 1.5 * star)
    )
    assert below < 0 < above
    assert mutant(crossover, "equal**2 - inverse**2", "equal - inverse")(variance, 8, 40) != pytest.approx(
        star, rel=0.1
    )


def test_q_minus_one_is_the_gradient_of_the_log_likelihood():
    clients = LeastSquares.of(*hospitals())
    theta = np.array([0.3, -0.2, 0.5])
    given = np.tile(theta, (4, 1))
    report = answer(clients, clients.fit(), given, QFair(1.0))
    for q, objective in ((-1.0, lambda f: np.log(f)), (1.0, lambda f: f**2 / 2)):
        _, w = QFair(1.0, q=q).weigh((), report)
        move = (w * clients.gradient(given)).sum(-2)
        truth = derivative(
            lambda t, objective=objective: (clients.n * objective(clients.loss(np.tile(t, (4, 1))))).sum(0), theta
        )
        np.testing.assert_allclose(move / np.linalg.norm(move), truth / np.linalg.norm(truth), atol=1e-8)


def test_q_zero_is_fedavg():
    clients = LeastSquares.of(*hospitals())
    np.testing.assert_array_equal(
        simulate(clients, QFair(0.1, q=0.0), 5).theta, simulate(clients, FedAvg(0.1), 5).theta
    )


def test_afl_rests_where_the_worst_losses_are_equal():
    clients = LeastSquares.of(*hospitals(k=2))
    theta = simulate(clients, Agnostic(0.05, ascent=0.02), 3000).theta[-1]
    losses = clients.loss(np.tile(theta, (2, 1)))
    other = simulate(clients, FedAvg(0.05), 1000).theta[-1]
    assert losses.max() <= clients.loss(np.tile(other, (2, 1))).max() + 1e-9


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_the_projection_lies_on_the_simplex_and_no_vertex_is_nearer(values):
    v = np.array(values)[:, None]
    w = simplex(v)
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(1)
    for vertex in np.eye(len(values)):
        assert ((vertex[:, None] - w) * (v - w)).sum() <= 1e-9  # the angle at a projection is never acute


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=6), st.floats(0.05, 1))
def test_no_share_exceeds_the_cap(values, cap):
    raw = np.array(values)[:, None] + 1e-3
    w = shares(raw, cap)
    assert w.sum() == pytest.approx(1)
    assert w.max() <= max(cap, 1 / len(values)) + 1e-12
    free = w[:, 0] < max(cap, 1 / len(values)) - 1e-9
    np.testing.assert_allclose(w[free] * raw[free][:1], w[free][:1] * raw[free], rtol=1e-9, atol=1e-12)


def test_a_client_without_residuals_cannot_take_all_the_weight():
    X, y = hospitals()
    y[0] = X[0].sum(-1)
    clients = LeastSquares.of(X, y)
    assert clients.fit().noise[0, 0] < 1e-12
    w = simulate(clients, InverseVariance(0.1), 1).weights[-1, :, 0]
    assert w[0] == pytest.approx(0.5)
    assert simulate(clients, InverseVariance(0.1, cap=1.0), 1).weights[-1, 0, 0] > 0.99


def test_equal_weights_of_random_effects_come_with_many_truths_and_inverse_variances_with_one():
    X, y = hospitals()
    clients = LeastSquares.of(X, y)
    fit = clients.fit()
    report = answer(clients, fit, np.zeros((4, 3)), RandomEffects())
    one = report._replace(own=np.ones((4, 3)))
    np.testing.assert_allclose(RandomEffects().weigh((), one)[1], shares(1 / fit.spread), rtol=1e-12)
    many = report._replace(own=1e4 * np.arange(12.0).reshape(4, 3))
    np.testing.assert_allclose(RandomEffects().weigh((), many)[1], 0.25, rtol=1e-3)


def test_the_server_adds_the_mean_move_unless_it_is_given_another_rule():
    clients = LeastSquares.of(*hospitals())
    theta = np.array([1.0, 0.0, -1.0])
    moved = local_update(clients, np.tile(theta, (4, 1)), SGD(0.1), 3)
    np.testing.assert_allclose(simulate(clients, Equal(0.1, 3), 1, theta).theta[-1], moved.mean(0), rtol=1e-12)
    for make in (fed_adam, fed_yogi, fed_adagrad):
        rule = make(0.1, 3, server_lr=0.05)
        first = simulate(clients, rule, 1, theta).theta[-1] - theta
        assert (np.sign(first) == np.sign(moved.mean(0) - theta)).all()
        rest = simulate(clients, rule, 2000, theta).theta[-1]
        assert (
            np.linalg.norm(rest - simulate(clients, FedAvg(0.1, 3), 500).theta[-1]) < 1e-3
        )  # the same point: only the way differs


def test_yogi_is_the_loop_of_its_paper():
    rng, rule = np.random.default_rng(0), Yogi(0.1, 0.0, 0.9, eps=1e-3)
    x = np.zeros(2)
    state, v = rule.init(x), np.full(2, 1e-6)
    for _ in range(200):
        g = rng.standard_normal(2)
        v = v - 0.1 * np.sign(v - g * g) * g * g
        state, rate, direction = rule.step(state, g, x)
        np.testing.assert_allclose(rate * direction, 0.1 * g / (np.sqrt(v) + 1e-3), rtol=1e-12)


def test_prox_pulls_the_local_steps_to_the_start():
    clients = alone(LeastSquares.of(*hospitals()), 0)
    free, held = (np.linalg.norm(local_update(clients, np.ones(3), SGD(0.05), 100, p) - 1) for p in (0.0, 10.0))
    assert held < free
    drifted = mutant(local_update, "(x - theta)", "x")
    assert not np.allclose(
        drifted(clients, np.ones(3), SGD(0.05), 5, 1.0), local_update(clients, np.ones(3), SGD(0.05), 5, 1.0)
    )


def moves(values):
    """A report of six clients that moved from 0 to `values`, (6, d)."""
    theta = np.asarray(values, float)
    ones = np.ones((len(theta), 1))
    return Report(theta, ones, ones, ones, ones, theta)


def test_robust_rules_are_the_median_the_mean_without_the_ends_and_the_client_in_the_crowd():
    values = np.array([[-9.0], [1.4], [2.0], [2.5], [3.0], [1e6]])
    after = {
        rule: rule.aggregate(rule.init(np.zeros(1)), np.zeros(1), moves(values))[1][0]
        for rule in (TrimmedMean(cut=2), TrimmedMean(cut=1), Krum(bad=1))
    }
    # without -9 and 1e6 the mean is 2.225; 2 is the nearest to its three neighbours
    np.testing.assert_allclose(list(after.values()), [np.median(values), 2.225, 2.0])


def test_one_client_at_a_million_moves_no_robust_rule():
    federation = sample(range(3), shift=1e6)
    for name in synthetic.CONTROLS:
        excess = final(synthetic.CONTROLS[name](np.full((1, 1, 1, 1), 0.1)), federation, 60)[0]
        assert excess[:, :-1].max() < 1, name
    assert final(FedAvg(0.1, 5), federation, 60)[:, :-1].min() > 1e6


def test_the_global_model_s_residuals_hold_what_the_noisy_client_did_to_it():
    """One truth: the noisy client is estimated rightly, a quiet one too high by what FedAvg's error adds."""
    estimates = synthetic.global_estimate(range(200))
    assert estimates[:, -1].mean() == pytest.approx(1, abs=0.1)
    assert estimates[:, :-1].mean() > 1.3
    quiet = synthetic.global_estimate(range(200), sigma=0.3)
    assert quiet.mean() == pytest.approx(1, abs=0.1)


def test_a_grid_of_rates_runs_as_its_rates_alone():
    federation = sample(range(5))
    grid = np.array([0.05, 0.2])
    for name, make in (synthetic.RULES | synthetic.CONTROLS).items():
        both = final(make(grid[:, None, None, None]), federation, 10)
        alone = final(make(np.full((1, 1, 1, 1), 0.2)), federation, 10)
        np.testing.assert_allclose(both[1], alone[0], rtol=1e-12, err_msg=name)


def test_without_leaves_one_out():
    sizes = LeastSquares.of(np.ones((3, 8, 1)), np.eye(3, 8), np.arange(8) < np.array([[8], [4], [2]]))
    np.testing.assert_allclose(simulate(sizes, EqualWithout(0.1, client=1), 1).weights[-1, :, 0], [0.5, 0, 0.5])
    np.testing.assert_allclose(simulate(sizes, Without(0.1, client=1), 1).weights[-1, :, 0], [0.8, 0, 0.2])
    w = simulate(sample(range(2)).clients, Without(0.1, client=1), 1).weights[-1, 0, :, 0]
    np.testing.assert_allclose(w, [0.2, 0, 0.2, 0.2, 0.2, 0.2])


def test_the_excess_of_the_truth_is_zero_and_a_shift_is_its_square():
    federation = sample(range(3), shift=2.0)
    np.testing.assert_allclose(federation.excess(federation.centre)[:, :-1], 0)
    np.testing.assert_allclose(federation.excess(federation.centre)[:, -1], 4.0)


def test_a_race_reports_on_federations_it_was_not_tuned_on():
    raced = race("FedAvg", range(3), range(10, 15), 10)
    assert raced.excess.shape == (5, 6)
    assert raced.macro == pytest.approx((5 * raced.clean + raced.outlier) / 6)
    again = final(FedAvg(raced.choice.lr, 5), sample(range(10, 15)), 10)
    np.testing.assert_allclose(again, raced.excess, rtol=1e-10)
    with pytest.raises(EvidenceError, match="in both sets"):
        race("FedAvg", range(3), range(2, 7), 10)


def test_rules_for_the_worst_client_are_reported_at_rest():
    """A thousand rounds more change nothing; at the rate of least mean excess they do."""
    for name in synthetic.RESTING:
        raced = race(name, range(3), range(10, 15), 60, shift=2.0)
        longer = final(synthetic.RULES[name](raced.choice.lr), sample(range(10, 15), shift=2.0), 1060)
        np.testing.assert_allclose(raced.excess, longer, rtol=5e-3)
        assert "fixed" in figures.race_table({2.0: {name: raced}}).loc[name, "2: rate"]
        tuned = mutant(race, "name in RESTING and not answering", "False")(name, range(3), range(10, 15), 60, shift=2.0)
        assert abs(np.log(tuned.excess / longer)).max() > 0.02


def test_the_table_of_a_race_has_a_row_for_each_rule_with_means_and_rates():
    raced = {shift: {"FedAvg": race("FedAvg", range(3), range(10, 15), 10, shift=shift)} for shift in (0.0, 1.0)}
    table = figures.race_table(raced)
    assert list(table.index) == ["FedAvg"]
    last = raced[1.0]["FedAvg"]
    assert list(table.loc["FedAvg"])[3:5] == [f"{last.clean.mean():.4f}", f"{last.outlier.mean():.3f}"]
    lost = {0.0: {"FedAvg": last._replace(excess=last.excess + 1e6 * (np.arange(6) == 5))}}
    assert list(figures.race_table(lost).loc["FedAvg"])[:2] == [f"{last.clean.mean():.4f}", "diverges"]
    assert table.loc["FedAvg", "1: rate"] == f"{last.choice.lr:.2g}" + " (edge)" * last.choice.at_edge


GOOD = Report(np.ones(2), np.ones(1), np.ones(1), np.ones(1), np.ones(1), np.ones(2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"theta": np.array([1.0, np.nan])}, "theta that is NaN or infinite"),
        ({"loss": np.array([np.inf])}, "loss that is NaN or infinite"),
        ({"theta": np.ones(3)}, r"theta of shape \(3,\), expected \(2,\)"),
        ({"noise": np.array([-1.0])}, "noise = -1, which cannot be negative"),
        ({"n": np.zeros(1)}, "n = 0"),
        ({"own": np.array(["a", "b"])}, "own of type"),
    ],
)
def test_an_update_that_must_not_enter_is_rejected_in_the_name_of_its_client(change, words):
    assert check(GOOD, 2, "Hungary") is GOOD
    with pytest.raises(FederationError, match=f"client Hungary sent .*{words}.*rejected"):
        check(GOOD._replace(**change), 2, "Hungary")


def test_what_cannot_work_is_said_before_it_runs():
    with pytest.raises(FederationError, match="3 examples for 3 parameters"):
        LeastSquares.of(np.ones((2, 3, 3)), np.ones((2, 3))).fit()
    with pytest.raises(FederationError, match="rounds must be a whole number at least 1"):
        simulate(LeastSquares.of(*hospitals()), FedAvg(), 0)
    with pytest.raises(FederationError, match="diverged"):
        simulate(LeastSquares.of(*hospitals()), FedAvg(1e3, 50), 100)
    clients = LeastSquares.of(*hospitals())
    report = answer(clients, clients.fit(), np.zeros((4, 3)), Agnostic())
    memory, _ = Agnostic().weigh((), report)
    with pytest.raises(FederationError, match="remembers 4 clients and got 3"):
        Agnostic().weigh(memory, Report(*(a[:3] for a in report)))
    for bad, words in (({"steps": 0}, "steps"), ({"prox": -1.0}, "prox"), ({"lr": -1.0}, "lr")):
        with pytest.raises(HyperparameterError, match=f"FedAvg: {words}"):
            FedAvg(**bad)
    with pytest.raises(HyperparameterError, match="cap must be in"):
        InverseVariance(cap=0.0)
    with pytest.raises(HyperparameterError, match="needs a rule"):
        FedAvg(server=0.1)


def with_a_perfect_client(k=4):
    X = np.stack([np.eye(2)[np.arange(20) % 2]] * k)
    y = X @ np.array([1.0, -2.0]) + np.random.default_rng(0).normal(size=(k, 20))
    y[0] = X[0] @ np.array([1.0, -2.0])
    return LeastSquares.of(X, y)


@pytest.mark.parametrize(
    "rule",
    [RandomEffects(0.1, 5), QFair(0.1, 5, q=-1.0), QFair(0.1, 5, q=0.5), QFair(0.1, 5), InverseVariance(0.1, 5)],
    ids=["random effects", "q = -1", "q = 1/2", "q = 1", "inverse variance"],
)
def test_a_client_without_residuals_leaves_the_model_finite_and_near_the_truth(rule):
    """All runs diverged, said RandomEffects; a server sent NaN to its clients."""
    ran = simulate(with_a_perfect_client(), rule, 50)
    assert np.isfinite(ran.theta).all()
    np.testing.assert_allclose(ran.weights.sum(-2), 1)
    assert np.abs(ran.theta[-1] - [1.0, -2.0]).max() < 0.5


def test_the_floor_of_random_effects_and_fair_weights_is_what_keeps_them_finite():
    report = Report(*(np.ones((3, 1)) for _ in range(6)))._replace(spread=np.array([[0.0], [1.0], [2.0]]))
    assert np.isfinite(RandomEffects().weigh((), report)[1]).all()
    with np.errstate(all="ignore"), pytest.raises(FederationError, match="weight of client 0 is NaN or infinite"):
        mutant(RandomEffects, "_floored(report.spread, 'the spread')", "report.spread")().weigh((), report)


def test_equal_losses_weigh_as_fedavg_even_if_all_are_zero():
    report = Report(*(np.ones((3, 1)) for _ in range(6)))._replace(n=np.array([[1.0], [2.0], [5.0]]))
    for q in (-1.0, 0.5, 1.0):
        for loss in (0.0, 3.0):
            w = QFair(q=q).weigh((), report._replace(loss=np.full((3, 1), loss)))[1]
            np.testing.assert_allclose(w[:, 0], [0.125, 0.25, 0.625])


@pytest.mark.parametrize("field", ["loss", "noise", "spread"])
def test_what_cannot_be_negative_is_refused_with_its_client_unless_it_is_rounding(field):
    rule = {"loss": QFair(q=0.5), "noise": InverseVariance(), "spread": RandomEffects()}[field]
    report = Report(*(np.ones((3, 1)) for _ in range(6)))
    low = np.array([[1.0], [-1e-17], [1.0]])
    assert np.isfinite(rule.weigh((), report._replace(**{field: low}))[1]).all()
    with pytest.raises(FederationError, match=f"the {field} of client 1 is negative; leave the client out"):
        rule.weigh((), report._replace(**{field: np.array([[1.0], [-0.1], [1.0]])}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_that_is_not_finite_is_never_the_next(value):
    theta = np.zeros((3, 2))
    theta[1, 0] = value
    report = Report(theta, *(np.ones((3, 1)) for _ in range(4)), np.ones((3, 2)))
    for rule in (FedAvg(), Equal(), InverseVariance(), RandomEffects(), QFair(), Agnostic(), fed_adam(), fed_yogi()):
        with np.errstate(invalid="ignore"), pytest.raises(FederationError, match="NaN or infinite"):
            rule.aggregate(rule.init(np.zeros(2)), np.zeros(2), report)


def test_among_many_runs_those_that_diverged_are_recorded_and_krum_does_not_choose_them():
    report = Report(*(np.ones((2, 3, 1)) for _ in range(6)))
    lost = report.loss.copy()
    lost[0, 1] = np.nan
    w = QFair().weigh((), report._replace(loss=lost))[1]
    assert np.isnan(w[0]).all()
    np.testing.assert_allclose(w[1], 1 / 3)
    theta = np.array([[np.nan], [1.0], [1.1], [0.9], [5.0]])
    five = Report(theta, *(np.ones((5, 1)) for _ in range(4)), theta)
    assert Krum(bad=1).weigh((), five)[1][:, 0].tolist() == [0, 1, 0, 0, 0]


def test_a_client_alone_has_all_the_weight():
    one = Report(*(np.ones((1, 1)) for _ in range(6)))
    for rule in (FedAvg(), InverseVariance(), RandomEffects(), QFair(), Agnostic(), Krum(), Equal()):
        np.testing.assert_allclose(rule.weigh((), one)[1], 1)
    with pytest.raises(FederationError, match="cannot be left out of 1"):
        Without(client=0).weigh((), one)


def test_the_nearest_point_of_the_simplex_does_not_depend_on_a_common_shift():
    v = np.array([[3.0], [0.2], [0.1]])
    for shift in (0.0, 1e6, 1e12):
        np.testing.assert_allclose(simplex(v + shift), [[1.0], [0.0], [0.0]], atol=1e-3)
    np.testing.assert_allclose(simplex(np.array([[1e300], [1.0], [0.0]])), [[1.0], [0.0], [0.0]])


def test_dependent_covariates_are_named_with_their_client():
    X, y = hospitals()
    X[2, :, 1] = X[2, :, 0]
    with pytest.raises(FederationError, match=r"covariates of client \(2,\) are linearly dependent.*drop a covariate"):
        LeastSquares.of(X, y).fit()


@pytest.mark.parametrize("name", ["FedAvg", "FedProx", "inverse variance", "random effects"])
def test_no_rate_of_the_grid_diverges_in_any_of_many_federations(name):
    fastest = synthetic.RULES[name](np.array([synthetic.LRS[-1], 1.0])[:, None, None, None])
    worst = final(fastest, sample(range(300), shift=2.0), 60).mean(-1).max(-1)
    assert worst[0] < 1
    assert worst[1] > 1e6  # the next rates of the grid would: this test can fail
