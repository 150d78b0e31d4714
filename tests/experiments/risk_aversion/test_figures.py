"""The figures show the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.evidence import bootstrap, exact, student
from companion.experiments.risk_aversion.figures import (
    negative_figure,
    parabola_figure,
    race_figure,
    race_table,
    rates_figure,
    tail_table,
)
from stepsize.tuning import choose

pytestmark = pytest.mark.usefixtures("in_house_style")


def test_a_triangle_stands_at_the_bottom_of_its_parabola():
    lines = parabola_figure((0.3, 1.0, 2.0), h=0.5, aversion=1.0).lines
    for curve, _, best in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        assert best.get_ydata()[0] <= curve.get_ydata().min() + 1e-12
        assert best.get_xdata()[0] == pytest.approx(curve.get_xdata()[curve.get_ydata().argmin()], abs=0.04)


def test_only_a_capped_rule_is_dotted():
    lines = rates_figure([1, 2], {"risk-averse": [1, 2], "risk-averse, cap": [3, 4]}).lines
    assert [line.get_linestyle() == ":" for line in lines] == [False, True]
    np.testing.assert_array_equal(lines[1].get_ydata(), [3, 4])


def test_every_reading_has_a_panel_and_every_signal_a_line_of_shares():
    values = np.array([[[-1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]], [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0]]])
    axes = negative_figure({"two betas": values, "uncorrected": -values}, [1, 3, 10])
    assert [panel.get_title("left") for panel in axes] == ["bias-corrected", "raw"]
    np.testing.assert_array_equal([line.get_ydata() for line in axes[0].lines], [[1, 0], [0.5, 0.5], [0, 0.5]])
    np.testing.assert_array_equal([line.get_ydata() for line in axes[1].lines], [[0, 1], [0.5, 0.5], [1, 0.5]])


def test_adam_itself_is_not_drawn_and_the_power_is_in_brackets():
    log = np.random.default_rng(0).standard_normal(20)
    ratio = {"noise constant": {"Adam": bootstrap(0 * log), "SGD": bootstrap(log)}}
    axes = race_figure(ratio, {"noise constant": student(0.5 + 0 * log)})
    assert [text.get_text() for text in axes.get_yticklabels()] == ["noise constant\n[0.5]"]
    assert [c.get_label() for c in axes.containers] == ["SGD"]


def test_the_table_of_a_race_has_a_row_for_every_rule_and_marks_the_ends_of_both_grids():
    adam, sgd = choose([3.0, 1.0, 2.0], [0.1, 1.0, 10.0]), choose([1.0, 2.0], [0.1, 1.0])
    raced = {"a": {"Adam": adam._replace(setting=1e-8), "SGD": sgd._replace(setting=0.9)}}
    table = race_table(raced, {"a": {"Adam": exact(0.0), "SGD": exact(np.log(2))}})
    assert list(table.loc["a", "Adam"]) == ["1.00 [1.00, 1.00]", "1", "ε = 1e-08*"]
    assert list(table.loc["a", "SGD"]) == ["2.00 [2.00, 2.00]", "0.1*", "momentum = 0.9"]


def test_tails_stand_under_their_noise():
    table = tail_table({"t3": {"SGD": exact(np.log(3))}})
    assert table.loc["SGD", "t3"] == "3.00 [3.00, 3.00]"
    assert "tail over Adam's" in table.to_html()
