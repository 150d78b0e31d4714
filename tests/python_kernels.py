"""The reaction kernels as plain Python with NumPy's random numbers, for mutants: nothing is compiled, so a broken
formula costs milliseconds. `broken(("old", "new"), ...)` is a module like companion.experiments.tau_leaping.kernels."""

import ast
import inspect
from types import ModuleType

import numpy as np

from companion.experiments.tau_leaping import kernels, leaping, ssa
from mutants import replaced


def broken(*replacements, seed=0, own_streams=False):
    """The kernels with expressions or statements replaced, each of which must occur exactly once."""
    tree = ast.parse(inspect.getsource(kernels))
    for old, new in replacements:
        tree = replaced(tree, old, new)
    for definition in tree.body:
        if isinstance(definition, ast.FunctionDef):
            definition.decorator_list = []  # not compiled
    module = ModuleType("broken_kernels")
    exec(compile(tree, "<broken kernels>", "exec"), vars(module))
    if not own_streams:
        rng = np.random.default_rng(seed)
        module.uniform = lambda s: rng.random()
        module.poisson = lambda s, mean: float(rng.poisson(max(mean, 0.0)))
        module.start_stream = lambda s, key, run: None
    return module


def install(monkeypatch, *replacements, **options):
    """Let simulate and leap run on broken kernels for the rest of the test."""
    module = broken(*replacements, **options)
    for user in (ssa, leaping):
        monkeypatch.setattr(user, "kernels", module)
