"""Word vectors by skip-gram with negative sampling on Shakespeare's plays: tables of which a batch touches few rows.

Mikolov et al. (2013), equation 4: for a word w, a neighbour c and k noise words n,  -log s(a_w . b_c) - sum log s(-a_w . b_n).
All rates and seeds of an experiment train at once: tables of shape (runs, V, d), stepped as runs * V rows.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from companion.experiments.datasets import load
from stepsize.errors import ShapeError
from stepsize.tables import Table

WINDOW, NOISE, PLAYS = 2, 5, (28, 5, 5)

#: Words by how often they occur in the training plays; chosen before anything was trained.
BINS = {"1-2": (1, 3), "3-9": (3, 10), "10-49": (10, 50), "50-299": (50, 300), "300-1999": (300, 2000), "2000 and more": (2000, 10**9)}  # fmt: skip


#: Sums of products may be taken in any order, which lets the compiler take several at once; not finite numbers stay what they are.
_SUMS = {"reassoc", "contract"}


class Corpus(NamedTuple):
    """Pairs (word, neighbour) of the plays for training, tuning and reporting, each (n, 2); counts (V,) in the training plays.

    Words that the training plays lack are left out. `noise` holds 2^20 draws in proportion to count^0.75.
    """

    train: np.ndarray
    tuning: np.ndarray
    reporting: np.ndarray
    counts: np.ndarray
    noise: np.ndarray
    words: np.ndarray


def pairs(word, play):
    """(word, neighbour) for all neighbours within `WINDOW` places in the same play; shape (n, 2)."""
    near = []
    for k in range(1, WINDOW + 1):
        ahead = np.stack([word[:-k], word[k:]], axis=1)[play[:-k] == play[k:]]
        near += [ahead, ahead[:, ::-1]]
    return np.concatenate(near)


@lru_cache
def corpus(seed: int = 0) -> Corpus:
    """Shakespeare's plays, split by play into `PLAYS`: a scene never lies on two sides."""
    data = load("shakespeare")
    part = np.repeat(range(3), PLAYS)[np.random.default_rng(seed).permutation(sum(PLAYS))][data["play"]]
    counts = np.bincount(data["word"][part == 0], minlength=len(data["vocabulary"]))
    known = counts > 0
    word = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)[data["word"]]
    split = []
    for k in range(3):
        inside = pairs(word[part == k], data["play"][part == k])
        split.append(inside[(inside[:, 0] >= 0) & (inside[:, 1] >= 0)])
    counts = counts[known]
    share = np.cumsum(counts**0.75) / np.sum(counts**0.75)
    noise = np.searchsorted(share, (np.arange(2**20) + 0.5) / 2**20).astype(np.int32)
    return Corpus(*split, counts, noise, data["vocabulary"][known])


@njit(cache=True, fastmath=_SUMS)
def gradients(a, b, centre, other, batch):
    """Rows and gradients in a and b of the mean loss of `batch` pairs; each row once.

    centre (n,), other (n, 1 + k): the true neighbour first. n may hold several runs, whose rows differ.
    """
    n, k = other.shape
    d = a.shape[1]
    rows_a, rows_b = np.empty(n, np.int64), np.empty(n * k, np.int64)
    g_a, g_b = np.empty((n, d), a.dtype), np.empty((n * k, d), a.dtype)
    slot_a, slot_b = np.full(len(a), -1, np.int32), np.full(len(b), -1, np.int32)
    count_a = count_b = 0
    for i in range(n):
        row = centre[i]
        p = slot_a[row]
        if p < 0:
            p = slot_a[row] = count_a
            rows_a[p] = row
            g_a[p] = 0
            count_a += 1
        for j in range(k):
            col = other[i, j]
            q = slot_b[col]
            if q < 0:
                q = slot_b[col] = count_b
                rows_b[q] = col
                g_b[q] = 0
                count_b += 1
            s = a.dtype.type(0)
            for h in range(d):
                s += a[row, h] * b[col, h]
            e = a.dtype.type((1 / (1 + np.exp(-s)) - (j == 0)) / batch)
            for h in range(d):
                g_a[p, h] += e * b[col, h]
                g_b[q, h] += e * a[row, h]
    return rows_a[:count_a], g_a[:count_a], rows_b[:count_b], g_b[:count_b]


@njit(cache=True, fastmath=_SUMS)
def losses(a, b, centre, other):
    """The loss of every pair; arguments as in `gradients`."""
    n, k = other.shape
    loss = np.zeros(n)
    for i in range(n):
        for j in range(k):
            s = 0.0
            for h in range(a.shape[1]):
                s += a[centre[i], h] * b[other[i, j], h]
            s = -s if j == 0 else s
            loss[i] += max(s, 0.0) + np.log1p(np.exp(-abs(s)))
    return loss


