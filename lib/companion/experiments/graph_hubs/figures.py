"""The pictures, the table and the intervals of the chapter on graphs with hubs; runs are made in `race`."""

import numpy as np

from companion.evidence import Interval, student
from companion.evidence.figures import WIDTH, ends, error_bars, method, plt

from .graphs import BIN_NAMES
from .link_prediction import LinkTask
from .race import SEEDS, Run, best_rate, by_degree, counts, graph_of, recorded

TITLES = {"links": "link prediction", "nodes": "classification"}


def values(key: str, name: str, part: str) -> np.ndarray:
    """One number per reported seed, or a row of numbers, from the file: values("links, torch", "Adam", "score")."""
    return np.array([run[part] for run in recorded()[key]["runs"][name]])


def paired(key: str, one: str, other: str, part="score", column=None) -> Interval:
    """One method minus another on the same seeds, with its t interval; `column` picks a degree bin."""
    a, b = (values(key, name, part) for name in (one, other))
    difference = a - b if column is None else a[:, column] - b[:, column]
    return student(difference)


def chance(key: str):
    """Score at degree one or two without learning: of a guess for classes, of ranking by degree, seed by seed, for links."""
    task, _, name = key.partition(", ")
    graph = graph_of(name)
    if task == "nodes":
        return 1 / (1 + graph.label.max())
    return np.array([by_degree(LinkTask(graph, seed))[0] for seed in SEEDS[task]])


def ratio(key: str, one: str, other: str, column: int, floor) -> Interval:
    """Mean log-ratio of what was learned above `floor`, a number or one per seed, in a degree bin, as a factor with its interval."""
    a, b = (np.maximum(values(key, name, "bins")[:, column] - floor, 1e-3) for name in (one, other))
    return student(np.log(a / b)).map(np.exp)


def fairer(key: str, one: str, other: str) -> Interval:
    """By how much the distance between the best and the worst bin of degrees is smaller with `one` than with `other`."""
    a, b = (np.ptp(values(key, name, "bins"), axis=1) for name in (one, other))
    return student(b - a)


def calmer(key: str, one: str, other: str) -> Interval:
    """How much the validation score jumps from look to look in the second half of training, `one` minus `other`."""
    return student(values(key, one, "rough") - values(key, other, "rough"))


def table(keys):
    """A row per field and method: chosen rate, size of its grid, mean test score of all reported seeds, and of each degree bin."""
    import pandas as pd

    rows = {}
    for key in keys:
        for name, cell in recorded()[key]["tuning"].items():
            best, scores = best_rate(cell), values(key, name, "score")
            rows[f"{key}: {name}"] = {
                "rate": f"{best.lr:.2g}" + " (edge)" * best.at_edge,
                "rates": len(cell["lrs"]),
                "tuning seeds": len(cell["scores"][0]),
                "seeds": len(scores),
                "all": f"{scores.mean():.3f}",
            } | {bin: f"{m:.3f}" for bin, m in zip(BIN_NAMES, values(key, name, "bins").mean(0), strict=True)}
    return pd.DataFrame.from_dict(rows, orient="index")


def rates_figure(by_node: Run, by_word: Run, bare: Run):
    """Adam's rate of each row against the row's count: a node's degree, a word's documents, a node's degree without features."""
    _, axes = plt.subplots(3, figsize=(WIDTH, 8.4))
    colour = method("Adam")["color"]
    cases = (
        (by_node, by_node.degree, "link prediction: a row is a node", "degree of the node"),
        (by_word, counts("nodes", "torch", by_word), "graph convolution: a row is a word", "modules that use the word"),
        (bare, bare.degree, "graph convolution without features: a row is a node", "degree of the node"),
    )
    for ax, (run, count, title, label) in zip(axes, cases, strict=True):
        good = count > 0
        ax.loglog(
            count[good], run.rate[good] / np.median(run.rate[good]), ".", color=colour, ms=3, alpha=0.4, rasterized=True
        )
        ax.set(title=title, xlabel=label, ylabel="rate / median")
    return axes


def forest_figure(
    keys=("links, torch", "links, sympy", "nodes, torch", "nodes, sympy"),
    one="Adam",
    controls=("SGD", "heavy ball", "static rate"),
):
    """`one` minus each control, for each bin of degrees: differences of the test score with 95 % t intervals."""
    _, axes = plt.subplots(len(keys), figsize=(WIDTH, 1.9 * len(keys) + 0.5))
    for ax, key in zip(axes, keys, strict=True):
        for shift, control in zip(np.linspace(-0.22, 0.22, len(controls)), controls, strict=True):
            points = 100 * ends(paired(key, one, control, "bins", b) for b in range(len(BIN_NAMES)))
            style = method(control) | {"label": f"minus {control}"}
            error_bars(ax, np.arange(len(BIN_NAMES)) + shift, *points, **style)
        task, _, name = key.partition(", ")
        ax.axhline(0, color="black", lw=0.8)
        ax.set(title=f"{TITLES[task]}, {name}", ylabel="points")
        ax.set_xticks(range(len(BIN_NAMES)), BIN_NAMES if ax is axes[-1] else [])
    axes[-1].set_xlabel("degree")
    axes[0].legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.12))
    return axes


def signal_figure(by_rule: dict[str, list[Run]], bins_per_decade: int = 4):
    """Root mean square of |dL/dh| of nodes against their degree, means over nodes of like degree and over runs, by aggregation."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.2))
    styles = zip(by_rule.items(), ("o-", "s--", "^:"), ("#0072B2", "#B87700", "#00805F"), strict=True)
    for (name, runs), line, colour in styles:
        place = np.round(np.log10(runs[0].degree) * bins_per_decade).astype(int)
        mean = np.mean([run.gradient for run in runs], axis=0)
        level = [mean[place == p].mean() for p in np.unique(place)]
        ax.loglog(
            10 ** (np.unique(place) / bins_per_decade), np.array(level) / level[0], line, color=colour, label=name, ms=5
        )
    ax.set(xlabel="degree", ylabel="|∂L/∂h|, relative")
    ax.legend()
    return ax


def degree_figure(names=("torch", "sympy")):
    """How many nodes have at least a given degree."""
    _, ax = plt.subplots(figsize=(WIDTH, 2.8))
    for name, line, colour in zip(names, ("-", "--"), ("#0072B2", "#B87700"), strict=True):
        degree = np.sort(graph_of(name).degree)[::-1]
        ax.loglog(degree, np.arange(1, len(degree) + 1) / len(degree), line, color=colour, label=name)
    ax.set(xlabel="degree", ylabel="share of modules with\nat least that degree")
    ax.legend()
    return ax
