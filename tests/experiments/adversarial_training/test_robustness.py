"""Duels: tuning and reporting are apart, and the tables say what was measured."""

from itertools import combinations, permutations

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch

from companion.experiments.adversarial_training import comparisons, defenses, robustness
from companion.experiments.adversarial_training import figures as report
from companion.experiments.adversarial_training.attacks import Target, walk_in_ball
from companion.experiments.adversarial_training.bilinear_game import settled_radii
from companion.experiments.adversarial_training.classifiers import Classifier, digits
from companion.experiments.adversarial_training.defenses import CELLS, DEFENDERS, OPPONENTS, by_strength, judged
from companion.experiments.adversarial_training.robustness import (
    ATTACKERS,
    BALLS,
    EUCLIDEAN,
    Victims,
    apart,
    dependence_on_start,
    duel,
    harden,
    masked,
    race,
    race_rivals,
    rate_of_each,
    reached,
    rematch,
    spread_of_lengths,
    standard,
    unseen,
)
from mutants import mutant
from stepsize import SGD, SignDescent
from stepsize.errors import EvidenceError

IMAGES, VALIDATION, TEST = digits(0)
SEEDS = list(range(7))


pytestmark = pytest.mark.usefixtures("in_house_style")


@pytest.fixture(scope="module")
def models():
    return standard(SEEDS, 4, IMAGES)


@pytest.fixture(scope="module")
def raced(models):
    return {kind: race(kind, models, SEEDS, 2, 5, VALIDATION[:60], TEST[:50]) for kind in BALLS}


def test_the_chosen_rate_is_the_strongest_on_the_tuning_models(raced):
    for duels_of in raced.values():
        for name, d in duels_of.items():
            if name != "Auto-PGD":
                assert d.lr == d.rates[d.curve.argmin()]
                assert d.at_edge == (d.curve.argmin() in (0, len(d.rates) - 1))


def test_models_are_never_tuned_on_and_reported(models):
    same = Victims(Classifier(), models[:2], models[2:4], ((0, 1), (1, 2)))
    with pytest.raises(EvidenceError, match="in both sets"):
        duel("sign", same, BALLS["L2"], 3, VALIDATION[:5], TEST[:5])


@pytest.mark.parametrize("name", ["AdaGrad", "RMSProp", "Adam", "AMSGrad"])
def test_in_euclids_ball_the_projection_decides_how_strong_an_adaptive_attacker_is(raced, name):
    L2 = raced["L2"]
    assert apart(L2[EUCLIDEAN[name]].tuned, L2["SGD"].tuned).low > 3
    assert apart(L2[EUCLIDEAN[name]].tuned, L2[name].tuned).low > 5
    assert abs(apart(L2[name].tuned, L2["normalised SGD"].tuned).estimate) < 4
    assert EUCLIDEAN[name] not in raced["L∞"]


def test_in_the_box_only_the_lazy_rate_tells_the_attackers_apart(raced):
    box = raced["L∞"]
    assert abs(apart(box["Adam"].tuned, box["SGD"].tuned).estimate) < 2
    assert apart(box["Adam"].lazy, box["SGD"].lazy).high < -10


def test_the_dependence_on_the_start_is_the_share_of_pairs_that_disagree(raced, models):
    lrs = {"L2": {"Adam": raced["L2"]["Adam"].lr}}
    two, four = (dependence_on_start(models[2:], SEEDS[2:], lrs, TEST[:50], 5, n)["L2"]["Adam"] for n in (2, 4))
    stands = []
    for start in range(1, 5):
        rngs = robustness.generators(SEEDS[2:], start)
        target = Target.of(Classifier(), models[2:], TEST[:50])
        stands.append(walk_in_ball(robustness.Adam(lrs["L2"]["Adam"]), target, BALLS["L2"], 5, rngs).margin[:, 0] > 0)
    pairs = [(100 * (a != b).double().mean(-1)).numpy() for a, b in combinations(stands, 2)]
    assert np.allclose(two, pairs[0], atol=1e-12)
    assert np.allclose(four, np.mean(pairs, 0), atol=1e-12)
    assert np.array_equal(stands[0].numpy(), raced["L2"]["Adam"].fate[0])
    box = dependence_on_start(models[2:], SEEDS[2:], {"L∞": lrs["L2"]} | lrs, TEST[:50], 5, 2)
    assert list(box) == ["L∞", "L2"]
    assert np.array_equal(box["L2"]["Adam"], two)
    assert not np.array_equal(box["L∞"]["Adam"], two)


