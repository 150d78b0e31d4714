"""The figures of the chapter on tau-leaping; what they show is computed in `theory`, `accuracy` and `race`."""

import numpy as np

from companion.evidence import bootstrap, student
from companion.evidence.figures import WIDTH, ends, error_bars, legend_below, method, panels, plain_ticks, plt

from .theory import stationary_inflation

#: Step-size rules of simulation: colour, marker, line.
_SELECTORS = {
    "relative change": ("#B5568C", "D", "-"),
    "fixed": ("#6B6B6B", "o", "-"),
    "1 / activity": ("#D55E00", "^", "--"),
    "absolute change": ("#0072B2", "s", "-."),
}
_ORDERS = (("#000000", "o", "-"), ("#B87700", "s", "--"), ("#0072B2", "^", "-."))


def law_figure(zs, leaps, sgd):
    """Variance over its small-step limit against the step z: the law, and the clouds of two ensembles with two standard errors."""
    _, axes = plt.subplots(figsize=(WIDTH, 3.8))
    fine = np.linspace(0, 1.96, 400)
    axes.plot(fine, stationary_inflation(fine), **method("reference") | {"label": "$1/(1 - z/2)$"})
    for name, spread, colour, marker, shift in (
        ("molecules, $z = c\\tau$", leaps, "#B5568C", "D", -0.012),
        ("SGD, $z = \\alpha h$", sgd, method("SGD")["color"], "o", 0.012),
    ):
        bars = spread.ratio + 2 * spread.error * np.array([[-1], [0], [1]])
        error_bars(axes, np.asarray(zs) + shift, *bars, marker=marker, color=colour, label=name)
    axes.axvline(2, color="black", lw=0.8)
    axes.set(yscale="log", xlabel="step $z$", ylabel="variance over its small-step limit", xlim=(0, 2.06))
    plain_ticks(axes.yaxis, [1, 2, 5, 10, 20])
    axes.legend(loc="upper left")
    return axes


def demand_figure(demands: dict, chosen: dict):
    """Longest admissible steps against activity, both relative to the lowest; `chosen`, dashed, are the rules that are compared.

    Lines of one exponent coincide; their names stand together at the right end.
    """
    _, axes = plt.subplots(figsize=(WIDTH, 5.4))
    ends_at = {}
    for name, d in (demands | chosen).items():
        dashed = {"color": "#6B6B6B", "ls": "--"} if name in chosen else {"color": "#0072B2", "marker": "o"}
        axes.plot(d.activity / d.activity[0], d.step / d.step[0], **dashed)
        ends_at.setdefault(round(d.slope, 2) + 0.0, []).append(name)
    last = max((d.activity / d.activity[0]).max() for d in demands.values())
    slopes = sorted(ends_at)
    for slope, below, above in zip(slopes, [-np.inf, *slopes], [*slopes[1:], np.inf], strict=False):
        text = "\n".join([f"exponent {slope:g}".replace("-", "−"), *ends_at[slope]])
        side = "bottom" if slope - below < 0.3 else "top" if above - slope < 0.3 else "center"
        axes.annotate(text, (last, last**slope), (10, 0), textcoords="offset points", va=side, fontsize="small")
    axes.set(xscale="log", yscale="log", xlabel="activity, relative", ylabel="longest step, relative")
    axes.set_box_aspect(1.6)
    return axes


def rest_figure(rests: dict):
    """Lengths of Cao's leaps at rest, {level: Rest}, a panel for each level; the line is the limit of stability."""
    _, axes = panels(len(rests), 1.5)
    for panel, (level, rest) in zip(axes, rests.items(), strict=True):
        panel.hist(rest.z, np.linspace(0, 6, 121), density=True, color="#B5568C", histtype="stepfilled")
        panel.axvline(2, color="black")
        panel.set(title=f"mean {level:,}: variance {rest.ratio:.3g} times the true one", yticks=[])
    axes[-1].set_xlabel("length of a leap in units of the relaxation time")
    return axes


def work_figure(curves: dict, floors: dict):
    """Distance to the true law against work: {problem: [{rule: Score}]}; the band is what sampling alone would show."""
    rows = -(-len(curves) // 2)
    _, axes = plt.subplots(rows, 2, figsize=(WIDTH, 2.5 * rows + 0.4), squeeze=False)
    for panel, (problem, scores) in zip(axes.flat, curves.items(), strict=True):
        for rule, (colour, marker, line) in _SELECTORS.items():
            cost, error = zip(*((s[rule].cost, s[rule].error[:, -1].mean()) for s in scores), strict=True)
            panel.plot(cost, error, color=colour, marker=marker, ls=line, label=rule)
        panel.axhspan(1e-3, np.quantile(floors[problem], 0.95), color="#6B6B6B", alpha=0.2, lw=0)
        low = 0.5 * floors[problem].mean()
        panel.set(xscale="log", yscale="log", title=problem, ylim=(low, None))
        low, high = panel.get_ylim()
        plain_ticks(panel.yaxis, [tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10) if low <= tick <= high])
        plain_ticks(panel.xaxis, [round(s["relative change"].cost) for s in scores])
    for panel in axes[-1]:
        panel.set_xlabel("leaps per run")
    for panel in axes[:, 0]:
        panel.set_ylabel("distance / sd")
    legend_below(axes[0, 0], ncols=4)
    return axes


def depth_figure(factors, gains: dict):
    """Error of a fixed step over that of Cao's rule at equal work, {order: (factors, repeats) of logarithms}."""
    _, axes = plt.subplots(figsize=(WIDTH, 3.6))
    for (order, logs), (colour, marker, line) in zip(gains.items(), _ORDERS, strict=False):
        error_bars(
            axes, factors[: len(logs)], *np.exp(ends(map(student, logs))), joined=True, color=colour, marker=marker,
            linestyle=line, label=f"order {order}: the time scale grows as factor$^{order - 1}$",
        )  # fmt: skip
    axes.axhline(1, color="black", lw=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="factor by which the count falls",
        ylabel="error of a fixed step\nover error of the rule",
    )
    plain_ticks(axes.xaxis, factors)
    plain_ticks(axes.yaxis, [0.5, 1, 2, 5, 10])
    axes.legend()
    return axes


def race_table(raced: dict):
    """A row for each rule: the learning rate and the floor that the tuning seeds chose, and the median loss on the others."""
    import pandas as pd

    rows = {
        name: {
            "rate": f"{t.lr:.2g}" + " (edge of the grid)" * t.at_edge,
            "floor": "" if t.setting is None else f"{t.setting:g}",
            "median loss": f"{np.median(t.scores):.2g}",
        }
        for name, t in raced.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def race_figure(raced: dict):
    """Median loss of each rule on the reporting seeds with its 95 % interval, lowest at the bottom."""
    _, axes = plt.subplots(figsize=(WIDTH, 3.2))
    for row, (name, tuned) in enumerate(raced.items()):
        style = method(name)
        style["marker"] = style["marker"] or "D"
        error_bars(axes, [row], *ends([bootstrap(tuned.scores, np.median)]), horizontal=True, **style)
    axes.set_yticks(range(len(raced)), list(raced))
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="loss at the end, median over seeds")
    low, high = axes.get_xlim()
    if high < 100 * low:
        steps = (digit * 10.0**power for power in range(-6, 3) for digit in (1, 2, 5))
        plain_ticks(axes.xaxis, [step for step in steps if low <= step <= high])
    return axes
