"""The figures of the chapter on metrics; what they show is computed in `invariance`, `natural_gradient` and `half_plane`."""

import re

import numpy as np

from companion.evidence.figures import WIDTH, ends, error_bars, legend_below, method, panels, plt
from stepsize.metric import unit_circle

from .natural_gradient import mixed

ROUNDING = 1e-9
_LABELS = {"geodesic": "geodesic", "natural gradient": "natural flow", "SGD": "gradient flow", "Adam": "Adam"}


def table_figure(rules, actions, defects):
    """Defects (rules, actions, runs) as a table: green and the largest where all are rounding, else purple and the smallest."""
    _, axes = plt.subplots(figsize=(WIDTH, 5.0))
    same = defects.max(-1) < ROUNDING
    shown = np.where(same, defects.max(-1), defects.min(-1))
    axes.imshow(np.log10(np.maximum(shown, 1e-17)), cmap="PRGn_r", vmin=-17, vmax=9, aspect="auto")
    for (i, j), value in np.ndenumerate(shown):
        power = f"$10^{{{np.log10(value):.0f}}}$" if 0 < value < ROUNDING else f"{value:.2g}"
        axes.text(j, i, power, ha="center", va="center", color="white" if same[i, j] else "black", weight="bold")
    axes.set_xticks(range(len(actions)), [name.replace(", ", ",\n") for name in actions])
    axes.set_yticks(range(len(rules)), [re.sub(r"([vV])\^(\S+)", r"$\1^{\2}$", rule) for rule in rules])
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(False)
    return axes


def batch_figure(information, moments: dict):
    """B v against the Fisher information, both (runs, d), a panel for each batch size B: v of `moments`."""
    _, axes = panels(len(moments), 2.1)
    ends = np.array([information.min(), information.max()])
    for panel, (batch, v) in zip(axes, moments.items(), strict=True):
        panel.plot(information.ravel(), batch * v.ravel(), ".", ms=4, color=method("Adam")["color"], rasterized=True)
        panel.plot(ends, ends, **method("reference") | {"label": "$B v = F$"})
        panel.set(xscale="log", yscale="log", ylabel="$B\\,v$", title=f"batch of {batch}")
    axes[0].legend()
    axes[-1].set_xlabel("diagonal of the Fisher information")
    return axes


def balls_figure(seed: int, correlations=(0.0, 0.8)):
    """Unit balls of equal area on a regression with two weights: Euclid, Fisher, v and its root."""
    _, axes = panels(len(correlations), 2.7)
    for panel, correlation in zip(axes, correlations, strict=True):
        model = mixed(correlation, seed)
        point = 0.5 * model.minimiser()
        v = np.diagonal(model.empirical(point)[0])
        balls = {
            ("reference", "Euclid"): np.eye(2),
            ("natural gradient", "Fisher"): model.fisher(point)[0],
            ("RMSProp", "$v$"): np.diag(v),
            ("Adam", r"$\sqrt{v}$"): np.diag(np.sqrt(v)),
        }
        for (name, label), G in balls.items():
            panel.plot(*unit_circle(G).T, **method(name) | {"label": label, "marker": ""})
        panel.set(aspect="equal", title=f"correlation {correlation:g}", ylabel="$x_2$", ylim=(-1.3, 1.3))
    axes[-1].set_xlabel("$x_1$")
    legend_below(axes[0], ncols=4)
    return axes


def angle_figure(apart: dict, names=("empirical Fisher", "diagonal Fisher", "Adam, g / √v", "sign", "SGD")):
    """Mean angles to the natural gradient, kind by kind: strong in Euclid's metric, pale in the Fisher metric."""
    _, axes = plt.subplots(figsize=(WIDTH, 4.6))
    for row, angles in enumerate(apart.values()):
        for k, name in enumerate(names):
            style = method(name)
            for alpha, value in zip((1, 0.4), angles[name].mean(-1), strict=True):
                axes.plot(
                    value, row + 0.13 * (k - 2), marker=style["marker"], color=style["color"], alpha=alpha, ms=7, ls="",
                    label=name if row == 0 and alpha == 1 else None,
                )  # fmt: skip
    axes.set(xlabel="degrees away from the natural gradient", xlim=(0, 92))
    axes.set_yticks(range(len(apart)), list(apart))
    axes.invert_yaxis()
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return axes


def race_figure(middle: dict, cap: int):
    """Steps with their intervals, {(method, kind): Interval}, one panel for each kind; on the dotted line: not within `cap`."""
    names, kinds = (list(dict.fromkeys(key[k] for key in middle)) for k in (0, 1))
    _, axes = plt.subplots(-(-len(kinds) // 2), 2, figsize=(WIDTH, 5.4), sharex=True, sharey=True)
    for panel, kind in zip(axes.flat, kinds, strict=True):
        for row, name in enumerate(names):
            error_bars(panel, [row], *ends([middle[name, kind]]), horizontal=True, **method(name))
        panel.axvline(cap + 1, color="black", ls=":", lw=0.8)
        panel.annotate(
            "limit",
            (cap + 1, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
        )
        panel.set(xscale="log", title=kind)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    for panel in axes[-1]:
        panel.set_xlabel("steps")
    return axes


def race_table(raced: dict, middle: dict):
    """Median steps and the chosen rate of every method, {(method, kind): Choice}, a column for each kind; a star: at the edge of its grid."""
    import pandas as pd

    table = {}
    for (name, kind), run in raced.items():
        lr = f"{run.lr:.2g}{'*' if run.at_edge else ''}"
        table.setdefault(kind, {})[name] = f"{middle[name, kind].estimate:.0f} (rate {lr})"
    return pd.DataFrame(table)


def degrees_table(apart: dict):
    """Mean degrees from the natural gradient, {kind: {direction: (2, runs)}}: Euclid's metric, and in brackets the Fisher metric."""
    import pandas as pd

    columns = {
        kind: {name: "{:.1f} ({:.1f})".format(*degrees.mean(-1)) for name, degrees in angles.items()}
        for kind, angles in apart.items()
    }
    return pd.DataFrame(columns)


def distance_figure(distances, needed: dict):
    """Steps against the distance D of the start, counts (distances, runs) of each method: median and quartiles; dashed, 3/2 D^2."""
    _, axes = plt.subplots(figsize=(WIDTH, 3.6))
    for name, count in needed.items():
        error_bars(axes, distances, *np.quantile(count, [0.25, 0.5, 0.75], axis=1), joined=True, **method(name))
    axes.plot(distances, 1.5 * np.square(distances), **method("reference") | {"label": r"$\frac{3}{2} D^2$"})
    axes.set(xscale="log", yscale="log", xlabel="distance $D$ of the start from the minimiser", ylabel="steps")
    axes.legend()
    return axes


def path_figure(paths: dict):
    """Paths {(method, chart): (points, starts, 2)} on the half-plane, one panel for each chart."""
    charts = list(dict.fromkeys(chart for _, chart in paths))
    _, axes = panels(len(charts), 2.8, sharey=True, squeeze=False)
    axes = axes[:, 0]
    for panel, chart in zip(axes, charts, strict=True):
        for name, label in _LABELS.items():
            for k, path in enumerate(np.moveaxis(paths[name, chart], 1, 0)):
                style = method("reference" if name == "geodesic" else name)
                panel.plot(*path.T, **style | {"marker": "", "label": "" if k else label})
        panel.plot(0, 1, "o", color="0.1")
        panel.set(title=f"walked in ({chart})", ylabel="σ")
    axes[0].legend(ncols=2)
    axes[-1].set_xlabel("μ")
    return axes