def test_each_model_has_the_rate_that_is_the_strongest_on_its_own(raced, models):
    own = rate_of_each(models[:3], SEEDS[:3], {"L2": ["SGD"]}, VALIDATION[:60], 5)["L2"]["SGD"]
    rates = ATTACKERS["SGD"].rates(BALLS["L2"])
    stands = []
    for lr in rates:
        target = Target.of(Classifier(), models[:3], VALIDATION[:60])
        walked = walk_in_ball(SGD(lr), target, BALLS["L2"], 5, robustness.generators(SEEDS[:3], 0))
        stands.append((walked.margin[:, 0] > 0).double().mean(-1).numpy())
    assert np.array_equal(own, rates[np.argmin(stands, axis=0)])
    each_its_own, one_for_all = (
        dependence_on_start(models[:3], SEEDS[:3], {"L2": {"SGD": lr}}, TEST[:50], 5, 2)["L2"]["SGD"]
        for lr in (own, own[1])
    )
    assert each_its_own[1] == one_for_all[1]
    assert own[0] != own[1] or own[1] != own[2]


def test_a_rematch_is_the_race_of_the_named_attackers_against_hardened_models(models):
    few = VALIDATION[:10], TEST[:10]
    again = rematch({"L2": robustness.Hardened(models[:3], None)}, SEEDS[:3], 1, 2, *few)["L2"]
    assert list(again) == ["SGD", "Adam", "RMSProp", "normalised SGD"]
    alone = race("L2", models[:3], SEEDS[:3], 1, 2, *few, ["Adam"])["Adam"]
    assert np.array_equal(again["Adam"].fate, alone.fate)
    rivals = race_rivals(models[:3], SEEDS[:3], 1, 2, *few)
    names = ["pooled RMSProp", "normalised SGD, falling"]
    assert {kind: list(of) for kind, of in rivals.items()} == {"L∞": names[:1], "L2": names}
    for name in names:
        assert rivals["L2"][name].lr in ATTACKERS[name].rates(BALLS["L2"])
        assert name not in robustness.RACED


def test_normalised_ascent_of_falling_rate_steps_by_the_rate_over_the_root_of_the_step():
    g = torch.tensor(np.random.default_rng(1).normal(size=(9, 3, 64)))
    for make, fall in (
        (robustness.falling, 0.5),
        (mutant(robustness.falling, "InverseRoot(normalised(lr))", "normalised(lr)"), 0),
    ):
        rule, lengths = make(0.3), []
        state = rule.init(g[0])
        for each in g:
            state, rate, direction = rule.step(state, each, g[0])
            lengths.append(float((rate * direction).norm(dim=-1).max()))
        np.testing.assert_allclose(lengths, 0.3 * np.arange(1, 10.0) ** -fall, rtol=1e-12)


def test_gradients_of_hardened_models_differ_less_in_length(models):
    x = harden("L2", SEEDS[:2], 4, 4, IMAGES[:400], VALIDATION).x
    spread = spread_of_lengths(models, TEST)
    g = Target.of(Classifier(), models, TEST).look(torch.zeros(7, 1, len(TEST.y), 64, dtype=torch.float64))[1]
    assert spread[3] == pytest.approx(np.divide(*np.quantile(g[3, 0].norm(dim=-1), [0.9, 0.1])), rel=1e-12)
    assert spread_of_lengths(x, TEST).max() < spread.min()


