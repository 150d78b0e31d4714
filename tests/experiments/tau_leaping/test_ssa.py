"""Exact simulation against laws that are known without simulating. Seeds are fixed; false-alarm rates are stated."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from scipy import stats

from companion.errors import SimulationError
from companion.experiments.tau_leaping import kernels, leaping, ssa, textbook
from companion.experiments.tau_leaping.leaping import Fixed, leap
from companion.experiments.tau_leaping.master_equation import MasterEquation
from companion.experiments.tau_leaping.network import Network
from companion.experiments.tau_leaping.ssa import simulate
from python_kernels import broken, install
from reaction_oracle import oracle, scores

TIMES = np.arange(1.0, 51.0)


CLOSED_FORMS = {
    "birth and death": (textbook.birth_death(), "X", lambda: textbook.birth_death_moments(0.1, 0.11, 100, TIMES)),
    "fast birth and death": (
        textbook.birth_death(1.0, 1.1),
        "X",
        lambda: textbook.birth_death_moments(1.0, 1.1, 100, TIMES),
    ),
    "immigration": (textbook.immigration_death(), "X", lambda: textbook.immigration_death_moments(1, 0.1, 0, 1, TIMES)),
    "dimerisation": (textbook.dimerisation(), "P", lambda: oracle(textbook.dimerisation(), "P", TIMES)),
    "batches of five": (
        textbook.immigration_death(1, 0.2, 0, 5),
        "X",
        lambda: textbook.immigration_death_moments(1, 0.2, 0, 5, TIMES),
    ),
    "batches of ten": (
        textbook.immigration_death(1, 0.1, 0, 10),
        "X",
        lambda: textbook.immigration_death_moments(1, 0.1, 0, 10, TIMES),
    ),
}


@pytest.mark.parametrize("process", CLOSED_FORMS)
def test_mean_and_variance_of_ten_thousand_runs_are_the_closed_forms(process):
    """50 times, |Z| <= 3: expected exceptions 0.135; two or more in 0.8 % of sound runs if times were independent."""
    network, name, moments = CLOSED_FORMS[process]
    mean, var = moments()
    x = simulate(network, TIMES, 10_000, seed=1).read(name).astype(float)
    z_mean, z_var = scores(x, mean, var)
    assert (abs(z_mean) > 3).sum() <= 1
    assert (abs(z_var) > 3).sum() <= 1
    assert max(abs(z_mean).max(), abs(z_var).max()) < 4.5


@pytest.mark.slow
def test_the_whole_law_of_the_bistable_network_is_that_of_its_master_equation():
    """Chi-square of 3000 runs in 40 cells of equal probability; false alarm 0.1 %."""
    network = textbook.schloegl()
    values, pmf = schloegl_law(4.0)
    edges = np.searchsorted(np.cumsum(pmf), np.linspace(0, 1, 41)[1:-1])
    cells = np.add.reduceat(pmf, np.r_[0, edges + 1])
    x = simulate(network, [4.0], 3000, seed=2).read("X")[:, 0]
    counts = np.bincount(np.searchsorted(values[edges], x), minlength=40)
    assert stats.chisquare(counts, cells * x.size).pvalue > 1e-3


def schloegl_law(t):
    chain = MasterEquation(textbook.schloegl(), ceiling=1000)
    values, pmf = chain.marginal(chain.solve([t])[0], "X")
    return values, pmf


def test_reactions_fire_in_proportion_to_their_propensities():
    """Three channels out of one pool: multinomial shares of all events; false alarm 0.1 %."""
    network = Network({"A": 100_000, "B": 0, "C": 0, "D": 0}, [("A -> B", 1.0), ("A -> C", 2.0), ("A -> D", 5.0)])
    final = simulate(network, [100.0], seed=3).x[0, 0, 1:]
    assert final.sum() == 100_000
    assert stats.chisquare(final, np.array([1, 2, 5]) / 8 * 100_000).pvalue > 1e-3


def test_waiting_times_are_exponential_with_the_total_rate():
    """Kolmogorov-Smirnov on the first event of 3000 runs, read from a fine grid of times; false alarm 0.1 %."""
    times = np.linspace(0.003, 3.0, 1000)
    x = simulate(textbook.decay(1), times, 3000, seed=4).read("X")
    gone = (x == 1).sum(1)
    first = times[np.minimum(gone, 999)]
    assert stats.kstest(first[gone < 1000] - 0.0015, stats.truncexpon(b=3.0).cdf).pvalue > 1e-3


def test_a_batch_of_runs_equals_the_runs_apart():
    network = textbook.lotka_volterra(100, 100)
    together = simulate(network, [0.1, 0.2], 5, seed=5)
    assert np.array_equal(together.x[:3], simulate(network, [0.1, 0.2], 3, seed=5).x)
    assert not np.array_equal(together.x[0], together.x[1])


def test_every_run_may_have_its_own_start_and_rates():
    network = textbook.decay(7)
    runs = simulate(network, [0.0, 50.0], 3, initial=[[1], [2], [3]], rates=[[1.0], [0.0], [2.0]])
    assert runs.read("X").tolist() == [[1, 0], [2, 2], [3, 0]]


def test_output_times_do_not_change_the_law():
    """Mean at t = 2 with 1 and with 200 earlier stops, 20 000 runs each; |Z| < 3.3, false alarm 0.1 %."""
    few = simulate(textbook.decay(100), [2.0], 20_000, seed=6).read("X")[:, -1]
    many = simulate(textbook.decay(100), np.linspace(0.01, 2, 200), 20_000, seed=7).read("X")[:, -1]
    assert abs(few.mean() - many.mean()) / np.sqrt((few.var() + many.var()) / 20_000) < 3.3


def test_a_reset_takes_place_on_time_and_before_the_recording():
    network = Network({"X": 5}, [("X ->", 1e-12)], resets=[(25.0, "X", 50), (10.0, "X", 7)])
    assert simulate(network, [9.0, 10.0, 24.9, 25.0, 30.0]).read("X")[0].tolist() == [5, 7, 7, 50, 50]


def test_a_network_without_molecules_waits_for_its_reset():
    network = Network({"X": 0}, [("X ->", 1.0)], resets=[(1.0, "X", 5)])
    assert simulate(network, [0.5, 1.0, 60.0]).read("X")[0].tolist() == [0, 5, 0]


def test_mass_is_conserved_in_every_run_at_every_time():
    x = simulate(textbook.dimerisation(), TIMES, 100, seed=8)
    assert (x.read("P") + 2 * x.read("P2") == 100).all()


def test_propensities_are_products_of_binomial_coefficients():
    network = Network(
        {"A": 7, "B": 4, "C": 9},
        [("-> A", 2.0), ("A -> B", 3.0), ("A + B -> C", 0.5), ("2 A -> C", 1.5), ("3 C -> A", 0.25),
         ("A + 2 B -> C", 2.0), ("A + B + C -> A", 1.0), ("8 A -> B", 1.0), ("2 B + A -> C", 2.0), ("4 C -> A", 1.0)],
    )  # fmt: skip
    a = np.empty(10)
    kernels.propensities(*network.program, network.rates, network.x0, a)
    assert a.tolist() == [2.0, 21.0, 14.0, 31.5, 21.0, 84.0, 252.0, 0.0, 84.0, 126.0]
    kernels.propensities(*network.program, network.rates, np.array([0.5, -3.0, -2.0]), a)
    assert a.tolist() == [2.0, 1.5, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_sum_carried_over_many_events_keeps_a_dying_population_exact():
    """From 10^6 molecules down to none: a residue of rounding must not fire reactions that cannot fire."""
    runs = simulate(Network({"X": 10**6, "Y": 0}, [("X -> Y", 1.0), ("Y ->", 1e3)]), [60.0], 3, seed=9)
    assert not runs.x.any()
    assert (runs.events == 2 * 10**6).all()


def test_uniform_numbers_are_uniform_and_runs_are_not_correlated():
    """KS on 20 000 draws; neighbouring streams correlate below 4 / sqrt(n). False alarm about 0.2 %."""
    streams = []
    for run in (0, 1):
        s = np.empty(4, np.uint64)
        kernels.start_stream(s, np.uint64(123), run)
        streams.append([kernels.uniform(s) for _ in range(20_000)])
    assert stats.kstest(streams[0], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(streams)[0, 1]) < 4 / np.sqrt(20_000)


def test_the_generator_is_xoshiro256_plus_plus_in_exact_integers():
    s, mask = np.array([1, 2, 3, 4], np.uint64), 2**64 - 1
    state = [1, 2, 3, 4]

    def turn(v, k):
        return ((v << k) | (v >> (64 - k))) & mask

    for _ in range(50):
        word = (turn((state[0] + state[3]) & mask, 23) + state[0]) & mask
        t = (state[1] << 17) & mask
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= t
        state[3] = turn(state[3], 45)
        assert kernels.uniform(s) == ((word >> 12) + 0.5) * 2.0**-52


@pytest.mark.parametrize("mean", [0.01, 0.7, 3.0, 9.9, 10.0, 25.0, 300.0, 1e5])
def test_poisson_counts_have_the_poisson_law(mean):
    """Chi-square of 50 000 draws in at most 50 cells of equal probability; false alarm 0.1 % each."""
    s = np.empty(4, np.uint64)
    kernels.start_stream(s, np.uint64(7), int(mean))
    draws = np.array([kernels.poisson(s, mean) for _ in range(50_000)])
    edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 49), mean))
    cells = np.diff(stats.poisson.cdf(np.r_[-1, edges, np.inf], mean))
    counts = np.bincount(np.searchsorted(edges, draws), minlength=cells.size)
    keep = cells > 1e-4
    observed, expected = counts[keep], cells[keep] / cells[keep].sum() * counts[keep].sum()
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert kernels.poisson(s, 0.0) == 0.0


FAULTS = {
    "waits too long": ("t -= math.log(uniform(s)) / total", "t -= 1.1 * math.log(uniform(s)) / total"),
    "picks the neighbour": ("reached < target and j < last", "reached < 0.9 * target and j < last"),
    "squares instead of pairs": ("0.5 * x[net[i, FIRST]] * (x[net[i, FIRST]] - 1.0)", "0.5 * x[net[i, FIRST]] ** 2"),
    "forgets dependants": ("total += renew(net, amount, c, x, a, j)", "total += 0.0"),
}


def dimer_scores():
    """Largest |Z| of mean and variance of a small dimerisation; sound: below 4."""
    times = np.array([2.0, 5.0])
    network = textbook.dimerisation(0.1, 0.3, 10)
    mean, var = oracle(network, "P", times)
    z = scores(simulate(network, times, 3000, seed=10).read("P").astype(float), mean, var)
    return max(map(np.max, map(np.abs, z)))


def test_the_sound_kernels_read_as_python_pass(monkeypatch):
    install(monkeypatch)
    assert dimer_scores() < 4


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_exact_simulator_is_noticed(monkeypatch, fault):
    install(monkeypatch, FAULTS[fault])
    assert dimer_scores() > 4


def test_a_broken_poisson_is_noticed():
    module = broken(("p *= mean / k", "p *= mean / (k + 0.1)"), own_streams=True)
    with np.errstate(over="ignore"):
        s = np.array([1, 2, 3, 4], np.uint64)
        draws = [module.poisson(s, 3.0) for _ in range(2000)]
    assert abs(np.mean(draws) - 3) > 4 * np.sqrt(3 / 2000)


GROWING = Network({"X": 100}, [("X -> 2 X", 1.0), ("X ->", 0.1)])


@pytest.mark.parametrize(
    "run",
    [
        lambda: simulate(GROWING, [1e6], 40, max_events=100_000),
        lambda: leap(GROWING, [1e6], Fixed(1e-4), 40, max_events=10_000),
        lambda: leap(GROWING, [1e6], Fixed(0.1), 40),
    ],
    ids=["exact, spent", "leaps, spent", "leaps, exploded"],
)
def test_the_first_run_that_cannot_be_finished_ends_all(run, monkeypatch):
    ends, finish = [], ssa.finish

    def watched(status, end, budget):
        ends.append((status, end))
        finish(status, end, budget)

    for module in (ssa, leaping):
        monkeypatch.setattr(module, "finish", watched)
    with pytest.raises(SimulationError, match="run 0 "):
        run()
    ((status, end),) = ends
    assert np.count_nonzero(status) == 1
    assert not end[1:].any()


@pytest.fixture
def heard():
    """Ctrl-C raises, as it does in a terminal: what a shell starts in the background begins with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "run",
    [
        lambda: simulate(GROWING, [1e6], 40, max_events=10**12),
        lambda: leap(GROWING, [1e9], Fixed(1e-9), max_events=10**12),
    ],
    ids=["exact", "leaps"],
)
def test_ctrl_c_is_heard_within_a_second_and_no_kernel_goes_on(run, heard):
    threads = threading.active_count()
    simulate(GROWING, [0.1])  # compiled, and not stopped while it compiles
    leap(GROWING, [0.1], Fixed(0.01))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert time.monotonic() - start < 1.3
    while threading.active_count() > threads and time.monotonic() - start < 5:
        time.sleep(0.01)
    assert threading.active_count() <= threads


