"""The pictures, the tables, the rows and the numbers of the chapter on graphs with hubs; runs are made in `race`."""

from functools import cache

import numpy as np
from IPython.display import display

from companion.evidence import Interval, student
from companion.evidence.figures import WIDTH, ends, error_bars, method, plt
from companion.evidence.verdict import decide

from .gcn import GCN
from .graphs import BIN_NAMES, adjacency
from .link_prediction import LinkTask, propagated_visits, visits
from .race import (
    CUTS,
    VARIANTS,
    Run,
    best_rate,
    by_degree,
    cell,
    counts,
    exponent,
    graph_of,
    recorded,
    single,
    slope,
    top_share,
)

TITLES = {"links": "link prediction", "nodes": "classification"}
NAMES = {"torch": "torch", "sympy": "SymPy"}
LINKS, NODES = ("links, torch", "links, sympy"), ("nodes, torch", "nodes, sympy")
#: The third graph, whose rows are all beyond, and the longer, regularised trainings.
NOUNS = "links, wordnet", "nodes, wordnet"
REGULARISED = "nodes, torch, regularised", "nodes, sympy, regularised", "nodes, wordnet, regularised"
#: Without features, on the graphs whose rows are all beyond.
BARE = "nodes, sympy, X = I, one rate", "nodes, wordnet, X = I, one rate"
#: A field or a variant -> where its rows say that they stand.
PLACES = {
    "links, torch": "a row is a node (links, torch)",
    "links, sympy": "a row is a node (links, SymPy)",
    "nodes, torch": "weights are shared (classes, torch)",
    "nodes, sympy": "weights are shared (classes, SymPy)",
    "nodes, torch, X = I": "X = I, a row is a node (classes, torch)",
    "links, torch, matched decoys": "decoys of like degree (links, torch)",
    "links, sympy, matched decoys": "decoys of like degree (links, SymPy)",
    "links, torch, no root": "root left out (links, torch)",
    "links, torch, LightGCN": "LightGCN (links, torch)",
    "links, sympy, LightGCN": "LightGCN (links, SymPy)",
    "nodes, torch, sum": "sum aggregation (classes, torch)",
    "nodes, sympy, sum": "sum aggregation (classes, SymPy)",
    "nodes, torch, X = I, one rate": "X = I (classes, torch)",
    "nodes, sympy, X = I, one rate": "X = I (classes, SymPy)",
    "links, wordnet": "WordNet, a row is a node (links)",
    "nodes, wordnet": "WordNet, weights are shared (classes)",
    "nodes, wordnet, mean": "WordNet, mean aggregation (classes)",
    "nodes, wordnet, X = I, one rate": "WordNet, X = I (classes)",
    "nodes, torch, regularised": "200 steps, regularised (classes, torch)",
    "nodes, sympy, regularised": "200 steps, regularised (classes, SymPy)",
    "nodes, wordnet, regularised": "WordNet, 200 steps, regularised (classes)",
}


def variants(*words: str) -> list[str]:
    """The keys of the variants in whose names one of the words stands."""
    return [key for key in VARIANTS if any(word in key for word in words)]


def values(key: str, name: str, part: str) -> np.ndarray:
    """One number per reported seed, or a row of numbers, from the files: values("links, torch", "Adam", "score")."""
    return np.array([run[part] for run in cell(key)["runs"][name]])


def of_terms(averaged: dict[str, list[Run]], symmetric: dict[str, list[Run]], measure) -> dict[str, np.ndarray]:
    """Place -> `measure(degree, term)` of every run, term being what a node adds to the gradient of the shared weights.

    The runs are those of `race.averaged` and `race.symmetric`.
    """
    return {
        f"a node's term in the weights' gradient, {rule} aggregation (classes, {NAMES[name]})": np.array(
            [measure(run.degree, run.term) for run in runs]
        )
        for rule, trained in (("symmetric", symmetric), ("mean", averaged))
        for name, runs in trained.items()
    }


def gradient_exponents(averaged: dict[str, list[Run]], symmetric: dict[str, list[Run]]) -> dict[str, np.ndarray]:
    """Place -> exponent of a node's gradient in its degree under SGD, seed by seed.

    The runs are those of `race.averaged` and `race.symmetric`; the latter are for the rows of `of_terms` alone.
    """
    rows = {
        PLACES[key]: values(key, "SGD", "gradient")
        for key in (*LINKS, *NODES, *variants("sum"), *NOUNS, "nodes, wordnet, mean")
    }
    rows |= {PLACES[key]: values(key, "SGD", "row") for key in variants("X = I", "LightGCN", "root")}
    for name, runs in averaged.items():
        title = f"weights are shared, mean aggregation (classes, {NAMES[name]})"
        rows[title] = np.array([exponent(run.degree, run.gradient) for run in runs])
    return rows | of_terms(averaged, symmetric, exponent)


