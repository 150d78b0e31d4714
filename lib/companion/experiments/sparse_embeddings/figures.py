"""The figures and tables of the chapter on word vectors; what they show is computed in `race`."""

from itertools import pairwise

import numpy as np

from companion.evidence import student
from companion.evidence.figures import WIDTH, ends, error_bars, legend_below, method, panels, plain_ticks, plt
from stepsize.rules import Adam

from . import epochs, readings
from .race import GOALS, METHODS, chosen, costs, grid, journey, large_costs, state_bytes, table
from .skip_gram import BINS, corpus

_COST_STYLES = {"SparseAdam (torch)": "lazy Adam, shared clock", "Adagrad, sparse (torch)": "AdaGrad",
                "dense Adam, fused (torch)": "Adam", "lazy Adam": "lazy Adam", "lazy Adam, idle steps paid": "lazy Adam × D(gap)"}  # fmt: skip


def journey_figure(steps: int = 45):
    """The three Adams after one visit to a row: dense, on a shared clock, on the row's own clock."""
    _, axes = plt.subplots(figsize=(WIDTH, 3.6))
    rule, t = Adam(1.0, eps=0.0), np.arange(1, steps + 1)
    dense, own = journey(rule, 60_000, steps), journey(rule, 0, 1)[0]
    axes.fill_between(t, dense[0], dense, color="0.82", ec="0.5", label="moved at gradient zero")
    axes.plot(t, dense, **method("Adam") | {"label": "dense Adam"})
    for name, level in (("lazy Adam, shared clock", dense[0]), ("lazy Adam", own)):
        axes.plot(t, np.full(steps, level), **method(name))
    axes.set(yscale="log", xlabel="steps since the word was seen", ylabel="displacement, in learning rates")
    plain_ticks(axes.yaxis, [1, 3, 10, 30])
    axes.legend(loc="center right")
    return axes


def trade_figure():
    """Loss of all words against loss of rare words, a panel for each method's grid; large: the rate chosen for all words."""
    figure, panels_of = plt.subplots(3, 3, figsize=(WIDTH, 6), sharex=True, sharey=True)
    curves = {name: [goal(table()[name]).mean(1) for goal in GOALS.values()] for name in METHODS}
    for axes, (name, (every, rare)) in zip(panels_of.ravel(), curves.items(), strict=True):
        for other in curves.values():
            axes.plot(*other, color="0.85", lw=0.8, zorder=0)
        style = method(name) | {"markevery": 1, "markersize": 3}
        axes.plot(every, rare, **style)
        best = every.argmin()
        axes.plot(every[best], rare[best], marker=style["marker"], color=style["color"], ms=9, ls="")
        axes.set(xlim=(2.42, 2.75), ylim=(2.6, 4.1))
        axes.set_title(name, fontsize="small")
    figure.supxlabel("loss of all words")
    figure.supylabel("loss of words seen fewer than 10 times")
    return panels_of


def common_figure():
    """Loss after five epochs minus that with one common vector, by count: with the own vector, and with the best mixture."""
    _, axes = panels(2, 2.4)
    shown = list(BINS)[:4]
    for k, name in enumerate(epochs.NAMES):
        x, style = np.arange(len(shown)) + 0.1 * (k - 2), method(name) | {"capsize": 0}
        for panel, losses in zip(axes, (epochs.against_common, lambda *a: epochs.best_mixture(*a)[1]), strict=True):
            error_bars(panel, x, *ends(student(losses(name, words)) for words in shown), **style)
    for panel, title in zip(axes, ("the word's own vector", "mixed with the common one"), strict=True):
        panel.axhline(0, color="0.3", lw=0.8)
        panel.set(title=title, ylabel="loss minus that with\nthe common vector")
    axes[1].set(xlabel="occurrences in the training plays")
    axes[1].set_xticks(range(len(shown)), shown)
    legend_below(axes[0], ncols=2)
    return axes


