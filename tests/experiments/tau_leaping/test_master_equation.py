"""The master equation against closed forms, to the precision of float64."""

import numpy as np
import pytest
from scipy import stats

from companion.experiments.tau_leaping import textbook
from companion.experiments.tau_leaping.master_equation import MasterEquation
from mutants import mutant

TIMES = np.array([0.5, 2.0, 10.0, 50.0])


def binomial_plus_poisson(count, arrival, death, t, size):
    """Law of immigration and death: survivors of the start plus the living immigrants."""
    p, k = np.exp(-death * t), np.arange(size)
    mean = arrival / death * (1 - p)
    return np.convolve(stats.binom.pmf(k, count, p), stats.poisson.pmf(k, mean))[:size]


@pytest.mark.parametrize("count", [0, 30])
def test_immigration_and_death_has_the_law_binomial_plus_poisson(count):
    chain = MasterEquation(textbook.immigration_death(1.0, 0.1, count), ceiling=120)
    exact = [binomial_plus_poisson(count, 1.0, 0.1, t, 121) for t in TIMES]
    assert abs(chain.solve(TIMES) - exact).max() < 1e-13


def test_moments_of_birth_and_death_are_the_closed_form():
    chain = MasterEquation(textbook.birth_death(), ceiling=500)
    mean, var = chain.moments(chain.solve(TIMES), "X")
    exact = textbook.birth_death_moments(0.1, 0.11, 100, TIMES)
    assert abs(mean / exact[0] - 1).max() < 1e-11
    assert abs(var / exact[1] - 1).max() < 1e-11


@pytest.mark.parametrize("batch", [2, 5])
def test_moments_of_batch_immigration_are_the_closed_form(batch):
    chain = MasterEquation(textbook.immigration_death(1.0, 0.2, 3, batch), ceiling=260)
    mean, var = chain.moments(chain.solve(TIMES), "X")
    exact = textbook.immigration_death_moments(1.0, 0.2, 3, batch, TIMES)
    assert abs(mean / exact[0] - 1).max() < 1e-12
    assert abs(var / exact[1] - 1).max() < 1e-11


def test_decay_is_binomial_and_probability_is_conserved():
    chain = MasterEquation(textbook.decay(200))
    values, pmf = chain.marginal(chain.solve([0.7]), "X")
    assert abs(pmf[0] - stats.binom.pmf(values, 200, np.exp(-0.7))).max() < 1e-13
    assert abs(pmf.sum() - 1) < 1e-13


def test_two_species_that_conserve_mass_are_solved_on_their_reachable_states():
    chain = MasterEquation(textbook.isomerisation(50, 3.0, 1.0))
    assert chain.states.shape == (51, 2)
    mean, var = chain.moments(chain.solve([40.0]), "B")
    assert abs(mean - 37.5).max() < 1e-11
    assert abs(var - 50 * 0.75 * 0.25).max() < 1e-10


def detailed_balance(ceiling):
    """Stationary law of the bistable network: pi_x down(x) = pi_{x-1} up(x-1)."""
    x = np.arange(ceiling + 1.0)
    up = 3e-7 * 1e5 * x * (x - 1) / 2 + 1e-3 * 2e5
    down = 1e-4 * x * (x - 1) * (x - 2) / 6 + 3.5 * x
    log = np.r_[0, np.cumsum(np.log(up[:-1] / down[1:]))]
    pi = np.exp(log - log.max())
    return pi / pi.sum(), down.max() + up.max()


def test_the_bistable_network_is_stationary_under_detailed_balance():
    pi, fastest = detailed_balance(900)
    chain = MasterEquation(textbook.schloegl(), ceiling=900)
    assert abs(chain.generator @ pi).max() / fastest < 1e-16
    assert abs(chain.solve([0.5], start=pi)[0] - pi).max() < 1e-13


def test_what_leaks_over_the_ceiling_is_what_is_missing():
    low, high = (MasterEquation(textbook.immigration_death(1.0, 0.1), ceiling=c) for c in (12, 80))
    p, exact = low.solve([50.0])[0], high.solve([50.0])[0]
    missing = 1 - p.sum()
    assert 0 < missing < 1
    assert (p <= exact[:13] + 1e-14).all()
    assert (exact[:13] - p).sum() <= missing + 1e-14


@pytest.mark.parametrize(
    "fault",
    [
        ("a = a * np.maximum(x - k, 0) / (k + 1)", "a = a * np.maximum(x, 0) / (k + 1)"),
        ("[a[i], -a[i]]", "[a[i], -0.999 * a[i]]"),
        ("mean = fastest * (t - now)", "mean = fastest * t"),
    ],
)
def test_a_broken_master_equation_is_noticed(fault):
    chain = mutant(MasterEquation, *fault)(textbook.dimerisation(0.05, 0.1, 20))
    sound = MasterEquation(textbook.dimerisation(0.05, 0.1, 20))
    assert abs(chain.solve([1.0, 2.0]) - sound.solve([1.0, 2.0])).max() > 1e-6