def by_terms(verdicts) -> dict[str, str]:
    """Claim -> verdict with the rows of `of_terms` in the place of the stated rows on hidden states; those of tables stay.

    The intervals are as the rows have them: of rows beyond, jointly with the others beyond.
    """
    return {
        claim: decide(
            verdicts[claim].claim.quantifier,
            [e.says for e in verdicts[claim].evidence if e.condition.startswith(("a row is a node", "a node's term"))],
        )
        for claim in ("GN1", "GN2")
    }


def feature_exponents() -> dict[str, float]:
    """Aggregation and graph -> exponent in the degree of |(A X)_i|, a factor of a node's term in the gradient of W0."""
    return {
        f"{rule}-{name}": exponent(graph_of(name).degree, np.sqrt(GCN.of(graph_of(name), aggregate=rule).of_features))
        for rule in ("symmetric", "mean")
        for name in NAMES
    }


def hub_shares(averaged: dict[str, list[Run]], symmetric: dict[str, list[Run]]) -> dict[str, np.ndarray]:
    """Place -> share of the squared gradient that the top tenth of the nodes has under a single rate, and the tops of other sizes.

    Where weights are shared, the gradient is that of a node's hidden state, under SGD, but in the rows of `of_terms`; the runs are
    those of `race.averaged` and `race.symmetric`.
    """
    rows = {PLACES[key]: values(key, single(key), "hubs") for key in LINKS}
    hidden = (*NODES, *variants("sum"), NOUNS[1], "nodes, wordnet, mean")
    rows |= {PLACES[key]: values(key, "SGD", "hubs") for key in hidden}
    for name, runs in averaged.items():
        title = f"weights are shared, mean aggregation (classes, {NAMES[name]})"
        rows[title] = np.array([top_share(run.degree, run.gradient) for run in runs])
    asked = (*variants("X = I", "LightGCN", "root", "matched"), NOUNS[0])
    tops = {key: values(key, single(key), "shares") for key in asked}
    for key, shares in tops.items():
        of_cuts = dict(zip(CUTS, shares.T, strict=True))
        tenth = of_cuts.pop(0.1)
        if "matched" in key:  # trainings as those of the field, whose file has the tenth alone
            rows |= {
                f"cut at {cut:.0%} (links, {NAMES[key.split(', ')[1]]})".replace("%", " %"): of_cuts[cut]
                for cut in of_cuts
            }
        else:
            rows[PLACES[key]] = tenth
    return rows | of_terms(averaged, symmetric, top_share)


def learned() -> dict[str, Interval]:
    """Place -> what nodes with one or two neighbours learn above chance under the single rate, over what they learn under Adam."""
    keys = (*LINKS, *NODES, *variants("X = I", "LightGCN", "root", "matched"), *NOUNS, *REGULARISED)
    return {PLACES[key]: ratio(key, single(key), "Adam", 0, chance(key)) for key in keys}


def rate_exponents() -> dict[str, np.ndarray]:
    """Rule and place -> exponent of the rate of a node's row in its degree, seed by seed.

    With X = I the rows stated on torch's graph are fitted to all rows of the table, those beyond to the rows that have had a gradient.
    """
    rules, bare = ("Adam", "RMSProp", "AdaGrad"), "nodes, torch, X = I"
    cells = [(m, key) for key in (*LINKS, bare) for m in rules]
    cells += [("Adam", key) for key in (*variants("LightGCN", "root"), NOUNS[0])]
    rows = {f"{m}, {PLACES[key]}": values(key, m, "rate")[:, 0] for m, key in cells}
    rows |= {f"Adam, {PLACES[key]}": values(key, "Adam", "reached")[:, 0] for key in BARE}
    return rows | {
        f"{m}, X = I, rows with a gradient (classes, torch)": values(bare, m, "reached")[:, 0] for m in rules
    }


def gaps() -> dict[str, Interval]:
    """Place -> by how much the distance between the best and the worst bin is smaller with Adam than with the single rate."""
    keys = (*LINKS, *NODES, *variants("X = I", "LightGCN", "root", "matched"), *NOUNS, *REGULARISED)
    rows = {PLACES[key]: fairer(key, "Adam", single(key)) for key in keys}
    return rows | {place: fairer(key, "Adam", name) for place, (key, name) in second_rivals().items()}


