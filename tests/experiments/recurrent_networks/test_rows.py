"""Rows and numbers of the chapter: each says what was measured where, on networks whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from companion.evidence import proportion
from companion.experiments.recurrent_networks import rows as module
from companion.experiments.recurrent_networks.comparisons import COMPANY, paired_with_choice
from companion.experiments.recurrent_networks.gradient_flow import Watched, far_share, gradient_reach
from companion.experiments.recurrent_networks.race import METHODS, PROBLEMS, over_constant, recorded
from companion.experiments.recurrent_networks.rows import (
    brake_rows,
    choice_numbers,
    company_rows,
    defence_numbers,
    far_rows,
    finite_rows,
    formula_numbers,
    gradient_numbers,
    learned_rows,
    learned_share,
    longest_rows,
    reach_rows,
    recorded_numbers,
    repeated_numbers,
    spike_numbers,
)
from companion.experiments.recurrent_networks.spikes import Brakes, corrected
from companion.experiments.recurrent_networks.tasks import Adding
from stepsize.responses import adam_worst, spike_brake


def estimates(rows):
    return {condition: row.estimate for condition, row in rows.items()}


def values(numbers):
    return {key: value[0] if isinstance(value, tuple) else value for key, value in numbers.items()}


def spiked(size, by_v, by_m=1.0, longest=1.0):
    """Ten networks, the first five of them better; after 101 quiet steps each has one spike of `size`, braked by `by_v` and `by_m`."""
    brakes = Brakes()
    for values in (*[(1.0, 1.0, 1.0)] * 101, (size, by_m, by_v)):
        for series, value in zip((brakes.size, brakes.by_m, brakes.by_v), values, strict=True):
            series.append(np.broadcast_to(np.asarray(value, float), (1, 10)))
    return Watched(brakes, 0.095 * np.arange(1, 11), longest)


def test_rows_of_reach_are_medians_of_what_was_measured_at_their_gain():
    task = Adding(T=8, B=4, hidden=5)
    untrained = {f"{gain:g}": gradient_reach(task, gain, range(5)) for gain in (0.5, 2.0)}
    rows = reach_rows(untrained, [2.0, 0.5])
    assert list(rows) == ["the gain is 2", "the gain is 0.5"]
    assert rows["the gain is 0.5"].estimate == np.median(untrained["0.5"][:, 0])
    (far,) = far_rows(task, 0.5, range(5), reach=3).values()
    assert far.estimate == pytest.approx(np.median(far_share(task, task.net.start(0.5, range(5)), range(5), 3)))
    (whole,) = far_rows(task, 0.5, range(5), reach=8).values()
    assert whole.estimate == 0, "nothing comes from beyond the whole sequence"


def test_a_share_of_networks_counts_those_that_are_finite_or_learned():
    races = {("adding", "gain 3", name): {"lr": 0.01, "limit": None, "penalty": 0.0} for name in ("Adam", "heavy ball")}
    races["adding", "gain 3", "SGD"] = {"lr": 1e30, "limit": None, "penalty": 0.0}
    found = finite_rows(races, {"adding": 40}, range(5), range(7), factor=1.0)
    assert [row.n for row in found.values()] == [7, 5, 5]
    assert estimates(found) == {
        "weights stay finite, adding problem": 1,
        "heavy ball: weights stay finite, adding problem": 1,
        "SGD: weights stay finite, adding problem": 0,
    }
    assert learned_share(np.array([0.1, 0.5, 0.89, 0.91, 2.0, np.inf])).estimate == 0.5


def test_the_brake_is_read_at_the_largest_spikes_of_the_better_half_and_of_all_dead_networks():
    by_v = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0.9, 0.9, 0.9, 0.9])
    exploding = {("Adam", 2): spiked(40.0, 0.8), ("Adam", 3): spiked(400.0, by_v)}
    found = estimates(brake_rows(exploding, spiked(40.0, by_v), {("Adam", 2): spiked(40.0, 0.75)}))
    for k in (10, 30, 100, 1000):
        assert found.pop(f"a single spike has {k} times the usual size") == spike_brake(k)
    assert found == pytest.approx(
        {
            "the better half of networks, gain 2, Adam": 0.8,
            "the better half of networks, gain 3, Adam": 0.3,
            "networks that do not learn, gain 3, Adam": 0.7,
            "further networks, the better half, gain 2, Adam": 0.75,
            "had the past been quiet: gain 2, Adam": spike_brake(40, corrected(103)),
            "had the past been quiet: gain 3, Adam": spike_brake(400, corrected(103)),
        }
    )


def test_the_longest_steps_are_shares_of_the_supremum():
    exploding = {("Adam", gain): spiked(5.0, 1.0, longest=adam_worst() / gain) for gain in (2, 3)}
    found = estimates(longest_rows({"spikes of any size": adam_worst() / 4}, exploding))
    assert found == pytest.approx(
        {"spikes of any size": 1 / 4, "networks that explode, gain 2": 1 / 2, "networks that explode, gain 3": 1 / 3}
    )


def test_learning_is_counted_on_the_digits_that_were_watched_and_elsewhere_in_the_grid():
    races = recorded()
    exploding = {(name, gain): spiked(5.0, 1.0) for name in ("Adam", "RMSProp") for gain in (2, 3)}
    exploding["RMSProp", 3] = exploding["RMSProp", 3]._replace(scores=np.full(10, 0.82))
    exploding["Adam", 3] = exploding["Adam", 3]._replace(scores=np.full(10, 0.2))
    found = estimates(learned_rows(races, exploding))
    assert (
        found.pop("networks learn, digits from gain 2") == 0.8
    )  # chance level is 0.9, so that 0.81 and more is not learned
    assert found.pop("networks learn, digits from gain 3") == 1
    assert found.pop("RMSProp: networks learn, digits from gain 2") == 0.8
    assert found.pop("RMSProp: networks learn, digits from gain 3") == 0
    found.pop("gradients grow tenfold: networks learn, adding problem from gain 2")  # below
    assert found == {
        "networks learn, adding problem from gain 2": learned("adding, 4,500 steps", "gain 2", "Adam"),
        "heavy ball with a clip: networks learn, digits from gain 2": learned(
            "digits from gain 2", "gain 2", "clipped heavy ball"
        ),
        "heavy ball with a clip: networks learn, digits from gain 3": learned("digits", "gain 3", "clipped heavy ball"),
        "heavy ball with a clip: networks learn, adding problem from gain 2": learned(
            "adding, 4,500 steps", "gain 2", "clipped heavy ball"
        ),
        "no defence, SGD: networks learn, digits from gain 2": learned("digits from gain 2", "gain 2", "SGD"),
        "no defence, heavy ball: networks learn, digits from gain 2": learned(
            "digits from gain 2", "gain 2", "heavy ball"
        ),
        "no defence, SGD: networks learn, digits from gain 3": learned("digits", "gain 3", "SGD"),
        "no defence, heavy ball: networks learn, digits from gain 3": learned("digits", "gain 3", "heavy ball"),
        "clipped Adam: networks learn, adding problem from gain 2": learned(
            "adding, 4,500 steps", "gain 2", "clipped Adam"
        ),
        "Adam, β₂ = 0.9: networks learn, digits from gain 2": learned(
            "digits, forty networks", "gain 2", "Adam, β₂ = 0.9"
        ),
        "Adam, β₂ = 0.9: networks learn, digits from gain 3": learned(
            "digits, forty networks", "gain 3", "Adam, β₂ = 0.9"
        ),
        "Adam, β₂ = 0.9: networks learn, adding problem from gain 2": learned(
            "adding, 4,500 steps", "gain 2", "Adam, β₂ = 0.9"
        ),
    }


def test_networks_whose_gradients_grow_tenfold_are_counted_alone():
    cell = "adding, 4,500 steps", "gain 2", "Adam"
    reach = gradient_reach(Adding(), 2.0, PROBLEMS[cell[0]].seeds)[:, 0]
    races = recorded()
    races[cell] = races[cell] | {"scores": np.where(reach >= 10, 0.01, 0.2)}  # these learn and no others
    exploding = {(name, gain): spiked(5.0, 1.0) for name in ("Adam", "RMSProp") for gain in (2, 3)}
    found = learned_rows(races, exploding)
    row = found["gradients grow tenfold: networks learn, adding problem from gain 2"]
    assert (row.estimate, row.n) == (1, (reach >= 10).sum())
    assert found["networks learn, adding problem from gain 2"].estimate == np.mean(reach >= 10)
    assert 0 < row.n < len(reach)


def learned(*cell):
    return np.mean(recorded()[cell]["scores"] < 0.9 * PROBLEMS[cell[0]].task.chance)


def test_company_is_kept_in_both_problems_and_by_all_three():
    races = recorded()
    found = company_rows(races)
    assert len(found) == 6
    alone = paired_with_choice(races, "digits", *COMPANY["W starts as a rotation"])
    assert found["W starts as a rotation in the digits"] == alone


def test_a_repetition_is_compared_with_the_file_and_twins_with_the_repetition():
    races = {("adding", "gain 1", "Adam"): {"scores": np.array([1.0, 2.0, 3.0])}}
    numbers = repeated_numbers(races, ("adding", "gain 1", "Adam"), np.array([1.1, 2.0]), np.array([1.1, 3.0]))
    assert values(numbers) == {
        "redone": "adding, gain 1, Adam",
        "redone-gap": pytest.approx(0.1),
        "twin-gap": pytest.approx(0.5),
    }


def test_growth_per_step_back_is_the_root_of_the_whole_growth(monkeypatch):
    monkeypatch.setattr(module, "gradient_reach", lambda task, gain, seeds: np.full((5, 30), 10.0**-7))
    untrained = {
        name: np.full((5, 4), growth**3) for name, growth in (("1.5", 1.0), ("2", 1.1), ("3", 1.2), ("rotation", 0.8))
    }
    near = {"Adam": (np.array([0, 25, 50]), np.array([[0.3] * 3, [0.5] * 3, [0.9, 0.8, 1.0]]), None)}
    assert values(gradient_numbers(untrained, near, range(5))) == pytest.approx(
        {"growth-1.5": 1, "growth-2": 1.1, "growth-3": 1.2, "loss-rotation": 0.2, "orders": 7}
        | {"factor first": 0.3, "factor last": 0.9}
    )


def test_the_formulas_of_one_spike_are_those_of_the_text():
    found = values(formula_numbers(Adding()))
    assert found["halved"] ** 2 == pytest.approx(3.001 / 0.001)
    assert found["halved-9"] ** 2 == pytest.approx(31)
    assert found["halved-at-500"] ** 2 == pytest.approx(1 + 3000 * (1 - 0.999**500))
    assert found["bound"] == pytest.approx(7.27, abs=0.005)
    assert (found["T"], found["hidden"]) == (30, 16)
    assert found["freeze-1000"] == pytest.approx(np.log(0.001 * (1e6 - 1) / 3) / -np.log(0.999))


def test_what_a_moment_takes_off_is_one_minus_its_factor_and_never_less_than_nothing():
    exploding = {
        ("Adam", 2): spiked(40.0, 0.7, by_m=0.5),
        ("Adam", 3): spiked(400.0, 1.1, by_m=0.9, longest=2.5),
        ("Adam, β₂ = 0.9", 2): spiked(50.0, 0.3),
    }
    further = {("Adam", 2): spiked(50.0, 0.8, by_m=0.4)}
    found = values(spike_numbers({"spikes of any size": 3.0}, exploding, further))
    assert found == pytest.approx(
        {"largest-2": 50, "v-brake-2": 0.2, "m-brake-2": 0.6, "quiet-2": 1 - spike_brake(50, corrected(103))}
        | {"largest-3": 400, "v-brake-3": 0, "m-brake-3": 0.1, "quiet-3": 1 - spike_brake(400, corrected(103))}
        | {
            "largest-first": 40,
            "v-brake-first": 0.3,
            "m-brake-first": 0.5,
            "quiet-first": 1 - spike_brake(40, corrected(103)),
        }
        | {"usual": 50, "usual-v": 0.2, "v-brake-short": 0.7, "longest-spike": 3, "longest-net": 2.5}
    )


def test_each_share_of_the_defence_is_that_of_its_own_rule_and_task():
    leads = "", "heavy ball: ", "SGD: "
    finite = {f"{lead}weights stay finite, adding problem": proportion(10 - k, 10) for k, lead in enumerate(leads)}
    words = "digits from gain 2", "digits from gain 3", "adding problem from gain 2"
    learn = {f"networks learn, {w}": proportion(k, 10) for k, w in enumerate(words)}
    learn |= {f"heavy ball with a clip: networks learn, {w}": proportion(5 + k, 10) for k, w in enumerate(words)}
    learn["clipped Adam: networks learn, adding problem from gain 2"] = proportion(9, 10)
    learn |= {f"Adam, β₂ = 0.9: networks learn, {w}": proportion(6 + k, 10) for k, w in enumerate(words)}
    learn |= {f"RMSProp: networks learn, digits from gain {gain}": proportion(gain, 10) for gain in (2, 3)}
    learn["gradients grow tenfold: networks learn, adding problem from gain 2"] = proportion(3, 12)
    plain = [(name, gain) for name in ("SGD", "heavy ball") for gain in (2, 3)]
    for k, (name, gain) in enumerate(plain):
        learn[f"no defence, {name}: networks learn, digits from gain {gain}"] = proportion(k, 20)
    found = values(defence_numbers(finite, learn))
    assert [found[f"none {name} {gain}"] for name, gain in plain] == [0, 0.05, 0.1, 0.15]
    assert found["clip"] == 0.9
    assert (found["tenfold"], found["tenfold networks"]) == (0.25, 12)
    assert [found[f"short {w}"] for w in words] == [0.6, 0.7, 0.8]
    assert [found[f"RMSProp {gain}"] for gain in (2, 3)] == [0.2, 0.3]
    assert [found[f"kept {name}"] for name in ("Adam", "heavy ball", "SGD")] == [1, 0.9, 0.8]
    assert [found[f"alive {w}"] for w in words] == [0, 0.1, 0.2]
    assert [found[f"ball {w}"] for w in words] == [0.5, 0.6, 0.7]


CELLS = {
    "recall short": ("recall", "gain 0.3", "Adam"),
    "recall long": ("recall, 24,000 steps", "gain 0.3", "Adam"),
    "recall RMSProp": ("recall, 24,000 steps", "gain 0.3", "RMSProp"),
    "recall 39": ("recall, twice as far, 48,000 steps", "gain 0.3", "Adam"),
    "adding Adam": ("adding", "gain 0.3", "Adam"),
    "adding ball": ("adding", "gain 0.3", "clipped heavy ball"),
    "adding SGD": ("adding", "gain 0.3", "SGD"),
    "lstm 9": ("recall, half as far, LSTM", "gain 0.3", "Adam"),
    "lstm 19": ("recall, LSTM", "gain 0.3", "Adam"),
    "linear 9": ("recall, half as far, linear memory", "gain 0.3", "Adam"),
    "linear 19": ("recall, linear memory", "gain 0.3", "Adam"),
    "ring 9": ("recall, half as far, linear memory", "orthogonal", "Adam"),
    "ring 19": ("recall, linear memory", "orthogonal", "Adam"),
}


def test_each_number_of_the_grid_comes_from_its_own_cell_alone():
    races = recorded()
    before = values(recorded_numbers(races))
    for key, cell in CELLS.items():
        half = np.full(5, PROBLEMS[cell[0]].task.chance / 2)
        found = values(recorded_numbers(races | {cell: races[cell] | {"scores": half}}))
        assert found.pop(key) == pytest.approx(0.5)
        beside = {"recall short": "same 19", "linear 19": "linear same 19"}  # over the constant answer
        if same := beside.get(key):
            constant = PROBLEMS["recall"].task
            assert found.pop(same) == pytest.approx(constant.chance / 2 / constant.score_of_constant())
            found[same] = before[same]
        assert found == {other: value for other, value in before.items() if other != key}


def test_the_numbers_of_the_grid_count_cells_networks_and_edges():
    races, found = recorded(), values(recorded_numbers(recorded()))
    assert (found["cells"], found["tuned"], found["tuned-adding"], found["tuned-least"]) == (len(races), 8, 16, 3)
    at_edge = {cell: entry | {"at_edge": True} for cell, entry in races.items()}
    assert values(recorded_numbers(at_edge))["edges"] == len(races) > found["edges"]
    for name in ("SGD", "heavy ball", "Adam"):
        assert found[f"turned {name}"] == round(found["turned"] * learned("recall", "orthogonal", name))
        assert found[f"calm {name}"] == learned("digits", "gain 1", name)
    assert found["turned"] == len(PROBLEMS["recall"].seeds)
    short = races["digits, forty networks", "gain 3", "Adam, β₂ = 0.9"]
    assert (found["short tuning"], found["short tuning learned"]) == (short["tuning"], short["learned"])
    late = "recall, twice as far, 24,000 steps", "gain 0.3", "Adam"
    assert found["learned 39"] == round(10 * learned(*late))
    assert found["most-exploding"] == max(learned("adding", "gain 3", name) for name in METHODS)


def test_the_constant_answer_is_a_few_per_cent_below_chance_level_and_near_it_alone_that_matters():
    found, races = values(recorded_numbers(recorded())), recorded()
    assert [0.02 < found[f"constant {name}"] < 0.06 for name in ("9", "19", "39", "adding")] == [True] * 4
    assert found["recall short"] / found["same 19"] == pytest.approx(1 - found["constant 19"])
    assert found["same 19"] > 0.99
    assert found["linear 19"] / found["linear same 19"] == pytest.approx(1 - found["constant 19"])
    assert found["linear same 19"] == pytest.approx(1, abs=0.005)
    cell = "adding, 4,500 steps", "gain 2"
    for key, name in (("alive", "Adam"), ("ball", "clipped heavy ball")):
        assert 0 <= learned(*cell, name) - found[f"{key} same"] <= 0.03
        assert found[f"{key} same"] == np.mean(over_constant(races, *cell, name) < 0.9)


def test_a_choice_on_eight_networks_would_have_called_the_rotation_harmful():
    found = values(choice_numbers(recorded()))
    assert found["rotation eight low"] > 1.25  # beyond the region of R4
    assert found["rotation fixed low"] < 1 < found["rotation fixed"] < found["rotation eight"]
    assert found["rotation free"] == pytest.approx(found["rotation fixed"])
    assert found["rotation free high"] > found["rotation fixed high"]


def test_networks_without_a_spike_leave_a_dash_in_the_prose():
    def watched(ordinary):
        largest = np.array([[50.0, 0.5, 0.5, 1.0, 100.0]])
        return SimpleNamespace(longest=1.0, largest_spikes=lambda: largest, better_spikes=lambda: ordinary)

    some = np.array([[12.0, 0.9, 0.8, 1.0, 100.0]])
    for ordinary, said in ((some, (12.0, ".0f")), (some[:0], "–")):
        runs = {key: watched(ordinary) for key in (("Adam", 2), ("Adam", 3), ("Adam, β₂ = 0.9", 2))}
        assert module.spike_numbers({"spikes of any size": 1.0}, runs, runs)["usual"] == said
