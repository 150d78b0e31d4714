"""What five epochs leave in the table: rates and moments by a word's count, and neighbours of like meaning by WordNet. Recorded.

python -m companion.experiments.sparse_embeddings.readings [method ...]     # the cells that the file lacks, or those named
"""

import sys
from dataclasses import replace
from functools import cache

import numpy as np

from companion.experiments.archive import GRIDS
from companion.experiments.datasets import load

from . import epochs
from .race import last_visit, slopes
from .skip_gram import BINS, corpus, score

#: A word is a neighbour from this many occurrences on, so that words of every class are asked for the same, well-trained ones.
KNOWN, NEAREST = 50, 10
#: Visits from which a row counts: as in the short training, and those of which an average with beta2 = 0.999 remembers no more.
LEAST = {"all": 5, "often": 1000}
#: The first category of verbs.
FIRST_VERB = 29
LABELS = "category", "hypernym"
NAMES = "AdaGrad", "RMSProp", "Adam", "lazy Adam, shared clock", "SGD"
GRID = replace(
    GRIDS["embedding_readings"], facts=epochs.GRID.facts | {"known": KNOWN, "nearest": NEAREST, "visits": LEAST}
)


@cache
def meanings() -> dict[str, np.ndarray]:
    """WordNet's numbers for the words of the corpus, (V,) each, -1 where it has none: `category`, `hypernym`, and `speech`, 0 nouns, 1 verbs."""
    data = load("wordnet_words")
    _, number = np.unique(np.stack([data["category"] >= FIRST_VERB, data["hypernym"]]), axis=1, return_inverse=True)
    values = {
        "category": data["category"].astype(int),
        "hypernym": np.where(data["hypernym"] < 0, -1, number.ravel()),
        "speech": (data["category"] >= FIRST_VERB).astype(int),
    }
    place = {word: k for k, word in enumerate(data["words"])}
    at = np.array([place.get(word, -1) for word in corpus().words])
    return {name: np.where(at < 0, -1, value[at]) for name, value in values.items()}


def agreement(vectors, counts, label, speech, known: int = KNOWN, nearest: int = NEAREST) -> np.ndarray:
    """Share of a word's `nearest` neighbours that have its label, and what two kinds of chance would give; (3, bins).

    Row 0 is the share. Row 1: each neighbour replaced by a word of its own class of counts and part of speech, drawn at random,
    the word itself left out. Row 2: the word replaced by another of its own class and part of speech, its neighbours kept, which
    counts for nothing that a few words are neighbours of many. Means over the words of each of `BINS` that have a label. Neighbours,
    by the cosine, are words with a label that occur `known` times or more. vectors (V, d); counts, label, speech (V,).
    """
    which = np.searchsorted([low for low, _ in BINS.values()], counts, side="right") - 1
    asking = np.flatnonzero(label >= 0)
    asked = asking[counts[asking] >= known]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit[asking] @ unit[asked].T
    near[asking[:, None] == asked] = -np.inf
    near = asked[np.argsort(-near, axis=1, kind="stable")[:, : min(nearest, len(asked) - 1)]]

    sizes = np.zeros((len(BINS), 2), int)
    np.add.at(sizes, (which[asked], speech[asked]), 1)
    of_label = np.zeros((len(BINS), label.max() + 1), int)
    np.add.at(of_label, (which[asked], label[asked]), 1)
    own = (which[near] == which[asking, None]) & np.isin(asking, asked)[:, None]
    kin = speech[near] == speech[asking, None]
    chance = (
        kin * (of_label[which[near], label[asking, None]] - own) / np.maximum(sizes[which[near], speech[near]] - own, 1)
    )
    same = label[near] == label[asking, None]
    peers, alike = np.zeros((len(BINS), 2), int), np.zeros((len(BINS), label.max() + 1), int)
    np.add.at(peers, (which[asking], speech[asking]), 1)
    np.add.at(alike, (which[asking], label[asking]), 1)
    others = np.maximum(peers[which[asking], speech[asking]] - 1, 1)[:, None]
    dealt = kin * (alike[which[asking, None], label[near]] - same) / others
    return np.array([[part[which[asking] == b].mean() for b in range(len(BINS))] for part in (same, chance, dealt)])


def reading(name: str, seeds=tuple(epochs.SEEDS["reporting"])) -> dict:
    """A cell: the rate, and of every training its loss on the reporting plays, slopes by `LEAST`, and `agreement` by `LABELS`.

    The trainings are those of `epochs`; SGD, which has none there, is tuned in the same manner.
    """
    counts, known, pairs = corpus().counts, meanings(), epochs.held("reporting")
    cell = {"lr": epochs.recorded()[name]["lr"]} if name in epochs.NAMES else {}
    if not cell:
        choice, tried = epochs.tuned(name)
        cell = {"lr": choice.lr, "tried": epochs.plain(tried)}
    kept = {"loss": [], "slopes": {of: {} for of in LEAST}, "agreement": {label: [] for label in LABELS}}
    for seed in seeds:
        tables = epochs.trained(name, cell["lr"], seed)
        for field, values in last_visit(tables).items():
            for of, least in LEAST.items():
                slope = slopes(values[None], tables.visits[None], least)[0]
                kept["slopes"][of].setdefault(field, []).append(round(float(slope), 5))
        a, b = epochs.settled(tables)
        kept["loss"].append(np.round(score(a, b, pairs, counts), 5).tolist())
        for label in LABELS:
            shares = agreement(a, counts, known[label], known["speech"])
            kept["agreement"][label].append(np.round(shares, 5).tolist())
    return cell | kept


@cache
def recorded() -> dict[str, dict]:
    """method -> cell of the file."""
    return GRID.read()


def exponents(name: str, field: str, of: str = "all") -> np.ndarray:
    """Slope of log `field` ("rate", "moment", "distance") against log count after five epochs, seed by seed; `of` is a key of `LEAST`."""
    return np.array(recorded()[name]["slopes"][of][field])


def kinship(name: str, words: str, label: str = "category", chance: int = 1) -> np.ndarray:
    """Share of neighbours with a word's label minus chance, row 1 or 2 of `agreement`, seed by seed, for the words of a bin."""
    shares = np.array(recorded()[name]["agreement"][label])[..., list(BINS).index(words)]
    return shares[:, 0] - shares[:, chance]


if __name__ == "__main__":
    GRID.fill(NAMES, reading, sys.argv[1:])