def lifts() -> dict[str, Interval]:
    """Field -> Adam's gain over the single rate at the lowest degrees minus its gain at the highest."""
    rows = {}
    for key in (*LINKS, *NODES, *NOUNS, *REGULARISED):
        gain = values(key, "Adam", "bins") - values(key, single(key), "bins")
        what, _, where = PLACES[key].partition(" (")
        what = f"{what}, within bins" if key in REGULARISED else "within bins"
        named = f"WordNet, {what}" if key in NOUNS else what
        rows[f"{named} ({where}"] = student(gain[:, 0] - gain[:, 3])
    return rows


def jumps() -> dict[str, Interval]:
    """Place -> how much more the validation score jumps with Adam than with the single rate."""
    keys = (*LINKS, *NODES, *variants("X = I", "LightGCN", "root"), *NOUNS, *REGULARISED)
    rows = {PLACES[key]: calmer(key, "Adam", single(key)) for key in keys}
    return rows | {place: calmer(key, "Adam", name) for place, (key, name) in second_rivals().items()}


def second_rivals() -> dict[str, tuple[str, str]]:
    """Place -> field and the single rate that its tuning seeds did not prefer: "..., beside SGD" where `single` is heavy ball."""
    other = {"SGD": "heavy ball", "heavy ball": "SGD"}
    rivals = [(key, other[single(key)]) for key in (*LINKS, *NODES)]
    return {f"{PLACES[key]}, beside {name}": (key, name) for key, name in rivals}


def paired(key: str, one: str, other: str, part="score", column=None) -> Interval:
    """One method minus another on the same seeds, with its t interval; `column` picks a degree bin."""
    a, b = (values(key, name, part) for name in (one, other))
    difference = a - b if column is None else a[:, column] - b[:, column]
    return student(difference)


@cache
def baseline(key: str) -> np.ndarray:
    """Scores of ranking by degree alone, (seeds, bins): link prediction that needs no training."""
    name, matched = key.partition(", ")[2], "matched" in key
    tasks = (LinkTask(graph_of(name), int(seed), matched=matched) for seed in values(key, "Adam", "seed"))
    return np.array([by_degree(task) for task in tasks])


def chance(key: str):
    """Score at degree one or two without learning: of a guess for classes, of ranking by degree, seed by seed, for links."""
    task, _, name = key.partition(", ")
    return 1 / (1 + graph_of(name).label.max()) if task == "nodes" else baseline(key)[:, 0]


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
    """A row per field and method: chosen rate, size of its grid, mean test score of all reported seeds, and of each degree bin.

    Where links are predicted, the last row of a field is ranking by degree.
    """
    import pandas as pd

    def by_bin(scores):
        return {name: f"{m:.3f}" for name, m in zip(BIN_NAMES, scores.mean(0), strict=True)}

    rows = {}
    for key in keys:
        for name, tuned in cell(key)["tuning"].items():
            best, reached = best_rate(tuned), values(key, name, "score")
            rows[f"{key}: {name}"] = {
                "rate": f"{best.lr:.2g}" + " (edge)" * best.at_edge,
                "rates": len(tuned["lrs"]),
                "tuning seeds": len(tuned["scores"][0]),
                "seeds": len(reached),
                "all": f"{reached.mean():.3f}",
            } | by_bin(values(key, name, "bins"))
        if key.startswith("links"):
            blank = {"rate": "", "rates": "", "tuning seeds": "", "seeds": len(baseline(key)), "all": ""}
            rows[f"{key}: ranking by degree"] = blank | by_bin(baseline(key))
    return pd.DataFrame.from_dict(rows, orient="index")


def whole(frame):
    """Shows a table with all of its rows; pandas leaves out all but ten of more than sixty."""
    import pandas as pd

    with pd.option_context("display.max_rows", None):
        display(frame)


def cuts_table():
    """What the tops of the graph have of all ends of edges, and of the squared gradient under a single rate: means over seeds."""
    import pandas as pd

    columns = {}
    for name, title in NAMES.items():
        degree = np.sort(graph_of(name).degree)[::-1]
        columns[f"ends of edges, {title}"] = [
            degree[: int(np.ceil(cut * len(degree)))].sum() / degree.sum() for cut in CUTS
        ]
        for key, what in (("matched decoys", "links"), ("LightGCN", "LightGCN"), ("X = I, one rate", "X = I")):
            key = next(k for k in variants(key) if name in k)
            columns[f"{what}, {title}"] = values(key, single(key), "shares").mean(0)
    index = [f"{cut:.0%} of the nodes".replace("%", " %") for cut in CUTS]
    return pd.DataFrame(columns, index).map("{:.0%}".format).T


