"""The figures show the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.evidence import exact
from companion.experiments.gradient_clipping.figures import placements_figure, recovery_figure, spread_figure
from companion.experiments.gradient_clipping.heavy_tails import TAILS
from companion.experiments.gradient_clipping.race import MEASURES
from mutants import mutant
from stepsize.responses import adam_ratio, spike_brake, steps_until

pytestmark = pytest.mark.usefixtures("in_house_style")


def gain():
    return {
        tail: {name: np.full(3, 1.0 + i + 10 * j) for j, name in enumerate(MEASURES)} for i, tail in enumerate(TAILS)
    }


def test_every_measure_is_a_line_over_the_tails_and_spikes_are_points_of_their_own():
    lines = spread_figure(gain()).lines
    for j, (series, spikes) in enumerate(zip(lines[:8:2], lines[1:8:2], strict=True)):
        np.testing.assert_allclose(series.get_ydata(), 1 + np.arange(5) + 10 * j, rtol=1e-12)
        np.testing.assert_allclose(spikes.get_ydata(), [6 + 10 * j], rtol=1e-12)
        assert list(spikes.get_xdata()) == ["spikes"]
    # Student's t with nu < 2 degrees of freedom: the root mean square is short by nearly sqrt(nu / 2)
    np.testing.assert_allclose(lines[8].get_ydata(), [(2 / 1.5) ** 0.5, (2 / 1.1) ** 0.5], rtol=2e-3)
    broken = mutant(spread_figure, "rms_step() / rms_step(float(tail[1:]))", "rms_step(float(tail[1:])) / rms_step()")
    assert max(broken(gain()).lines[8].get_ydata()) < 1


def test_a_dash_lies_on_the_measured_recovery_and_a_triangle_where_the_rate_is_back():
    sizes = np.array([10.0, 1000.0])
    back = steps_until(1 / 1.1, spike_brake(sizes), 0.999)
    rate = adam_ratio(spike_brake(sizes), 0.999, np.arange(9000)[:, None])
    axes = recovery_figure(rate, sizes, back)
    pairs = [(axes.lines[0], axes.lines[1]), (axes.lines[2], axes.lines[3])]
    for line, dash in pairs:
        np.testing.assert_allclose(dash.get_ydata(), line.get_ydata(), rtol=1e-12)
    (triangle,) = (line for line in axes.lines if line.get_marker() == "^")  # a spike of ten never brakes that far
    at = round(float(triangle.get_xdata()[0]))
    assert rate[at, 1] == pytest.approx(triangle.get_ydata()[0], rel=1e-3)


def test_a_placement_stands_in_the_row_of_its_name():
    tails = ("normal", "t1.5", "spikes")
    ratio = {tail: {"first": exact(0.1 + i), "second": exact(2.0 + i)} for i, tail in enumerate(tails)}
    axes = placements_figure(ratio)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    points = {c.get_label(): c[0].get_xydata() for c in axes.containers}
    for i, tail in enumerate(tails):
        np.testing.assert_allclose(points[tail][:, 0], [0.1 + i, 2.0 + i])
        np.testing.assert_array_equal(points[tail][:, 1].round(), [0, 1])
    assert len({tuple(xy[:, 1]) for xy in points.values()}) == 3
