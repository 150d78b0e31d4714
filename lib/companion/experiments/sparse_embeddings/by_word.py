"""After five epochs, word by word: the loss of rare words with their own vectors minus that with the common one. Recorded.

python -m companion.experiments.sparse_embeddings.by_word [method ...]     # the cells that the file lacks, or those named
"""

import sys
from dataclasses import replace
from functools import cache

import numpy as np

from companion.evidence import Interval, student
from companion.experiments.archive import GRIDS

from . import epochs
from .skip_gram import BINS, corpus, losses, towards_common

#: Rules of `epochs` that were read again; lazy Adam is not among them.
NAMES = "AdaGrad", "RMSProp", "Adam"
#: The classes of rare words.
RARE = "1-2", "3-9"
GRID = replace(GRIDS["embedding_words"], facts=epochs.GRID.facts)


def asked() -> dict[str, np.ndarray]:
    """Class -> the words of `RARE` that the pairs of the reporting plays ask for, by number, in order."""
    centre, counts = np.unique(epochs.held("reporting").centre), corpus().counts
    return {words: centre[(BINS[words][0] <= counts[centre]) & (counts[centre] < BINS[words][1])] for words in RARE}


def sums(a, b, pairs, counts, words) -> np.ndarray:
    """Of each of `words` the sum over its pairs of the loss with its own vector minus that with the common one; tables a, b (V, d)."""
    gain = losses(a, b, *pairs) - losses(towards_common(a, counts, 0), b, *pairs)
    return np.bincount(pairs.centre, gain, len(counts))[words]


def compute(name: str) -> dict:
    """A cell: for each class the number of pairs of every word of `asked`, and its `sums`, means over the trainings of `epochs`."""
    text, pairs, words = corpus(), epochs.held("reporting"), asked()
    lr, seeds = epochs.recorded()[name]["lr"], epochs.SEEDS["reporting"]
    tables = [epochs.settled(epochs.trained(name, lr, seed)) for seed in seeds]
    cell = {}
    for of, which in words.items():
        total = np.mean([sums(*ab, pairs, text.counts, which) for ab in tables], axis=0)
        cell[of] = {"pairs": np.bincount(pairs.centre)[which].tolist(), "sums": np.round(total, 4).tolist()}
    return cell


@cache
def recorded() -> dict[str, dict]:
    """method -> cell of the file, as arrays (words,)."""
    return {
        name: {of: {key: np.array(values) for key, values in kept.items()} for of, kept in cell.items()}
        for name, cell in GRID.read().items()
    }


def over_words(pairs, total) -> Interval:
    """sum of `total` over sum of `pairs`, (words,) each, with Student's interval over words.  Cochran (1977), chapter 6.

    The ratio plus each word's part in its variation, (total - ratio pairs) / mean of pairs: resampled words would give the same.
    """
    ratio = total.sum() / pairs.sum()
    return student(ratio + (total - ratio * pairs) / pairs.mean())


def resampled(name: str, of: str) -> Interval:
    """Mean over all pairs of the loss of rare words with their own vectors minus that with the common one; over words."""
    return over_words(*(recorded()[name][of][key] for key in ("pairs", "sums")))


if __name__ == "__main__":
    GRID.fill(NAMES, compute, sys.argv[1:])
