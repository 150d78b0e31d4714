"""Tau-leaping: its own exact laws, its errors' orders, its step-size rule, and that no count is ever negative."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.experiments.tau_leaping import kernels, textbook
from companion.experiments.tau_leaping.leaping import (
    BELOW,
    SCHEMES,
    Absolute,
    Activity,
    Cao,
    Fixed,
    FixedOrExact,
    leap,
    longest_step,
)
from companion.experiments.tau_leaping.network import Network
from companion.experiments.tau_leaping.ssa import simulate
from companion.experiments.tau_leaping.theory import linear_law, stationary_inflation
from python_kernels import broken, install
from reaction_oracle import oracle, scores

TIMES = np.arange(1.0, 51.0)
CLOSED_FORMS = {
    "birth and death": (
        textbook.birth_death(count=10_000),
        "X",
        lambda: textbook.birth_death_moments(0.1, 0.11, 10_000, TIMES),
    ),
    "immigration": (
        textbook.immigration_death(1000, 0.1),
        "X",
        lambda: textbook.immigration_death_moments(1000, 0.1, 0, 1, TIMES),
    ),
    "dimerisation": (
        textbook.dimerisation(2e-5, 0.01, 6000),
        "P",
        lambda: oracle(textbook.dimerisation(2e-5, 0.01, 6000), "P", TIMES),
    ),
    "batches of five": (
        textbook.immigration_death(200, 0.2, 0, 5),
        "X",
        lambda: textbook.immigration_death_moments(200, 0.2, 0, 5, TIMES),
    ),
}


@pytest.mark.parametrize("process", CLOSED_FORMS)
def test_mean_and_variance_of_ten_thousand_leaping_runs_are_the_closed_forms(process):
    """As for the exact simulator: 50 times, |Z| <= 3 with at most one exception; leaps of second order, eps 0.02."""
    network, name, moments = CLOSED_FORMS[process]
    mean, var = moments()
    runs = leap(network, TIMES, Cao(0.02), 10_000, seed=1, scheme="trapezoid")
    z_mean, z_var = scores(runs.read(name).astype(float), mean, var)
    assert (abs(z_mean) > 3).sum() <= 1
    assert (abs(z_var) > 3).sum() <= 1
    assert runs.leaps.mean() > 40  # it did leap: events would be thousands


@pytest.mark.parametrize("process", ["birth and death", "immigration", "batches of five"])
def test_small_populations_are_met_too_because_exact_events_take_over(process):
    small = {
        "birth and death": (textbook.birth_death(), textbook.birth_death_moments(0.1, 0.11, 100, TIMES)),
        "immigration": (textbook.immigration_death(), textbook.immigration_death_moments(1, 0.1, 0, 1, TIMES)),
        "batches of five": (
            textbook.immigration_death(1, 0.2, 0, 5), textbook.immigration_death_moments(1, 0.2, 0, 5, TIMES),
        ),
    }  # fmt: skip
    network, (mean, var) = small[process]
    z_mean, z_var = scores(leap(network, TIMES, Cao(), 10_000, seed=2).read("X").astype(float), mean, var)
    assert (abs(z_mean) > 3).sum() <= 1
    assert (abs(z_var) > 3).sum() <= 1


@pytest.mark.parametrize("z", [0.1, 0.5, 1.0, 1.5])
def test_fixed_leaps_have_the_variance_of_the_linear_recursion(z):
    """Immigration and death at mean 10^4 after 1, 3 and 40 leaps, 20 000 runs; |Z| < 3.7, 6 comparisons per z, false alarm 0.13 %."""
    level, n = 10_000, np.array([1, 3, 40])
    network = textbook.immigration_death(level, 1.0, level // 2)
    runs = leap(network, n * z, Fixed(z), 20_000, seed=3).read("X").astype(float)
    gap, var = linear_law(z, 2 * level * z, n, gap=-level / 2, feed=1.0)
    z_mean, z_var = scores(runs, level + gap, var)
    assert max(abs(z_mean).max(), abs(z_var).max()) < 3.7


def test_a_leap_of_constant_propensities_is_exact_however_long():
    runs = leap(Network({"X": 0}, [("-> X", 3.0)]), [100.0], Cao(), 5000, seed=4)
    assert (runs.leaps == 1).all()
    assert stats.chisquare(*_cells(runs.read("X")[:, 0], 300.0)).pvalue > 1e-3


def _cells(x, mean):
    edges = np.unique(stats.poisson.ppf(np.linspace(0.05, 0.95, 19), mean))
    expected = np.diff(stats.poisson.cdf(np.r_[-1, edges, np.inf], mean)) * x.size
    return np.bincount(np.searchsorted(edges, x), minlength=expected.size), expected


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("midpoint", 2), ("trapezoid", 2)])
def test_the_mean_error_has_the_order_of_its_scheme(scheme, order):
    """2 X -> nothing over a relaxation time: slope of log error against log tau within 0.15 of the order; SE below 0.05."""
    network = textbook.decay(10**8, 1e-8, 2)
    taus = np.array([0.1, 0.05, 0.025])
    exact = textbook.decay_curve(1e8, 1e-8, 2, 2.0)
    errors = [
        abs(leap(network, [2.0], Fixed(tau), 1000, seed=5, scheme=scheme).read("X").mean() - exact) for tau in taus
    ]
    assert abs(np.polyfit(np.log(taus), np.log(errors), 1)[0] - order) < 0.15


@pytest.mark.slow
def test_the_variance_error_of_the_trapezoid_is_of_second_order():
    """Stationary variance of A <-> B: 1 / (1 - z / 2) for Euler leaps, nearly right already at z = 0.4 for the trapezoid."""
    network = textbook.isomerisation(100_000, 1.0, 1.0)
    ratio = {}
    for scheme in SCHEMES:
        x = leap(network, [20.0], Fixed(0.2), 20_000, seed=6, scheme=scheme, initial=[50_000, 50_000]).read("A")
        ratio[scheme] = x.var() / 25_000
    assert abs(ratio["euler"] - stationary_inflation(0.4)) < 0.05
    assert abs(ratio["trapezoid"] - 1) < 0.05
    assert ratio["midpoint"] > 1.1  # second order in the mean only


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.floats(0.01, 3.0), st.sampled_from(SCHEMES), st.sampled_from([Fixed, Cao, Activity, Absolute]),
    st.integers(0, 2**31),
)  # fmt: skip
def test_no_count_is_ever_negative_and_mass_is_conserved(count, size, scheme, rule, seed):
    step = rule(min(size, 0.9)) if rule is Cao else rule(size)
    network = textbook.dimerisation(0.3, 1.0, count + 1)
    runs = leap(network, np.linspace(0.2, 3, 8), step, 20, seed, scheme=scheme)
    assert (runs.x >= 0).all()
    assert (runs.read("P") + 2 * runs.read("P2") == count + 1).all()


def test_the_naive_leap_goes_negative_as_often_as_a_binomial_count_says():
    """X -> nothing, 12 molecules at rate 5: share of runs that are ever below zero; the guard refuses every one."""
    shares = {}
    for below in BELOW:
        runs = leap(textbook.decay(12, 5.0), [4.0], Fixed(0.4), 4000, seed=7, below=below)
        shares[below] = (runs.below > 0).mean()
        assert (runs.x < 0).any() == (below == "allow")
        assert (runs.refused > 0).any() == (below == "refuse")
    assert shares["allow"] > 0.98


def chosen(network, x, eps):
    """tau of Cao, Gillespie & Petzold (2006), equation 33, with their table of g written out."""
    a, tau = [], np.inf
    counts = dict(zip(network.species, x, strict=True))
    for r in network.reaction_list:
        a.append(
            r.rate * np.prod([np.prod([(counts[s] - k) / (k + 1) for k in range(n)]) for s, n in r.reactants.items()])
        )
    mu, var = np.array(a) @ network.change, np.array(a) @ network.change**2
    for i, s in enumerate(network.species):
        orders = [(sum(r.reactants.values()), r.reactants[s]) for r in network.reaction_list if s in r.reactants]
        if not orders or not var[i]:
            continue
        n = counts[s]
        g = {
            (1, 1): 1, (2, 1): 2, (2, 2): 2 + 1 / (n - 1), (3, 1): 3,
            (3, 2): 1.5 * (2 + 1 / (n - 1)), (3, 3): 3 + 1 / (n - 1) + 2 / (n - 2),
        }[max(orders)]  # fmt: skip
        room = max(eps * n / g, 1)
        tau = min(tau, room / abs(mu[i]) if mu[i] else np.inf, room**2 / var[i])
    return tau


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 10_000), min_size=3, max_size=3), st.floats(0.001, 0.5))
def test_the_chosen_leap_is_the_published_formula(x, eps):
    network = Network(
        dict(zip("ABC", x, strict=True)),
        [("A ->", 1.0), ("2 A + B -> C", 1e-3), ("3 B -> A", 1e-4), ("A + C -> B", 0.1), ("-> C", 5.0)],
    )
    assert np.isclose(longest_step(network, Cao(eps, critical=0)), chosen(network, x, eps), rtol=1e-12)


def test_a_species_that_nothing_consumes_never_limits_the_leap():
    network = Network({"A": 10_000, "B": 0}, [("A -> B", 1.0)])
    assert np.isclose(longest_step(network, Cao(0.03)), 0.03)


def test_a_reaction_near_exhaustion_fires_at_most_once_in_a_leap():
    network = Network({"A": 9, "B": 10**6}, [("A ->", 50.0), ("B ->", 1.0), ("-> B", 1e6)])
    runs = leap(network, [0.2], Cao(0.03, burst=0), 500, seed=8)
    assert (runs.x >= 0).all()
    assert (runs.leaps >= 9 - runs.read("A")[:, 0]).all()


def test_a_batch_of_leaping_runs_equals_the_runs_apart():
    network = textbook.lotka_volterra()
    assert np.array_equal(leap(network, [0.5], Cao(), 6, 9).x[:2], leap(network, [0.5], Cao(), 2, 9).x)


def test_resets_and_boundary_hold_for_leaps_too():
    network = Network({"S": 100, "X": 10**5}, [("X ->", 1.0), ("S -> S + X", 1.0)], ("S",), [(1.0, "X", 7)])
    runs = leap(network, [0.5, 1.0], Cao(), 3, 10)
    assert (runs.read("X")[:, 1] == 7).all()
    assert (runs.read("S") == 100).all()


def test_recorded_leaps_fill_the_time_span():
    runs = leap(textbook.immigration_death(1e5, 1.0, 10**5), [3.0], Fixed(0.125), 4, 11, record=50)
    assert np.isclose(np.nansum(runs.taus, 1), 3.0).all()
    assert (runs.leaps == 24).all()


def test_leaps_redrawn_for_being_large_bend_the_law_which_is_why_no_step_is_judged_by_its_outcome():
    """Redrawing leaps that stray over one standard deviation from their mean: 0.291 of the noise, 0.32 of the variance."""
    rng, k, tau = np.random.default_rng(12), 1e4, 0.2
    x = np.full(4000, k)
    for _ in range(60):
        mean, sd = tau * (k - x), np.sqrt(tau * (k + x))
        move = np.full(x.size, np.inf)
        for _ in range(30):
            bad = abs(move - mean) > sd
            move[bad] = rng.poisson(k * tau, bad.sum()) - rng.poisson(x[bad] * tau).astype(float)
        x = x + move
    assert abs(x.var() / k - 0.291 * stationary_inflation(tau)) < 0.04


FAULTS = {
    "variance unsquared": ("var[net[j, k]] += amount[j, k] * amount[j, k] * a[j]", "var[net[j, k]] += amount[j, k] * a[j]"),
    "drift of one": ("mu[net[j, k]] += amount[j, k] * a[j]", "mu[net[j, k]] += a[j]"),
    "g forgets the pairs": ("g += k / (count - k) if count > k else np.inf", "g += 0.0"),
    "g forgets the order": ("(g * highest[i, 0])", "g"),
    "room unsquared": ("room * room / var[i]", "room / var[i]"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_selector_is_noticed(fault):
    module = broken(FAULTS[fault])
    network = Network({"A": 50, "B": 20}, [("2 A -> B", 0.1), ("B -> 2 A", 0.3), ("A + B ->", 0.01)])
    a, critical, mu = np.empty(3), np.zeros(3, bool), np.empty(2)
    sound_differs = []
    for eps in (0.05, 0.9):
        for kernel, results in ((kernels, []), (module, [])):
            kernel.propensities(*network.program, network.rates, network.x0, a)
            results.append(
                kernel.choose_step(
                    *network.program, network.highest, network.x0, a, 1, eps, 0, critical, mu, mu.copy()
                )[0]
            )
            sound_differs.append(not np.isclose(results[0], chosen(network, network.x0, eps), rtol=1e-12))
    assert sound_differs[0::2] == [False, False]
    assert any(sound_differs[1::2])


def leap_scores(z=0.5):
    level = 1000
    runs = leap(textbook.immigration_death(level, 1.0, level), [8 * z], Fixed(z), 1500, seed=13).read("X")
    _, var = linear_law(z, 2 * level * z, 8)
    return max(np.nan_to_num(abs(s), nan=np.inf).max() for s in scores(runs.astype(float), level, var))


def test_the_sound_leap_read_as_python_passes(monkeypatch):
    install(monkeypatch)
    assert leap_scores() < 4


@pytest.mark.parametrize(
    "fault",
    [
        ("poisson(s, a2[j] * tau)", "float(round(a2[j] * tau))"),
        ("y[net[j, k]] += amount[j, k] * times", "y[net[j, k]] += times"),
        ("tau * (1.0 + 1e-9)", "2 * tau"),
    ],
)
def test_a_broken_leap_is_noticed(monkeypatch, fault):
    install(monkeypatch, fault)
    assert leap_scores() > 4


def test_without_the_guard_counts_do_go_negative(monkeypatch):
    install(monkeypatch, ("lowest(y) < 0.0", "False"))
    assert (leap(textbook.decay(12, 5.0), [0.4], Fixed(0.4), 200, 14).x < 0).any()


def test_the_exact_simulator_and_small_leaps_agree_on_a_nonlinear_network():
    """Lotka-Volterra at t = 0.5, 4000 runs each: means within 3.7 standard errors, KS not rejected at 0.1 %."""
    network = textbook.lotka_volterra()
    exact = simulate(network, [0.5], 2000, seed=15).read("X")[:, 0]
    leapt = leap(network, [0.5], Cao(0.01), 2000, seed=16, scheme="trapezoid").read("X")[:, 0]
    assert stats.ks_2samp(exact, leapt).pvalue > 1e-3


def test_a_fixed_step_gives_way_to_exact_events_where_its_leap_is_worth_fewer_than_ten():
    """A thousand molecules that each decay at rate 1: a leap of 0.05 is worth ten events down to 200 of them, reached at ln 5."""
    network, end = textbook.decay(1000), [3.0]
    runs = leap(network, end, FixedOrExact(0.05), 400, 21)
    assert runs.leaps.mean() == pytest.approx(np.log(5) / 0.05, rel=0.05)
    assert runs.events.mean() == pytest.approx(200 - 1000 * np.exp(-3), rel=0.1)
    short = leap(network, end, FixedOrExact(0.005), 400, 22)  # worth five events at most: all of them are exact
    assert (short.leaps == 0).all()
    assert (short.events == 1000 - short.read("X")[:, 0]).all()
    assert np.array_equal(leap(network, end, FixedOrExact(0.05, 0), 20, 3).x, leap(network, end, Fixed(0.05), 20, 3).x)
    refused = leap(textbook.decay(12, 5.0), [4.0], FixedOrExact(0.4), 200, 7)
    never = refused.leaps == 0  # leaps worth 24 and 12 of the twelve molecules are refused; half of that is exact
    assert never.sum() > 50
    assert (refused.refused[never] == 2).all()
    assert (refused.events[never] == 12 - refused.read("X")[never, 0]).all()
