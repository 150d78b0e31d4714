"""House style of the book's figures: one look, one colour and marker per method in every chapter."""

import matplotlib.pyplot as plt
import seaborn as sns

# Okabe & Ito (2008): distinguishable with every common form of colour blindness. Related methods share a
# hue family and differ in marker and line, so that no reading rests on colour alone.
_BLACK, _ORANGE, _SKY, _GREEN, _BLUE, _RED, _PURPLE, _GREY = (
    "#000000", "#B87700", "#2F8FC4", "#00805F", "#0072B2", "#D55E00", "#B5568C", "#6B6B6B",
)  # fmt: skip

_METHODS = {
    "SGD": (_GREY, "o", "-"),
    "heavy ball": (_GREY, "s", "--"),
    "clipped SGD": (_GREY, "v", ":"),
    "sign": (_PURPLE, "D", "-"),
    "sign, 1/√t": (_PURPLE, "d", "--"),
    "AdaGrad": (_RED, "^", "-"),
    "clipped AdaGrad": (_RED, "v", ":"),
    "RMSProp": (_GREEN, "P", "-"),
    "Adam": (_BLUE, "o", "-"),
    "Adam, β₂ = 0.99": (_BLUE, "s", "--"),
    "Adam, β₂ = 0.9": (_BLUE, "D", ":"),
    "AMSGrad": (_SKY, "X", "-"),
    "AdaBelief": (_SKY, "*", "--"),
    "EWMA": (_BLACK, "h", ":"),
    "reference": (_BLACK, "", "--"),
    "natural gradient": (_ORANGE, "p", "-"),
}

VERDICT_COLOURS = {"holds": "#00805F", "holds only if": "#B87700", "fails": "#C2410C", "open": "#6B6B6B"}


def method(name: str) -> dict:
    """Line properties of a method, the same in every chapter: plt.plot(t, x, **method("Adam")).

    A variant takes its family's style: the longest known name that `name` begins with.
    """
    known = [known for known in _METHODS if name.startswith(known)]
    colour, marker, line = _METHODS[max(known, key=len)] if known else (_BLACK, "", "-.")
    return {"color": colour, "marker": marker, "linestyle": line, "label": name, "markevery": 0.12, "markersize": 5}


def house_style() -> None:
    """Set the look of every figure of a chapter; call once, with the imports."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind", font_scale=0.95)
    plt.rcParams.update(
        {
            "figure.figsize": (6.8, 4.0),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
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
