"""The figures and tables of a race through bursts; what they show is computed in `race`."""

import numpy as np

from companion.evidence import bootstrap, geometric
from companion.evidence.figures import WIDTH, ends, error_bars, method, panels, plain_ticks, plt

from .race import law

#: Methods and windows of `window_figure`, and methods of the two figures of real series.
SHOWN = ("AdaGrad", "RMSProp", "Adam", "Adam, β₂ = 0.99", "clipped AdaGrad", "implicit SGD", "EWMA")
WINDOWS = ("before", "burst", "recovery", "turn", "late")
DAILY = ("AdaGrad", "RMSProp", "implicit SGD", "EWMA")
EPIDEMIC = ("AdaGrad", "Adam", "implicit SGD", "EWMA")


def recovery_figure(pairs: dict, rules: dict, start: int, stop: int):
    """Rate (above) and step (below) with the burst over those of the twin; grey, the law of each rule."""
    _, (above, below) = panels(2, 2.9, sharex=False)
    for name, pair in pairs.items():
        time, style = np.arange(len(pair.ratio)), method(name)
        above.plot(time, geometric(pair.ratio, axis=1), **style)
        above.plot(time[stop:], law(pair, rules[name], stop), color="0.45", lw=0.9, zorder=3)
        near = slice(start - (stop - start) // 5, 2 * stop - start)
        steps = geometric(pair.length[0, near] / pair.length[1, near], axis=1)
        below.plot(time[near] - start, steps, **style | {"lw": 1.1})
    above.set(yscale="log", ylabel="rate / rate of the twin", xlabel="step")
    below.set(yscale="log", ylabel="step / step of the twin", xlabel="steps since the burst began")
    for axes, span in ((above, (start, stop)), (below, (0, stop - start))):
        axes.axhline(1, color="0.3", lw=0.8)
        axes.axvspan(*span, color="0.92", zorder=0)
    above.legend(loc="lower right")
    return above, below


def cost_figure(race):
    """Cost relative to AdaGrad with its interval: filled for the first goal of the race, open for the second. Tuned rules only."""
    _, axes = plt.subplots(figsize=(WIDTH, 5.4))
    first, *_ = race.cost
    tuned = [name for name, choice in race.tuned[first].items() if choice.curve.size]
    order = sorted(tuned, key=lambda name: geometric(race.ratio(name, goal=first)))
    for goal, shift in zip(race.cost, (-0.12, 0.12), strict=True):
        for row, name in enumerate(order):
            ratio, style = ends([bootstrap(race.ratio(name, goal=goal), geometric)]), method(name)
            style |= {"marker": style["marker"] or "o", "markersize": 6, "lw": 1.4, "capsize": 0}
            style["markerfacecolor"] = style["color"] if goal == first else "white"
            error_bars(axes, [row + shift], *ratio, horizontal=True, **style)
    axes.axvline(1, color="0.3", lw=0.8)
    axes.set(xscale="log", xlabel="KL per step relative to AdaGrad")
    axes.set_yticks(range(len(order)), order)
    plain_ticks(axes.xaxis, [0.2, 0.5, 1, 2])
    axes.invert_yaxis()
    return axes


def window_figure(race, names=SHOWN, windows=WINDOWS):
    """Cost per step of some methods, window by window, with intervals; tuned for the first goal."""
    _, axes = plt.subplots(figsize=(WIDTH, 4.2))
    cost = next(iter(race.cost.values()))
    for j, name in enumerate(names):
        spans = ends(bootstrap(cost[name][w], geometric) for w in windows)
        x = np.arange(len(windows)) + 0.06 * (j - len(names) // 2)
        error_bars(axes, x, *spans, **method(name) | {"lw": 1, "capsize": 0})
    axes.set(yscale="log", ylabel="KL per step")
    axes.set_xticks(range(len(windows)), windows)
    axes.legend(ncols=2)
    return axes


def daily_figure(date, counts, forecasts: dict, first: str, last: str, names=DAILY):
    """Counts a day, all members together, and the sums of the forecasts by some methods, each made before its hour, from `first` to `last`."""
    _, axes = plt.subplots()
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)

    def daily(values):
        return np.bincount((date - date[0]).astype(int), values.sum(1))[(days - date[0]).astype(int)]

    axes.plot(days, daily(counts), color="black", lw=2.6, label="observed", zorder=1)
    for name in names:
        if name in forecasts:
            axes.plot(days, daily(forecasts[name].mu), **method(name))
    axes.set(yscale="log", ylabel="counts a day")
    axes.tick_params(axis="x", rotation=30)
    axes.legend()
    return axes


def epidemic_figure(deaths, forecasts: dict, names=EPIDEMIC):
    """Deaths of every day of a year, a day without any drawn at 0.7, and forecasts of some methods, each made the day before."""
    _, axes = plt.subplots()
    axes.plot(np.maximum(deaths, 0.7), ".", color="0.6", markersize=4, label="deaths")
    for name in names:
        axes.plot(forecasts[name].mu[:, 0], **method(name) | {"lw": 1.2})
    axes.set(yscale="log", xlabel="day of 1849", ylabel="deaths a day")
    axes.legend()
    return axes


def _rate(choice) -> str:
    return f"{choice.lr:.2g}" + " (edge)" * choice.at_edge


def scores(race):
    """Learning rate, typical, mean and worst cost per step of every method, goal by goal."""
    import pandas as pd

    columns = {}
    for goal, cost in race.cost.items():
        tuned = race.tuned[goal]
        columns[goal, "rate"] = {n: _rate(tuned[n]) for n in cost}
        for word, of in (("typical", geometric), ("mean", np.mean), ("worst", np.max)):
            columns[goal, word] = {n: f"{of(c[goal]):.3f}" for n, c in cost.items()}
    return pd.DataFrame(columns)


def backtest_scores(forecasts: dict, losses: dict, spans: dict, rival="AdaGrad"):
    """Typical loss of every method in spans of time, its ratio to a rival's in the last span, its learning rate.

    `losses[method]` has shape (T, members), `spans` map names to parts of the time.
    """
    import pandas as pd

    typical = {n: {s: geometric(loss[at].mean(0)) for s, at in spans.items()} for n, loss in losses.items()}
    table = pd.DataFrame({n: {s: f"{v:.2f}" for s, v in t.items()} for n, t in typical.items()}).T
    last = list(spans)[-1]
    table[f"{last}, over {rival}'s"] = [f"{t[last] / typical[rival][last]:.2f}" for t in typical.values()]
    table["rate"] = [_rate(f.choice) for f in forecasts.values()]
    return table
