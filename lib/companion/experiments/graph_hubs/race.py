"""Rules on graphs: link prediction, where a row is a node, and graph convolution, where it is a word. All runs at once.

python -m companion.experiments.graph_hubs.race [field ...]   # the fields that the file lacks, or those named, such as "links, torch"
"""

import sys
from functools import cache
from typing import NamedTuple

import numpy as np

from companion.experiments.archive import GRIDS
from stepsize.contract import rebuild
from stepsize.ensemble import Fleet, _Compiled
from stepsize.errors import NonFiniteError
from stepsize.rules import SGD, AdaGrad, Adam, HeavyBall, RMSProp, SignDescent
from stepsize.tuning import Choice, choose, require_apart
from stepsize.wrappers import Pooled

from .gcn import GCN, split
from .graphs import BINS, Graph, adjacency, bins, committed_graph
from .link_prediction import LinkTask, light_gcn, pair_gradient

RACES, OTHERS = GRIDS["graph_races"], GRIDS["graph_variants"]
#: Seeds on which rates are chosen, and those on which they are reported.
TUNING, SEEDS = (1000, 1001, 1002), {"links": range(20), "nodes": range(40)}
#: The same of the variants.
VARIANT_TUNING, VARIANT_SEEDS = (2000, 2001, 2002), {"links": range(100, 108), "nodes": range(100, 110)}
LINK_STEPS, NODE_STEPS = 1000, 100
#: A training that is longer and regularised, as in Kipf & Welling (2017), section 5.2: decay of W0, dropout of the hidden layer.
REGULARISED = {"steps": 200, "decay": 5e-4, "dropout": 0.5}
#: Shares of the nodes, those with the highest degrees, whose part of the squared gradient is kept.
CUTS = 0.01, 0.05, 0.1, 0.2


def static(lr, counts, repeat: int, rest: int = 0) -> SGD:
    """SGD whose rate of a row is lr / sqrt(count), of `rest` further coordinates lr: what adaptation would find out, given beforehand."""
    rate = np.repeat(lr / np.sqrt(np.maximum(counts, 1)), repeat)
    return SGD(np.concatenate([rate, np.full(rest, lr)]).astype(np.float32))


_RULES = {
    "SGD": SGD,
    "heavy ball": HeavyBall,
    "sign": SignDescent,
    "AdaGrad": AdaGrad,
    "RMSProp": lambda lr: RMSProp(lr, 0.999),
    "Adam": Adam,
    "pooled Adam": lambda lr: Pooled(Adam(np.float32(lr))),
}


def _decades(low, high):
    return 10.0 ** np.arange(low, high + 0.25, 0.5)


LINK_RATES = {
    "SGD": _decades(0.5, 2.5), "static rate": _decades(1, 3), "heavy ball": _decades(-0.5, 1.5), "sign": _decades(-3.5, -1),
    "AdaGrad": _decades(-2, 0), "RMSProp": _decades(-3.5, -1.5), "Adam": _decades(-3, -1), "pooled Adam": _decades(-3, -1),
}  # fmt: skip
NODE_RATES = {
    "SGD": _decades(0.5, 2.5), "static rate": _decades(1.5, 3.5), "heavy ball": _decades(0, 3), "sign": _decades(-2.5, -0.5),
    "AdaGrad": _decades(-1.5, 0.5), "RMSProp": _decades(-3, -1), "Adam": _decades(-2, 0), "pooled Adam": _decades(-2.5, -0.5),
}  # fmt: skip


@cache
def graph_of(name: str) -> Graph:
    """ "torch", "sympy", "wordnet": as committed; "torch, X = I": without features; "torch, no root": without its largest hub."""
    graph = committed_graph(name.partition(",")[0])
    graph = graph.without(graph.degree.argmax()) if "no root" in name else graph
    return Graph(graph.n, graph.edges, graph.label) if "X = I" in name else graph


