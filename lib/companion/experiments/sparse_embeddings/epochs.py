"""Five epochs of training: is a rare word's own vector better than one common vector? Recorded, for a page cannot wait.

python -m companion.experiments.sparse_embeddings.epochs [method ...]     # the cells that the file lacks, or those named
"""

import sys
from dataclasses import replace
from functools import lru_cache

import numpy as np

from companion.experiments.archive import GRIDS
from stepsize.tuning import Choice, choose

from .race import DIMENSION, METHODS, chosen
from .skip_gram import BINS, HeldOut, Trained, corpus, held_out, score, towards_common, train

EPOCHS, BATCH, HELD = 5, 1024, 200_000
SEEDS = {"tuning": 300, "reporting": [301, 302, 303, 304, 305], "held-out pairs": 306}
#: Of the own vector in a mixture with the common one.
WEIGHTS = 0.0, 0.25, 0.5, 0.75, 1.0
NAMES = "AdaGrad", "RMSProp", "Adam", "lazy Adam, shared clock", "SGD, 1/√count"
GRID = replace(
    GRIDS["embedding_epochs"],
    facts={"epochs": EPOCHS, "batch": BATCH, "dimension": DIMENSION, "seeds": SEEDS, "weights": [*WEIGHTS], "bins": ["all", *BINS]},
)  # fmt: skip


def trained(name: str, lr: float, seed: int) -> Trained:
    """The tables of words and neighbours after `EPOCHS`; what idle rows owe is not yet in them."""
    text = corpus()
    steps = round(EPOCHS * len(text.train) / BATCH)
    return train(METHODS[name][0], text, [lr], [seed], steps, BATCH, DIMENSION)


def settled(tables: Trained) -> tuple[np.ndarray, np.ndarray]:
    """The vectors (V, d) of words and neighbours, every row up to date."""
    return tables.word.settle(), tables.neighbour.settle()


def held(plays: str) -> HeldOut:
    """The pairs of the tuning or the reporting plays that all trainings are scored on."""
    return held_out(corpus(), plays, HELD, SEEDS["held-out pairs"])


def tuned(name: str) -> tuple[Choice, dict[float, float]]:
    """The rate with the least loss of all words on the tuning plays, and that loss at every rate tried.

    Rates are a factor of 2 apart: that of the short training and its neighbours, and more while the best is the first or last.
    """
    pairs = held("tuning")
    tried, around = {}, chosen(name).lr * 2.0 ** np.arange(-1, 2)
    while True:
        for lr in around:
            if lr not in tried:
                with np.errstate(all="ignore"):
                    a, b = settled(trained(name, lr, SEEDS["tuning"]))
                tried[lr] = float(np.nan_to_num(score(a, b, pairs, corpus().counts)[0], nan=99.0))
        choice = choose([tried[lr] for lr in sorted(tried)], sorted(tried))
        if not choice.at_edge:
            return choice, tried
        around = choice.lr * 2.0 ** np.arange(-1, 2)


def plain(tried: dict[float, float]) -> dict[str, float]:
    """Rate -> loss as the file keeps them."""
    return {f"{lr:.6g}": round(tried[lr], 5) for lr in sorted(tried)}


def compute(name: str) -> dict:
    """A cell: what `tuned` gives, and losses of mixtures with other seeds: `tuning` and `reporting` (seeds, weights, 1 + bins) on those plays."""
    counts = corpus().counts
    pairs = {plays: held(plays) for plays in ("tuning", "reporting")}
    choice, tried = tuned(name)
    losses = {plays: [] for plays in pairs}
    for seed in SEEDS["reporting"]:
        a, b = settled(trained(name, choice.lr, seed))
        for plays, asked in pairs.items():
            mixed = [score(towards_common(a, counts, w), b, asked, counts) for w in WEIGHTS]
            losses[plays].append(np.round(mixed, 5).tolist())
    return {"lr": choice.lr, "tried": plain(tried)} | losses


@lru_cache
def recorded() -> dict[str, dict]:
    """method -> cell of the file, its losses as arrays."""
    return {
        name: cell | {plays: np.array(cell[plays]) for plays in ("tuning", "reporting")}
        for name, cell in GRID.read().items()
    }


def against_common(name: str, words: str) -> np.ndarray:
    """Loss of the words of a bin with their own vectors minus that with the common one, seed by seed, on the reporting plays."""
    losses = recorded()[name]["reporting"][..., 1 + list(BINS).index(words)]
    return losses[:, -1] - losses[:, 0]


def best_mixture(name: str, words: str) -> tuple[np.ndarray, np.ndarray]:
    """The weight of the own vector that is best on the tuning plays, and the loss with it minus that with the common one, seed by seed."""
    at = 1 + list(BINS).index(words)
    tuning, reporting = (recorded()[name][plays][..., at] for plays in ("tuning", "reporting"))
    best = tuning.argmin(1)
    return np.array(WEIGHTS)[best], reporting[np.arange(len(best)), best] - reporting[:, 0]


if __name__ == "__main__":
    GRID.fill(NAMES, compute, sys.argv[1:])