def rates_figure(by_node: Run, by_word: Run, bare: Run):
    """Adam's rate of each row against the row's count: a node's degree, a word's documents, a node's degree without features."""
    figure, axes = plt.subplots(3, figsize=(WIDTH, 9))
    figure.get_layout_engine().set(h_pad=0.1)  # a title is not to stand at the label above it
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
        ax.set(title=f"{TITLES[task]}, {NAMES[name]}", ylabel="gain, points")
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


def degree_figure():
    """How many nodes of each graph have at least a given degree."""
    _, ax = plt.subplots(figsize=(WIDTH, 2.8))
    titles = NAMES | {"wordnet": "WordNet's nouns"}
    for (name, title), line, colour in zip(
        titles.items(), ("-", "--", ":"), ("#0072B2", "#B87700", "#00805F"), strict=True
    ):
        degree = np.sort(graph_of(name).degree)[::-1]
        ax.loglog(degree, np.arange(1, len(degree) + 1) / len(degree), line, color=colour, label=title)
    ax.set(xlabel="degree", ylabel="share of nodes with\nat least that degree")
    ax.legend()
    return ax


def numbers(averaged: dict[str, list[Run]], symmetric: dict[str, list[Run]]) -> dict:
    """key -> (number, format) of the chapter's prose, from the files and from the runs of `race.averaged` and `race.symmetric`."""
    means = gradient_exponents(averaged, symmetric)
    gains = {
        "gain-hub": ("links, torch", "SGD", 3, "+.1f"),
        "gain-low": ("links, torch", "SGD", 0, "+.1f"),
        "gain-static": ("links, torch", "static rate", 3, ".1f"),
        "gain-sympy": ("links, sympy", "static rate", 3, ".1f"),
        "gain-sgd": ("links, sympy", "SGD", 3, ".1f"),
        "gain-class": ("nodes, torch", "SGD", 0, ".1f"),
        "wordnet-hub": (NOUNS[0], "SGD", 3, "+.1f"),
        "wordnet-low": (NOUNS[0], "SGD", 0, "+.1f"),
        "wordnet-static": (NOUNS[0], "static rate", 3, "+.1f"),
        "wordnet-class": (NOUNS[1], "SGD", 0, "+.1f"),
    }
    said = {
        k: (100 * paired(key, "Adam", other, "bins", b).estimate, spec) for k, (key, other, b, spec) in gains.items()
    }
    rates = {
        "": "links, torch",
        "word-": "nodes, torch",
        "bare-": "nodes, torch, X = I",
        "light-": "links, torch, LightGCN",
        "bare-reached-": "nodes, torch, X = I",
        "bare-sympy-": BARE[0],
        "wordnet-": NOUNS[0],
        "wordnet-bare-": BARE[1],
    }
    for start, key in rates.items():
        part = "reached" if key in BARE or "reached" in start else "rate"
        fitted, correlation = values(key, "Adam", part).mean(0)
        said |= {
            f"{start}slope": (fitted, ".2f"),
            f"{start}corr": (correlation, ".3f" if "links" in key and "GCN" not in key else ".2f"),
        }
    for name, title in NAMES.items():
        end = "" if name == "torch" else "-sympy"
        degree = np.sort(graph_of(name).degree)
        said |= {
            f"mean-{name}": (means[f"weights are shared, mean aggregation (classes, {title})"].mean(), ".2f"),
            f"mean-score{end}": (np.mean([run.score for run in averaged[name]]), ".3f"),
            f"symmetric-score{end}": (values(f"nodes, {name}", "SGD", "score").mean(), ".3f"),
            f"sum-{name}": (means[f"sum aggregation (classes, {title})"].mean(), ".2f"),
            f"sum-score{end}": (values(f"nodes, {name}, sum", "SGD", "score").mean(), ".2f"),
            f"ends-{name}": (degree[-int(np.ceil(len(degree) / 10)) :].sum() / degree.sum(), ".0%"),
            f"floor-{name}": (chance(f"links, {name}").mean(), ".2f"),
        }
    kinds = {
        "light": "LightGCN (links, torch)",
        "bare": "X = I (classes, torch)",
        "rootless": "root left out (links, torch)",
        "wordnet-links": PLACES[NOUNS[0]],
        "wordnet-classes": PLACES[NOUNS[1]],
        "wordnet-mean": PLACES["nodes, wordnet, mean"],
    }
    said |= {f"{kind}-gradient": (means[place].mean(), ".2f") for kind, place in kinds.items()}
    shares = hub_shares(averaged, symmetric)
    said |= {f"features-{place}": (fitted, ".2f") for place, fitted in feature_exponents().items()}
    for rule, start in (("symmetric", "plain"), ("mean", "mean")):
        for name, title in NAMES.items():
            place = f"a node's term in the weights' gradient, {rule} aggregation (classes, {title})"
            said |= {
                f"{start}-term-{name}": (means[place].mean(), ".2f"),
                f"{start}-term-share-{name}": (shares[place].mean(), ".0%"),
            }
    kinds |= {
        "sum": PLACES["nodes, torch, sum"],
        "mean": "weights are shared, mean aggregation (classes, torch)",
        "symmetric": PLACES["nodes, torch"],
        "links": PLACES["links, torch"],
    }
    for kind in ("light", "bare", "sum", "mean", "symmetric", "links"):
        said[f"{kind}-share"] = (shares[kinds[kind]].mean(), ".0%")
        said[f"{kind}-share-sympy"] = (shares[kinds[kind].replace("torch", "SymPy")].mean(), ".0%")
    for name in ("SGD", "Adam"):
        said[f"low-{name.lower()}"] = (values("links, torch", name, "bins").mean(0)[0], ".3f")
    said |= {
        f"lift-{name}": (100 * lifts()[f"within bins (links, {title})"].estimate, "+.1f")
        for name, title in NAMES.items()
    }
    for name in (*NAMES, "wordnet"):
        degree = graph_of(name).degree
        said[f"spread-{name}"] = (degree.max() / np.median(degree), ".0f")
    for k, end in ((0, "low"), (3, "hub")):
        said[f"nouns-{end}"] = (values(NOUNS[1], "Adam", "bins").mean(0)[k], ".0%")
    nouns = graph_of("wordnet")
    said |= {"nouns": (nouns.n, ","), "noun-edges": (len(nouns.edges), ",")}
    said["wordnet-share"] = (shares[PLACES[NOUNS[0]]].mean(), ".0%")
    said["wordnet-mean-share"] = (shares[PLACES["nodes, wordnet, mean"]].mean(), ".0%")
    said["wordnet-lift"] = (100 * lifts()["WordNet, within bins (links)"].estimate, "+.1f")
    for b, end in enumerate(("one", "three", "seven", "hub")):
        gain = paired("links, torch", "pooled Adam", "SGD", "bins", b).estimate
        said[f"pooled-{end}"] = (100 * gain, "+.1f")
    said["gain-pooled"] = (100 * paired("links, torch", "pooled Adam", "SGD", "bins", 3).estimate, "+.1f")
    for long in REGULARISED:
        short, name = long.removesuffix(", regularised"), long.split(", ")[1]
        gain = paired(long, "Adam", single(long), "bins", 0).estimate
        said |= {
            f"long-{name}": (values(long, "Adam", "score").mean(), ".3f"),
            f"short-{name}": (values(short, "Adam", "score").mean(), ".3f"),
            f"long-single-{name}": (values(long, single(long), "score").mean(), ".3f"),
            f"long-low-{name}": (100 * gain, "+.1f"),
        }
    task = LinkTask(graph_of("torch"), 0)
    said["predicted"] = (slope(task.degree, np.sqrt(visits(task.degree)))[0], ".2f")
    for name in ("SGD", "heavy ball"):
        start = name.replace(" ", "-").lower()
        said[f"{start}-classes"] = (values("nodes, torch", name, "score").mean(), ".3f")
        said[f"{start}-gap"] = (100 * fairer("nodes, torch", "Adam", name).estimate, "+.1f")
        said[f"{start}-jumps"] = (100 * calmer("nodes, torch", "Adam", name).estimate, "+.1f")
    return said


def predicted_exponents(name: str = "torch") -> dict[str, float]:
    """Exponent in the degree that the visits predict for a row's root mean square gradient: in a table and in LightGCN."""
    graph = graph_of(name)
    met = visits(graph.degree)
    light = propagated_visits(adjacency(graph, loops=False), met)
    return {"a table": slope(graph.degree, np.sqrt(met))[0], "LightGCN": slope(graph.degree, np.sqrt(light))[0]}


def link_errors() -> dict:
    """Method -> its choice of a rate in shares of links ranked wrongly, and its rates, for the page that compares races."""
    entries = {}
    for name, tuned in recorded()["links, torch"]["tuning"].items():
        choice = best_rate(tuned)
        entries[name] = (
            choice._replace(curve=1 + choice.curve, scores=1 - values("links, torch", name, "score")),
            tuned["lrs"],
        )
    return entries