def test_a_result_as_a_data_frame_has_a_row_for_every_run_and_time():
    network = Network({"A": 3, "B": 4}, [("A -> B", 1.0)], rules={"all": {"A": 1, "B": 1}})
    ensemble = simulate(network, [0.5, 1.0], 3, seed=1)
    frame = ensemble.frame()
    assert list(frame.columns) == ["run", "time", "A", "B", "all"]
    assert frame[["run", "time"]].values.tolist() == [[r, t] for r in range(3) for t in (0.5, 1.0)]
    assert (frame.pivot(index="run", columns="time", values="B").values == ensemble.read("B")).all()
    assert (frame["all"] == 7).all()


def test_an_ensemble_says_how_it_was_made():
    assert simulate(textbook.decay(3), [1.0]).method == "exact"
    assert (
        leap(textbook.decay(3), [1.0], Fixed(0.1)).method == "leaps by Fixed(tau=0.1), scheme euler, below zero refuse"
    )


def after(mean, var, arrival, death, batch, t):
    """Moments a time t after they were `mean` and `var`: the survivors of a random start beside the immigrants."""
    m, v = textbook.immigration_death_moments(arrival, death, mean, batch, t)
    return m, v + var * np.exp(-2 * death * t)


def in_two_parts(before, later, at, times=TIMES):
    """Moments (2, times) from before(t) up to the time `at`, then later(t - at, moments then)."""
    first, second = times < at, times >= at
    start = [float(a[0]) for a in before(np.array([at]))]
    return np.concatenate([before(times[first]), later(times[second] - at, start)], axis=-1)


