"""A peer in a process of its own: reads one JSON request a line, answers with seconds and samples. Needs gillespy2.

Its compiler driver looks for SCons beside the interpreter, which fails in an environment made of links; hence PYTHONPATH.
"""

import json
import math
import os
import sys
import time

import gillespy2
import numpy as np
from gillespy2 import Model, Parameter, Reaction, Species, SSACSolver, TauLeapingCSolver, TimeSpan

os.environ["PYTHONPATH"] = os.path.dirname(os.path.dirname(gillespy2.__file__))
solvers = {}


def build(spec):
    model = Model(name=spec["name"])
    model.add_species([Species(s, int(n), mode="discrete") for s, n in spec["initial"].items()])
    for i, (reactants, products, rate) in enumerate(spec["reactions"]):
        falling = [f"({s}-{k})" for s, n in reactants.items() for k in range(n)]
        constant = rate / math.prod(math.factorial(n) for n in reactants.values())
        model.add_parameter(Parameter(f"c{i}", expression=repr(constant)))
        if sum(reactants.values()) <= 2:  # its own mass action, which counts ordered pairs
            model.add_reaction(Reaction(f"r{i}", reactants, products, rate=f"c{i}"))
        else:
            model.add_reaction(
                Reaction(f"r{i}", reactants, products, propensity_function="*".join([f"c{i}", *falling]))
            )
    model.timespan(TimeSpan(np.linspace(0, spec["time"], 11)))
    return model


for line in sys.stdin:
    request = json.loads(line)
    key = request["spec"]["name"], request["solver"]
    if key not in solvers:
        kind = {"ssa": SSACSolver, "leap": TauLeapingCSolver}[request["solver"]]
        solvers[key] = kind(model=build(request["spec"]))
        solvers[key].run(number_of_trajectories=1, seed=1)
    options = {"tau_tol": request["eps"]} if request["solver"] == "leap" else {}
    start = time.perf_counter()
    runs = solvers[key].run(number_of_trajectories=request["runs"], seed=request["seed"], **options)
    seconds = time.perf_counter() - start
    names = list(request["spec"]["initial"])
    x = np.array([[run[s] for s in names] for run in runs])  # (runs, species, times)
    print(json.dumps({"seconds": seconds, "mean": x.mean(0).tolist(), "sd": x.std(0, ddof=1).tolist()}), flush=True)
