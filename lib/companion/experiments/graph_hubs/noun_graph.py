"""A graph of nouns from WordNet: two are joined if a meaning of one is a kind of, or a part of, a meaning of the other."""

import re
from collections import Counter

import numpy as np

from companion.experiments.wordnet import CATEGORIES, licence, senses, synsets, tagged

from .import_graph import SMALLEST_CLASS, largest_component, word_arrays

#: Occurrences in WordNet's tagged texts from which a noun is a node.
LEAST = 5
#: Hypernyms, also of instances, and wholes of parts, members and substances; the inverse pointers say the same.
POINTERS = "@", "@i", "#p", "#m", "#s"


def definition(gloss: str) -> set[str]:
    """Lower-case words, of 3 letters or more, of a gloss without its quoted examples."""
    return set(re.findall(r"[a-z]{3,}", re.sub(r'"[^"]*"?', "", gloss.lower())))


def noun_graph() -> dict[str, np.ndarray]:
    """edges (m, 2) with u < v, label (n,), -1 for small classes, word_start (n + 1,) and word (k,), vocabulary, classes, nouns, licence.

    The form of `import_graph.import_graph`. The label is the category of a noun's most frequent meaning. Its words are those of
    the definitions of all its meanings that 0.5 % to 50 % of the nouns use; names of classes are left out, as there.
    """
    nouns = sorted(lemma for lemma in senses("noun") if tagged()[lemma, 1] >= LEAST)
    number, edges = {noun: i for i, noun in enumerate(nouns)}, set()
    for meaning in synsets("noun").values():
        others = [w for symbol, at in meaning.pointers if symbol in POINTERS for w in synsets("noun")[at].words]
        pairs = [(number[u], number[v]) for u in meaning.words for v in others if u in number and v in number]
        edges.update(tuple(sorted(pair)) for pair in pairs if pair[0] != pair[1])
    edges = np.array(sorted(edges))
    kept = np.flatnonzero(largest_component(len(nouns), edges))
    new = np.full(len(nouns), -1)
    new[kept] = np.arange(len(kept))
    glosses = [[synsets("noun")[at] for at in senses("noun")[nouns[i]]] for i in kept]
    area = [CATEGORIES[meanings[0].category] for meanings in glosses]
    sizes = Counter(area)
    classes = sorted(a for a, size in sizes.items() if size >= SMALLEST_CLASS)
    banned = {a.partition(".")[2].lower() for a in sizes}
    bags = [set().union(*(definition(meaning.gloss) for meaning in meanings)) - banned for meanings in glosses]
    return word_arrays(bags, 0.005) | {
        "edges": new[edges[new[edges[:, 0]] >= 0]].astype(np.uint16),
        "label": np.array([classes.index(a) if a in classes else -1 for a in area], np.int8),
        "classes": np.array(classes),
        "nouns": np.array([nouns[i] for i in kept]),
        "licence": licence(),
    }