def meaning_table():
    """By class of words and rule, in points: share of ten neighbours with the word's WordNet category, or its hypernym, minus chance.

    Means over the trainings of five epochs; the first row of each part is chance itself, under dense Adam. Neighbours "dealt"
    are those of another word of the same class and part of speech: row 2 of `readings.agreement`.
    """
    import pandas as pd

    shown, rows = list(BINS)[:5], {}
    parts = (
        ("category", 1, "category"),
        ("category", 2, "category, neighbours dealt"),
        ("hypernym", 1, "same hypernym"),
    )
    for label, null, said in parts:
        chance = np.array(readings.recorded()["Adam"]["agreement"][label])[:, null].mean(0)
        rows[f"{said}: chance"] = {words: f"{100 * c:.1f} %" for words, c in zip(shown, chance, strict=False)}
        for name in readings.NAMES:
            gains = {words: 100 * readings.kinship(name, words, label, null).mean() for words in shown}
            rows[f"{said}: {name}"] = {words: f"{gain:+.1f}" for words, gain in gains.items()}
    return pd.DataFrame(rows).T


def bins_figure(raced: dict, rival: str = "SGD"):
    """Loss minus the rival's, by how often the word occurs in the training plays: means and intervals over seeds."""
    _, axes = plt.subplots(figsize=(WIDTH, 4.6))
    names = [name for name in raced if name != rival]
    for k, name in enumerate(names):
        gain = ends(student(d) for d in (raced[name].loss - raced[rival].loss)[0, :, 1:].T)
        x = np.arange(len(BINS)) + 0.07 * (k - len(names) / 2)
        error_bars(axes, x, *gain, joined=True, **method(name) | {"lw": 0.9, "capsize": 0})
    axes.axhline(0, color="0.3", lw=0.8)
    axes.set(xlabel="occurrences in the training plays", ylabel=f"loss minus that of {rival}")
    axes.set_xticks(range(len(BINS)), [name.replace(" and more", "+") for name in BINS])
    legend_below(axes, ncols=2)
    return axes


def rate_figure(raced: dict, names, least: int = 5):
    """Median rate and distance per visit by count, relative to the words in the most frequent class; first seed."""
    _, axes = panels(2, 2.4)
    edges = np.geomspace(5, 5000, 9)
    middle, counts = np.sqrt(edges[1:] * edges[:-1]), corpus().counts
    for panel, field in zip(axes, ("rate", "distance"), strict=True):
        for name in names:
            values, seen = getattr(raced[name], field)[0], raced[name].visits[0]
            inside = [(seen >= least) & (low <= counts) & (counts < high) for low, high in pairwise(edges)]
            typical = np.array([np.median(values[chosen]) if chosen.any() else np.nan for chosen in inside])
            panel.plot(middle, typical / typical[-1], **method(name) | {"markevery": 1})
        panel.set(xscale="log", yscale="log")
    axes[0].set_ylabel("rate, relative")
    axes[1].set(ylabel="distance per visit, relative", xlabel="occurrences in the training plays")
    legend_below(axes[0], ncols=2)
    return axes


def cost_figure():
    """Median cost of one step with 1000 active rows against the size of the table."""
    _, axes = plt.subplots(figsize=(WIDTH, 4.2))
    for name, times in costs().items():
        sizes = sorted(times)
        style = method(_COST_STYLES[name]) | {"label": name, "markevery": 1}
        axes.plot(sizes, [np.median(times[V]) for V in sizes], **style)
    axes.set(xscale="log", yscale="log", xlabel="rows of the table", ylabel="ms per step")
    legend_below(axes, ncols=2)
    return axes


def large_table():
    """What a step on a million rows of 64 columns takes, and what the rule remembers between steps."""
    import pandas as pd

    times, dense = large_costs(), np.median(large_costs()["dense Adam, fused (torch)"])
    rows = {
        name: {
            "state, bytes per parameter": f"{state:.3g}",
            "ms per step": f"{np.median(times[name]):,.1f}",
            "dense Adam's time / its own": f"{dense / np.median(times[name]):.2g}",
        }
        for name, state in state_bytes(10**4, 64, 100).items()
    }
    return pd.DataFrame(rows).T


def scores(raced: dict):
    """Rate, whether at the edge of its grid, and losses of every method on the reporting plays."""
    import pandas as pd

    rows = {}
    for name, race in raced.items():
        choice, lrs = chosen(name), grid(name)
        loss = race.loss[0].mean(0)
        rows[name] = {
            "rate": f"{choice.lr:.3g}" + " (edge)" * choice.at_edge, "grid": f"{lrs[0]:.2g} … {lrs[-1]:.2g}",
            "all words": f"{loss[0]:.3f}", "seen 1-2 times": f"{loss[1]:.3f}", "3-9": f"{loss[2]:.3f}", "2000 and more": f"{loss[-1]:.3f}",
        }  # fmt: skip
    return pd.DataFrame(rows).T