def test_the_mask_is_epsilon(models):
    rules = {"sign": SignDescent, "Adam": robustness.Adam, "bare": lambda lr: robustness.Adam(lr, eps=1e-150)}
    found = masked((1.0, 30.0), models[:3], SEEDS[:3], TEST[:50], 5, rules)
    plain, sure = (found[name].mean(1) for name in ("sign", "Adam"))
    assert sure[1] > plain[1] + 20
    assert abs(found["bare"].mean(1)[1] - plain[1]) < 10
    assert unseen((1.0, 100.0), models[:3], TEST[:50])[1] > 0.5


def test_only_an_attacker_with_a_sufficient_rate_reaches_the_maximum(models):
    share = reached("L∞", models[:3], SEEDS[:3], TEST[:50], 8)
    assert (share["the steepest of its ball"] > 0.8).all()
    assert (share["plain ascent at the lazy rate"] < share["the steepest of its ball"]).all()


def test_hardening_is_watched_and_helps(models):
    h = harden("L2", range(2), 4, 4, IMAGES[:400], VALIDATION)
    assert h.watched.shape == (4, 2)
    falls = robustness.Hardened(h.x, np.array([[50.0], [90.0], [80.0], [85.0], [60.0]])).worst_drop
    assert falls[0] == 25.0


def test_the_defenders_rate_falls_to_zero_at_the_end():
    rule = robustness.learner(0.1, epochs=3, images=250)
    assert rule.horizon == 9
    assert mutant(robustness.learner, "-(-images // BATCH)", "(images // BATCH)")(0.1, 3, 250).horizon == 6


def test_every_cell_of_the_file_is_there_and_has_its_own_seeds():
    cells = DEFENDERS.read()
    assert set(cells) == set(CELLS)
    assert not set(defenses.TUNING) & set(defenses.REPORTING)
    for cell in cells.values():
        assert len(cell["robust"]) == len(defenses.REPORTING)
        best = np.max(cell["curve"])
        assert best in cell["curve"][defenses.LRS.index(cell["lr"])]


@pytest.mark.slow
def test_a_cell_of_the_file_can_be_computed_again():
    """One seed of one drawn cell; training amplifies the rounding of another processor, hence 5 points."""
    name = np.random.default_rng(2026).choice(CELLS)
    cell = DEFENDERS.read()[name]
    again = judged(name, cell["lr"], cell["attacker_lr"], seeds=[3])
    assert again["clean"][0] == pytest.approx(cell["clean"][3], abs=2)
    assert again["robust"][0] == pytest.approx(cell["robust"][3], abs=5)


def test_pairs_of_defenders_are_all_those_whose_attackers_are_a_point_apart(raced):
    for kind, duels in raced.items():
        standing = {name: duels[name].tuned.mean() for name in OPPONENTS[kind] if name in duels}
        standing["SGD, lazy"] = duels["SGD"].lazy.mean()
        pairs = by_strength(duels, kind)
        assert len(pairs) == len(set(pairs))
        for a, b in permutations(standing, 2):
            assert ((a, b) in pairs) == (standing[a] <= standing[b] - 1)
        assert mutant(by_strength, "standing[b] - standing[a]", "standing[a] - standing[b]")(duels, kind) != pairs


def test_a_gain_is_that_of_the_stronger_attackers_defender(raced):
    cells = DEFENDERS.read()
    gained = comparisons.gained_by_strength(raced, cells)
    row = "L∞: Adam over plain ascent, lazy rate"
    assert np.array_equal(gained[row], np.subtract(cells["L∞ | Adam"]["robust"], cells["L∞ | SGD, lazy"]["robust"]))
    assert sum(not name.startswith("against nobody") for name in gained) == sum(
        len(by_strength(duels, kind)) for kind, duels in raced.items()
    )
    lift = comparisons.gained_by_adaptivity(cells)
    assert np.array_equal(lift["Adam, L2 ball"], np.subtract(cells["L2 | Adam"]["robust"], cells["L2 | SGD"]["robust"]))


