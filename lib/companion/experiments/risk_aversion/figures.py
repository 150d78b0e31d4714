"""The figures of the chapter on risk; what they show is computed in `theory`, `filtering` and `race`."""

import numpy as np

from companion.evidence.figures import forest, method, panels, plt

from .race import ENTRIES, as_ratio
from .theory import averse_rate, both_costs, outlook

_COLOURS = ("#0072B2", "#00805F", "#D55E00")
_READINGS = {"two betas": "bias-corrected", "uncorrected": "raw"}


def parabola_figure(doubts, h: float, aversion: float):
    """Cost against rate for a mean gradient of one: mean plus half the variance, the certainty equivalent (dots), the best rates."""
    _, axes = plt.subplots()
    rates = np.linspace(0, 1.9, 60)
    for s, colour in zip(doubts, _COLOURS, strict=True):
        cost, sure = both_costs(rates, s, h, aversion)
        best = averse_rate(s, h, aversion)
        axes.plot(rates, cost, color=colour, label=f"s = {s:g}")
        axes.plot(rates[::4], sure[::4], "o", color=colour, markersize=4)
        axes.plot(best, outlook(best, 1.0, s, h).cost(aversion), "^", color=colour, markersize=9)
    axes.set(ylim=(-1.1, 1.2), xlabel="rate", ylabel="cost")
    axes.legend()
    return axes


def rates_figure(sizes, rates: dict):
    """Rates (sizes,) of every rule against the size of the noise; a capped rule is dotted."""
    _, axes = plt.subplots()
    for name, rate in rates.items():
        axes.plot(sizes, rate, **(method(name) | ({"linestyle": ":"} if "cap" in name else {})))
    axes.set(xscale="log", yscale="log", xlabel="noise s / signal m", ylabel="rate", ylim=(1e-4, 1e3))
    axes.legend(ncols=2)
    return axes


def negative_figure(read: dict, signal):
    """Share of runs in which v - m^2 is negative, against the step: `proxies` of gradients (steps, runs, signals), a panel for each reading."""
    _, axes = panels(len(_READINGS), sharey=True)
    for panel, (reading, title) in zip(axes, _READINGS.items(), strict=True):
        shares = (read[reading] < 0).mean(1)
        for share, size, colour in zip(shares.T, signal, _COLOURS, strict=True):
            panel.plot(np.arange(1, len(share) + 1), share, color=colour, label=f"signal / noise = {size:g}", lw=1.2)
        panel.set(ylabel="share negative", title=title, ylim=(-0.03, 1.03))
    axes[-1].set_xlabel("step")
    axes[0].legend()
    return axes


def race_figure(ratio: dict, power: dict):
    """Intervals of log loss over Adam's, problem by problem, with the power of the curvature in the size of the noise."""
    figure, axes = plt.subplots(figsize=(6.5, 6.6))
    forest(axes, {name: {rule: i for rule, i in row.items() if rule != "Adam"} for name, row in ratio.items()})
    names = [f"{name}\n[{abs(power[name].estimate):.1f}]" for name in ratio]
    for old, new in {" to curv": "\nto curv", ", ": ",\n", " reg": "\nreg"}.items():
        names = [name.replace(old, new) for name in names]
    axes.set(xlabel="loss / loss of Adam", yticks=range(len(ratio)), yticklabels=names)
    figure.legend(ncols=3, loc="outside upper center")
    return axes


def race_table(raced: dict, ratio: dict):
    """Loss over Adam's and the two chosen numbers of every rule, {problem: {rule: Choice}}; a star marks an end of a grid."""
    import pandas as pd

    def second(entry, choice):
        at_end = choice.setting in (entry.values[0], entry.values[-1])
        return f"{entry.second} = {choice.setting:g}{'*' if at_end else ''}"

    table = {
        (problem, rule): {
            "loss over Adam's": as_ratio(ratio[problem][rule]),
            "rate": f"{choice.lr:.2g}{'*' if choice.at_edge else ''}",
            "second number": second(ENTRIES[rule], choice),
        }
        for problem, choices in raced.items()
        for rule, choice in choices.items()
    }
    return pd.DataFrame(table).T


def tail_table(worst: dict):
    """Tails over Adam's with their intervals, {kind of noise: {rule: Interval of a logarithm}}."""
    import pandas as pd

    ratios = {kind: {rule: as_ratio(i) for rule, i in found.items()} for kind, found in worst.items()}
    return pd.DataFrame(ratios).rename_axis(columns="tail over Adam's")
