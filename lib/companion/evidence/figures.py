"""House style of the book's figures: one look, one colour and marker per method in every chapter."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from stepsize import matrix_rules
from stepsize.signals import ZOO

#: Inches. At a phone's 360 pixels the smallest letters are still 8 pixels high.
WIDTH = 6.5

# Okabe & Ito (2008): distinguishable with every common form of colour blindness. Related methods share a
# hue family. Two methods whose colours some eye confuses differ in marker and in line (tests/evidence/test_figures.py).
_BLACK, _ORANGE, _SKY, _GREEN, _BLUE, _RED, _PURPLE, _GREY = (
    "#000000", "#B87700", "#2F8FC4", "#00805F", "#0072B2", "#D55E00", "#B5568C", "#6B6B6B",
)  # fmt: skip

_METHODS = {
    "SGD": (_GREY, "o", "-"),
    "heavy ball": (_GREY, "s", "--"),
    "clipped SGD": (_GREY, "v", ":"),
    "clipped heavy ball": (_GREY, "<", (0, (6, 2, 1, 2))),
    "standardised SGD": (_GREY, "X", (0, (2, 2))),
    "normalised SGD": (_GREY, "^", (0, (8, 1, 1, 1))),
    "sign": (_PURPLE, "D", "-."),
    "sign, 1/√t": (_PURPLE, "d", (0, (1, 1))),
    "AdaGrad": (_RED, "^", "-"),
    "clipped AdaGrad": (_RED, "v", ":"),
    "RMSProp": (_GREEN, "P", (0, (6, 1.5))),
    "clipped RMSProp": (_GREEN, ">", (0, (2, 3))),
    "Adam": (_BLUE, "o", "-"),
    "Adam, β₂ = 0.99": (_BLUE, "s", "--"),
    "Adam, β₂ = 0.9": (_BLUE, "D", ":"),
    "AdamW": (_BLUE, "p", (0, (8, 2))),
    "clipped Adam": (_BLUE, "v", "-."),
    "pooled Adam": (_SKY, (5, 0, 36), (0, (2, 2, 6, 2))),
    "AMSGrad": (_SKY, "X", (0, (5, 1))),
    "AdaBelief": (_SKY, "*", (0, (3, 1, 1, 1, 1, 1))),
    "full AdaGrad": (_RED, "8", (0, (4, 1, 1, 1))),
    "online Newton": (_RED, "h", (0, (9, 1, 3, 1))),
    "AdaHessian": (_SKY, "H", (0, (11, 1))),
    "BFGS": (_ORANGE, ">", (0, (10, 1))),
    "lazy BFGS": (_ORANGE, "<", (0, (1, 2))),
    "damped BFGS": (_ORANGE, "H", (0, (2, 1, 1, 1))),
    "online BFGS": (_ORANGE, "1", (0, (3, 2))),
    "SQN": (_ORANGE, "2", (0, (7, 2))),
    "Auto-PGD": (_BLACK, "s", (0, (4, 2))),
    "EWMA": (_BLACK, "h", ":"),
    "implicit SGD": (_ORANGE, "*", "--"),
    "reference": (_BLACK, "", "--"),
    "risk-averse": (_BLACK, "D", (0, (6, 1, 1, 1))),
    "M-SVAG": (_GREEN, (4, 1, 0), (0, (2, 1))),
    "inverse deviation": (_ORANGE, (6, 2, 0), (0, (9, 2))),
    "natural gradient": (_ORANGE, "p", (0, (5, 1, 1, 1))),
    "diagonal Fisher": (_ORANGE, "+", (0, (1, 3))),
    "static rate": (_ORANGE, (3, 0, 180), (0, (2, 1, 2, 4))),
    "empirical Fisher": (_ORANGE, "x", (0, (4, 1, 1, 1, 1, 1))),
    "FedAvg": (_GREY, "8", (0, (7, 1, 1, 1))),
    "inverse variance": (_BLUE, "h", (0, (3, 1))),
    "random effects": (_GREEN, "d", (0, (1, 1.5))),
    "q-FFL": (_RED, (5, 2, 0), (0, (5, 2, 1, 2))),
    "SGD, 1/√count": (_GREY, (5, 1, 0), (0, (11, 2))),
    "lazy Adam": (_PURPLE, (3, 1, 0), (0, (9, 1))),
    "lazy Adam, shared clock": (_PURPLE, (6, 1, 0), (0, (2, 1.5))),
    "lazy Adam × D(gap)": (_SKY, (4, 2, 0), (0, (4, 1, 1, 1, 1, 1, 1, 1))),
    "schedule-free": (_BLUE, (5, 0, 0), (0, (13, 1, 1, 1))),
    "AdaBayes": (_RED, (4, 1, 45), (0, (3, 1, 1, 2))),
    "IVON": (_PURPLE, "P", (0, (10, 2, 2, 2))),
}


def _spare(k: int) -> tuple:
    """The k-th style that no method above has: a star or polygon of 7 corners or more, a long dash and k + 1 dots."""
    colour = (_PURPLE, _SKY, _GREEN, _ORANGE, _RED, _BLUE, _BLACK)[k % 7]
    return colour, (7 + k // 3, (k + 1) % 3, 0), (0, (12, 2) + (1, 2) * (k + 1))


# a rule of the library that has no style above gets the next spare one
_NEW = [name for name in (*ZOO, *matrix_rules.__all__) if name not in _METHODS]
_METHODS |= {name: _spare(k) for k, name in enumerate(_NEW)}


def method(name: str) -> dict:
    """Line properties of a method, the same in every chapter: plt.plot(t, x, **method("Adam")).

    A variant takes its family's style: the longest known name that `name` begins with. Markers of different
    methods start apart, so that curves that coincide still show both.
    """
    family = max((known for known in _METHODS if name.startswith(known)), key=len, default=None)
    colour, marker, line = _METHODS.get(family, (_BLACK, "", "-."))
    start = 0.02 * (list(_METHODS).index(family) % 6) if family else 0.0
    return {
        "color": colour, "marker": marker, "linestyle": line, "label": name, "markevery": (start, 0.12), "markersize": 5,
    }  # fmt: skip


def panels(rows: int = 1, height: float = 2.0, **kwargs):
    """A figure of house width with panels one above the other, which a phone can show; they share their x axis."""
    return plt.subplots(rows, figsize=(WIDTH, 0.6 + height * rows), **({"sharex": True} | kwargs))


def band(axes, x, runs, name: str, statistic=np.median, spread=(0.25, 0.75)) -> None:
    """The middle of many runs, shape (len(x), ...), as a method's line, with the range between two quantiles shaded."""
    runs = np.reshape(runs, (len(x), -1))
    style = method(name)
    axes.plot(x, statistic(runs, axis=1), **style)
    axes.fill_between(x, *np.quantile(runs, spread, axis=1), color=style["color"], alpha=0.18, linewidth=0)