def test_differences_are_taken_to_tuned_plain_ascent_in_the_same_ball(raced):
    rows = comparisons.standing(raced, {kind: dict(list(duels.items())[:5]) for kind, duels in raced.items()})
    L2 = raced["L2"]
    assert np.array_equal(rows["L2 ball, standard models, Adam"], L2["Adam"].tuned - L2["SGD"].tuned)
    assert np.array_equal(rows["both at the lazy rate, L2 ball"], L2["Adam"].lazy - L2["SGD"].lazy)
    steepest = rows["L2 ball, standard models, steepest ascent without a memory"]
    assert np.array_equal(steepest, L2["normalised SGD"].tuned - L2["SGD"].tuned)
    cost = comparisons.against_plain(comparisons.cost_of_the_lazy_rate(raced))["RMSProp, L2 ball"]
    assert np.allclose(cost, (L2["RMSProp"].lazy - L2["RMSProp"].tuned) - (L2["SGD"].lazy - L2["SGD"].tuned))


def test_the_largest_learning_rate_of_the_grid_collapses():
    """So no defender's rate ends its grid, and a larger one need not be tried."""
    for name, cell in DEFENDERS.read().items():
        assert not cell["lr_at_edge"], name
        assert np.max(cell["curve"][-1]) < np.max(cell["curve"]) - 10, name


def test_defenders_trained_together_are_those_trained_apart():
    x = defenses.opposed("L2 | Adam", [0.01, 0.003], [0.1, 0.3], [0, 1], epochs=1)
    alone = defenses.opposed("L2 | Adam", 0.003, 0.3, [1], epochs=1)
    assert (x[1] - alone[0]).abs().max() < 1e-6


def test_the_tables_show_every_rate_its_edge_and_the_control(raced):
    table = report.duel_table(raced)
    assert list(table.index[:2]) == ["L∞: plain ascent", "L∞: normalised ascent"]
    assert table.loc["L2: normalised ascent", "minus matched"] == "–"
    assert ("(edge)" in table.loc["L2: Adam", "rate"]) == raced["L2"]["Adam"].at_edge
    cells = report.defender_table(DEFENDERS.read())
    assert len(cells) == len(CELLS)


def test_the_figures_show_the_numbers_they_are_given(raced, models):
    axes = report.curve_figure(raced)
    line = next(line for line in axes[1].lines if line.get_label() == "Adam")
    assert np.array_equal(line.get_ydata(), 100 * raced["L2"]["Adam"].curve)
    top, low = report.mask_figure([1.0, 10.0], {"sign": np.array([[40.0, 50.0], [60.0, 60.0]])}, np.array([0.1, 0.9]))
    assert np.array_equal(top.lines[0].get_ydata(), [45.0, 60.0])
    assert np.array_equal(low.lines[0].get_ydata(), [10.0, 90.0])
    axes = report.defender_figure(DEFENDERS.read(), OPPONENTS)
    for ax, names in zip(axes, OPPONENTS.values(), strict=True):
        assert [label.get_text() for label in ax.get_yticklabels()] == [robustness.title(name) for name in names]
    assert report.strip_figure(Classifier(), models, TEST, raced, 0, steps=3).shape == (3, 4)


def test_the_phase_portrait_ends_where_the_laws_say():
    axes = report.phase_figure(turns=300)
    assert [ax.get_title("left").partition(":")[0] for ax in axes.flat] == [
        "both at once",
        "in turns",
        "looking ahead",
        "Adam",
    ]
    measured = settled_radii([0.0], [0.9, 0.99])
    assert measured.shape == (2, 1, 2)
    report.radius_figure([0.0], [0.9, 0.99], measured)


def test_rates_are_given_in_units_of_the_radius_but_for_plain_ascent():
    ball = BALLS["L2"]
    assert ATTACKERS["sign"].rates(ball)[0] == pytest.approx(ATTACKERS["sign"].lrs[0] * 0.6)
    assert np.array_equal(ATTACKERS["SGD"].rates(ball), ATTACKERS["SGD"].lrs)
    assert torch.is_tensor(robustness._across(ATTACKERS["SGD"].lrs))