def batches(text: Corpus, seed: int, steps: int, batch: int):
    """(centre (batch,), other (batch, 1 + NOISE)) of each step; every rule and rate sees the same ones."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = text.train[rng.integers(len(text.train), size=batch)]
        drawn = text.noise[rng.integers(len(text.noise), size=(batch, NOISE))]
        yield chosen[:, 0], np.concatenate([chosen[:, 1:], drawn], axis=1)


def together(text: Corpus, seeds, steps: int, batch: int):
    """`batches` of several seeds, step by step: centre (seeds, batch), other (seeds, batch, 1 + NOISE)."""
    for drawn in zip(*(batches(text, seed, steps, batch) for seed in seeds), strict=True):
        yield tuple(np.stack(part) for part in zip(*drawn, strict=True))


class Trained(NamedTuple):
    """The two tables of vectors, words and neighbours, as `Table`s of runs * V rows; `visits` and `distance` (runs * V,) of the words.

    `distance` adds up the distances between a row's places after its visits, what it moved while idle included, per coordinate.
    """

    word: Table
    neighbour: Table
    visits: np.ndarray
    distance: np.ndarray


@lru_cache(8)
def _start(seed: int, V: int, d: int):
    """Where the words of a seed begin, the same for every rule."""
    return np.random.default_rng([seed, 1]).normal(size=(V, d)) * 0.1


def train(
    rule, text: Corpus, lrs, seeds, steps: int, batch: int = 256, d: int = 16, dtype=np.float32, drawn=None
) -> Trained:
    """Every learning rate with every seed, runs in the order of (lrs, seeds). `rule(lr, counts)` takes columns of runs * V rows.

    `drawn` are the batches, what `together` gives, where several rules are to share them.
    """
    lrs, seeds, V = np.atleast_1d(np.asarray(lrs, float)), list(seeds), len(text.counts)
    if lrs.ndim != 1 or not seeds:
        raise ShapeError(f"train needs learning rates of shape (n,) and at least one seed, got {lrs.shape} and {seeds}")
    runs = len(lrs) * len(seeds)
    # one rate for all is a number: rows need not look theirs up
    lr = lrs[0] if len(lrs) == 1 else np.repeat(lrs, len(seeds) * V)[:, None]
    made = rule(lr, np.tile(text.counts, runs)[:, None])
    start = [_start(seed, V, d) for seed in seeds]
    word = Table(made, np.tile(np.concatenate(start), (len(lrs), 1)).astype(dtype))
    neighbour = Table(made, np.zeros((runs * V, d), dtype))
    visits, distance, place = np.zeros(runs * V), np.zeros(runs * V), word.x.copy()
    offset = V * np.arange(runs)[:, None]
    for parts in together(text, seeds, steps, batch) if drawn is None else drawn:
        centre, other = (np.tile(part, (len(lrs),) + (1,) * (part.ndim - 1)) for part in parts)
        centre, other = (centre + offset).ravel(), (other + offset[..., None]).reshape(runs * batch, -1)
        word.touch(centre)
        neighbour.touch(other.ravel())
        rows, g, others, h = gradients(word.x, neighbour.x, centre, other, batch)
        word.step(rows, g)
        neighbour.step(others, h)
        visits[rows] += 1
        now = word.x.take(rows, 0)
        distance[rows] += np.sqrt(np.mean((now - place.take(rows, 0)) ** 2, axis=1))
        place[rows] = now
    return Trained(word, neighbour, visits, distance)


class HeldOut(NamedTuple):
    """Pairs of plays that no training reads: centre (n,), other (n, 1 + NOISE), the true neighbour first."""

    centre: np.ndarray
    other: np.ndarray


def held_out(text: Corpus, plays: str, limit: int, seed: int) -> HeldOut:
    """At most `limit` pairs of the plays "tuning" or "reporting"; which ones, and the noise, by seed."""
    rng, held = np.random.default_rng(seed), getattr(text, plays)
    held = held[rng.permutation(len(held))[:limit]].astype(np.int64)
    noise = text.noise[rng.integers(len(text.noise), size=(len(held), NOISE))]
    return HeldOut(held[:, 0], np.concatenate([held[:, 1:], noise], axis=1))


def score(a, b, held: HeldOut, counts) -> np.ndarray:
    """Mean loss of the pairs, all words and then each of `BINS`: shape (1 + bins,). Tables a, b (V, d) of words and neighbours."""
    loss, count = losses(a, b, *held), counts[held.centre]
    return np.array([loss.mean(), *(loss[(low <= count) & (count < high)].mean() for low, high in BINS.values())])


def towards_common(a, counts, weight: float):
    """common + weight (a - common), common the mean vector of the words with 10 to 49 occurrences.

    With weight 0 all words have one vector, which knows the kind of word and nothing of the word itself.
    """
    common = a[(counts >= 10) & (counts < 50)].mean(0)
    return common + a.dtype.type(weight) * (a - common)
