"""Word vectors trained by every rule at every rate of its grid, and at the chosen rates on other seeds and other plays.

python -m companion.experiments.sparse_embeddings.race [method ...]     # the grids that the file lacks, or those of the methods named
"""

import sys
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from companion.experiments.archive import GRIDS
from stepsize import lazy
from stepsize.contract import rebuild
from stepsize.optim import Optimizer
from stepsize.rules import SGD, AdaGrad, Adam, RowAdaGrad
from stepsize.tables import Table
from stepsize.tuning import Choice, choose

from .skip_gram import BINS, Trained, batches, corpus, gradients, held_out, score, together, towards_common, train

STEPS, BATCH, DIMENSION = 2000, 256, 16
TUNING_SEEDS = (100, 101)
DIVERGED = 99.0
RATES = replace(
    GRIDS["embedding_rates"],
    facts={"steps": STEPS, "batch": BATCH, "dimension": DIMENSION, "seeds": [*TUNING_SEEDS], "bins": ["all", *BINS]},
)
COSTS, LARGE = GRIDS["lazy_rows"], GRIDS["large_tables"]

#: name: (rule of a column of rates and a column of word counts, the rate in the middle of its grid).
METHODS = {
    "SGD": (lambda lr, n: SGD(lr), 40.0),
    "SGD, 1/√count": (lambda lr, n: SGD(lr / np.sqrt(n)), 200.0),
    "heavy ball": (lambda lr, n: lazy.IdleHeavyBall(lr), 5.0),
    "AdaGrad": (lambda lr, n: AdaGrad(lr), 0.1),
    "RMSProp": (lambda lr, n: lazy.IdleRMSProp(lr), 4e-3),
    "Adam": (lambda lr, n: lazy.IdleAdam(lr), 5e-3),
    "lazy Adam": (lambda lr, n: Adam(lr), 2e-2),
    "lazy Adam, shared clock": (lambda lr, n: lazy.SharedClock(lr), 7e-3),
    "lazy Adam × D(gap)": (lambda lr, n: lazy.GapScaled(lr), 5e-3),
}

#: What a rate is chosen by: a loss on the tuning plays, over all words or over words with fewer than 10 occurrences.
GOALS = {"all words": lambda loss: loss[..., 0], "rare words": lambda loss: loss[..., 1:3].mean(-1)}


def grid(name: str):
    """Seven rates, each twice the one before."""
    return METHODS[name][1] * 2.0 ** np.arange(-3, 4)


class Raced(NamedTuple):
    """Held-out losses (rates, seeds, 1 + bins); second moment, rate (in units of lr) and distance per visit of the words (runs, V).

    `common` are the losses with one common vector for all words, `skip_gram.towards_common` with weight 0. Moments and rates
    are those of a word's last visit, the mean over its coordinates; `visits` (runs, V).
    """

    loss: np.ndarray
    common: np.ndarray
    moment: np.ndarray
    rate: np.ndarray
    distance: np.ndarray
    visits: np.ndarray


def last_visit(trained: Trained) -> dict[str, np.ndarray]:
    """Of every row of the words: `moment`, its second moment, `rate`, in units of lr, and `distance` per visit; (runs * V,) each.

    NaN in rows that no batch has brought. To be read before the tables are settled, which lets idle rows decay.
    """
    seen, facts = np.flatnonzero(trained.visits), {}
    state = rebuild(trained.word.state, iter([leaf[seen] for leaf in trained.word.memory]))
    with np.errstate(divide="ignore", invalid="ignore"):  # words whose gradients were all 0
        if hasattr(state, "v"):
            v = state.v.mean
        else:  # the sum of AdaGrad, or none
            v = np.ones((seen.size, trained.word.x.shape[1])) if isinstance(state, tuple) else state
        rate = (v**-0.5).mean(-1)
    per_visit = trained.distance[seen] / trained.visits[seen]
    for name, of_seen in (("moment", v.mean(-1)), ("rate", rate), ("distance", per_visit)):
        facts[name] = np.full(trained.visits.size, np.nan, of_seen.dtype)
        facts[name][seen] = of_seen
    return facts


@lru_cache(2)
def _unread(plays: str, limit: int, seed: int):
    """The pairs that all methods are scored on, drawn once."""
    return held_out(corpus(), plays, limit, seed)


@lru_cache(1)
def _read(seeds: tuple[int, ...], steps: int):
    """The batches that all methods read, drawn once."""
    return [*together(corpus(), seeds, steps, BATCH)]


