"""Word vectors: gradients, splits, batches in common, and grids that come out again."""

import numpy as np
import pytest
import torch

from companion.experiments.sparse_embeddings import epochs, race, skip_gram
from companion.experiments.sparse_embeddings import figures as report
from companion.experiments.sparse_embeddings.skip_gram import (
    NOISE,
    PLAYS,
    Corpus,
    batches,
    corpus,
    gradients,
    losses,
    pairs,
    together,
    train,
)
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam
from stepsize.errors import ShapeError


def small(V=30, n=400, seed=0):
    """A corpus of nobody: random pairs, so that tests need no text."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(V, size=(3, n, 2)).astype(np.int32)
    return Corpus(*drawn, np.bincount(drawn[0].ravel(), minlength=V), rng.integers(V, size=2**20), np.arange(V))


def test_gradients_are_those_of_autograd(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 3))
    centre, other = rng.integers(7, size=9), rng.integers(7, size=(9, 1 + NOISE))
    ta, tb = (torch.tensor(t, requires_grad=True) for t in (a, b))
    s = torch.einsum("nd,nkd->nk", ta[centre], tb[other])
    loss = -(torch.nn.functional.logsigmoid(torch.cat([s[:, :1], -s[:, 1:]], 1))).sum(1)
    loss.mean().backward()
    np.testing.assert_allclose(losses(a, b, centre, other), loss.detach().numpy(), rtol=1e-12)

    def distance(function):
        rows, g, cols, h = function(a, b, centre, other, 9)
        full = np.zeros((2, 7, 3))
        full[0, rows], full[1, cols] = g, h
        assert len(set(rows)) == len(rows)
        return max(np.abs(full[0] - ta.grad.numpy()).max(), np.abs(full[1] - tb.grad.numpy()).max())

    assert distance(gradients) <= 1e-14
    monkeypatch.setattr(skip_gram, "njit", lambda **_: lambda function: function)  # a mutant cannot be cached
    assert distance(mutant(gradients, "g_a[p, h] += e * b[col, h]", "g_a[p, h] = e * b[col, h]")) > 1e-3
    assert distance(mutant(gradients, "1 / (1 + np.exp(-s)) - (j == 0)", "1 / (1 + np.exp(-s))")) > 1e-3


def test_pairs_are_neighbours_within_two_words_of_the_same_play_in_both_directions():
    found = {tuple(p) for p in pairs(np.array([1, 2, 3, 4, 5]), np.array([0, 0, 0, 1, 1])).tolist()}
    assert found == {(1, 2), (2, 1), (2, 3), (3, 2), (1, 3), (3, 1), (4, 5), (5, 4)}


def test_runs_of_a_batch_equal_the_runs_apart_for_every_rate_and_seed():
    text, rule = small(), lambda lr, n: AdaGrad(lr)
    together = train(rule, text, [0.1, 0.3], [4, 5], 40, 16, 3, float)
    V = len(text.counts)
    for k, (lr, seed) in enumerate([(0.1, 4), (0.1, 5), (0.3, 4), (0.3, 5)]):
        alone = train(rule, text, [lr], [seed], 40, 16, 3, float)
        for name in ("word", "neighbour"):
            ours, theirs = getattr(together, name).x[k * V : (k + 1) * V], getattr(alone, name).x
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(together.visits[k * V : (k + 1) * V], alone.visits)


def test_a_static_rate_may_differ_from_word_to_word():
    text = small()
    frozen = train(lambda lr, n: SGD(lr * (n > np.median(n))), text, [1.0], [0], 30, 16, 3, float)
    moved = frozen.distance > 0
    assert moved.any()
    assert (text.counts[moved] > np.median(text.counts)).all()


def test_every_rule_and_rate_sees_the_same_batches():
    text = small()
    first, second = list(batches(text, 3, 5, 8)), list(batches(text, 3, 5, 8))
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(first, second, strict=True))
    assert first[0][1].shape == (8, 1 + NOISE)


def test_train_says_what_it_lacks():
    with pytest.raises(ShapeError, match="at least one seed"):
        train(lambda lr, n: SGD(lr), small(), [0.1], [], 2)


def test_the_plays_are_split_whole_and_reporting_words_are_known():
    text = corpus()
    assert sum(PLAYS) == 38
    assert (text.counts > 0).all()
    assert text.tuning.max() < len(text.counts)
    assert 20_000 < len(text.counts) < 25_000
    share = text.counts**0.75 / np.sum(text.counts**0.75)
    drawn = np.bincount(text.noise, minlength=len(share)) / len(text.noise)
    np.testing.assert_allclose(drawn[:200], share[:200], atol=2e-6)


def test_a_slope_is_the_power_of_the_count():
    counts = corpus().counts
    values = np.stack([counts**-0.5, 3.0 * counts**0.25])
    np.testing.assert_allclose(race.slopes(values, np.full(values.shape, 9)), [-0.5, 0.25], atol=1e-10)


def test_every_chosen_rate_lies_inside_its_grid_and_tuning_seeds_are_not_reported():
    for name in race.METHODS:
        for goal in race.GOALS:
            assert not race.chosen(name, goal).at_edge, (name, goal)
    assert min(race.TUNING_SEEDS) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("draw", range(2))
def test_random_cells_of_the_cached_grid_come_out_again(draw):
    rng = np.random.default_rng([2026, draw])
    name = rng.choice(list(race.METHODS))
    at, seed = rng.integers(1, 4), rng.integers(len(race.TUNING_SEEDS))
    loss = race.race(name, [race.grid(name)[at]], [race.TUNING_SEEDS[seed]], plays="tuning").loss[0, 0]
    np.testing.assert_allclose(loss, race.table()[name][at, seed], rtol=2e-3)


def test_the_rows_with_a_gradient_are_the_words_that_are_looked_up_and_few_more_in_a_large_batch():
    shares = race.touched(3, 5)["the table holds looked-up words"]
    np.testing.assert_array_equal(race.looked_up(race.BATCH, 3, 5), shares)
    large = race.looked_up(65_536, 2, 5)
    assert (large > 10 * shares.max()).all()
    assert (large < 65_536 / len(corpus().counts)).all()


def test_lazy_rules_on_the_recorded_gradients_owe_what_the_chapter_says():
    visits, shape = race.recorded(30, 0)
    dense = lambda ps: torch.optim.Adagrad(ps, 0.1)  # noqa: E731
    end = race.dense_end(dense, visits, shape)
    assert race.apart(AdaGrad(0.1), end, visits, shape) <= 1e-12
    assert race.apart(AdaGrad(0.2), end, visits, shape) > 1e-3


def test_the_dense_rule_leaves_rows_without_gradients_where_they_are_and_they_may_be_left_out():
    visits, shape = race.recorded(20, 0)
    p = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    optimizer = torch.optim.Adam([p], 0.01, eps=1e-30)
    for rows, g in visits:
        p.grad = torch.zeros_like(p)
        p.grad[torch.as_tensor(rows)] = torch.as_tensor(g)
        optimizer.step()
    seen = np.unique(np.concatenate([rows for rows, _ in visits]))
    end = race.dense_end(lambda ps: torch.optim.Adam(ps, 0.01, eps=1e-30), visits, shape)
    np.testing.assert_array_equal(end, p.detach().numpy()[seen])
    assert np.abs(np.delete(p.detach().numpy(), seen, axis=0)).max() == 0


def test_batches_that_are_drawn_once_for_several_rules_are_those_of_each():
    text, seeds = small(), (3, 4)
    drawn = [*together(text, seeds, 6, 8)]
    for k, seed in enumerate(seeds):
        for shared, alone in zip(drawn, batches(text, seed, 6, 8), strict=True):
            for part, own in zip(shared, alone, strict=True):
                np.testing.assert_array_equal(part[k], own)
    apart, shared = (train(lambda lr, n: SGD(lr), text, [1.0], seeds, 6, 8, 4, drawn=d) for d in (None, drawn))
    np.testing.assert_array_equal(apart.word.x, shared.word.x)
    fewer = train(lambda lr, n: SGD(lr), text, [1.0], seeds, 6, 8, 4, drawn=drawn[:-1])
    assert np.abs(fewer.neighbour.x - shared.neighbour.x).max() > 0


def test_the_first_figure_shows_the_theorem():
    way = report.journey(Adam(1.0, eps=0.0), 60_000, 400)
    assert way[0] == pytest.approx(0.1 / 0.001**0.5, rel=1e-8)
    assert way[-1] == pytest.approx(way[0] / (1 - 0.9 / 0.999**0.5), rel=1e-8)
    assert report.journey(Adam(1.0, eps=0.0), 0, 1)[0] == pytest.approx(1.0, rel=1e-12)


def test_the_recorded_costs_are_positive_and_their_ratios_are_taken_round_by_round():
    costs = race.costs()
    assert all((t > 0).all() and len(t) >= 5 for times in costs.values() for t in times.values())
    found = race.speedup("dense Adam, fused (torch)", "lazy Adam", 1_000_000)
    dense, ours = (costs[name][1_000_000] for name in ("dense Adam, fused (torch)", "lazy Adam"))
    np.testing.assert_array_equal(found, dense / ours[: len(dense)])


def test_rules_on_a_million_rows_are_compared_round_by_round_in_one_race():
    costs = race.large_costs()
    assert len({len(t) for t in costs.values()}) == 1
    assert set(costs) == set(race.state_bytes(20, 8, 2))
    ratio = race.cost_ratios()["Adafactor, 1,000,000 rows"]
    np.testing.assert_array_equal(ratio, costs["dense Adam, fused (torch)"] / costs["Adafactor (torch)"])
    np.testing.assert_array_equal(
        race.cost_ratios()["lazy Adam, 10,000 rows"], race.speedup("dense Adam, fused (torch)", "lazy Adam", 10**4)
    )


def test_the_state_of_a_rule_is_counted_in_bytes_per_parameter():
    rows, columns = 50, 8
    state = race.state_bytes(rows, columns, 5)
    assert state["dense Adam, fused (torch)"] == state["SparseAdam (torch)"] == 2 * 4
    assert state["Adagrad, sparse (torch)"] == 4
    assert state["lazy Adam"] == 2 * (4 + 4 / columns)  # each row has its own clock, once for each moment
    assert state["row-wise AdaGrad"] == 4 / columns
    assert state["Adafactor (torch)"] == pytest.approx(4 * (rows + columns) / (rows * columns))


def test_lazy_adam_keeps_as_much_state_as_dense_adam():
    ratios = race.memory_ratios(rows=50, columns=8, active=5)
    assert ratios["memory of the state is meant"] == 1.0
    assert ratios["memory of the gradient is meant"] == 50 * 8 * 4 / (5 * 8 * 4 + 5 * 8)
    assert ratios["state of row-wise AdaGrad"] == 2 * 8
    assert ratios["state of Adafactor"] == pytest.approx(2 * 50 * 8 / (50 + 8))


def test_a_mixture_goes_from_one_vector_for_all_to_each_words_own():
    a, counts = np.arange(12.0).reshape(4, 3), np.array([1, 10, 49, 50])
    common = (a[1] + a[2]) / 2
    np.testing.assert_array_equal(skip_gram.towards_common(a, counts, 0.0), np.tile(common, (4, 1)))
    np.testing.assert_array_equal(skip_gram.towards_common(a, counts, 1.0), a)
    np.testing.assert_array_equal(skip_gram.towards_common(a, counts, 0.5), (a + common) / 2)


def test_a_score_is_the_mean_loss_of_the_pairs_of_a_class_and_with_one_vector_no_word_is_known():
    text = small()
    counts = np.repeat([1, 5, 20, 100, 500, 3000], 5)
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30, 3))
    held = skip_gram.held_out(text, "reporting", 300, 2)
    assert held.other.shape == (300, 1 + NOISE)
    loss, score = losses(a, b, *held), skip_gram.score(a, b, held, counts)
    np.testing.assert_allclose(score[1:], [loss[counts[held.centre] == c].mean() for c in np.unique(counts)])
    one = skip_gram.towards_common(a, counts, 0.0)
    renamed = held._replace(centre=rng.permutation(held.centre))
    np.testing.assert_allclose(skip_gram.score(one, b, held, counts)[0], skip_gram.score(one, b, renamed, counts)[0])
    assert abs(score[0] - skip_gram.score(a, b, renamed, counts)[0]) > 1e-3


def test_the_mixture_is_chosen_on_the_tuning_plays_and_reported_on_others(monkeypatch):
    losses = np.zeros((2, 5, 7))
    tuning, reporting = losses.copy(), losses.copy()
    tuning[:, :, 1] = [[3, 1, 2, 2, 2], [3, 2, 2, 2, 1]]
    reporting[:, :, 1] = [[1, 1.5, 0, 0, 4], [2, 0, 0, 0, 5]]
    monkeypatch.setattr(epochs, "recorded", lambda: {"Adam": {"tuning": tuning, "reporting": reporting}})
    weights, gain = epochs.best_mixture("Adam", "1-2")
    assert weights.tolist() == [0.25, 1.0]
    assert gain.tolist() == [0.5, 3.0]
    assert epochs.against_common("Adam", "1-2").tolist() == [3.0, 3.0]


def test_the_recorded_epochs_have_every_method_at_a_rate_inside_its_grid_and_apart_seeds():
    for name in epochs.NAMES:
        cell = epochs.recorded()[name]
        tried = sorted(map(float, cell["tried"]))
        assert tried[0] < cell["lr"] < tried[-1]
        assert cell["reporting"].shape == (len(epochs.SEEDS["reporting"]), len(epochs.WEIGHTS), 1 + len(skip_gram.BINS))
    assert epochs.SEEDS["tuning"] not in epochs.SEEDS["reporting"]
