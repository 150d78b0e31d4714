"""Tasks: what is asked, what can be known without looking, and that a seed's stream is its own."""

from itertools import islice

import numpy as np
import pytest
import torch

from companion.experiments.datasets import load
from companion.experiments.recurrent_networks import tasks as module
from companion.experiments.recurrent_networks.tasks import Adding, Digits, Recall


def test_the_adding_problem_asks_for_the_sum_of_one_value_from_either_half():
    inputs, targets = Adding(T=11).draw((400,), np.random.default_rng(0))
    u, marks = inputs[..., 0], inputs[..., 1]
    np.testing.assert_allclose((u * marks).sum(-1), targets[:, 0], rtol=0, atol=1e-15)
    assert (marks[:, :5].sum(-1) == 1).all()
    assert (marks[:, 5:].sum(-1) == 1).all()
    assert (marks.sum(0) > 0).all(), "every place is asked for"


def test_recall_asks_for_what_came_first():
    inputs, targets = Recall(T=11).draw((400,), np.random.default_rng(0))
    np.testing.assert_array_equal(inputs[:, 0, 0], targets[:, 0])
    assert (inputs[:, :, 1].argmax(-1) == 0).all()
    assert (inputs[:, :, 1].sum(-1) == 1).all()


@pytest.mark.parametrize(("task", "answer"), [(Adding(), 1.0), (Recall(), 0.5)])
def test_chance_level_is_the_error_of_the_best_constant(task, answer):
    _, targets = task.draw((100_000,), np.random.default_rng(1))
    assert np.mean((targets - answer) ** 2) == pytest.approx(task.chance, rel=0.02)
    blank = torch.zeros(1, task.net.d, dtype=torch.float64)
    task.net.parts(blank).c.fill_(answer)
    assert task.score(blank)[0] == pytest.approx(task.chance, rel=0.1)
    assert task.score_of_constant() == pytest.approx(task.score(blank)[0], rel=1e-12)


@pytest.mark.parametrize("task", [Adding(T=7, B=3), Recall(T=7, B=3), Digits(B=3)])
def test_a_seeds_sequences_depend_on_nothing_but_the_seed(task):
    both, alone = task.stream([5, 8]), task.stream([8])
    for (inputs, targets), (own_inputs, own_targets) in islice(zip(both, alone, strict=False), 60):
        np.testing.assert_array_equal(inputs[1], own_inputs[0])
        np.testing.assert_array_equal(targets[1], own_targets[0])
    assert inputs.shape[0] == 2
    assert inputs.shape[2] == 3
    assert not np.array_equal(inputs[0], inputs[1])


def test_the_digits_are_those_of_the_repository():
    digits = load("digits")
    assert digits["pixels"].shape == (1797, 64)
    assert (digits["pixels"].min(), digits["pixels"].max()) == (0, 16)
    # the counts that the data's description gives for its test set
    assert np.bincount(digits["digit"]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_training_never_sees_a_digit_that_is_scored(monkeypatch):
    task, seen = Digits(B=50), []
    marked = np.arange(1797.0)[:, None, None] * np.ones((1, 64, 1)), np.eye(10)[load("digits")["digit"]]
    monkeypatch.setattr(module, "_images", lambda: marked)
    seen = [inputs[0, 0, :, 0] for inputs, _ in islice(task.stream([0]), 200)]
    assert max(map(max, seen)) < 1797 - 500


def test_a_network_that_has_overflowed_scores_as_wrong_everywhere():
    task = Digits()
    x = torch.full((1, task.net.d), torch.nan, dtype=torch.float64)
    assert task.score(x).tolist() == [1.0]
    assert np.isnan(Adding().score(torch.full((1, Adding().net.d), torch.nan, dtype=torch.float64))).all()
