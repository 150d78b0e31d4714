"""WordNet: forms and their lemmas, meanings, and the committed file of words, rebuilt from the installed package."""

import numpy as np
import pytest

from companion.errors import DatasetError
from companion.experiments import wordnet
from companion.experiments.datasets import load
from mutants import mutant

needs_wordnet = pytest.mark.skipif(
    not wordnet.FOLDER.is_dir(),
    reason="WordNet is not installed: apt-get install --no-install-recommends wordnet-base",
)


def test_the_categories_are_numbered_as_wordnet_numbers_them():
    assert len(wordnet.CATEGORIES) == 44  # 44, participles, is one of adjectives that no word of the file has
    assert [wordnet.CATEGORIES[k] for k in (3, 18, 28, 29, 43)] == [
        "noun.Tops", "noun.person", "noun.time", "verb.body", "verb.weather",
    ]  # fmt: skip


def test_words_of_the_plays_have_the_category_that_a_reader_expects_and_the_file_its_licence():
    data = load("wordnet_words")
    of = {word: wordnet.CATEGORIES[k] for word, k in zip(data["words"], data["category"], strict=True)}
    known = {"king": "noun.person", "kings": "noun.person", "day": "noun.time", "speak": "verb.communication", "blood": "noun.body"}  # fmt: skip
    assert {word: of[word] for word in known} == known
    assert not set(of) & {"the", "and", "good", "fair", "i"}
    assert (np.sort(data["words"]) == data["words"]).all()
    for name in ("wordnet_words", "wordnet_nouns"):
        assert "WordNet 3.0 Copyright 2006 by Princeton University." in " ".join(load(name)["licence"])


@needs_wordnet
@pytest.mark.parametrize(
    ("form", "speech", "lemma"),
    [
        ("kings", "noun", "king"), ("men", "noun", "man"), ("king's", "noun", "king"), ("ladies", "noun", "lady"),
        ("spoke", "verb", "speak"), ("kill'd", "verb", "kill"), ("loves", "verb", "love"), ("speaketh", "verb", "speak"),
        ("sovereign", "verb", None), ("news", "noun", "news"),
    ],
)  # fmt: skip
def test_a_form_leads_to_its_lemma(form, speech, lemma):
    assert wordnet.base(form, speech) == lemma


@needs_wordnet
def test_a_word_means_what_it_most_often_means():
    assert wordnet.meaning("thought")[0] == "verb"
    speech, king = wordnet.meaning("kings")
    assert (speech, wordnet.CATEGORIES[king.category]) == ("noun", "noun.person")
    assert "male sovereign" in king.gloss
    above = {wordnet.synsets("noun")[at].words[0] for symbol, at in king.pointers if symbol == "@"}
    assert above == {"sovereign"}
    assert [wordnet.meaning(word) for word in ("of", "good", "xyzzy")] == [None] * 3
    # without the adjectives a good is a moral quality
    careless = mutant(wordnet.meaning, "max(found)[0] < tagged()[word, 3]", "False")
    assert careless("good")[0] == "noun"


@needs_wordnet
def test_the_committed_words_are_rebuilt_from_the_installed_package():
    built, kept = wordnet.categories(load("shakespeare")["vocabulary"]), load("wordnet_words")
    assert set(built) == set(kept)
    for name, array in kept.items():
        np.testing.assert_array_equal(built[name], array, err_msg=name)


def test_another_wordnet_is_refused(monkeypatch, tmp_path):
    (tmp_path / "noun.exc").write_text("men man\n")
    monkeypatch.setattr(wordnet, "FOLDER", tmp_path)
    with pytest.raises(DatasetError, match=r"noun\.exc is not that of WordNet 3\.0; apt-get install"):
        wordnet._text("noun.exc")
