"""Reaction networks as plain data: species with counts, equations with rate constants, and nothing to run yet."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from companion.errors import NetworkError
from companion.experiments.inputs import number
from stepsize.errors import short

#: Counts are whole numbers kept in float64, which is exact up to here.
LARGEST_COUNT = 2**53
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_TERM = re.compile(r"(?:(\S+?)\s*\*?\s+)?(\S+)\Z")
_NOTHING = ("", "0", "∅")


class Reset(NamedTuple):
    """At `time` the count of `species` is set to `count`, whatever it was."""

    time: float
    species: str
    count: int


class Reaction(NamedTuple):
    """species -> copies consumed and produced, and the stochastic rate constant c."""

    reactants: dict[str, int]
    products: dict[str, int]
    rate: float


#: Which formula the propensity has, by the copies of the reactants in rising order; any other is a GENERAL product.
GENERAL = 0
KINDS = {(): 1, (1,): 2, (1, 1): 3, (2,): 4, (1, 2): 5, (3,): 6}


def parse(equation: str) -> tuple[dict[str, int], dict[str, int]]:
    """'2 A + B -> C' as ({'A': 2, 'B': 1}, {'C': 1}); an empty side, 0 or ∅ is nothing."""
    if not isinstance(equation, str) or equation.count("->") != 1 or "<-" in equation:
        raise NetworkError(
            f"{equation!r} is no one-way reaction; write 'A + B -> C', and a reversible one as two reactions"
        )
    sides = []
    for side in equation.split("->"):
        counts: dict[str, int] = {}
        for term in [] if side.strip() in _NOTHING else side.split("+"):
            match = _TERM.match(term.strip())
            if not match or not _NAME.match(match[2]):
                raise NetworkError(f"{term.strip()!r} in {equation!r} is no species; write '2 A' or 'A'")
            copies = match[1] or "1"
            if not copies.isdigit() or int(copies) == 0:
                raise NetworkError(f"stoichiometry {copies} in {equation!r} is no positive whole number; rescale it")
            counts[match[2]] = counts.get(match[2], 0) + int(copies)
            if counts[match[2]] > (most := LARGEST_COUNT if len(sides) else 100):
                raise NetworkError(f"{counts[match[2]]} {match[2]} in {equation!r} exceed {most} copies; rescale it")
        sides.append(counts)
    return sides[0], sides[1]


def _count(value, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value <= LARGEST_COUNT:
        raise NetworkError(f"{what} is {value!r}; counts lie between 0 and 2^53")
    if value != int(value):
        raise NetworkError(f"{what} is {value!r}; counts are whole numbers, so round it")
    return int(value)


def _finite(value, what: str, least: float = -math.inf) -> float:
    domain = "a finite number" + ("" if least == -math.inf else f" of at least {least:g}")
    return number(value, what, domain, lambda v: math.isfinite(v) and v >= least, NetworkError)


@dataclass(frozen=True, eq=False)
class Network:
    """Reaction j fires at rate a_j(x) = c_j prod_i binomial(x_i, n_ij).  Gillespie (1977), section II.

    `initial` maps species to counts, `reactions` is a list of (equation, c). A species in `boundary` takes part
    but keeps its count; a reset may still set it. `resets` are scheduled (time, species, count). `rules` name linear
    read-outs of the state, such as {"total": {"A": 1, "B": 2}}; they are computed, never fed back. Other rate laws, and
    resets on a condition, are not expressible.
    """

    initial: Mapping[str, int]
    reactions: Sequence[tuple[str, float]]
    boundary: Sequence[str] = ()
    resets: Sequence[tuple[float, str, int]] = ()
    rules: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("initial", "rules"):
            if not isinstance(getattr(self, name), Mapping):
                raise NetworkError(f"{name} is {short(getattr(self, name))}; write a dictionary by name")
        if not self.initial or not self.reactions:
            missing = "species" if not self.initial else "reactions"
            raise NetworkError(f"the network has no {missing}; give at least one")
        for name, count in self.initial.items():
            if not isinstance(name, str) or not _NAME.match(name):
                raise NetworkError(f"{name!r} is no name of a species; use letters, digits and _")
            _count(count, f"initial count of {name}")
        object.__setattr__(self, "resets", tuple(sorted(map(self._reset, self.resets))))
        object.__setattr__(self, "boundary", (self.boundary,) if isinstance(self.boundary, str) else self.boundary)
        for name in self.boundary:
            self._known(name, "boundary")
        for name, terms in self.rules.items():
            if name in self.initial:
                raise NetworkError(f"rule {name!r} has the name of a species; rename the rule")
            for species, factor in terms.items():
                self._known(species, f"rule {name!r}")
                _finite(factor, f"factor of {species} in rule {name!r}")
        if not self.change.any():
            raise NetworkError("no reaction changes any count; let one produce or consume a species off the boundary")

    def _known(self, name, where):
        if name not in self.initial:
            raise NetworkError(f"{where} names the unknown species {name!r}; give it an initial count")

    def _reset(self, entry):
        if isinstance(entry, str) or len(entry) != 3:
            raise NetworkError(f"{entry!r} is no reset; write (time, species, count)")
        time, species, count = entry
        self._known(species, "a reset")
        return Reset(_finite(time, f"time of the reset of {species}", 0), species, _count(count, f"reset of {species}"))

    @property
    def species(self) -> tuple[str, ...]:
        """Names in the order of the state's last axis."""
        return tuple(self.initial)

    @cached_property
    def reaction_list(self) -> tuple[Reaction, ...]:
        """The equations read and checked."""
        read = []
        for entry in self.reactions:
            if isinstance(entry, str) or len(entry) != 2:
                raise NetworkError(f"{entry!r} is no (equation, rate constant) pair; write ('A -> B', 1.0)")
            equation, rate = entry
            reactants, products = parse(equation)
            for name in (*reactants, *products):
                self._known(name, f"reaction {equation!r}")
            read.append(Reaction(reactants, products, _finite(rate, f"rate constant of {equation!r}", 0)))
        return tuple(read)

    @cached_property
    def x0(self) -> np.ndarray:
        """Initial state, float64 of shape (S,)."""
        return np.array([float(n) for n in self.initial.values()])

    @cached_property
    def rates(self) -> np.ndarray:
        """Rate constants, shape (M,)."""
        return np.array([r.rate for r in self.reaction_list])

    @cached_property
    def change(self) -> np.ndarray:
        """Net change of species i by reaction j, shape (M, S); zero on the boundary."""
        free = [0 if s in self.boundary else 1 for s in self.species]
        return np.array(
            [
                [f * (r.products.get(s, 0) - r.reactants.get(s, 0)) for s, f in zip(self.species, free, strict=True)]
                for r in self.reaction_list
            ],
            dtype=float,
        )

    @cached_property
    def program(self) -> tuple[np.ndarray, np.ndarray]:
        """The network as the machine code reads it: `net` uint64 and `amount` float64, both (M + 1, width), a row per reaction.

        net[j] = [kind, first, second, R, C, A, end, ...]: the reactants stand in R:C, with their copies in amount[j];
        the species that change in C:A, with their net change; and in A:end the reactions whose propensity changes
        when j fires, the dependency graph of Gibson & Bruck (2000), section 3. The last row stands for every reaction at once.
        """
        index = {s: i for i, s in enumerate(self.species)}
        reactants = [
            {index[s]: n for s, n in sorted(r.reactants.items(), key=lambda item: item[1])} for r in self.reaction_list
        ]
        rows, amounts = [], []
        for need, row in zip(reactants, self.change, strict=True):
            changed = np.flatnonzero(row)
            affected = [k for k, other in enumerate(reactants) if other.keys() & set(changed)]
            at = np.cumsum([7, len(need), len(changed), len(affected)])
            head = [KINDS.get(tuple(need.values()), GENERAL), *[*need, 0, 0][:2], *at]
            rows.append([*head, *need, *changed, *affected])
            amounts.append([*[0] * 7, *need.values(), *row[changed]])
        rows.append([GENERAL, 0, 0, 7, 7, 7, 7 + len(rows), *range(len(rows))])
        net, amount = np.zeros((len(rows), width := max(map(len, rows))), np.uint64), np.zeros((len(rows), width))
        for j, (row, values) in enumerate(zip(rows, [*amounts, []], strict=True)):
            net[j, : len(row)], amount[j, : len(values)] = row, values
        return net, amount

    @cached_property
    def highest(self) -> np.ndarray:
        """(S, 2): order of the highest-order reaction that consumes a species, 0 for none, and copies of it there."""
        highest = [(0, 0)] * len(self.species)
        for r in self.reaction_list:
            for s, n in r.reactants.items():
                i = self.species.index(s)
                highest[i] = max(highest[i], (sum(r.reactants.values()), n))
        return np.array(highest, dtype=np.int64)

    def read(self, x: np.ndarray, name: str) -> np.ndarray:
        """Count of a species, or value of a rule, from states of shape (..., S)."""
        if name in self.rules:
            return sum(float(f) * x[..., self.species.index(s)] for s, f in self.rules[name].items())
        self._known(name, "the read-out")
        if np.shape(x)[-1:] != (len(self.species),):
            raise NetworkError(f"states of shape {np.shape(x)} do not fit {len(self.species)} species on the last axis")
        return x[..., self.species.index(name)]