class Run(NamedTuple):
    """One training: method, rate, seed; best validation score and its series; test score of all, and of each degree bin.

    `degree` (n,), `gradient` (n,) and `rate` (rows,) tell of each node's root mean square gradient over training and of
    each row's geometric mean rate after the last step; `row` (rows,) is a row's root mean square gradient. Where weights are
    shared, `term` (n,) is the root mean square of what each node adds to their gradient, see `gcn.squared_terms`.
    """

    method: str
    lr: float
    seed: int
    best: float
    series: np.ndarray
    score: float
    by_bin: np.ndarray
    degree: np.ndarray
    gradient: np.ndarray
    rate: np.ndarray
    row: np.ndarray
    term: np.ndarray | None = None


class _Watch:
    """Keeps each run's best validation score, and x there."""

    def __init__(self, x):
        self.best, self.kept, self.series = np.full(len(x), -np.inf), x.copy(), []

    def see(self, scores, x):
        scores = np.where(np.isfinite(x).all(1), scores, -np.inf)
        better = scores > self.best
        self.best[better], self.kept[better] = scores[better], x[better]
        self.series.append(scores)


def row_rates(member, g, rows: int, width: int) -> np.ndarray:
    """Geometric mean over each row's `width` coordinates of the effective rate that the member would use on g, (rows,)."""
    state = rebuild(member.state, iter(member.leaves)) if isinstance(member, _Compiled) else member.state
    rate = np.broadcast_to(member.rule.step(state, g, member.x)[1], g.shape)[: rows * width]
    with np.errstate(divide="ignore"):
        return np.exp(np.log(rate.reshape(rows, width)).mean(1))


def _binned(values, which):
    return np.array([values[which == b].mean() if (which == b).any() else np.nan for b in range(len(BINS))])


