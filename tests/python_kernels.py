"""The reaction kernels as plain Python with NumPy's random numbers, for mutants: nothing is compiled, so a broken
formula costs milliseconds. `broken(("old", "new"), ...)` is a module like companion.experiments.tau_leaping.kernels."""

import inspect
from types import ModuleType

import numba
import numpy as np

from companion.experiments.tau_leaping import kernels, leaping, ssa


def broken(*replacements, seed=0, own_streams=False):
    """The kernels with texts of their source replaced, each of which must occur exactly once."""
    source = inspect.getsource(kernels)
    for old, new in replacements:
        if (found := source.count(old)) != 1:
            raise LookupError(f"{old!r} occurs {found} times in the kernels, expected once; copy more of it")
        source = source.replace(old, new)
    module = ModuleType("broken_kernels")
    sound = numba.njit
    numba.njit = lambda *args, **options: args[0] if args else (lambda function: function)
    try:
        exec(compile(source, "<broken kernels>", "exec"), vars(module))
    finally:
        numba.njit = sound
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
