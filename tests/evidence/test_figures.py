"""The house style: visible on white and on black, told apart by any eye, and the same file twice."""

import io
import itertools
import os
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from companion.build.pages import VERDICT_COLOURS
from companion.evidence import Interval, figures
from companion.evidence.figures import band, ends, error_bars, house_style, method, panels, plain_ticks
from stepsize import matrix_rules
from stepsize.signals import ZOO

NAMES = list(figures._METHODS)
COLOURS = sorted({method(name)["color"] for name in NAMES} | set(VERDICT_COLOURS.values()))

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.fixture(autouse=True)
def _house():
    with matplotlib.rc_context():
        house_style()
        yield
    plt.close("all")


def linear(colour):
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """Contrast ratio of two linear RGB colours.  WCAG 2.1, 1.4.3."""
    low, high = sorted(0.05 + np.array([0.2126, 0.7152, 0.0722]) @ c for c in (a, b))
    return high / low


def lab(rgb):
    """CIE L*a*b* of linear sRGB under D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(np.clip(xyz, 1e-4, None) / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def inverted(colour):
    """What `filter: invert(1) hue-rotate(180deg)` makes of a colour, on linear RGB."""
    lum = np.array([0.213, 0.715, 0.072])
    turned = 2 * lum @ (1 - np.array(to_rgb(colour))) - (1 - np.array(to_rgb(colour)))
    return linear(np.clip(turned, 0, 1))


def test_every_colour_stands_out_from_white_paper():
    assert {c for c in COLOURS if contrast(linear(c), np.ones(3)) < 3} == set()


def test_every_colour_stands_out_from_a_dark_page():
    assert {c for c in COLOURS if contrast(inverted(c), linear("#121212")) < 3} == set()


def alike(a, b):
    """Whether some eye may take the curves of two methods for each other."""
    one, two = method(a), method(b)
    if one["linestyle"] != two["linestyle"] and one["marker"] != two["marker"]:
        return False
    seen = [np.linalg.norm(np.subtract(*(lab(np.clip(m @ linear(s["color"]), 0, 1)) for s in (one, two))))
            for m in map(np.asarray, BLINDNESS.values())]  # fmt: skip
    return min(seen) < 15


def test_two_methods_differ_in_line_and_marker_or_in_colour_for_every_eye():
    assert [pair for pair in itertools.combinations(NAMES, 2) if alike(*pair)] == []


def test_two_methods_of_one_style_would_be_noticed(monkeypatch):
    monkeypatch.setitem(figures._METHODS, "twin", figures._METHODS["Adam"])
    assert alike("Adam", "twin")


def test_every_rule_of_the_library_has_a_style():
    assert {*ZOO, *matrix_rules.__all__} <= set(NAMES)


def test_ten_more_rules_would_have_styles_of_their_own(monkeypatch):
    spare = map(figures._spare, range(18))
    more = {f"rule {k}": style for k, style in enumerate(spare) if style not in figures._METHODS.values()}
    monkeypatch.setattr(figures, "_METHODS", figures._METHODS | more)
    assert not [pair for pair in itertools.combinations(figures._METHODS, 2) if set(pair) & set(more) and alike(*pair)]
    assert len(more) >= 10
    plt.plot(range(9), **method("rule 17"))
    plt.gcf().canvas.draw()


def test_a_method_looks_the_same_wherever_it_is_drawn():
    assert method("Adam") == method("Adam")
    assert method("Adam, lr = 0.1")["color"] == method("Adam")["color"]
    assert method("Adam, β₂ = 0.9, tuned")["linestyle"] == method("Adam, β₂ = 0.9")["linestyle"]


def test_an_unknown_method_is_drawn_in_black():
    assert method("something new")["color"] == "#000000"


def svg():
    """Some figure with all that may vary: clip paths, markers, mathematics, a band, a legend."""
    figure, (above, below) = panels(2)
    t = np.arange(50)
    for name in NAMES:
        above.plot(t, np.sin(t / 9), **method(name))
    band(below, t, np.random.default_rng(0).normal(size=(50, 9)), "Adam")
    below.set(xlabel="step $t$", ylabel="α / √v")
    above.legend(NAMES[:3])
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def test_a_figure_is_the_same_file_twice():
    assert svg() == svg()


def test_without_the_salt_it_would_differ():
    plt.rcParams["svg.hashsalt"] = None
    assert svg() != svg()


@pytest.mark.slow
def test_a_notebook_draws_a_figure_for_its_picture_alone():
    """pyplot's own drawing after each cell, to pixels, is off; the cell's picture comes all the same."""
    pytest.importorskip("matplotlib_inline")
    cell = (
        "from companion.evidence.figures import house_style, plt; house_style()\n"
        "from matplotlib.figure import Figure; draw, seen = Figure.draw, []\n"
        "Figure.draw = lambda self, r: (seen.append(type(r).__name__), draw(self, r))[1]\n"
        "plt.plot([1, 2])"
    )
    code = (
        "from IPython.testing.globalipapp import start_ipython; shell = start_ipython()\n"
        "shell.display_formatter.active_types = ['image/svg+xml']\n"
        f"shell.run_cell({cell!r})\n"
        "print('draws', *set(shell.user_ns['seen']))"
    )
    env = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert "draws MixedModeRenderer" in run.stdout.splitlines(), run.stdout + run.stderr


def test_the_smallest_letters_are_eight_pixels_high_on_a_phone():
    figure, axes = panels()
    axes.plot([1, 2], **method("Adam"))
    axes.legend()
    axes.set_title("title")
    figure.canvas.draw()
    sizes = [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    phone = 360 / (72 * figures.WIDTH)
    assert min(sizes) * phone >= 7.5


def test_a_band_spans_the_quantiles_of_the_runs():
    _, axes = panels()
    runs = np.tile(np.arange(101.0), (4, 1))
    band(axes, np.arange(4), runs, "Adam")
    (line,), (area,) = axes.lines, axes.collections
    assert np.all(line.get_ydata() == 50)
    corners = area.get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (25, 75)


def test_panels_share_their_axis_and_the_width_of_the_page():
    figure, axes = panels(3)
    assert figure.get_figwidth() == figures.WIDTH
    assert axes[0].get_shared_x_axes().joined(axes[0], axes[2])


@pytest.mark.parametrize("horizontal", [False, True])
def test_error_bars_reach_from_the_lower_to_the_upper_end_of_each_interval(horizontal):
    _, axes = panels()
    spans = ends([Interval(2.0, 1.0, 4.0, "t", 9), Interval(3.0, 3.0, 3.5, "t", 9)])
    drawn = error_bars(axes, [7, 8], *spans, horizontal=horizontal, **method("Adam"))
    across = slice(None, None, -1 if horizontal else 1)
    np.testing.assert_array_equal(drawn.lines[0].get_xydata()[:, across], [[7, 2], [8, 3]])
    bars = np.array(drawn.lines[2][0].get_segments())[..., across]
    np.testing.assert_array_equal(bars, [[[7, 1], [7, 4]], [[8, 3], [8, 3.5]]])
    assert drawn.lines[0].get_linestyle() == "None"
    assert error_bars(axes, [7, 8], *spans, joined=True).lines[0].get_linestyle() == "-"


def test_plain_ticks_stand_alone_and_are_written_out():
    _, axes = panels()
    axes.set_yscale("log")
    plain_ticks(axes.yaxis, [0.5, 1, 20])
    axes.figure.canvas.draw()
    assert [label.get_text() for label in axes.get_yticklabels(which="both")] == ["0.5", "1", "20"]


def test_a_forest_draws_ratios_from_intervals_of_logarithms():
    fig, ax = plt.subplots()
    figures.forest(
        ax,
        {
            "one": {"Adam": Interval(np.log(2), np.log(1.5), np.log(3), "t", 9)},
            "two": {"Adam": Interval(0, -1, 1, "t", 9)},
        },
    )
    points = [container.lines[0].get_xydata()[0] for container in ax.containers]
    np.testing.assert_allclose(points, [[2, -0.3], [1, 0.7]])
    bar = ax.containers[0].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(bar[:, 0], [1.5, 3])
    fig.canvas.draw()
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_a_legend_that_was_slow_on_a_busy_machine_is_no_warning(in_house_style):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        house_style()
        warnings.warn('Creating legend with loc="best" can be slow with large amounts of data.', stacklevel=1)
        warnings.warn("another", stacklevel=1)
    assert [str(w.message) for w in said] == ["another"]