def race(
    name: str, lrs, seeds, steps: int = STEPS, plays: str = "reporting", held: int = 100_000, pairs_seed: int = 7
) -> Raced:
    """One method trained at every rate with every seed, scored on at most `held` pairs of plays that it has not read."""
    text, shape = corpus(), (len(lrs), len(seeds), len(corpus().counts))
    drawn = _read(tuple(seeds), steps)
    trained = train(METHODS[name][0], text, lrs, seeds, steps, BATCH, DIMENSION, drawn=drawn)
    facts = [fact.reshape(-1, shape[2]) for fact in last_visit(trained).values()]
    a, b = (table.settle().reshape(*shape, DIMENSION) for table in (trained.word, trained.neighbour))
    pairs = _unread(plays, held, pairs_seed)
    loss = np.empty((2, *shape[:2], 1 + len(BINS)))
    for run in np.ndindex(shape[:2]):
        for k, vectors in enumerate((a[run], towards_common(a[run], text.counts, 0))):
            loss[k][run] = score(vectors, b[run], pairs, text.counts)
    return Raced(*loss, *facts, trained.visits.reshape(-1, shape[2]))


def slopes(values, visits, least: int = 5):
    """Slope of log(value) against log(count in the training plays), run by run, over words visited at least `least` times."""
    exponents = []
    for value, seen in zip(values, visits, strict=True):
        kept = (seen >= least) & np.isfinite(value) & (value > 0)
        exponents.append(np.polyfit(np.log(corpus().counts[kept]), np.log(value[kept]), 1)[0])
    return np.array(exponents)


def touched(batches_seen: int, seed: int) -> dict[str, np.ndarray]:
    """Shares of rows with a gradient that is not 0, batch by batch: of words, of neighbours with noise, of neighbours under a full softmax."""
    text, rng = corpus(), np.random.default_rng(seed)
    V, shares = len(text.counts), []
    a, b = rng.normal(size=(2, V, DIMENSION)) * 0.1
    for centre, other in batches(text, seed, batches_seen, BATCH):
        rows, _, others, _ = gradients(a, b, centre, other, BATCH)
        some = a[centre[:8]]  # eight pairs are enough: no probability is 0
        p = np.exp(some @ b.T)
        full = (p / p.sum(1, keepdims=True)).T @ some
        shares.append([len(rows) / V, len(others) / V, (full != 0).any(1).mean()])
    where = "the table holds looked-up words", "the output is sampled", "the output is a full softmax"
    return dict(zip(where, np.array(shares).T, strict=True))


def looked_up(batch: int, batches_seen: int, seed: int) -> np.ndarray:
    """Share of the words that a batch of `batch` pairs looks up, batch by batch."""
    text = corpus()
    return np.array([len(np.unique(c)) / len(text.counts) for c, _ in batches(text, seed, batches_seen, batch)])


def recorded(steps: int, seed: int):
    """The active rows and gradients of the words in the first steps of a training, float64; and the shape of the table."""
    text, visited = corpus(), []
    rng = np.random.default_rng([seed, 1])
    word = Table(AdaGrad(0.2), rng.normal(size=(len(text.counts), DIMENSION)) * 0.1)
    neighbour = Table(AdaGrad(0.2), np.zeros(word.x.shape))
    for centre, other in batches(text, seed, steps, BATCH):
        rows, g, others, h = gradients(word.x, neighbour.x, centre, other, BATCH)
        if (g != 0).any():  # the neighbours begin at 0, and the first gradient is none
            visited.append((rows, g))
        word.step(rows, g)
        neighbour.step(others, h)
    return visited, word.x.shape


def _visited(visits):
    """The rows that are visited at all, n of them, and the visits with rows named by their place among these: a row without gradients stays where it is."""
    seen = np.unique(np.concatenate([rows for rows, _ in visits]))
    return len(seen), [(np.searchsorted(seen, rows), g) for rows, g in visits]


def dense_end(dense, visits, shape) -> np.ndarray:
    """Where torch's `dense([parameter])` takes the rows of a table that are visited, from 0, in float64."""
    import torch

    n, visits = _visited(visits)
    p = torch.nn.Parameter(torch.zeros(n, shape[1], dtype=torch.float64))
    optimizer = dense([p])
    for rows, g in visits:
        p.grad = torch.zeros_like(p)
        p.grad[torch.as_tensor(rows)] = torch.as_tensor(g)
        optimizer.step()
    return p.detach().numpy()


def apart(rule, end, visits, shape) -> float:
    """Largest distance, in units of lr, between a table stepped by `rule` and where `dense_end` took it on the same gradients."""
    n, visits = _visited(visits)
    table = Table(rule, np.zeros((n, shape[1])))
    for rows, g in visits:
        table.step(rows, g)
    return float(np.abs(table.settle() - end).max() / rule.lr)


@lru_cache
def table():
    """name -> losses (rates, tuning seeds, 1 + bins) of the grid, from the file."""
    return {name: np.array(loss) for name, loss in RATES.read().items()}


def chosen(name: str, goal: str = "all words") -> Choice:
    """The rate with the smallest mean loss of `goal` on the tuning seeds and tuning plays."""
    return choose(GOALS[goal](table()[name]).mean(1), grid(name))


