"""Pictures and tables show the races that they are given."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from companion.evidence.figures import method
from companion.experiments.feature_scales import figures, rows
from companion.experiments.feature_scales.precision import FORMATS
from companion.experiments.feature_scales.problem import Regression, response
from companion.experiments.feature_scales.race import Race
from mutants import mutant
from stepsize import Adam

SIZES = np.array([1.0, 10.0, 100.0, 1000.0])
BIG = Regression.sample(range(5)).sized(1000.0)


def raced(power):
    times = np.round(20 * SIZES[:, None] ** power * np.linspace(0.9, 1.1, 9))
    return Race([None] * 4, times, np.ones((4, 9)))


pytestmark = pytest.mark.usefixtures("in_house_style")


def test_a_line_shows_medians_and_ends_where_half_are_not_home():
    race = raced(1)
    race.times[3, 4:] = np.inf
    axes = figures.time_figure(SIZES, {"Adam": race, "standardised": raced(0)}, {"Adam": race})
    drawn = axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(drawn[:3], [20, 200, 2000])
    assert np.isnan(drawn[3])
    np.testing.assert_array_equal(axes[0].lines[1].get_ydata(), [20] * 4)
    assert axes[1].lines[0].get_color() == method("Adam")["color"]
    broken = mutant(figures.time_figure, "_median(race.times)", "race.times.min(1)")
    assert broken(SIZES, {"Adam": race}, {})[0].lines[0].get_ydata()[0] != 20


def test_the_guides_have_the_slopes_they_are_named_after():
    below = figures.time_figure(SIZES, {"Adam": raced(1)}, {})[1]
    for line, text, slope in zip(below.lines, below.texts, (2, 1), strict=True):
        x, y = np.log(line.get_xydata()).T
        assert np.diff(y) / np.diff(x) == pytest.approx(slope)
        assert text.get_text() == ("$S^2$" if slope == 2 else "$S$")
        assert text.xy == pytest.approx(line.get_xydata()[1])


def test_the_table_has_medians_intervals_and_exponents():
    table = figures.time_table(SIZES, {"one": raced(1), "flat": raced(0)})
    assert list(table.columns) == ["S = 1", "S = 10", "S = 100", "S = 1000", "exponent"]
    assert table.loc["one", "S = 10"].startswith("200 [")
    assert table.loc["one", "exponent"] == "1.00 [1.00, 1.00]"
    assert table.loc["flat", "exponent"] == "0.00 [0.00, 0.00]"


def test_a_table_of_cases_has_a_column_for_each():
    table = figures.case_table(["equal", "large", "larger", "largest"], {"Adam": raced(1)})
    assert list(table.columns) == ["equal", "large", "larger", "largest"]
    assert [text.split()[0] for text in table.loc["Adam"]] == ["20", "200", "2,000", "20,000"]


def test_what_did_not_come_home_has_neither_a_median_nor_an_exponent():
    race = raced(1)
    race.times[1:] = np.inf
    table = figures.time_table(SIZES, {"lost": race})
    assert table.loc["lost", "S = 100"] == table.loc["lost", "exponent"] == "–"
    assert rows.slope(SIZES, race) == "–"


def test_paces_start_equal_in_weights_and_a_thousandfold_in_the_prediction():
    axes = figures.pace_figure(BIG, {"fast": Adam(1.0, eps=0.0), "calm": Adam(0.003, eps=0.0)}, 5)
    first = [[line.get_ydata()[0] for line in panel.lines] for panel in axes]
    np.testing.assert_allclose(first[0], [1, 1, 0.003, 0.003], rtol=1e-12)
    np.testing.assert_allclose(first[1], [1000, 1, 3, 0.003], rtol=1e-12)


def test_the_points_of_adam_and_adagrad_lie_on_the_formula_and_those_of_rmsprop_below():
    lines = figures.response_figure(eps=1e-5).lines
    for line in lines[1:3]:
        x, y = line.get_xydata().T
        np.testing.assert_allclose(y, response(x), rtol=1e-12)
    x, y = lines[3].get_xydata().T
    np.testing.assert_allclose(y, response(x / 10), rtol=1e-12)


def test_a_table_of_formats_names_what_is_no_number():
    row = dict(zip(FORMATS, (np.nan, np.inf, -np.inf, 2519.9), strict=True))
    table = figures.format_table({"case": {"Adam": row, "other": row}}, ("Adam",))
    assert table.loc[("case", "Adam")].tolist() == ["NaN", "∞", "−∞", "2,520"]
    assert list(table.columns) == list(FORMATS)


def test_decay_runs_lose_what_the_closed_form_says():
    decays = (1e-6, 1e-2)
    lost = figures.decay_runs(decays, steps=50, lr=1e-2)
    assert lost["coupled"].shape == (51, 2)
    np.testing.assert_allclose(lost["decoupled"][-1], 1 - (1 - 1e-2 * np.array(decays)) ** 50, atol=1e-13)
    assert (lost["coupled"][-1] > 0.3).all()
    axes = figures.decay_figure((1e-6, 1e-4, 1e-2), figures.decay_runs((1e-6, 1e-4, 1e-2), steps=20))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "coupled, all 3 λ: the curves coincide",
        *(f"decoupled, $\\lambda = 10^{{-{k}}}$" for k in (6, 4, 2)),
    ]
    assert axes.lines[-1].get_ydata()[-1] == pytest.approx(1 - (1 - 1e-5) ** 20, rel=1e-9)
