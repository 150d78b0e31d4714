"""Networks as plain data: what is read, what is refused, and on which line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import NetworkError, SimulationError
from companion.experiments.tau_leaping import textbook
from companion.experiments.tau_leaping.leaping import Absolute, Activity, Cao, Fixed, leap
from companion.experiments.tau_leaping.master_equation import MasterEquation
from companion.experiments.tau_leaping.network import Network, parse
from companion.experiments.tau_leaping.ssa import simulate
from mutants import mutant

DECAY = textbook.decay(10)


@pytest.mark.parametrize(
    ("equation", "sides"),
    [
        ("A -> B", ({"A": 1}, {"B": 1})),
        ("2 A + B -> C", ({"A": 2, "B": 1}, {"C": 1})),
        ("A+A -> ", ({"A": 2}, {})),
        ("-> 5 X", ({}, {"X": 5})),
        ("∅ -> X", ({}, {"X": 1})),
        ("0 -> X", ({}, {"X": 1})),
        ("2*A -> B", None),
        ("2 * A -> B", ({"A": 2}, {"B": 1})),
    ],
)
def test_an_equation_is_read_as_it_is_written(equation, sides):
    if sides is None:
        with pytest.raises(NetworkError):
            parse(equation)
    else:
        assert parse(equation) == sides


@given(
    st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 9)),
    st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 9)),
)
def test_writing_and_reading_an_equation_gives_it_back(left, right):
    text = " -> ".join(" + ".join(f"{n} {s}" for s, n in side.items()) for side in (left, right))
    assert parse(text) == (left, right)


def test_a_boundary_species_reacts_but_keeps_its_count():
    net = textbook.schloegl()
    assert not net.change[:, :2].any()
    assert net.change[:, 2].tolist() == [1, -1, 1, -1]


def test_the_dependency_graph_lists_exactly_the_propensities_that_can_change():
    net = textbook.vilar_oscillator()
    table, _ = net.program
    for j, fired in enumerate(net.change):
        changed = {net.species[i] for i in np.flatnonzero(fired)}
        expected = [k for k, r in enumerate(net.reaction_list) if changed & set(r.reactants)]
        assert table[j, table[j, 5] : table[j, 6]].tolist() == expected


def test_a_rule_reads_a_linear_combination_and_is_never_fed_back():
    net = Network({"A": 3, "B": 4}, [("A -> B", 1.0)], rules={"total": {"A": 1, "B": 2}})
    assert net.read(np.array([[3, 4], [1, 6]]), "total").tolist() == [11, 13]


def refuse(**changes):
    return lambda: Network(**({"initial": {"A": 5, "B": 0}, "reactions": [("A -> B", 1.0)]} | changes))


EXPLOSIVE = Network({"X": 10}, [("2 X -> 3 X", 1.0)])
MISTAKES = {
    "negative rate": (refuse(reactions=[("A -> B", -1.0)]), "A -> B"),
    "rate not a number": (refuse(reactions=[("A -> B", float("nan"))]), "A -> B"),
    "infinite rate": (refuse(reactions=[("A -> B", float("inf"))]), "inf"),
    "rate is a word": (refuse(reactions=[("A -> B", "fast")]), "fast"),
    "no rate": (refuse(reactions=["A -> B"]), "pair"),
    "unknown species": (refuse(reactions=[("A -> C", 1.0)]), "'C'"),
    "fractional stoichiometry": (refuse(reactions=[("1.5 A -> B", 1.0)]), "1.5"),
    "negative stoichiometry": (refuse(reactions=[("-1 A -> B", 1.0)]), "-1"),
    "zero stoichiometry": (refuse(reactions=[("0 A -> B", 1.0)]), "stoichiometry 0"),
    "reversible arrow": (refuse(reactions=[("A <-> B", 1.0)]), "two reactions"),
    "no arrow": (refuse(reactions=[("A + B", 1.0)]), "A + B"),
    "no reactions": (refuse(reactions=[]), "no reactions"),
    "no species": (refuse(initial={}), "no species"),
    "name is no name": (refuse(initial={"A": 5, "B": 0, "2x": 1}), "2x"),
    "negative count": (refuse(initial={"A": -1, "B": 0}), "-1"),
    "fractional count": (refuse(initial={"A": 0.5, "B": 0}), "0.5"),
    "count is NaN": (refuse(initial={"A": float("nan"), "B": 0}), "nan"),
    "count is infinite": (refuse(initial={"A": float("inf"), "B": 0}), "inf"),
    "count too large": (refuse(initial={"A": 2**60, "B": 0}), "2^53"),
    "unknown boundary": (refuse(boundary=("C",)), "'C'"),
    "nothing changes": (refuse(boundary=("A", "B")), "boundary"),
    "reset of an unknown species": (refuse(resets=[(1.0, "C", 3)]), "'C'"),
    "negative reset": (refuse(resets=[(1.0, "A", -3)]), "-3"),
    "reset before the start": (refuse(resets=[(-1.0, "A", 3)]), "-1.0"),
    "incomplete reset": (refuse(resets=[(1.0, "A")]), "reset"),
    "rule named like a species": (refuse(rules={"A": {"B": 1}}), "'A'"),
    "rule of an unknown species": (refuse(rules={"total": {"C": 1}}), "'C'"),
    "read-out unknown": (lambda: simulate(DECAY, [1.0]).read("Y"), "'Y'"),
    "times out of order": (lambda: simulate(DECAY, [2.0, 1.0]), "increasing"),
    "negative time": (lambda: simulate(DECAY, [-1.0]), "at least 0"),
    "no times": (lambda: simulate(DECAY, []), "times"),
    "no runs": (lambda: simulate(DECAY, [1.0], 0), "runs must be"),
    "half a run": (lambda: simulate(DECAY, [1.0], 1.5), "1.5"),
    "negative seed": (lambda: simulate(DECAY, [1.0], 1, -1), "seed must be"),
    "initial of another shape": (lambda: simulate(DECAY, [1.0], initial=[1, 2]), "initial"),
    "negative initial": (lambda: simulate(DECAY, [1.0], initial=[-2]), "-2"),
    "rates of another shape": (lambda: simulate(DECAY, [1.0], 3, rates=np.ones((2, 1))), "rates"),
    "negative override": (lambda: simulate(DECAY, [1.0], rates=[-1.0]), "-1"),
    "dead for ever": (lambda: simulate(textbook.decay(0), [1.0]), "every propensity is zero"),
    "one molecule cannot pair": (lambda: leap(textbook.decay(1, order=2), [1.0], Cao()), "every propensity is zero"),
    "explosion": (lambda: simulate(EXPLOSIVE, [100.0], max_events=10_000), "may explode"),
    "explosion by leaps": (lambda: leap(EXPLOSIVE, [100.0], Fixed(0.01)), "1e15"),
    "eps of zero": (lambda: leap(DECAY, [1.0], Cao(0.0)), "eps"),
    "eps above one": (lambda: leap(DECAY, [1.0], Cao(2.0)), "below 1"),
    "negative threshold": (lambda: leap(DECAY, [1.0], Cao(critical=-1)), "critical"),
    "negative tau": (lambda: leap(DECAY, [1.0], Fixed(-0.1)), "tau"),
    "tau not a number": (lambda: leap(DECAY, [1.0], Fixed(float("nan"))), "tau"),
    "size of zero": (lambda: leap(DECAY, [1.0], Activity(0)), "size"),
    "size infinite": (lambda: leap(DECAY, [1.0], Absolute(float("inf"))), "size"),
    "step is a number": (lambda: leap(DECAY, [1.0], 0.1), "Fixed(0.1)"),
    "unknown scheme": (lambda: leap(DECAY, [1.0], Cao(), scheme="implicit"), "trapezoid"),
    "unknown answer to negatives": (lambda: leap(DECAY, [1.0], Cao(), below="ignore"), "refuse"),
    "master equation without a ceiling": (lambda: MasterEquation(textbook.birth_death(), max_states=500), "ceiling"),
    "ceiling below the start": (lambda: MasterEquation(textbook.birth_death(), ceiling=50), "50"),
    "state out of reach": (lambda: MasterEquation(DECAY).find([11]), "11"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_on_one_line_that_names_it(mistake):
    act, named = MISTAKES[mistake]
    with pytest.raises((NetworkError, SimulationError)) as caught:
        act()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 220


def test_the_graph_without_dependencies_would_be_noticed():
    """A mutant: the program of a network whose graph leaves out the reaction itself."""
    with_fault = mutant(Network, "other.keys() & set(changed)", "other.keys() & set(changed) and other is not need")
    net, bad = (
        textbook.vilar_oscillator(),
        with_fault(dict(textbook.vilar_oscillator().initial), textbook.vilar_oscillator().reactions),
    )
    assert not np.array_equal(net.program[0][:, 5:7], bad.program[0][:, 5:7])