def ends(intervals) -> np.ndarray:
    """Rows low, estimate and high of several `Interval`s, (3, n), as `error_bars` draws them."""
    return np.transpose([(i.low, i.estimate, i.high) for i in intervals])


def error_bars(axes, places, low, middle, high, horizontal: bool = False, joined: bool = False, **style):
    """Points `middle` with bars from `low` to `high`, all (n,), at `places`; `style` may be that of a `method`."""
    style = {"capsize": 2} | style | {"markevery": None} | ({} if joined else {"linestyle": ""})
    if horizontal:
        return axes.errorbar(middle, places, xerr=[middle - low, high - middle], **style)
    return axes.errorbar(places, middle, yerr=[middle - low, high - middle], **style)


def forest(axes, rows: dict, spread: float = 0.6) -> None:
    """Ratios as points with their intervals: rows[row][method] is an `Interval` of a logarithm, each method in its own style.

    The x axis is logarithmic with a line at 1; the rows go down.
    """
    for k, row in enumerate(rows.values()):
        for shift, (name, i) in zip(np.linspace(-spread / 2, spread / 2, len(row)), row.items(), strict=True):
            style = method(name) | {"label": None if k else name}
            error_bars(axes, [k + shift], *np.exp(ends([i])), horizontal=True, **style)
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xscale("log")
    for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        which(lambda x, _: f"{x:g}" if f"{x:.0e}"[0] in "125" else "")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()


def plain_ticks(axis, values) -> None:
    """Ticks at these values alone, written out: for a logarithmic axis over few decades."""
    axis.set_ticks(values, [f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)


def legend_below(axes, ncols: int) -> None:
    """One legend for the figure, below its panels: that of `axes`, one of them."""
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=ncols)


def house_style() -> None:
    """Set the look of every figure of a chapter; call once, with the imports."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    # said where drawing took over a second, on a busy machine of any figure; a warning would stop the chapter
    warnings.filterwarnings("ignore", 'Creating legend with loc="best" can be slow')
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 4.0),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            # matplotlib brings this font along, so that a picture is the same on every machine that draws it;
            # readers without it see the next one, which is no wider
            "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "legend.fontsize": "small",
            "lines.linewidth": 1.6,
            "svg.fonttype": "none",
            "svg.hashsalt": "stepsize",
            "savefig.bbox": "tight",
        }
    )
    # vector pictures stay sharp at every zoom; a fixed salt and no date keep two builds equal byte for byte
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    set_matplotlib_formats("svg", metadata={"Date": None})
    if "inline" in plt.get_backend():
        # after each cell pyplot would draw every figure a second time, to pixels that nobody sees
        plt.switch_backend(plt.get_backend())
        plt.uninstall_repl_displayhook()
