"""Exact simulation and tau-leaping against GillesPy2's C++ solvers: time per trajectory, leaps at equal error.

python benchmarks/reactions.py         # STEPSIZE_PEER=/path/to/python where gillespy2 has an environment of its own

Both sides run the same network with 11 output times, in turns, medians with least and most over the rounds. The time of
a trajectory is the slope between few and many, so that starting a process or a call is charged to nobody. Leaps are
compared at equal error: root mean square, over species and output times, of the error of the mean in standard
deviations and of the relative error of the standard deviation, both sides with as many runs. Ours are the fastest of
some schemes and tolerances whose two errors are each at most the peer's, or what sampling alone would show.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from companion.experiments.tau_leaping import textbook
from companion.experiments.tau_leaping.leaping import Cao, leap
from companion.experiments.tau_leaping.ssa import simulate

ROUNDS = 5
# name: network, time, runs to time the exact solvers with, runs to measure the errors of leaps with
NETWORKS = {
    "decaying-dimerising": (textbook.decaying_dimerising(), 10.0, 12, 400),
    "Schloegl": (textbook.schloegl(), 4.0, 400, 2000),
    "isomerisation": (textbook.isomerisation(), 1.0, 600, 4000),
    "Lotka-Volterra": (textbook.lotka_volterra(), 1.0, 200, 2000),
    "Vilar oscillator": (textbook.vilar_oscillator(), 50.0, 20, 8),
}
CHOICES = [None] + [
    (scheme, eps) for scheme in ("trapezoid", "midpoint", "euler") for eps in (0.1, 0.05, 0.03, 0.02, 0.01)
]


def spec(name, network, t):
    reactions = [(r.reactants, r.products, r.rate) for r in network.reaction_list]
    return {"name": name, "initial": dict(network.initial), "reactions": reactions, "time": t}


class Peer:
    def __init__(self):
        python = os.environ.get("STEPSIZE_PEER", sys.executable)
        worker = Path(__file__).with_name("_gillespy.py")
        self.process = subprocess.Popen([python, worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, spec, solver, runs, seed, eps=0.03):
        request = {"spec": spec, "solver": solver, "runs": runs, "seed": seed, "eps": eps}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        if not (answer := self.process.stdout.readline()):
            sys.exit("error: the peer gave no answer; install gillespy2 or name its Python in STEPSIZE_PEER")
        return json.loads(answer)


def ours(network, times, choice, runs, seed):
    start = time.perf_counter()
    if choice is None:
        x = simulate(network, times, runs, seed).x
    else:
        x = leap(network, times, Cao(choice[1]), runs, seed, scheme=choice[0]).x
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "mean": x.mean(0).T, "sd": x.std(0, ddof=1).T}


def errors(result, reference):
    """Root mean squares over the species that fluctuate and all output times but the first."""
    mean, sd = (np.asarray(result[key])[:, 1:] for key in ("mean", "sd"))
    true_mean, true_sd = (np.asarray(reference[key])[:, 1:] for key in ("mean", "sd"))
    live = true_sd > 0
    z, ratio = (mean - true_mean)[live] / true_sd[live], sd[live] / true_sd[live] - 1
    return float(np.sqrt(np.mean(z**2))), float(np.sqrt(np.mean(ratio**2)))


def slope(run, few, many):
    """Seconds per trajectory beyond the fixed cost of a call."""
    return (run(many)["seconds"] - run(few)["seconds"]) / (many - few)


def race(run_ours, run_peer, few, many, more, rounds):
    """Both in turns; ours may do `more` runs, as they take less time. Returns three printed columns."""
    times = [(slope(run_ours(s), few, more), slope(run_peer(s + 1), few, many)) for s in range(rounds)]
    mine, theirs = zip(*times, strict=True)
    ratio = [p / o for o, p in times]
    return f"ours {show(mine)}, GillesPy2 {show(theirs)}, ratio {show(ratio, 1)}"


def show(values, unit=1e3):
    return f"{statistics.median(values) * unit:.4g} ({min(values) * unit:.4g}-{max(values) * unit:.4g})"


def best_choice(network, times, sample, allowed, reference):
    """The fastest of ours whose errors are allowed, with its errors."""
    kept = []
    for choice in CHOICES:
        result = ours(network, times, choice, sample, 5)
        found = errors(result, reference)
        if choice is None or np.all(np.array(found) <= allowed):
            kept.append((result["seconds"], choice, found))
    return min(kept, key=lambda entry: entry[0])[1:]


def one(peer, name, network, t, runs, sample):
    times, model = np.linspace(0, t, 11), spec(name, network, t)
    for choice in (None, CHOICES[1]):  # compiled before the clock starts
        ours(network, times, choice, 2, 1)
    few = max(runs // 6, 2)
    columns = race(
        lambda s: lambda n: ours(network, times, None, n, s),
        lambda s: lambda n: peer.run(model, "ssa", n, s), few, runs, 4 * runs, ROUNDS,
    )  # fmt: skip
    print(f"\n{name}\n  exact, ms: {columns}", flush=True)

    reference = ours(network, times, None, 8 * sample, 77)
    sampling = np.max([errors(ours(network, times, None, sample, s), reference) for s in (78, 79, 80)], 0)
    theirs = errors(peer.run(model, "leap", sample, 5), reference)
    if sample < 100:  # too few for errors: exact events against the peer's leaps
        choice, mine = None, None
    else:
        choice, mine = best_choice(network, times, sample, np.maximum(theirs, sampling), reference)
    columns = race(
        lambda s: lambda n: ours(network, times, choice, n, s),
        lambda s: lambda n: peer.run(model, "leap", n, s), 2, max(sample // 8, 6), 2 * sample, 3,
    )  # fmt: skip
    print(f"  leaps, ms: {columns} [ours: {'exact events' if choice is None else '{}, eps {}'.format(*choice)}]")
    shown = "exact, not measured" if mine is None else f"{mine[0]:.3f}, {mine[1]:.3f}"
    print(f"  errors of mean, sd: ours {shown}; GillesPy2 {theirs[0]:.3f}, {theirs[1]:.3f}; "
          f"sampling alone {sampling[0]:.3f}, {sampling[1]:.3f}", flush=True)  # fmt: skip


def main():
    peer = Peer()
    for name in sys.argv[1:] or NETWORKS:
        one(peer, name, *NETWORKS[name])


if __name__ == "__main__":
    main()
