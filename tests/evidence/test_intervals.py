"""Intervals that cover as often as they say, at any level, before and after a transform."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from companion.evidence import Interval, bootstrap, each, exact, geometric, intervals, proportion, student
from companion.evidence.intervals import percent, settled
from mutants import mutant
from stepsize.errors import EvidenceError


def coverage(make, truth, draw, trials, seed=7):
    """How often the interval of a fresh sample holds the truth."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(trials):
        interval = make(draw(rng))
        held += interval.low <= truth <= interval.high
    return held


def test_student_covers_95_percent_of_normal_samples():
    """Binomial(2000, 0.95); outside its central 1 - 1e-6 by chance once in a million. Fixed seed."""
    held = coverage(student, 3.0, lambda rng: rng.normal(3, 2, 8), 2000)
    low, high = stats.binom.interval(1 - 1e-6, 2000, 0.95)
    assert low <= held <= high
    narrow = mutant(intervals.student, "values.size - 1", "10**6")
    assert coverage(narrow, 3.0, lambda rng: rng.normal(3, 2, 8), 2000) < low


def test_the_bootstrap_covers_about_95_percent_of_normal_samples_of_40():
    """The percentile interval of n = 40 covers a little less than it says; Binomial(600, 0.94) leaves the band once
    in a million. Fixed seed."""

    def held(make):
        return coverage(lambda values: make(values, resamples=500), 3.0, lambda rng: rng.normal(3, 2, 40), 600)

    low, high = stats.binom.interval(1 - 1e-6, 600, 0.94)
    assert low <= held(bootstrap) <= high
    assert held(mutant(intervals.bootstrap, "(1 - level) / 2", "0.5")) < low


def test_the_bootstrap_of_a_mean_has_the_width_of_the_normal_interval():
    values = np.random.default_rng(0).standard_normal(2000)
    i = bootstrap(values)
    width = 2 * 1.96 * values.std() / math.sqrt(values.size)
    assert i.high - i.low == pytest.approx(width, rel=0.05)
    assert i.estimate == pytest.approx(values.mean(), abs=1e-15)


def test_the_bootstrap_does_not_depend_on_how_it_is_cut_into_pieces():
    values = np.random.default_rng(0).standard_normal(50)
    piecewise = mutant(intervals.bootstrap, "2**23", "2**12")
    whole, pieces = bootstrap(values), piecewise(values)
    assert abs(whole.low - pieces.low) < 0.02
    assert bootstrap(values) == whole


def test_the_bootstrap_of_a_median_stands_infinite_values():
    i = bootstrap([1, 2, 3, 4, 5, 6, 7, math.inf, math.inf], np.median)
    assert (i.estimate, i.low >= 1, i.high) == (5, True, math.inf)


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=20), st.floats(0.5, 0.999))
def test_every_interval_holds_its_estimate(values, level):
    for interval in (student(values, level=level), bootstrap(values, level=level, resamples=50)):
        assert interval.low <= interval.estimate <= interval.high


@given(st.integers(5, 500), st.data())
def test_a_proportion_is_wilsons_score_interval(n, data):
    k, level = data.draw(st.integers(0, n)), data.draw(st.sampled_from([0.9, 0.95, 0.99]))
    z, p, i = stats.norm.ppf((1 + level) / 2), k / n, proportion(k, n, level=level)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (i.low, i.high) == (pytest.approx(middle - half, abs=1e-12), pytest.approx(middle + half, abs=1e-12))
    theirs = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert (i.low, i.high) == (pytest.approx(theirs.low, abs=1e-15), pytest.approx(theirs.high, abs=1e-15))
    assert (i.estimate, i.n) == (p, n)


def test_student_equals_scipy():
    values = np.random.default_rng(0).standard_normal(12)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (student(values, level=0.9).low, student(values, level=0.9).high) == pytest.approx(tuple(theirs), rel=1e-12)


def test_an_exact_number_has_no_width_and_says_so():
    assert exact(0.5, 3) == Interval(0.5, 0.5, 0.5, "exact computation", 3)


SAMPLE = np.random.default_rng(0).normal(size=30)


@pytest.mark.parametrize("make", [lambda: student(SAMPLE), lambda: bootstrap(SAMPLE), lambda: proportion(7, 20)])
def test_an_interval_made_again_at_a_higher_level_is_wider_around_the_same_estimate(make):
    i = make()
    wide = i.again(0.999, 0)
    assert wide.estimate == i.estimate
    assert wide.low < i.low < i.high < wide.high
    assert (i.method.split()[-1], wide.method.split()[-1]) == ("95%", "99.9%")
    assert i.again(0.95, 0) == i


def test_made_again_joint_intervals_cover_together():
    """Four true means at once, each at 1 - 0.05 / 4: Binomial(1500, 0.95) outside its central 1 - 1e-6 once in a million."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(1500):
        made = [student(rng.normal(1, 1, 8)).again(1 - 0.05 / 4, 0) for _ in range(4)]
        held += all(i.low <= 1 <= i.high for i in made)
    low, high = stats.binom.interval(1 - 1e-6, 1500, 0.95)
    assert low <= held <= high


def test_another_seed_resamples_anew():
    i = bootstrap(SAMPLE)
    assert i.again(0.95, (1, 2)) != i
    assert i.again(0.95, (1, 2)) == i.again(0.95, (1, 2))


def test_the_map_of_an_interval_commutes_with_making_it_again():
    i = student(np.log(1 + SAMPLE**2))
    mapped = i.map(np.exp)
    assert (mapped.low, mapped.high) == (math.exp(i.low), math.exp(i.high))
    assert mapped.again(0.99, 0) == i.again(0.99, 0).map(np.exp)
    assert exact(2.0).map(np.sqrt).again is None


def test_a_number_without_sampling_error_cannot_be_made_again():
    assert exact(0.5).again is None


def test_the_share_of_runs_that_settled():
    assert settled([1.0, math.inf, 3.0, 4.0, math.inf]).estimate == 0.6


def test_each_keeps_the_names():
    made = each({"a": SAMPLE, "b": SAMPLE + 1}, student)
    assert list(made) == ["a", "b"]
    assert made["b"].estimate == pytest.approx(made["a"].estimate + 1)


def test_a_level_as_a_percentage():
    assert [percent(x) for x in (0.95, 0.9, 1 - 0.05 / 12)] == ["95%", "90%", "99.58%"]


@pytest.mark.parametrize("level", [0, 1, -1, 95])
def test_a_level_outside_zero_and_one_is_refused(level):
    with pytest.raises(EvidenceError, match="level must lie between 0 and 1"):
        student(SAMPLE, level=level)


def test_geometric_is_the_mean_of_logarithms():
    assert geometric(np.array([1.0, 100.0])) == pytest.approx(10)
    np.testing.assert_allclose(geometric(np.array([[1.0, 4.0], [9.0, 1.0]]), axis=1), [2.0, 3.0])
