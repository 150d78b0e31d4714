"""The transformer sees only the past, its seed decides everything, and its first rates are what the page says of them."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from companion.experiments.rates_of_a_transformer import transformer as module
from companion.experiments.rates_of_a_transformer.figures import layers_figure, medians, plt, spread
from companion.experiments.rates_of_a_transformer.transformer import (
    ALPHABET,
    CONTEXT,
    SIZE,
    characters,
    held_out_loss,
    pair_loss,
    train,
    transformer,
    windows,
)

LR, EPS = 1e-3, 1e-8


@pytest.fixture
def short(monkeypatch):
    """A text that needs no data set: a period of five characters and, held out, the same again."""
    text = np.tile(np.array([2, 3, 4, 5, 0], np.uint8), 200)
    monkeypatch.setattr(module, "characters", lambda seed: (text, text[:500]))
    return text


def test_a_character_does_not_depend_on_later_ones():
    model, rng = transformer(0), np.random.default_rng(0)
    read = torch.from_numpy(rng.integers(len(ALPHABET), size=(1, CONTEXT)))
    other = read.clone()
    other[0, 40:] = (read[0, 40:] + 1) % len(ALPHABET)
    before, after = model(read)[0], model(other)[0]
    torch.testing.assert_close(before[:40], after[:40])
    assert not torch.allclose(before[40:], after[40:])


def test_a_character_depends_on_earlier_ones_through_attention_alone():
    model = transformer(0, 0.1)
    read = torch.zeros(1, CONTEXT, dtype=torch.int64)
    other = read.clone()
    other[0, 0] = 5
    assert not torch.allclose(model(read)[0, -1], model(other)[0, -1])
    for layer in model.layers:
        layer.output.weight.data.zero_()
    assert torch.equal(model(read)[0, -1], model(other)[0, -1])


def test_a_start_comes_from_its_seed_and_not_from_the_global_generator():
    state = torch.random.get_rng_state()
    first, again, other = (dict(transformer(seed).named_parameters()) for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    for name, p in first.items():
        assert torch.equal(p, again[name])
        assert torch.equal(p, other[name]) == ("norm" in name)
        if p.ndim == 2:
            assert abs(p.std().item() / SIZE - 1) < 0.1
        else:
            assert (p == name.endswith("weight")).all()


def test_a_training_is_that_of_its_seed(short):
    first, again, other = (train(seed, 3, 1) for seed in (1, 1, 2))
    assert np.array_equal(first.losses, again.losses)
    assert first.seen.rows == again.seen.rows
    assert not np.array_equal(first.losses, other.losses)


def test_targets_are_the_next_characters(short):
    inputs, targets = windows(np.arange(1000), 20, np.random.default_rng(0))
    assert inputs.shape == targets.shape == (20, CONTEXT)
    assert torch.equal(targets, inputs + 1)


def test_a_table_of_pairs_predicts_by_counts(monkeypatch):
    drawn = np.random.default_rng(0).choice(3, (2, 300), p=[0.7, 0.2, 0.1])
    monkeypatch.setattr(module, "characters", lambda seed: drawn)
    text, unread = drawn.tolist()
    pairs, firsts = Counter(pairwise(text)), Counter(text[:-1])
    losses = [-np.log((pairs[a, b] + 1) / (firsts[a] + len(ALPHABET))) for a, b in pairwise(unread)]
    assert pair_loss(0) == pytest.approx(np.mean(losses), rel=1e-12)


def test_a_model_that_has_learnt_nothing_is_at_chance_level(short):
    assert held_out_loss(transformer(0), 0) == pytest.approx(np.log(len(ALPHABET)), rel=0.05)


def test_the_texts_are_the_plays_letter_by_letter():
    text, unread = characters(0)
    assert 4_000_000 < len(text) + len(unread) < 4_500_000
    words = "".join(ALPHABET[i] for i in unread).split(" ")
    assert all(words)
    assert {"the", "and", "of"} <= set(words)
    assert not np.array_equal(characters(1)[1][:1000], unread[:1000])


def test_the_first_relative_step_depends_on_the_start_alone(short):
    model = transformer(0)
    sizes = {name: p.detach().abs().median().item() for name, p in model.named_parameters()}
    change = medians(train(0, 1, 1, model).seen, "change").iloc[0].drop(["characters.weight"])
    assert len(change) == 14
    np.testing.assert_allclose(change, [LR / sizes[name] for name in change.index], rtol=0.01)


def test_the_first_rate_of_the_query_over_that_of_the_value_goes_as_one_over_size_squared():
    ratios = []
    for size in (0.01, 0.02):
        rate = medians(train(0, 1, 1, transformer(0, size)).seen, "rate").iloc[0]
        ratios.append(rate["layers.0.query.weight"] / rate["layers.0.value.weight"])
    assert ratios[0] / ratios[1] == pytest.approx(4, rel=0.1)


def test_queries_and_keys_that_begin_at_zero_have_the_largest_rate_and_never_move(short):
    model = transformer(0)
    for layer in model.layers:
        layer.query.weight.data.zero_()
        layer.key.weight.data.zero_()
    rate = medians(train(0, 5, 1, model).seen, "rate")["layers.0.query.weight"]
    np.testing.assert_allclose(rate, LR / EPS, rtol=1e-6)
    assert not any(layer.query.weight.any() or layer.key.weight.any() for layer in model.layers)


def test_the_figure_shows_every_matrix_and_every_gain_of_a_layer(short):
    training = train(0, 2, 1)
    rate = medians(training.seen, "rate")
    assert spread(rate).iloc[0] == max(rate.iloc[0]) / min(rate.iloc[0])
    for panels, lines in ((layers_figure(training, "rate", 1.0), 2), (layers_figure(training, "change"), 2)):
        drawn = [len(axes.lines) for axes in panels.ravel()]
        assert drawn == [3, 4, 4, 4, 4, lines]
    plt.close("all")
