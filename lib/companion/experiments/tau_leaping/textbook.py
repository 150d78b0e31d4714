"""Networks that the books on stochastic kinetics keep coming back to, and what is known about them in closed form."""

import math

import numpy as np

from companion.errors import NetworkError
from companion.experiments.inputs import numbers, whole

from .network import Network


def decay(count: int = 1000, rate: float = 1.0, order: int = 1) -> Network:
    """p X -> nothing: the simplest dynamics of order p."""
    equation = "X ->" if order == 1 else f"{order} X ->"
    return Network({"X": count}, [(equation, rate)])


def immigration_death(arrival: float = 1.0, death: float = 0.1, count: int = 0, batch: int = 1) -> Network:
    """nothing -> batch X, X -> nothing; stationary law Poisson(arrival / death) for batches of one."""
    return Network({"X": count}, [(f"-> {batch} X", arrival), ("X ->", death)])


def birth_death(birth: float = 0.1, death: float = 0.11, count: int = 100) -> Network:
    """X -> 2 X, X -> nothing."""
    return Network({"X": count}, [("X -> 2 X", birth), ("X ->", death)])


def dimerisation(join: float = 0.001, split: float = 0.01, count: int = 100) -> Network:
    """2 P <-> P2."""
    return Network({"P": count, "P2": 0}, [("2 P -> P2", join), ("P2 -> 2 P", split)])


def isomerisation(count: int = 1000, forth: float = 10.0, back: float = 10.0) -> Network:
    """A <-> B, linear and stiff where the rates are large.  Cao, Petzold, Rathinam & Gillespie (2004), section II."""
    return Network({"A": count, "B": 0}, [("A -> B", forth), ("B -> A", back)])


def decaying_dimerising(count: int = 100_000) -> Network:
    """S1 -> 0, 2 S1 <-> S2, S2 -> S3: fast and slow, many and few.  Gillespie (2001), section VI."""
    reactions = [("S1 ->", 1.0), ("2 S1 -> S2", 0.002), ("S2 -> 2 S1", 0.5), ("S2 -> S3", 0.04)]
    return Network({"S1": count, "S2": 0, "S3": 0}, reactions)


def schloegl(count: int = 250) -> Network:
    """A + 2 X <-> 3 X, B <-> X with A, B held: two stable states.  Constants of Cao, Gillespie & Petzold (2006), section IV."""
    reactions = [("A + 2 X -> A + 3 X", 3e-7), ("3 X -> 2 X", 1e-4), ("B -> B + X", 1e-3), ("X ->", 3.5)]
    return Network({"A": 100_000, "B": 200_000, "X": count}, reactions, boundary=("A", "B"))


def lotka_volterra(prey: int = 1000, predators: int = 1000) -> Network:
    """Prey multiplies, is eaten, predators die.  Gillespie (1977), section VI B."""
    return Network({"X": prey, "Y": predators}, [("X -> 2 X", 10.0), ("X + Y -> 2 Y", 0.01), ("Y ->", 10.0)])


def vilar_oscillator() -> Network:
    """A genetic clock: activator A, repressor R, complex C, genes and messengers; 16 reactions.  Vilar, Kueh, Barkai & Leibler (2002), figure 1."""
    species = {"Da": 1, "Dap": 0, "Dr": 1, "Drp": 0, "Ma": 0, "Mr": 0, "A": 0, "R": 0, "C": 0}
    reactions = [
        ("A + Da -> Dap", 1.0), ("Dap -> A + Da", 50.0), ("A + Dr -> Drp", 1.0), ("Drp -> A + Dr", 100.0),
        ("Dap -> Dap + Ma", 500.0), ("Da -> Da + Ma", 50.0), ("Drp -> Drp + Mr", 50.0), ("Dr -> Dr + Mr", 0.01),
        ("Ma -> Ma + A", 50.0), ("Mr -> Mr + R", 5.0), ("A + R -> C", 2.0), ("C -> R", 1.0),
        ("A ->", 1.0), ("R ->", 0.2), ("Ma ->", 10.0), ("Mr ->", 0.5),
    ]  # fmt: skip
    return Network(species, reactions)


def birth_death_moments(birth: float, death: float, count: int, t) -> tuple[np.ndarray, np.ndarray]:
    """Mean n e^{dt} and variance n (b + m)/(b - m) e^{dt}(e^{dt} - 1), d = b - m.  Bailey (1964), section 8.6."""
    birth, death, count, t = _at_least_0(birth=birth, death=death, count=count, t=t)
    if np.array_equal(birth, death):  # the limit
        return count + 0 * t, 2 * count * birth * t
    growth = np.exp((birth - death) * t)
    return count * growth, count * (birth + death) / (birth - death) * growth * (growth - 1)


def immigration_death_moments(arrival, death, count, batch, t) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a thinned compound Poisson stream plus the survivors of the start.

    With p = e^{-death t}: mean = count p + (arrival batch / death)(1 - p), variance = count p (1 - p)
    + (arrival batch / death)[(1 - p) + (batch - 1)(1 - p^2) / 2]: each batch leaves Binomial(batch, e^{-death s}).
    """
    arrival, death, count, batch, t = _at_least_0(arrival=arrival, death=death, count=count, batch=batch, t=t)
    if (death == 0).any():
        raise NetworkError("death is 0, so no level is ever reached; give a rate above 0")
    p = np.exp(-death * t)
    level = arrival * batch / death
    return count * p + level * (1 - p), count * p * (1 - p) + level * ((1 - p) + (batch - 1) * (1 - p * p) / 2)


def decay_curve(count, rate: float, order: int, t):
    """x' = -order rate x^order / order!, the deterministic limit of `decay`."""
    count, rate, t = _at_least_0(count=count, rate=rate, t=t)
    speed = rate * order / math.factorial(whole(order, "order", 1, 100, NetworkError))
    if order == 1:
        return count * np.exp(-speed * t)
    with np.errstate(divide="ignore"):  # no molecules stay none
        return (count ** (1.0 - order) + (order - 1) * speed * t) ** (1.0 / (1.0 - order))


def _at_least_0(**values):
    return [
        numbers(v, name, "rates, counts and times are at least 0", least=0, error=NetworkError)
        for name, v in values.items()
    ]
