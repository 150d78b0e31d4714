"""Correction of the drift and sampling of clients, against the loops of their papers."""

import numpy as np
import pytest

from companion.errors import FederationError
from companion.experiments.federated_learning import synthetic
from companion.experiments.federated_learning.aggregation import (
    ClientRate,
    Equal,
    FedAvg,
    InverseVariance,
    QFair,
    fed_adam,
)
from companion.experiments.federated_learning.clients import LeastSquares, local_update, simulate
from companion.experiments.federated_learning.scaffold import scaffold
from companion.experiments.federated_learning.synthetic import draw, race, sample
from companion.experiments.federated_learning.theory import aitken
from mutants import mutant


def clients_of(seed=0, k=4, n=30, d=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((k, n, d)) * rng.uniform(0.5, 1.5, (k, 1, d))
    return LeastSquares.of(X, X.sum(-1) + rng.uniform(0.2, 2, (k, 1)) * rng.standard_normal((k, n)))


def published(clients, lr, steps, rounds, sampled):
    """Karimireddy et al. (2020), algorithm 1 with option II and a global rate of 1, as a loop over clients."""
    K, d = clients.moment.shape
    x, c, controls = np.zeros(d), np.zeros(d), np.zeros((K, d))
    for t in range(rounds):
        moves, changes = [], []
        for i in sampled[t]:
            y = x
            for _ in range(steps):
                y = y - lr * (clients.gram[i] @ y - clients.moment[i] - controls[i] + c)
            new = controls[i] - c + (x - y) / (steps * lr)
            moves.append(y - x)
            changes.append(new - controls[i])
            controls[i] = new
        x = x + np.mean(moves, axis=0)
        c = c + len(sampled[t]) / K * np.mean(changes, axis=0)
    return x


@pytest.mark.parametrize("m", [2, 4])
def test_scaffold_is_the_loop_of_its_paper(m):
    clients, sampled = clients_of(), draw([3], 12, 4, m)[:, 0]
    expected = published(clients, 0.1, 5, 12, sampled)
    np.testing.assert_allclose(scaffold(clients, Equal(0.1, 5), 12, sampled), expected, rtol=1e-12)
    broken = mutant(scaffold, "clients.gradient(y) - own + common", "clients.gradient(y)")
    assert np.abs(broken(clients, Equal(0.1, 5), 12, sampled) - expected).max() > 1e-3


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_a_corrected_federation_rests_at_its_weights_whatever_the_local_work(steps):
    clients = clients_of()
    best = aitken(clients, clients.fit().noise)
    rule = InverseVariance(0.5 / steps, steps, cap=1.0)
    np.testing.assert_allclose(scaffold(clients, rule, 1000), best, rtol=1e-9)
    if steps > 1:
        assert np.abs(simulate(clients, rule, 1000).theta[-1] - best).max() > 1e-4


def test_a_corrected_federation_forgets_the_rates_of_its_clients():
    clients = clients_of()
    equal = aitken(clients, np.ones((4, 1)))  # equal sizes
    by_noise = ClientRate(0.02, 5)
    np.testing.assert_allclose(scaffold(clients, by_noise, 6000), equal, rtol=1e-9)
    assert np.abs(simulate(clients, by_noise, 6000).theta[-1] - equal).max() > 1e-2


def test_scaffold_refuses_weights_and_servers_that_remember():
    for rule in (QFair(0.1), fed_adam(0.1)):
        with pytest.raises(FederationError, match="fixed weights"):
            scaffold(clients_of(), rule, 1)


def test_sampled_rounds_are_the_rounds_of_the_clients_that_answered():
    clients, sampled = clients_of(), draw([0], 6, 4, 2)[:, 0]
    theta = np.zeros(3)
    for who in sampled:
        some = LeastSquares(*(a[who] for a in (clients.gram, clients.moment, clients.power, clients.n)))
        theta = local_update(some, np.broadcast_to(theta, (2, 3)), FedAvg(0.1).local(None), 5).mean(0)
    ran = simulate(clients, FedAvg(0.1, 5), 6, sampled=sampled)
    np.testing.assert_allclose(ran.theta[-1], theta, rtol=1e-12)
    assert ran.weights.shape == (6, 2, 1)


def test_all_clients_sampled_are_all_clients():
    federation = sample(range(3))
    everyone = draw(range(3), 5, 6, 6)
    for name, make in (synthetic.RULES | synthetic.CONTROLS).items():
        rule = make(np.full((2, 1, 1, 1), 0.1))
        if name != "AFL" and name != "without it":  # these name or remember clients by their place
            one = simulate(federation.clients, rule, 5, sampled=everyone).theta
            np.testing.assert_allclose(one, simulate(federation.clients, rule, 5).theta, rtol=1e-10, err_msg=name)


def test_clients_are_drawn_without_replacement_and_evenly():
    who = draw(range(50), 40, 6, 3)
    assert who.shape == (40, 50, 3)
    assert (np.diff(np.sort(who, -1), axis=-1) > 0).all()
    counts = np.bincount(who.ravel(), minlength=6)
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000 / 2)
    assert (draw([7], 9, 6, 3)[:, 0] == draw([1, 7], 9, 6, 3)[:, 1]).all()


def test_a_race_of_half_the_clients_tunes_and_reports_on_federations_apart():
    for name in ("FedAvg", "SCAFFOLD", "FedAdam"):
        some = race(name, range(3), range(10, 14), 8, answering=3)
        assert some.excess.shape == (4, 6)
        assert not np.allclose(some.excess, race(name, range(3), range(10, 14), 8).excess)
