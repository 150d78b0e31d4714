"""The figures and the table show the races and closed forms that they are given, and hand back their axes."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.experiments.plateau_and_valley import figures
from companion.experiments.plateau_and_valley.landscapes import PlateauValley
from companion.experiments.plateau_and_valley.network import Training
from companion.experiments.plateau_and_valley.race import plateau_race, turned_race
from stepsize import Adam, descend, responses
from stepsize.quadratic import Quadratic

pytestmark = pytest.mark.usefixtures("in_house_style")

LRS = np.logspace(-3, 1, 9)
LAND = PlateauValley.sample(14, seed=4)


def test_the_cliff_is_drawn_by_its_closed_form():
    above, below = figures.cliff_figure()
    for line, beta2 in zip(above.lines, (0.9, 0.99, 0.999), strict=False):
        np.testing.assert_array_equal(line.get_ydata(), responses.adam_cliff(line.get_xdata(), 0.9, beta2))
    forget, tight = below.lines[0].get_data()
    np.testing.assert_array_equal(tight, responses.adam_worst(np.inf, 0.9, 1 - forget))


def test_the_step_springs_up_at_the_lip_where_the_rate_falls():
    land = PlateauValley(slope=0.01, curvature=1000.0, length=4.0, width=0.3)
    _, rate, step = figures.lip_figure(land, {"RMSProp": 0.004})
    since = rate.lines[0].get_xdata()
    assert rate.lines[0].get_ydata()[since == 1][0] < 0.1
    assert step.lines[0].get_ydata()[since == 1][0] == pytest.approx(10, rel=0.01)


def test_table_and_map_name_the_rate_that_was_chosen():
    raced = {name: plateau_race(name, LAND, LRS, 6, 1500) for name in ("SGD", "clipped SGD", "AdaGrad")}
    table = figures.race_table(raced, LRS)
    axes = figures.heat_figure(raced, LAND[6:], LRS, 1500, shown=tuple(raced))
    for panel, (name, race) in zip(axes, raced.items(), strict=True):
        words = table.loc[figures.title(name), "the one rate"]
        assert words.startswith(f"{race.choice.lr:.2g}")
        assert words.endswith(race.choice.setting)
        assert panel.lines[0].get_xdata()[0] == np.log10(race.choice.lr)
        assert panel.get_title("left") == figures.title(name)


def test_a_valley_that_is_not_settled_in_lies_on_the_dotted_line():
    turned = {"AdaGrad": turned_race("AdaGrad", [0, 45], LRS, 3, 5, 300, seed=0)}
    y = figures.turned_figure([0, 45], turned, {}, 300).lines[0].get_ydata()
    np.testing.assert_array_equal(y, [np.median(turned["AdaGrad"][0].one), 1.6 * 300])


def test_an_orbit_is_the_path_between_two_steps():
    path = descend(Adam(1.0, eps=0.0), Quadratic([1.0]).grad, [2.0], 60)
    far, rate = figures.orbit_figure(path, 3.0, 38.0, 20, 60)
    np.testing.assert_array_equal(far.lines[0].get_ydata(), np.abs(path.x[20:60, 0]))
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), 3 * path.rate[20:60, 0])


def test_the_sharpness_of_every_learning_rate_is_drawn_with_its_range():
    runs = np.random.default_rng(0).uniform(1, 40, (6, 2, 5))
    above, below = figures.sharpness_figure(Training(np.arange(6), runs, runs / 100), [0.1, 0.2], 38.0)
    np.testing.assert_array_equal(above.lines[1].get_ydata(), np.median(runs[:, 1], 1))
    np.testing.assert_array_equal(below.lines[0].get_ydata(), np.median(runs[:, 0], 1) / 100)
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["α = 0.1", "α = 0.2"]
