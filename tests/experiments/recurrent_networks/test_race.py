"""The grid of trainings: members equal single runs, every cell is there, and random cells come out again as recorded."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from companion.experiments.recurrent_networks import race as module
from companion.experiments.recurrent_networks.gradient_flow import (
    Watched,
    far_share,
    gradient_reach,
    growing,
    reach_by_method,
    reach_in_training,
    survivors,
    watch_exploding,
    watched,
)
from companion.experiments.recurrent_networks.network import TanhNet
from companion.experiments.recurrent_networks.race import (
    METHODS,
    PROBLEMS,
    STARTS,
    VANISHING,
    WHOLE,
    Problem,
    cells,
    choices,
    chosen_on,
    failed,
    losses,
    over_chance,
    race,
    recorded,
    train,
    trained_again,
    vanishing,
)
from companion.experiments.recurrent_networks.spikes import Brakes
from companion.experiments.recurrent_networks.tasks import Adding, Recall
from stepsize import Adam
from stepsize.errors import EvidenceError
from stepsize.responses import adam_worst

BEYOND_TANH = [cell for cell in cells() if not isinstance(PROBLEMS[cell[0]].task.net, TanhNet)]
SMALL = Problem(Adding(T=8, B=4, hidden=5), ("gain 1",), 30)


@pytest.mark.parametrize("name", ["SGD", "clipped heavy ball", "RMSProp", "clipped Adam"])
def test_members_of_an_ensemble_equal_single_runs(name):
    """To 1e-6 is asked; in float64 they are equal to rounding, after 100 steps."""
    method, rates = METHODS[name], [0.01, 0.1]
    together = train(method.at(rates, method.limits[0]), SMALL.task, 1.0, range(4), 100)
    for i, rate in enumerate(rates):
        for seed in range(4):
            alone = train(method.at([rate], method.limits[0]), SMALL.task, 1.0, [seed], 100)
            torch.testing.assert_close(together[i, seed], alone[0, 0], rtol=1e-9, atol=1e-9)


def test_training_is_the_rule_on_the_gradients_of_the_stream():
    task, rule = SMALL.task, Adam(0.01)
    x, stream = task.net.start(1.0, [3]), task.stream([3])
    state = rule.init(x)
    for _ in range(20):
        g = task.net.backward(x, *next(stream), task.loss).gradient
        state, rate, direction = rule.step(state, g, x)
        x = x - rate * direction
    torch.testing.assert_close(train(rule, task, 1.0, [3], 20)[0], x, rtol=1e-12, atol=1e-12)


def test_the_penalty_pulls_towards_the_rotations():
    net, ends = SMALL.task.net, {}
    for penalty in (0.0, 1.0):
        W = net.parts(train(Adam(0.01), SMALL.task, 1.5, range(5), 300, penalty)[0]).W
        ends[penalty] = (W.transpose(1, 2) @ W - torch.eye(5, dtype=W.dtype)).norm(dim=(1, 2)).max().item()
    assert ends[1.0] < 0.5 * ends[0.0]


def test_a_run_that_overflows_is_infinite_and_failed_and_takes_no_other_along():
    scores = losses(METHODS["SGD"], SMALL._replace(steps=400), STARTS["gain 1"], None, 0.0, [0.01, 1e3], range(3))
    assert np.isinf(scores[1]).all()
    assert np.isfinite(scores[0]).all()
    assert failed(scores, SMALL.task.chance)[1].all()


def test_failed_means_no_better_than_chance_whatever_the_kind_of_death():
    assert failed([0.1, 0.91, 1.5, np.inf, np.nan], 1.0).tolist() == [False, True, True, True, True]


def test_a_cell_is_tuned_on_networks_that_are_not_reported():
    with pytest.raises(EvidenceError, match="in both sets"):
        race(METHODS["Adam"], SMALL, STARTS["gain 1"], tuning=range(3))
    found = race(METHODS["clipped Adam"], SMALL, STARTS["gain 1"])
    assert len(found["scores"]) == len(SMALL.seeds)
    assert found["limit"] in (0.1, 1.0)
    assert found["tuning"] == SMALL.tuning


def test_a_cell_says_how_many_of_its_tuning_networks_learned_and_keeps_to_the_rates_of_its_problem():
    near = SMALL._replace(steps=300, rates=(1e-3, 1.1e-2))
    found = race(METHODS["Adam"], near, STARTS["gain 1"], tuning=range(100, 104))
    assert 1e-3 <= found["lr"] <= 1.1e-2
    scores = losses(METHODS["Adam"], near, STARTS["gain 1"], None, 0.0, [found["lr"]], range(100, 104))[0]
    assert found["learned"] == (scores < 0.9 * near.task.chance).sum()
    assert race(METHODS["Adam"], near._replace(steps=1), STARTS["gain 1"], tuning=range(100, 104))["learned"] == 0


def test_the_file_has_every_cell_once_and_nothing_else():
    races = recorded()
    assert sorted(races) == sorted(cells())
    for (problem, start, name), entry in races.items():
        assert len(entry["scores"]) == len(PROBLEMS[problem].seeds)
        assert np.isclose(METHODS[name].lrs, entry["lr"], rtol=1e-4).sum() == 1
        assert entry["limit"] in METHODS[name].limits
        assert entry["penalty"] in STARTS[start].penalties


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [*random.Random(5).sample(cells(), 3), random.Random(5).choice(BEYOND_TANH)], ids=" ".join
)
def test_a_random_cell_comes_out_as_it_was_recorded(cell):
    entry = recorded()[cell]
    again, twin = trained_again(recorded(), cell, 2)
    rounding = 5e-6 + 1e3 * np.abs(again - twin)  # other processors round every step differently, the twins differ once
    assert (np.abs(again - entry["scores"][:2]) <= rounding).all()
    # where a training amplifies rounding until networks end elsewhere, they end among the recorded ones
    assert (again > 0.5 * entry["scores"].min()).all()
    assert (again < 2 * entry["scores"].max()).all()
    # another network is another number: the comparison can fail
    assert (np.abs(again - entry["scores"][2:4]) > 1e-5).any()


def test_a_cell_is_computed_by_its_name_as_it_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RACES", replace(module.RACES, path=tmp_path / "races.json"))
    monkeypatch.setattr(module, "PROBLEMS", {"adding": SMALL._replace(steps=2)})
    module.RACES.fill(["adding | gain 1 | SGD", "adding | gain 1 | Adam"], module.compute, ["adding | gain 1 | Adam"])
    (entry,) = recorded().values()
    assert list(recorded()) == [("adding", "gain 1", "Adam")]
    assert entry["scores"].tolist() == race(METHODS["Adam"], SMALL._replace(steps=2), STARTS["gain 1"])["scores"]


def test_far_and_near_shares_know_the_distance():
    task = Recall(T=12)
    x = task.net.start(0.3, range(5))
    assert (far_share(task, x, range(5), 12) == 0).all()
    assert far_share(task, x, range(5), 3).max() < 0.2
    wild = task.net.start(4.0, range(5))
    assert far_share(task, wild, range(5), 3).min() > 0.8


def test_the_gradient_is_one_at_the_last_step_and_watching_does_not_disturb():
    size = gradient_reach(SMALL.task, 0.5, range(3))
    assert size.shape == (3, 8)
    assert (size[:, -1] == 1).all()
    entry = {"lr": 0.01, "limit": None, "penalty": 0.0}
    steps, growth, scores = reach_in_training("Adam", entry, SMALL, STARTS["gain 1"], range(3), every=10)
    assert steps.tolist() == [0, 10, 20]
    assert growth.shape == (3, 3)
    plain = losses(METHODS["Adam"], SMALL, STARTS["gain 1"], None, 0.0, [0.01], range(3))[0]
    np.testing.assert_array_equal(scores, plain)
    run = watched("Adam", entry, SMALL, STARTS["gain 1"], range(3))
    np.testing.assert_array_equal(run.scores, plain)
    assert run.better_half().tolist() == np.argsort(plain)[:2].tolist()
    assert 0.99 < run.longest <= adam_worst()


def test_a_network_grows_if_its_first_gradient_is_so_many_times_its_last():
    reach = gradient_reach(SMALL.task, 2.0, range(20))[:, 0]
    assert growing(SMALL.task, 2.0, range(20), np.median(reach)).sum() == 10
    assert (growing(SMALL.task, 2.0, range(20)) == (reach >= 10)).all()
    assert growing(Adding(), 3.0, range(9)).mean() > 0.5
    assert not growing(Adding(), 0.5, range(9)).any()


def test_the_spikes_of_the_better_half_are_those_of_networks_with_the_lower_scores():
    brakes = Brakes()
    for size in (*[1.0] * 101, 5.0):
        brakes.size.append(np.full((1, 3), size))
        brakes.by_m.append(np.ones((1, 3)))
        brakes.by_v.append(np.ones((1, 3)))
    run = Watched(brakes, np.array([0.3, 0.1, 0.2]), 1.0)
    assert brakes.spikes()[:, 3].tolist() == [0, 1, 2]
    assert run.better_spikes().tolist() == [[5, 1, 1, 1, 103], [5, 1, 1, 2, 103]]
    brakes.size[-1][0, 1] = 2.0
    assert run.better_spikes().tolist() == [[5, 1, 1, 2, 103]]
    assert run.largest_spikes().tolist() == [[2, 1, 1, 1, 103], [5, 1, 1, 2, 103]]


def test_networks_that_explode_are_watched_with_their_own_gain_rule_and_rate():
    digits, races = PROBLEMS["digits"]._replace(steps=3), recorded()
    seeds = {("Adam", 2): range(3), ("Adam", 3): range(3), ("Adam, β₂ = 0.9", 2): range(2)}
    runs = watch_exploding(races, digits, seeds)
    assert {key: len(run.scores) for key, run in runs.items()} == {key: len(some) for key, some in seeds.items()}
    entry = races["digits", "gain 3", "Adam"]
    alone = watched("Adam", entry, digits, STARTS["gain 3"], range(3))
    np.testing.assert_array_equal(runs["Adam", 3].brakes.size, alone.brakes.size)
    assert (runs["Adam", 2].brakes.size[1][:, :2] != runs["Adam, β₂ = 0.9", 2].brakes.size[1]).all()


def test_every_recorded_recall_of_an_adaptive_rule_is_judged_under_one_condition():
    races = recorded()
    rows = vanishing(races)
    judged = {(*cell, name) for cell in VANISHING for name in ("RMSProp", "Adam")}
    adaptive = [cell for cell in races if cell[0].startswith("recall") and cell[2] in ("RMSProp", "Adam")]
    assert judged.issuperset(adaptive)
    of_adding = 5  # from gain 0.3, its control, and from a rotation
    over_constants = 2  # of the scores that lie near chance level
    assert len(rows) == len(adaptive) + of_adding + over_constants
    near = rows[
        "over the constant answer on the same sequences: recall over 19 steps in 1,500 training steps, the rule is Adam"
    ]
    constant = PROBLEMS["recall"].task.score_of_constant()
    np.testing.assert_allclose(near, races["recall", "gain 0.3", "Adam"]["scores"] / constant, rtol=1e-12)
    share = over_chance(races, "recall", "gain 0.3", "Adam")
    np.testing.assert_array_equal(rows["recall over 19 steps in 1,500 training steps, the rule is Adam"], share)
    np.testing.assert_allclose(share, 12 * races["recall", "gain 0.3", "Adam"]["scores"], rtol=1e-12)
    control = 6 * races["adding", "gain 0.3", "clipped heavy ball"]["scores"]
    np.testing.assert_allclose(rows["adding problem, heavy ball with a clip"], control, rtol=1e-12)


def test_the_choices_of_a_start_are_those_of_its_own_cells():
    entries = {
        name: {"lr": lr, "at_edge": lr > 1, "scores": np.array([lr])} for name, lr in (("SGD", 2.0), ("Adam", 0.5))
    }
    races = {("digits", "gain 3", name): entry for name, entry in entries.items()}
    races |= {("digits", "gain 2", "SGD"): entries["Adam"], ("adding", "gain 3", "Adam"): entries["SGD"]}
    found = choices(races, "digits", "gain 3")
    assert {name: (choice.lr, choice.at_edge, grid) for name, (choice, grid) in found.items()} == {
        "SGD": (2.0, True, []), "Adam": (0.5, False, []),
    }  # fmt: skip
    assert found["SGD"][0].scores.tolist() == [2.0]


def test_cells_whose_choice_is_part_of_a_claim_are_tuned_on_as_many_networks_as_registered():
    races = recorded()
    assert {cell: races[cell]["tuning"] for cell in WHOLE} == WHOLE
    for cell, tuning in WHOLE.items():
        assert races[cell]["tuning scores"].shape[-1] == tuning
        np.testing.assert_array_equal(chosen_on(races[cell], tuning)["scores"], races[cell]["scores"])


def test_a_choice_on_fewer_networks_may_be_another():
    tuning = np.array([[[1.0, 1, 9, 9, 9], [2.0] * 5]])
    entry = {"tuning scores": tuning, "reported scores": np.array([[[1.0, 2], [3.0, 4]]]), "scores": np.array([3.0, 4])}
    assert chosen_on(entry, 2)["scores"].tolist() == [1, 2]
    assert chosen_on(entry, 5)["scores"].tolist() == [3, 4]


def test_survivors_are_those_that_stay_finite():
    entry = {"lr": 0.01, "limit": None, "penalty": 0.0}
    there = SMALL._replace(steps=400)
    assert survivors("SGD", entry, there, STARTS["gain 1"], range(3), 1.0).all()
    assert not survivors("SGD", entry, there, STARTS["gain 1"], range(3), 1e5).any()


def test_reach_by_method_trains_each_at_its_own_recorded_rate():
    races = recorded()
    runs = reach_by_method(races, "adding", 2, range(2))
    assert list(runs) == ["SGD", "heavy ball", "Adam"]
    for name, (_, _, scores) in runs.items():
        there = PROBLEMS["adding"]._replace(steps=2)
        alone = reach_in_training(name, races["adding", "gain 0.3", name], there, STARTS["gain 0.3"], range(2))
        np.testing.assert_array_equal(scores, alone[2])


def test_the_scores_at_all_rates_are_those_at_the_chosen_one_and_the_rest():
    found = race(METHODS["clipped Adam"], SMALL, STARTS["gain 1"], tuning=range(100, 104), whole=True)
    rate, limit = (
        list(METHODS["clipped Adam"].lrs.round(7)).index(round(found["lr"], 7)),
        (0.1, 1.0).index(found["limit"]),
    )
    assert found["reported scores"][limit][rate] == pytest.approx(found["scores"], rel=1e-6)
    tuning = np.median(np.array(found["tuning scores"], float), -1)
    assert tuning[limit, rate] == np.nanmin(tuning)
