"""WordNet 3.0 as Debian's package wordnet-base installs it: read where a committed file is made from it, by nothing else.

C. Fellbaum (ed., 1998), WordNet: an electronic lexical database. apt-get install --no-install-recommends wordnet-base
"""

import hashlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from companion.errors import DatasetError

FOLDER = Path("/usr/share/wordnet")
#: The files of version 3.0-37 of the package.
SHA256 = {
    "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
    "data.verb": "adcf43e35b581e8036d8b5a52d63d9cd3d3b4870b2720d3c03c799df44777bc2",
    "index.noun": "a490d99d93d017bf4822fe2f0ffa51fd73911ce271dc7535fade21f8814b5a04",
    "index.verb": "e2ac24816c3a8289dcb72aaa9cf8db81fdf25ec34d792bfc96ac5b7a20c8b4ae",
    "noun.exc": "2b5d675c380b39ecf595af9fa9d4e7feb1d58c643b0bff08c40ed5bfe41fab7a",
    "verb.exc": "dbbcf9a601b2d77e934e413b91d90e88ec7f933a8b77cfc00602a923b891b42c",
    "cntlist.rev": "a198580b8f705fa02797bba8b13e5cbe4a9f9f40cb1697e774c7fc6a5865b035",
}
#: Lexicographer files by number: those of nouns begin at 3, those of verbs at 29.
CATEGORIES = (
    "adj.all", "adj.pert", "adv.all",
    "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute", "noun.body", "noun.cognition",
    "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive",
    "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process", "noun.quantity",
    "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather",
)  # fmt: skip
#: Endings of inflected forms and what stands in their place; WordNet's own, and the last three, which Shakespeare writes.
ENDINGS = {
    "noun": [("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"), ("'s", "")],
    "verb": [("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""),
             ("'d", ""), ("'d", "e"), ("eth", ""), ("eth", "e")],
}  # fmt: skip


class Synset(NamedTuple):
    """A meaning: its category, a place in `CATEGORIES`; its words; (symbol, offset) of pointers to the same part of speech; its gloss."""

    category: int
    words: tuple[str, ...]
    pointers: tuple[tuple[str, str], ...]
    gloss: str


def _text(name: str) -> list[str]:
    """The lines of a file, once its checksum is verified."""
    path = FOLDER / name
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise DatasetError(f"{path} is not that of WordNet 3.0; apt-get install --no-install-recommends wordnet-base")
    return content.decode("utf-8").splitlines()


def _lines(name: str) -> list[str]:
    """The lines of a file without its licence, whose lines begin with two blanks."""
    return [line for line in _text(name) if not line.startswith("  ")]


def licence() -> np.ndarray:
    """The licence of WordNet, lines as data.noun has them: every file that is made from it has to carry it."""
    return np.array([line.strip().partition(" ")[2] for line in _text("data.noun") if line.startswith("  ")])


@cache
def synsets(speech: str) -> dict[str, Synset]:
    """Offset -> meaning, for "noun" or "verb"."""
    meanings = {}
    for line in _lines(f"data.{speech}"):
        left, _, gloss = line.partition(" | ")
        fields = left.split(" ")
        end = 4 + 2 * int(fields[3], 16)
        pointers = [fields[k : k + 3] for k in range(end + 1, end + 1 + 4 * int(fields[end]), 4)]
        words = tuple(word.lower() for word in fields[4:end:2])
        same = tuple((symbol, offset) for symbol, offset, of in pointers if of == speech[0])
        meanings[fields[0]] = Synset(int(fields[1]), words, same, gloss)
    return meanings


@cache
def senses(speech: str) -> dict[str, list[str]]:
    """Lemma -> offsets of its meanings, the most frequent first."""
    fields = (line.split() for line in _lines(f"index.{speech}"))
    return {f[0]: f[-int(f[2]) :] for f in fields}


@cache
def tagged() -> Counter:
    """(lemma, part of speech as WordNet numbers it) -> occurrences in the texts in which WordNet's authors marked the meanings."""
    seen = Counter()
    for line in _lines("cntlist.rev"):
        key, _, times = line.split()
        lemma, _, rest = key.partition("%")
        seen[lemma, min(int(rest[0]), 3)] += int(times)
    return seen


@cache
def _exceptions(speech: str) -> dict[str, str]:
    return {fields[0]: fields[1] for fields in map(str.split, _lines(f"{speech}.exc"))}


def base(word: str, speech: str) -> str | None:
    """The lemma of a form of a word: as listed, or itself, or without an ending; None where WordNet has none."""
    known = senses(speech)
    if word in _exceptions(speech):
        return _exceptions(speech)[word]
    shorter = (word[: -len(end)] + instead for end, instead in ENDINGS[speech] if word.endswith(end))
    return next((form for form in (word, *shorter) if form in known), None)


def meaning(word: str) -> tuple[str, Synset] | None:
    """Part of speech and most frequent meaning of a word; None where it is no noun or verb, or more often an adjective or adverb.

    Of noun and verb the one whose lemma was tagged more often counts, the noun where they tie. Words of one or two letters have
    none: they are function words, and WordNet's nouns of the same letters are symbols and abbreviations.
    """
    word = word.replace("’", "'")
    if len(word) < 3:
        return None
    found = []
    for number, speech in ((1, "noun"), (2, "verb")):
        lemma = base(word, speech)
        if lemma in senses(speech):
            found.append((tagged()[lemma, number], -number, speech, lemma))
    if not found or max(found)[0] < tagged()[word, 3]:
        return None
    *_, speech, lemma = max(found)
    return speech, synsets(speech)[senses(speech)[lemma][0]]


def categories(vocabulary) -> dict[str, np.ndarray]:
    """words, those of the vocabulary that have a meaning; category (n,), a place in `CATEGORIES`; hypernym (n,), its offset, -1 where there is none; licence."""
    found = {str(word): m for word in vocabulary if (m := meaning(str(word)))}
    above = {word: [at for symbol, at in m[1].pointers if symbol in ("@", "@i")] for word, m in found.items()}
    return {
        "words": np.array(list(found)),
        "category": np.array([m[1].category for m in found.values()], np.int8),
        "hypernym": np.array([int(above[word][0]) if above[word] else -1 for word in found], np.int32),
        "licence": licence(),
    }
