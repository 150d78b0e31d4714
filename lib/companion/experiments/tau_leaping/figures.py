"""The figures of the chapter on tau-leaping; what they show is computed in `theory`, `accuracy` and `race`."""

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

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


def demand_figure(demands: dict, straight: dict):
    """Longest admissible steps against activity, both relative to the lowest; `straight` draws the rules that are compared."""
    _, axes = plt.subplots(figsize=(WIDTH, 4.2))
    marks = "osD^vP"
    colours = ("#000000", "#B87700", "#B5568C", "#00805F", "#0072B2", "#D55E00")
    for (name, d), marker, colour in zip(demands.items(), marks, colours, strict=False):
        axes.plot(
            d.activity / d.activity[0],
            d.step / d.step[0],
            marker=marker,
            color=colour,
            label=f"{name}: {round(d.slope, 2) + 0.0:g}",
        )
    for (name, d), line in zip(straight.items(), (":", "--"), strict=False):
        axes.plot(
            d.activity / d.activity[0],
            d.step / d.step[0],
            ls=line,
            color="#6B6B6B",
            label=f"{name}: {round(d.slope, 2) + 0.0:g}",
        )
    axes.set(xscale="log", yscale="log", xlabel="activity, relative", ylabel="longest step, relative")
    legend_below(axes, ncols=1)
    return axes


def rest_figure(rests: dict):
    """Lengths of Cao's leaps at rest, {level: Rest}, a panel for each level; the line is the limit of stability."""
    _, axes = panels(len(rests), 1.5)
    for panel, (level, rest) in zip(axes, rests.items(), strict=True):
        panel.hist(rest.z, np.linspace(0, 6, 121), density=True, color="#B5568C")
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
            cost, error = zip(*((s[rule].cost, s[rule].error.mean()) for s in scores), strict=True)
            panel.plot(cost, error, color=colour, marker=marker, ls=line, label=rule)
        panel.axhspan(1e-3, np.quantile(floors[problem], 0.95), color="#6B6B6B", alpha=0.2, lw=0)
        low = 0.5 * floors[problem].mean()
        panel.set(xscale="log", yscale="log", title=problem, ylim=(low, None))
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(lambda cost, _: f"{cost:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    for panel in axes[-1]:
        panel.set_xlabel("work per run")
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
    return axes
