"""R-leaping against laws in closed form: leaps that are counted in firings and last a time that is drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.errors import NetworkError
from companion.experiments.tau_leaping import kernels, textbook
from companion.experiments.tau_leaping.leaping import Activity, Firings, leap, longest_step
from companion.experiments.tau_leaping.network import Network
from python_kernels import broken, install
from reaction_oracle import scores

COUNT, FIRED = 60, 20


def stream(number):
    s = np.empty(4, np.uint64)
    kernels.start_stream(s, np.uint64(11), number)
    return s


@pytest.mark.parametrize(
    ("n", "p"), [(1, 0.3), (7, 0.5), (40, 0.2), (40, 0.3), (40, 0.9), (1000, 0.01), (1000, 0.6), (10**6, 0.4)]
)
def test_binomial_counts_have_the_binomial_law(n, p):
    """Chi-square of 50 000 draws in at most 50 cells of equal probability; false alarm 0.1 % each."""
    s, law = stream(n), stats.binom(n, p)
    draws = np.array([kernels.binomial(s, float(n), p) for _ in range(50_000)])
    edges = np.unique(law.ppf(np.linspace(0.02, 0.98, 49)))
    cells = np.diff(law.cdf(np.r_[-1, edges, np.inf]))
    counts, keep = np.bincount(np.searchsorted(edges, draws), minlength=cells.size), cells > 1e-4
    expected = cells[keep] / cells[keep].sum() * counts[keep].sum()
    assert stats.chisquare(counts[keep], expected).pvalue > 1e-3
    assert kernels.binomial(s, float(n), 1.0 + 1e-12) == n
    assert kernels.binomial(s, float(n), 0.0) == 0.0


@pytest.mark.parametrize("shape", [1, 2, 10, 300])
def test_the_time_of_so_many_firings_has_the_gamma_law(shape):
    """KS on 20 000 draws; false alarm 0.1 % each."""
    s = stream(shape)
    draws = [kernels.gamma(s, float(shape)) for _ in range(20_000)]
    assert stats.kstest(draws, stats.gamma(shape).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("fault", "draw", "mean"),
    [
        (
            ("few / (1.0 - few) * (n - k + 1.0) / k", "few * (n - k + 1.0) / k"),
            lambda k, s: k.binomial(s, 20.0, 0.3),
            6,
        ),
        (("math.log(p / q)", "math.log(p)"), lambda k, s: k.binomial(s, 400.0, 0.3), 120),
        (("shape - 1.0 / 3.0", "shape"), lambda k, s: k.gamma(s, 3.0), 3),
    ],
)
def test_a_broken_sampler_is_noticed(fault, draw, mean):
    """|Z| of the mean of 4000 draws of the sound sampler below 4, of the broken one above."""
    z = []
    for module in (broken(), broken(fault)):
        draws = np.array([draw(module, None) for _ in range(4000)])
        z.append(abs(draws.mean() - mean) / (draws.std() / np.sqrt(4000)))
    assert z[0] < 4 < z[1]


def isomerisation_law(t):
    """Mean and variance of A at t, A <-> B at rates one, all COUNT molecules A at first, leaps of FIRED firings.

    The sum of the propensities is COUNT, so that the firings by t are a Poisson number. A leap of r firings moves the gap
    G = A - COUNT / 2 to G + r - 2 Binomial(r, A / COUNT): mean (1 - z) G with z = 2 r / COUNT, variance r (1 - 4 G^2 / COUNT^2).
    """

    def after(mean, var, r):
        z = 2 * r / COUNT
        return (1 - z) * mean, (1 - z) ** 2 * var + r * (1 - 4 * (var + mean**2) / COUNT**2)

    firings = stats.poisson(COUNT * t)
    fired = np.arange(firings.ppf(1 - 1e-13) + 1)
    moments = []
    for n in fired:
        mean, var = COUNT / 2, 0.0
        for _ in range(int(n // FIRED)):
            mean, var = after(mean, var, FIRED)
        moments.append(after(mean, var, n % FIRED))
    mean, var = np.array(moments).T
    share = firings.pmf(fired)
    return COUNT / 2 + share @ mean, share @ (var + mean**2) - (share @ mean) ** 2


def isomerisation_scores(runs):
    """Largest |Z| of mean and variance at three times, each reached in runs of its own."""
    network, z = textbook.isomerisation(COUNT, 1.0, 1.0), []
    for t in (0.2, 0.5, 1.5):
        x = leap(network, [t], Firings(FIRED), runs, seed=3).read("A").astype(float)
        z += [abs(float(s[0])) for s in scores(x, *isomerisation_law(t))]
    return max(z)


def test_mean_and_variance_of_counted_leaps_are_the_closed_form():
    """20 000 runs at three times, |Z| < 4: six comparisons, false alarm 0.04 %."""
    assert isomerisation_scores(20_000) < 4


def test_the_sound_counted_leap_read_as_python_passes(monkeypatch):
    install(monkeypatch)
    assert isomerisation_scores(2000) < 4


@pytest.mark.parametrize(
    "fault",
    [
        ("gamma(s, firings) / total", "firings / total"),
        ("binomial(s, firings - 1.0, (stop[k] - t) / tau)", "binomial(s, firings, (stop[k] - t) / tau)"),
        ("binomial(s, firings, a[j] / rest)", "float(round(firings * a[j] / rest))"),
        ("rest -= a[j]", "rest -= 0.0"),
        ("firings -= times", "firings -= 0.0"),
    ],
    ids=["time not drawn", "last firing not last", "split not drawn", "split by the sum of all", "firings not used up"],
)
def test_a_broken_counted_leap_is_noticed(monkeypatch, fault):
    install(monkeypatch, fault)
    assert isomerisation_scores(2000) > 4


def test_right_after_a_leap_the_variance_at_rest_is_the_shared_law_but_for_one_firing():
    """The fixed point of the recursion of `isomerisation_law`: N / 4 over 1 - z/2 + 1/N, and exact for one firing."""
    for count, fired in ((60, 1), (60, 20), (60, 55), (1000, 300)):
        z = 2 * fired / count
        var = count / 4 / (1 - z / 2 + 1 / count)
        assert (1 - z) ** 2 * var + fired * (1 - 4 * var / count**2) == pytest.approx(var, rel=1e-12)
        assert fired > 1 or var == pytest.approx(count / 4, rel=1e-12)


def test_leaps_of_one_firing_are_the_exact_algorithm():
    """Birth and death from 100 molecules: 50 times, |Z| <= 3 with at most one exception, as for the exact simulator."""
    times = np.arange(1.0, 51.0)
    runs = leap(textbook.birth_death(), times, Firings(1), 10_000, seed=4)
    for z in scores(runs.read("X").astype(float), *textbook.birth_death_moments(0.1, 0.11, 100, times)):
        assert (abs(z) > 3).sum() <= 1


@pytest.mark.parametrize("size", [1, 4, 6.5, 1000])
def test_constant_propensities_are_met_exactly_by_leaps_of_any_number_cut_or_not(size):
    """Two Poisson counts, independent, at two times: means, variances and correlation of 20 000 runs, |Z| < 4."""
    network = Network({"X": 0, "Y": 0}, [("-> X", 3.0), ("-> Y", 5.0)])
    runs = leap(network, [1.0, 2.5], Firings(size), 20_000, seed=5)
    for name, rate in (("X", 3.0), ("Y", 5.0)):
        mean = rate * np.array([1.0, 2.5])
        assert max(abs(z).max() for z in scores(runs.read(name).astype(float), mean, mean)) < 4
    assert abs(np.corrcoef(runs.x[:, 1].T)[0, 1]) < 4 / np.sqrt(20_000)


def test_the_leaps_of_a_decay_have_the_mean_and_variance_of_their_gamma_law():
    """A leap of L firings from x molecules at rate c: mean L / (c x), variance L / (c x)^2; ten leaps, 20 000 runs, |Z| < 4."""
    leaps = leap(textbook.decay(100, 2.0), [4.0], Firings(5), 20_000, seed=6, record=10).taus
    speed = 2.0 * (100 - 5 * np.arange(10))
    assert max(abs(z).max() for z in scores(leaps, 5 / speed, 5 / speed**2)) < 4


def test_a_size_that_is_not_whole_is_met_on_average():
    runs = leap(Network({"X": 0}, [("-> X", 1.0)]), [1000.0], Firings(2.25), 200, seed=7)
    assert 1000 / runs.leaps.mean() == pytest.approx(2.25, rel=0.02)
    assert longest_step(textbook.decay(100, 2.0), Firings(5)) == longest_step(textbook.decay(100, 2.0), Activity(5))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.floats(1, 100), st.integers(0, 2**31))
def test_no_count_is_negative_and_mass_is_conserved_however_many_fire(count, size, seed):
    network = textbook.dimerisation(0.3, 1.0, count + 1)
    runs = leap(network, np.linspace(0.2, 3, 8), Firings(size), 20, seed)
    assert (runs.x >= 0).all()
    assert (runs.read("P") + 2 * runs.read("P2") == count + 1).all()


def test_a_number_below_one_and_schemes_of_other_leaps_are_refused():
    with pytest.raises(NetworkError, match="at least 1"):
        leap(textbook.decay(), [1.0], Firings(0.5))
    with pytest.raises(NetworkError, match="leave it at 'euler'"):
        leap(textbook.decay(), [1.0], Firings(5), scheme="midpoint")