def dimers_after_a_reset(at, count):
    """P is set to `count` at a time; the dimers stay, as many as they happen to be: a mixture of master equations."""
    network = textbook.dimerisation(0.01, 0.1, 20)
    chain = MasterEquation(network)
    dimers, weights = chain.marginal(chain.solve([at])[0], "P2")
    later = [at for at in TIMES if at >= 25.0]
    mixed = np.zeros((2, len(later)))
    for k, weight in zip(dimers, weights, strict=True):
        part = MasterEquation(Network({"P": count, "P2": int(k)}, network.reactions))
        mean, var = part.moments(part.solve(np.array(later) - at), "P")
        mixed += weight * np.array([mean, var + mean**2])
    before = np.array(oracle(network, "P", TIMES[at > TIMES]))
    return np.concatenate([before, [mixed[0], mixed[1] - mixed[0] ** 2]], axis=-1)


def _resetting(network, *resets, **parts):
    return Network(**{"initial": network.initial, "reactions": network.reactions, "resets": resets} | parts)


_FIVES = textbook.immigration_death(1, 0.2, 0, 5)
EXACT = CLOSED_FORMS | {
    "birth and death, reset": (
        _resetting(textbook.birth_death(), (25.0, "X", 100)),
        "X",
        lambda: in_two_parts(
            lambda t: textbook.birth_death_moments(0.1, 0.11, 100, t),
            lambda t, _: textbook.birth_death_moments(0.1, 0.11, 100, t),
            25.0,
        ),
    ),
    "batches of five, reset": (
        _resetting(_FIVES, (25.0, "X", 3)),
        "X",
        lambda: in_two_parts(
            lambda t: textbook.immigration_death_moments(1, 0.2, 0, 5, t), lambda t, _: after(3, 0, 1, 0.2, 5, t), 25.0
        ),
    ),
    "dimerisation, reset": (
        _resetting(textbook.dimerisation(0.01, 0.1, 20), (25.0, "P", 30)),
        "P",
        lambda: dimers_after_a_reset(25.0, 30),
    ),
    "a source on the boundary": (
        Network({"B": 4, "X": 0}, [("B -> B + 5 X", 0.25), ("X ->", 0.2)], boundary=("B",)),
        "X",
        lambda: textbook.immigration_death_moments(1, 0.2, 0, 5, TIMES),
    ),
    "a source that the boundary would consume": (
        Network({"B": 10, "X": 0}, [("B -> X", 0.1), ("X ->", 0.1)], boundary="B"),
        "X",
        lambda: textbook.immigration_death_moments(1, 0.1, 0, 1, TIMES),
    ),
    "a source that is reset to twice as much": (
        Network({"B": 10, "X": 0}, [("B -> X", 0.1), ("X ->", 0.1)], boundary=("B",), resets=[(25.0, "B", 20)]),
        "X",
        lambda: in_two_parts(
            lambda t: textbook.immigration_death_moments(1, 0.1, 0, 1, t),
            lambda t, then: after(*then, 2, 0.1, 1, t),
            25.0,
        ),
    ),
    "pairs joined by an enzyme": (
        Network({"E": 2, "P": 100, "P2": 0}, [("E + 2 P -> E + P2", 0.0005), ("P2 -> 2 P", 0.01)], boundary=("E",)),
        "P",
        lambda: oracle(textbook.dimerisation(), "P", TIMES),
    ),
}


@pytest.mark.slow
def test_exact_means_and_variances_with_resets_and_boundaries_lie_within_three_standard_errors():
    """Ten thousand runs of 13 processes at 50 times, |Z| <= 3 on 99.5 % of the points; 99.73 % are expected.

    The times of a process are correlated, so one seed in four of a sound simulator falls short: eight seeds together.
    """
    inside = []
    for network, species, moments in EXACT.values():
        mean, var = map(np.asarray, moments())
        known = var < 1e-9  # at the time of a reset
        for seed in range(100, 108):
            x = simulate(network, TIMES, 10_000, seed=seed).read(species).astype(float)
            np.testing.assert_allclose(x[:, known], np.broadcast_to(mean[known], x[:, known].shape), rtol=1e-9)
            inside.append(abs(np.array(scores(x[:, ~known], mean[~known], var[~known]))) <= 3)
    assert np.concatenate(inside, axis=-1).mean() >= 0.995