def links(graph: Graph, plan, steps: int = LINK_STEPS, every: int = 50, propagated=False, matched=False) -> list[Run]:
    """Link prediction for every (method, lr, seed) of `plan`: the runs of a seed see the same split, start and batches.

    `propagated`: the rows that are compared are those of `light_gcn`. `matched`: the test's decoys are nodes of like degree.
    """
    tasks = {seed: LinkTask(graph, seed, matched=matched) for seed in dict.fromkeys(seed for *_, seed in plan)}
    A = {s: adjacency(t.train, dtype=np.float32, loops=False) for s, t in tasks.items() if propagated}
    of_seed = {s: [i for i, (*_, seed) in enumerate(plan) if seed == s] for s in A}

    def embedded(z):
        out = np.empty_like(z) if propagated else z
        for s, runs in of_seed.items():
            out[runs] = light_gcn(A[s], z[runs])
        return out

    first = next(iter(tasks.values()))
    shape = (graph.n, first.dim)
    rules = [
        static(lr, tasks[seed].degree, first.dim) if method == "static rate" else _RULES[method](lr)
        for method, lr, seed in plan
    ]
    fleet = Fleet(rules, np.stack([tasks[seed].start.ravel() for *_, seed in plan]))
    z = fleet.x.reshape(len(plan), *shape)
    out, squares, watch = np.zeros_like(z), np.zeros(z.shape[:2]), _Watch(fleet.x)
    for t in range(1, steps + 1):
        batches = {seed: task.draw() for seed, task in tasks.items()}
        rows = embedded(z)
        for i, (*_, seed) in enumerate(plan):
            pair_gradient(rows[i], *batches[seed], out[i])
        g = embedded(out)
        fleet.step(g.reshape(fleet.x.shape))
        if t % 10 == 0:
            squares += (g.astype(float) ** 2).mean(2)
        if t % every == 0:
            rows = embedded(z)
            watch.see(np.array([tasks[s].validation.auc(rows[i]).mean() for i, (*_, s) in enumerate(plan)]), fleet.x)
    runs, series, rows = [], np.array(watch.series), embedded(watch.kept.reshape(z.shape))
    for i, (method, lr, seed) in enumerate(plan):
        task = tasks[seed]
        auc = task.test.auc(rows[i])
        which = bins(task.degree[task.test.u])
        rate = row_rates(fleet.runs[i], g[i].ravel(), *shape)
        gradient = np.sqrt(squares[i] / (steps // 10))
        runs.append(Run(method, lr, seed, watch.best[i], series[:, i], auc[which >= 0].mean(), _binned(auc, which),
                        task.degree, gradient, rate, gradient))  # fmt: skip
    return runs


def nodes(graph: Graph, plan, steps=NODE_STEPS, every=5, aggregate="symmetric", decay=0.0, dropout=0.0) -> list[Run]:
    """Classification of nodes by a graph convolution for every (method, lr, seed) of `plan`; full gradients.

    `decay` W0 is added to the gradient of W0; `dropout` is the share of hidden numbers left out of a step, the same in all runs of a seed.
    In float64: full gradients at a large rate blow rounding up, and in float32 another processor's scores would differ by points.
    """
    net = GCN.of(graph, aggregate=aggregate, dtype=float)
    parts = {seed: split(graph, seed) for *_, seed in plan}
    F = net.smoothed.shape[1]
    counts = (graph.features > 0).sum(0) if graph.features.size else graph.degree
    rules = [
        static(lr, counts, net.hidden, net.d - F * net.hidden) if method == "static rate" else _RULES[method](lr)
        for method, lr, _ in plan
    ]
    fleet = Fleet(rules, np.stack([net.start(seed) for *_, seed in plan]))
    rows, squares, watch = np.stack([parts[seed][0] for *_, seed in plan]), 0.0, _Watch(fleet.x)
    first, of_rows, terms = F * net.hidden, 0.0, 0.0
    masks, keep, units = {seed: np.random.default_rng([seed, 6]) for seed in parts}, None, None
    for t in range(1, steps + 1):
        if dropout:
            drawn = {s: (rng.random((graph.n, net.hidden)) >= dropout) / (1 - dropout) for s, rng in masks.items()}
            keep = np.stack([drawn[seed] for *_, seed in plan])
        back = net.backward(fleet.x, graph.label, rows, keep, units)
        if decay:
            back.gradient[:, :first] += decay * fleet.x[:, :first]
        fleet.step(back.gradient)
        squares, terms = squares + back.signal.astype(float) ** 2, terms + back.term
        of_rows = of_rows + (back.gradient[:, :first] ** 2).reshape(len(plan), F, net.hidden).mean(2)
        units = net.units(fleet.x) if t % every == 0 else None  # of a look, and of the gradient that comes next
        if units is not None:
            right = net.logits(fleet.x, units).argmax(-1) == graph.label
            watch.see(np.array([right[i, parts[s][1]].mean() for i, (*_, s) in enumerate(plan)]), fleet.x)
    right = net.logits(watch.kept).argmax(-1) == graph.label
    runs, series, where = [], np.array(watch.series), bins(graph.degree)
    for i, (method, lr, seed) in enumerate(plan):
        test = parts[seed][2]
        rate = row_rates(fleet.runs[i], back.gradient[i], F, net.hidden)
        runs.append(Run(method, lr, seed, watch.best[i], series[:, i], right[i, test].mean(), _binned(right[i, test], where[test]),
                        graph.degree, np.sqrt(squares[i] / steps), rate, np.sqrt(of_rows[i] / steps),
                        np.sqrt(terms[i] / steps)))  # fmt: skip
    return runs


def adam(key: str, seeds, steps: int, **settings) -> list[Run]:
    """Adam at the rate that was chosen for a field, on other seeds."""
    task, _, name = key.partition(", ")
    return reporting(task, name, {"Adam": best_rate(recorded()[key]["tuning"]["Adam"])}, seeds, steps=steps, **settings)


def averaged(tuned_on, reported_on, steps: int = NODE_STEPS) -> dict[str, list[Run]]:
    """SGD on a convolution that averages, its rate chosen anew: the runs on each graph."""
    runs, settings = {}, {"steps": steps, "aggregate": "mean"}
    for name in ("torch", "sympy"):
        tuned = tuning("nodes", name, tuned_on, _some(NODE_RATES, "SGD"), **settings)
        runs[name] = reporting("nodes", name, {"SGD": best_rate(tuned["SGD"])}, reported_on, **settings)
    return runs


def symmetric(reported_on: dict, steps: int = NODE_STEPS) -> dict[str, list[Run]]:
    """SGD on the symmetric convolution, at the rate that was chosen for the field: the runs on each graph, {"torch": seeds, ...}."""
    picked = {name: {"SGD": best_rate(recorded()[f"nodes, {name}"]["tuning"]["SGD"])} for name in reported_on}
    return {name: reporting("nodes", name, of, reported_on[name], steps=steps) for name, of in picked.items()}


class Renamed(NamedTuple):
    """Two trainings before and after all nodes trade places: largest change of a parameter, share of rates changed by over 1 %."""

    parameter: float
    rates: float


def rename(graph: Graph, rule, seed: int = 0, steps: int = 40) -> Renamed:
    """Train a graph convolution on a graph, and on the same graph with its nodes renamed at random; in float64."""
    order, rows = np.random.default_rng([seed, 4]).permutation(graph.n), split(graph, seed)[0][None]
    ends = []
    for g, r in ((graph, rows), (graph.relabelled(order), order[rows])):
        net = GCN.of(g, dtype=float)
        x = net.start(seed)[None]
        state = rule.init(x)
        for _ in range(steps):
            state, rate, direction = rule.step(state, net.backward(x, g.label, r).gradient, x)
            x = x - rate * direction
        ends.append((x, np.broadcast_to(rate, x.shape)))
    (x, rate), (y, other) = ends
    return Renamed(float(np.abs(x - y).max()), float((np.abs(other / rate - 1) > 0.01).mean()))


TASKS = {"links": (links, LINK_RATES), "nodes": (nodes, NODE_RATES)}
FIELDS = ("links, torch", "links, sympy", "nodes, torch", "nodes, sympy", "nodes, torch, X = I")


def by_degree(task: LinkTask) -> np.ndarray:
    """Test score of ranking by degree alone, one number per bin of degrees: what link prediction reaches without learning a pair."""
    rank = task.test.auc(task.degree[:, None].astype(np.float32))
    return _binned(rank, bins(task.degree[task.test.u]))


def best_rate(cell: dict) -> Choice:
    """The rate of best mean score from validation scores {"lrs": [...], "scores": [rate][seed]}."""
    return choose(-np.mean(cell["scores"], axis=1), cell["lrs"])


def slope(x, y) -> tuple[float, float]:
    """Slope and correlation of log y against log x, where both are above 0; 0 where y does not vary."""
    good = (x > 0) & (y > 0)
    x, y = np.log(x[good]), np.log(y[good])
    if np.ptp(y) < 1e-5:
        return 0.0, 0.0
    return float(np.polyfit(x, y, 1)[0]), float(np.corrcoef(x, y)[0, 1])


def exponent(degree, values, per_decade: int = 4) -> float:
    """Slope of the log root mean square of `values` among nodes of like degree against log degree; nodes with 0 count."""
    good = degree > 0
    place = np.round(np.log10(degree[good]) * per_decade)
    steps = np.unique(place)
    level = np.array([np.sqrt(np.mean(np.square(values[good][place == p]))) for p in steps])
    return slope(10 ** (steps / per_decade), level)[0]


def top_share(degree, gradient, cut: float = 0.1) -> float:
    """Share of the squared gradient that falls to the `cut` of the nodes with the highest degrees."""
    top = np.argsort(degree, kind="stable")[-int(np.ceil(cut * len(degree))) :]
    return np.square(gradient[top]).sum() / np.square(gradient).sum()


def summary(r: Run, rows) -> dict:
    """A run in a few numbers: scores, `rate` as slope and correlation, `gradient` as exponent, `rough` and `hubs`.

    `rows` are the counts that the rows of the table are held against, degrees or numbers of documents. `rough` is the root mean
    square change of the validation score between looks in the second half; `hubs` the share of the squared gradient that
    falls to the tenth of the nodes with the highest degrees.
    """
    change = np.diff(r.series[len(r.series) // 2 :])
    return {
        "seed": r.seed, "best": r.best, "score": r.score, "bins": r.by_bin, "rough": np.sqrt(np.mean(change**2)),
        "rate": slope(rows, r.rate), "gradient": exponent(r.degree, r.gradient), "hubs": top_share(r.degree, r.gradient),
    }  # fmt: skip


def reached(rows, r: Run) -> tuple[float, float]:
    """Slope and correlation, as `slope`, of the rates of those rows alone that have had a gradient; of the others Adam's rate is lr / eps."""
    had = r.row > 0
    return slope(rows[had], r.rate[had])


def counts(task: str, name: str, r: Run) -> np.ndarray:
    """What a row is counted by: the degree where it is a node, the number of documents where it is a word."""
    features = graph_of(name).features
    return (features > 0).sum(0) if task == "nodes" and features.size else r.degree


def tuning(task: str, name: str, seeds=TUNING, rates=None, **settings) -> dict:
    """Validation scores {method: {"lrs": [...], "scores": [rate][seed]}} of one field, in one program."""
    run, all_rates = TASKS[task]
    rates = rates or all_rates
    plan = [(method, float(lr), seed) for method, lrs in rates.items() for lr in lrs for seed in seeds]
    best = {(r.method, r.lr, r.seed): float(r.best) for r in run(graph_of(name), plan, **settings)}
    return {
        method: {"lrs": [float(lr) for lr in lrs], "scores": [[best[method, float(lr), s] for s in seeds] for lr in lrs]}
        for method, lrs in rates.items()
    }  # fmt: skip


def reporting(task: str, name: str, picked: dict[str, Choice], seeds, **settings) -> list[Run]:
    """Every method at its chosen rate on `seeds`, none of which was tuned on; in one program."""
    require_apart(TUNING, seeds)
    run, _ = TASKS[task]
    runs = run(graph_of(name), [(m, c.lr, seed) for m, c in picked.items() for seed in seeds], **settings)
    if bad := [r.method for r in runs if not np.isfinite(r.best)]:
        raise NonFiniteError(f"{bad[0]} never had a finite validation score on {name}; lower its rates")
    return runs


def _plain(value):
    return [_plain(v) for v in value] if isinstance(value, (tuple, list, np.ndarray)) else round(float(value), 7)


def _kept(r: Run, rows, name: str, **more) -> dict:
    """What a file keeps of a run: `summary`, `more` and, where there are no features, the fit of `reached`."""
    of_reached = {"reached": reached(rows, r)} if "X = I" in name else {}
    return {k: _plain(v) for k, v in (summary(r, rows) | more | of_reached).items()}


def field(key: str) -> dict:
    """What the file keeps of one field: the tuning scores and the summary of every reported run."""
    task, _, name = key.partition(", ")
    rates = {m: lrs for m, lrs in TASKS[task][1].items() if "X = I" not in name or m in ("AdaGrad", "RMSProp", "Adam")}
    tuned = {m: {k: _plain(v) for k, v in cell.items()} for m, cell in tuning(task, name, rates=rates).items()}
    runs = reporting(task, name, {m: best_rate(cell) for m, cell in tuned.items()}, SEEDS[task])
    kept = {m: [] for m in tuned}
    for r in runs:
        kept[r.method].append(_kept(r, counts(task, name, r), name))
    return {"tuning": tuned, "runs": kept}


def _some(rates: dict, *names: str) -> dict:
    return {name: rates[name] for name in names}


#: Without words, X = I, an entry of A X is larger; a sum is as large as the degree.
_WITHOUT_WORDS = {"SGD": _decades(1, 3), "heavy ball": _decades(0.5, 2.5), "Adam": _decades(-2, 0)}
_SUM = {"SGD": _decades(-4, -1)}
_SINGLE = "SGD", "heavy ball", "Adam"
#: key -> (rates, or None for the rates that the field was reported at; settings of `links` or `nodes`).
VARIANTS = {
    "links, torch, matched decoys": (None, {"matched": True}),
    "links, sympy, matched decoys": (None, {"matched": True}),
    "links, torch, no root": (_some(LINK_RATES, "SGD", "Adam"), {}),
    "links, torch, LightGCN": (_some(LINK_RATES, "SGD", "Adam"), {"propagated": True}),
    "links, sympy, LightGCN": (_some(LINK_RATES, "SGD", "Adam"), {"propagated": True}),
    "nodes, torch, sum": (_SUM, {"aggregate": "sum"}),
    "nodes, sympy, sum": (_SUM, {"aggregate": "sum"}),
    "nodes, torch, X = I, one rate": (_WITHOUT_WORDS, {}),
    "nodes, sympy, X = I, one rate": (_WITHOUT_WORDS | {"heavy ball": _decades(0, 2)}, {}),
    "links, wordnet": (_some(LINK_RATES, *_SINGLE, "static rate"), {}),
    "nodes, wordnet": (_some(NODE_RATES, *_SINGLE), {}),
    "nodes, wordnet, mean": (_some(NODE_RATES, "SGD"), {"aggregate": "mean"}),
    "nodes, wordnet, X = I, one rate": (_WITHOUT_WORDS | {"heavy ball": _decades(0, 2)}, {}),
    "nodes, torch, regularised": (_some(NODE_RATES, *_SINGLE), REGULARISED),
    "nodes, sympy, regularised": (_some(NODE_RATES, *_SINGLE), REGULARISED),
    "nodes, wordnet, regularised": (_some(NODE_RATES, *_SINGLE), REGULARISED),
}  # fmt: skip


def single(key: str) -> str:
    """The better single constant rate by its tuning scores: SGD or heavy ball."""
    scores = {
        m: np.mean(of["scores"], axis=1).max() for m, of in cell(key)["tuning"].items() if m in ("SGD", "heavy ball")
    }
    return max(scores, key=scores.get)


def variant(key: str) -> dict:
    """What the file of variants keeps: as `field`, and where a row is a node the exponent `row` and the shares at `CUTS`."""
    task, _, name = key.partition(", ")
    rates, settings = VARIANTS[key]
    if rates:
        tuned = tuning(task, name, VARIANT_TUNING, rates, **settings)
    else:
        of_field = key.rpartition(", ")[0]
        tuned = _some(recorded()[of_field]["tuning"], single(of_field), "Adam")
    kept, picked = {m: [] for m in tuned}, {m: best_rate(cell) for m, cell in tuned.items()}
    require_apart(VARIANT_TUNING, VARIANT_SEEDS[task])
    for r in reporting(task, name, picked, VARIANT_SEEDS[task], **settings):
        of_nodes = {} if len(r.row) != len(r.degree) else {
            "row": exponent(r.degree, r.row), "shares": [top_share(r.degree, r.row, cut) for cut in CUTS]
        }  # fmt: skip
        kept[r.method].append(_kept(r, counts(task, name, r), name, **of_nodes))
    return {"tuning": {m: {k: _plain(v) for k, v in cell.items()} for m, cell in tuned.items()}, "runs": kept}


@cache
def recorded() -> dict:
    """The file: {"links, torch": {"tuning": {method: ...}, "runs": {method: [summary, ...]}}}."""
    return RACES.read()


@cache
def variants() -> dict:
    """The file of variants, in the same form."""
    return OTHERS.read()


def cell(key: str) -> dict:
    """What a file keeps of a field or of a variant."""
    return (variants() if key in VARIANTS else recorded())[key]


if __name__ == "__main__":
    chosen = sys.argv[1:]
    RACES.fill(FIELDS, field, [key for key in chosen if key not in VARIANTS])
    OTHERS.fill(VARIANTS, variant, [key for key in chosen if key in VARIANTS])
