"""The figures show the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.experiments.quasi_newton.figures import balls_figure, margins_figure, rotation_figure, stream_figure

pytestmark = pytest.mark.usefixtures("in_house_style")


def test_margins_stand_on_the_side_of_their_sign():
    for axes, side in zip(margins_figure({"BFGS": np.array([[1e-3, 2.0]]), "DFP": -np.ones(3)}), (1, -1), strict=True):
        assert (np.sign(axes.patches[0].get_xy()[:, 0][axes.patches[0].get_xy()[:, 1] > 0]) == side).all()


def test_a_ball_holds_the_steps_of_length_one():
    B = np.array([[3.0, 1.0], [1.0, 2.0]])
    axes = balls_figure([np.eye(2), B, B], B)
    for line, metric in zip(axes.lines, (np.eye(2), B, B, B), strict=True):
        np.testing.assert_allclose(np.einsum("ik,ij,jk->k", line.get_xydata().T, metric, line.get_xydata().T), 1)


def test_what_is_not_solved_stands_on_the_line():
    axes = rotation_figure({"Adam": np.array([[3, 5, 7], [9, np.inf, np.inf]])}, [0.0, 1.0], 100)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [5, 100])


def test_a_method_without_axes_has_one_open_point_and_one_with_axes_a_filled_one_too():
    axes = stream_figure({"Adam": np.array([[1, 2, 3], [4, 5, 6]]), "SGD": np.array([[7, 8, 9]])})
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in points] == [2, 5, 8]
    assert [line.get_markerfacecolor() == "white" for line in points] == [False, True, True]
