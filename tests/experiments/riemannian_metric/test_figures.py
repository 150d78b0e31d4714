"""The figures show the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.evidence import exact
from companion.experiments.riemannian_metric import half_plane
from companion.experiments.riemannian_metric.figures import (
    angle_figure,
    balls_figure,
    batch_figure,
    degrees_table,
    distance_figure,
    path_figure,
    race_figure,
    race_table,
    table_figure,
)
from stepsize.tuning import choose

pytestmark = pytest.mark.usefixtures("in_house_style")


def test_a_cell_shows_the_largest_rounding_or_the_smallest_defect():
    defects = np.array([[[1e-16, 3e-15], [0.2, 0.7]], [[0.0, 0.0], [5.0, 4.0]]])
    axes = table_figure(["diag v^½", "full V"], ["loss", "turn, flip"], defects)
    assert [text.get_text() for text in axes.texts] == ["$10^{-15}$", "0.2", "0", "4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["diag $v^{½}$", "full V"]


def test_each_batch_size_has_its_panel_and_its_points():
    f = np.array([[1.0, 10.0]])
    axes = batch_figure(f, {1: f, 4: f / 4})
    assert [panel.get_title("left") for panel in axes] == ["batch of 1", "batch of 4"]
    assert np.array_equal(axes[1].lines[0].get_ydata(), [1.0, 10.0])


def test_four_balls_in_each_panel_and_only_the_fisher_ball_tilts():
    tilt = [[np.abs((line.get_xdata() * line.get_ydata()).mean()) for line in panel.lines] for panel in balls_figure(0)]
    assert np.argmax(tilt[1]) == 1
    assert tilt[1][1] > 10 * max(tilt[1][2:])


def test_angles_stand_in_their_row():
    axes = angle_figure({"a": {"SGD": np.array([[10.0, 30.0], [50.0, 50.0]])}}, ["SGD"])
    assert [line.get_xdata()[0] for line in axes.lines] == [20.0, 50.0]


def test_a_race_has_a_panel_for_each_kind_and_a_row_for_each_method():
    middle = {(name, kind): exact(7) for name in ("SGD", "Adam") for kind in "abcd"}
    axes = race_figure(middle, 50)
    assert [panel.get_title("left") for panel in axes.flat] == list("abcd")
    assert [label.get_text() for label in axes[0, 0].get_yticklabels()] == ["SGD", "Adam"]
    assert axes[0, 0].texts[0].xy[0] == 51


def test_the_table_of_a_race_has_a_column_for_each_kind_and_marks_the_edge():
    raced = {("SGD", "a"): choose([3.0, 1.0, 2.0], [0.1, 1.0, 10.0]), ("Adam", "a"): choose([1.0, 2.0], [0.1, 1.0])}
    table = race_table(raced, {key: exact(7) for key in raced})
    assert table.loc["SGD", "a"] == "7 (rate 1)"
    assert table.loc["Adam", "a"] == "7 (rate 0.1*)"


def test_a_table_of_degrees_has_the_means_in_both_metrics():
    table = degrees_table({"a": {"SGD": np.array([[10.0, 30.0], [50.0, 51.0]])}})
    assert table.loc["SGD", "a"] == "20.0 (50.5)"


def test_the_law_of_the_distance_is_drawn_beside_the_medians():
    axes = distance_figure([1.0, 10.0], {"empirical Fisher": np.array([[2, 3, 4], [140, 150, 170]])})
    assert np.array_equal(axes.lines[0].get_ydata(), [3, 150])
    assert np.array_equal(axes.lines[-1].get_ydata(), [1.5, 150])


def test_every_path_is_drawn_and_named_once():
    starts = np.array([[1.0, 0.7], [-0.5, 0.5]])
    axes = path_figure(half_plane.walks(starts, (half_plane.PLAIN,), steps=1500))
    assert [panel.get_title("left") for panel in axes] == ["walked in (μ, σ)"]
    assert len(axes[0].lines) == 9
    assert [t.get_text() for t in axes[0].get_legend().get_texts()] == [
        "geodesic",
        "natural flow",
        "gradient flow",
        "Adam",
    ]
