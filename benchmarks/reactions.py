"""Exact simulation and tau-leaping against GillesPy2's C++ solvers: processor time per trajectory, leaps at equal error.

Both sides run the same network with 11 output times. The time of a trajectory is the slope between few and many, so that
starting a process or a call is charged to nobody. Leaps are compared at equal error: root mean square, over species and output
times, of the error of the mean in standard deviations and of the relative error of the standard deviation, both sides with as
many runs. For every tolerance of the peer, ours are the fastest of some schemes and tolerances, exact events among them, whose
two errors are each at most the peer's, or no larger than exact runs show by chance. The row is for the tolerance at which the peer does best.
"""

import math
import os
from itertools import product
from pathlib import Path

import gillespy2
import numpy as np
from gillespy2 import Model, Parameter, Reaction, Species, SSACSolver, TauLeapingCSolver, TimeSpan
from plan import NETWORKS
from timing import interleaved, main, processor, ratio

from companion.experiments.tau_leaping import textbook
from companion.experiments.tau_leaping.leaping import Cao, leap
from companion.experiments.tau_leaping.ssa import simulate

# network, time, runs to time exact events with, runs to measure the errors of leaps with; 0 where a run takes too long for that:
# there exact events of ours, which have no error, stand against the peer's leaps at its fastest tolerance
CASES = dict(
    zip(
        NETWORKS,
        (
            (textbook.decaying_dimerising(), 10.0, 12, 240),
            (textbook.schloegl(), 4.0, 400, 600),
            (textbook.isomerisation(), 1.0, 600, 1500),
            (textbook.lotka_volterra(), 1.0, 200, 600),
            (textbook.vilar_oscillator(), 50.0, 20, 0),
        ),
        strict=True,
    )
)
# the peer compiles with SCons under the interpreter that this environment links to, which has no SCons of its own
os.environ["PYTHONPATH"] = str(Path(gillespy2.__file__).parents[1])
SCHEMES, TOLERANCES = ("trapezoid", "midpoint", "euler"), (0.1, 0.05, 0.03, 0.02, 0.01)


def model(name, network, t):
    """The network in the peer's terms."""
    made = Model(name=name.replace("-", "_").replace(" ", "_"))
    made.add_species([Species(s, int(n), mode="discrete") for s, n in dict(network.initial).items()])
    for i, r in enumerate(network.reaction_list):
        constant = r.rate / math.prod(math.factorial(n) for n in r.reactants.values())
        made.add_parameter(Parameter(f"c{i}", expression=repr(constant)))
        if sum(r.reactants.values()) <= 2:  # its own mass action, which counts ordered pairs
            speed = {"rate": f"c{i}"}
        else:
            falling = [f"({s}-{k})" for s, n in r.reactants.items() for k in range(n)]
            speed = {"propensity_function": "*".join([f"c{i}", *falling])}
        made.add_reaction(Reaction(f"r{i}", dict(r.reactants), dict(r.products), **speed))
    made.timespan(TimeSpan(np.linspace(0, t, 11)))
    return made


def peer(solver, names, tolerance=None):
    """runs, seed -> (runs, times, species); without a tolerance exact events."""
    options = {} if tolerance is None else {"tau_tol": tolerance}

    def run(runs, seed):
        found = solver.run(number_of_trajectories=runs, seed=seed, **options)
        return np.stack([[one[s] for s in names] for one in found]).swapaxes(1, 2)

    return run


def ours(network, t, choice=None):
    """The same of this library, for (scheme, tolerance) or exact events."""
    times = np.linspace(0, t, 11)
    if choice is None:
        return lambda runs, seed: simulate(network, times, runs, seed).x
    return lambda runs, seed: leap(network, times, Cao(choice[1]), runs, seed, scheme=choice[0]).x


def errors(x, reference):
    """Root mean squares over the species that fluctuate and all output times but the first."""
    x, reference = x[:, 1:], reference[:, 1:]
    true, sd = reference.mean(0), reference.std(0, ddof=1)
    live = sd > 0
    z, ratios = (x.mean(0) - true)[live] / sd[live], x.std(0, ddof=1)[live] / sd[live] - 1
    return np.array([np.sqrt(np.mean(z**2)), np.sqrt(np.mean(ratios**2))])


def slopes(ours, theirs, sizes, rounds):
    """Seconds per trajectory beyond the fixed cost of a call, (rounds,) of ours and of the peer; sizes are (few, many) of each."""
    jobs = {
        (who, size): lambda run=run, n=n: run(n, 1)
        for who, run, counts in (("ours", ours, sizes[0]), ("peer", theirs, sizes[1]))
        for size, n in zip(("few", "many"), counts, strict=True)
    }
    times = interleaved(jobs, rounds, warm=1)
    return [
        (times[who, "many"] - times[who, "few"]) / (counts[1] - counts[0])
        for who, counts in zip(("ours", "peer"), sizes, strict=True)
    ]


def timed(run, runs, seed):
    """What a run returns, and its seconds per trajectory."""
    start = processor()
    x = run(runs, seed)
    return x, (processor() - start) / runs


def hardest(network, t, leaps, sample):
    """(ours, peer) at the peer's tolerance where it does best against the fastest of ours that is as exact."""
    exact, rng = ours(network, t), np.random.default_rng(0)
    reference, fast = timed(exact, 5 * sample, 77)

    def again(runs):
        return reference[rng.integers(len(reference), size=runs)]

    # errors that exact runs show in one of a hundred such samples: what is below cannot be told from exact
    chance = np.quantile([errors(again(sample), again(len(reference))) for _ in range(200)], 0.99, axis=0)
    mine = [(fast, np.zeros(2), exact)]
    for choice in product(SCHEMES, TOLERANCES):
        run = ours(network, t, choice)
        run(2, 1)  # compiled before the clock starts
        x, seconds = timed(run, sample, 5)
        mine.append((seconds, errors(x, reference), run))
    pairs = []
    for tolerance in TOLERANCES:
        theirs = leaps(tolerance)
        x, seconds = timed(theirs, sample, 5)
        allowed = np.maximum(errors(x, reference), chance)
        fastest, _, run = min((m for m in mine if np.all(m[1] <= allowed)), key=lambda m: m[0])
        pairs.append((seconds / fastest, run, theirs))
    return min(pairs, key=lambda p: p[0])[1:]


def measure(tiny):
    for name, (network, t, runs, sample) in CASES.items():
        if tiny:
            t, runs, sample = t / 20, 6, sample and 20
        made, names, few = model(name, network, t), list(network.initial), max(runs // 6, 2)
        exact, theirs = ours(network, t), peer(SSACSolver(model=made), names)
        sizes = (few, 4 * runs), (few, runs)  # ours take less time and may do more
        mine, other = slopes(exact, theirs, sizes, 2 if tiny else 5)
        yield f"exact, {name}", ratio(other, mine)

        solver = TauLeapingCSolver(model=made)

        def leaps(tolerance, solver=solver, names=names):
            return peer(solver, names, tolerance)

        if sample:
            run, theirs = hardest(network, t, leaps, sample)
        else:
            run, theirs = exact, min(map(leaps, TOLERANCES), key=lambda theirs: timed(theirs, 6, 5)[1])
        many = max(sample // 8, 6)
        mine, other = slopes(run, theirs, ((2, 2 * max(sample, 20)), (2, many)), 2 if tiny else 5)
        yield f"leaps, {name}", ratio(other, mine)


if __name__ == "__main__":
    main(measure)
