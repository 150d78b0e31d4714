"""The graph of nouns: what joins two of them, what it says of itself, and the committed file, rebuilt from the installed WordNet."""

import numpy as np
import pytest

from companion.experiments import datasets, wordnet
from companion.experiments.graph_hubs import graphs, import_graph, noun_graph

needs_wordnet = pytest.mark.skipif(
    not wordnet.FOLDER.is_dir(),
    reason="WordNet is not installed: apt-get install --no-install-recommends wordnet-base",
)


def test_the_graph_of_nouns_has_natural_hubs_and_its_words_do_not_name_the_classes():
    graph, data = graphs.committed_graph("wordnet"), datasets.load("wordnet_nouns")
    assert (graph.n, len(graph.edges)) == (2996, 11_650)
    assert graph.degree.min() >= 1
    assert graph.degree.max() > 20 * np.median(graph.degree)
    hubs = set(data["nouns"][np.argsort(-graph.degree)[:6]])
    assert {"activity", "person", "part"} & hubs
    assert graph.degree.max() < 0.05 * graph.n  # no noun is everybody's neighbour
    assert not set(data["vocabulary"]) & {name.partition(".")[2] for name in data["classes"]}
    assert np.bincount(graph.label[graph.label >= 0]).min() >= import_graph.SMALLEST_CLASS


def test_known_nouns_are_joined_and_named_by_their_category():
    graph, data = graphs.committed_graph("wordnet"), datasets.load("wordnet_nouns")
    at = {str(noun): k for k, noun in enumerate(data["nouns"])}
    edges = {tuple(edge) for edge in graph.edges.tolist()}
    joined = lambda a, b: tuple(sorted((at[a], at[b]))) in edges  # noqa: E731
    assert joined("arm", "hand")
    assert joined("month", "year")
    assert joined("king", "sovereign")
    assert not joined("arm", "year")
    assert data["classes"][graph.label[at["arm"]]] == "noun.body"
    assert data["classes"][graph.label[at["year"]]] == "noun.time"


def test_a_definition_is_the_gloss_without_its_examples():
    gloss = 'a young person; "the children sang"; of either sex; "a child\'s toy"'
    assert noun_graph.definition(gloss) == {"young", "person", "either", "sex"}


@needs_wordnet
def test_the_committed_graph_of_nouns_is_rebuilt_from_the_installed_package():
    built, kept = noun_graph.noun_graph(), datasets.load("wordnet_nouns")
    assert set(built) == set(kept)
    for name, array in kept.items():
        np.testing.assert_array_equal(built[name], array, err_msg=name)