def losses(name: str) -> list:
    """What the file keeps of a method: its losses at every rate of its grid on the tuning seeds and plays."""
    with np.errstate(all="ignore"):
        # one seed at a time: the runs of a grid in one batch would need more memory than a small machine has
        parts = [race(name, grid(name), [seed], plays="tuning").loss for seed in TUNING_SEEDS]
    return np.round(np.minimum(np.nan_to_num(np.concatenate(parts, axis=1), nan=DIVERGED), DIVERGED), 5).tolist()


def journey(rule, elapsed: int, steps: int):
    """Displacement of a row at rest, in units of lr = 1, after one gradient of 1 and then none; the table has made `elapsed` steps before."""
    state, x, moved = rule.init(np.zeros(1)), np.zeros(1), []
    betas = (rule.beta1, rule.beta2)
    state = type(state)(*(lazy.wait(a, b, elapsed) for a, b in zip(state, betas, strict=True)))
    for t in range(steps):
        state, rate, direction = rule.step(state, np.full(1, float(t == 0)), x)
        x = x - rate * direction
        moved.append(-x[0])
    return np.array(moved)


@lru_cache
def costs():
    """name -> table size -> CPU milliseconds per step, round by round, as the benchmark recorded them."""
    return {name: {int(V): np.array(t) for V, t in times.items()} for name, times in COSTS.read().items()}


def speedup(slow: str, fast: str, V: int):
    """Ratios of the cost of one step in `costs`. The dense rule ran in a race of its own: rounds are paired by their number alone,
    as many as the shorter race has. `large_costs` has rounds that all rules ran together."""
    n = min(len(costs()[name][V]) for name in (slow, fast))
    return costs()[slow][V][:n] / costs()[fast][V][:n]


@lru_cache
def large_costs():
    """name -> CPU milliseconds of a step on a million rows, round by round; dense and lazy rules in one race."""
    return {name: np.array(t) for name, t in LARGE.read().items()}


def cost_ratios() -> dict[str, np.ndarray]:
    """What a dense Adam step costs over what another costs, by rule and size of the table: by `speedup`, and round by round of `large_costs`."""
    dense, large = "dense Adam, fused (torch)", large_costs()
    rows = {
        f"{name}, {V:,} rows": speedup(dense, name, V)
        for name in ("SparseAdam (torch)", "lazy Adam")
        for V in (10**4, 10**6)
    }
    thrifty = {"row-wise AdaGrad": "row-wise AdaGrad", "Adafactor": "Adafactor (torch)"}
    rows |= {f"{name}, 1,000,000 rows": large[dense] / large[of] for name, of in thrifty.items()}
    together = "all rules in one race, {}, 1,000,000 rows".format
    return rows | {together(name): large[dense] / large[name] for name in ("SparseAdam (torch)", "lazy Adam")}


def state_bytes(rows: int, columns: int, active: int) -> dict[str, float]:
    """Bytes that a rule remembers per parameter of a float32 table, step counters apart, by the names of the benchmark."""
    import torch

    values = torch.ones(active, columns)
    lazy_rows = torch.sparse_coo_tensor(torch.arange(active)[None], values, (rows, columns), check_invariants=False)
    whole = torch.ones(rows, columns)

    def of(make, gradient):
        p = torch.nn.Parameter(torch.zeros(rows, columns))
        p.grad, optimizer = gradient, make([p])
        optimizer.step()
        kept = [v for v in optimizer.state[p].values() if torch.is_tensor(v) and v.numel() > 1]
        return sum(v.numel() * v.element_size() for v in kept) / p.numel()

    with torch.sparse.check_sparse_tensor_invariants(False):
        return {
            "dense Adam, fused (torch)": of(torch.optim.Adam, whole),
            "SparseAdam (torch)": of(torch.optim.SparseAdam, lazy_rows),
            "lazy Adam": of(lambda ps: Optimizer(ps, Adam()), lazy_rows),
            "Adagrad, sparse (torch)": of(torch.optim.Adagrad, lazy_rows),
            "row-wise AdaGrad": of(lambda ps: Optimizer(ps, RowAdaGrad()), lazy_rows),
            "Adafactor (torch)": of(torch.optim.Adafactor, whole),
        }


def memory_ratios(rows: int, columns: int, active: int) -> dict[str, float]:
    """Bytes that dense Adam needs for a table over those that a thriftier way needs, by what is counted.

    A sparse gradient is `active` rows and their indices, int64.
    """
    state = state_bytes(rows, columns, active)
    dense = state["dense Adam, fused (torch)"]
    return {
        "memory of the state is meant": dense / state["SparseAdam (torch)"],
        "memory of the gradient is meant": rows * columns * 4 / (active * columns * 4 + active * 8),
        "state of row-wise AdaGrad": dense / state["row-wise AdaGrad"],
        "state of Adafactor": dense / state["Adafactor (torch)"],
    }


if __name__ == "__main__":
    RATES.fill(METHODS, losses, sys.argv[1:])
