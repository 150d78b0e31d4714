"""A rule as one loop of machine code: traced from its `step`, every array read once and written once, in place.

    run = kernel(Adam())
    run(x, g, leaves, hyperparameters)

x, g and the leaves are flat arrays of one dtype, weights and clocks of shape (1,); hyper-parameters are plain numbers.
"""

import hashlib
import os
from functools import lru_cache, partial, reduce
from pathlib import Path

import numpy as np
import sympy
from sympy.printing.pycode import pycode

from .errors import TraceError
from .trace import G, X, trace

_FUNCTIONS = {"Max": "np.maximum", "Min": "np.minimum", "sign": "np.sign"}


class _Loop:
    """Writes expressions as arithmetic on single numbers; what is the same for all coordinates goes before the loop."""

    def __init__(self, varying):
        self.varying, self.before = varying, {}

    def code(self, e) -> str:
        if not e.free_symbols & self.varying:
            return self.before.setdefault(e, f"c{len(self.before)}")
        if e.is_Symbol:
            return e.name
        if e.is_Add:
            fixed, rest = e.as_independent(*self.varying, as_Add=True)
            return self._join(" + ", ([fixed] if fixed else []) + list(sympy.Add.make_args(rest)))
        if e.is_Mul:
            fixed, rest = e.as_independent(*self.varying, as_Add=False)
            over, under = rest.as_numer_denom()
            parts = [part for part in (fixed, *sympy.Mul.make_args(over)) if part != 1] or [sympy.S.One]
            return self._join(" * ", parts) + (f" / {self._atom(under)}" if under != 1 else "")
        if e.is_Pow and e.exp.is_Rational and e.exp.q <= 2:
            base = f"np.sqrt({self.code(e.base)})" if e.exp.q == 2 else self._atom(e.base)
            power = " * ".join([base] * abs(e.exp.p))
            return power if e.exp > 0 else f"{self.code(sympy.S.One)} / ({power})"
        if e.func.__name__ in _FUNCTIONS:
            name, arguments = _FUNCTIONS[e.func.__name__], list(map(self.code, e.args))
            if len(arguments) == 1:
                return f"{name}({arguments[0]})"
            return reduce(lambda a, b: f"{name}({a}, {b})", arguments)
        raise TraceError(f"no machine code for {e}; write it with the functions of stepsize.backend")

    def _join(self, sign, parts):
        return sign.join(map(self._atom, parts))

    def _atom(self, e):
        text = self.code(e)
        return text if text.isidentifier() else f"({text})"


def parts(rule):
    """What a kernel is written from: the trace, names of weights and of arrays, lines once per run, lines per coordinate.

    The lines per run update the weights and make the constants of the loop, in double precision.
    """
    if not getattr(rule, "elementwise", False):
        raise TraceError(
            f"{type(rule).__name__} looks at whole gradients, not at coordinates; step it without a kernel"
        )
    t = trace(rule)
    per_run, arrays = sorted(t.per_run), [name for name in t.state if name not in t.per_run]
    clocks = {t.new[name] for name in per_run}
    loop = _Loop({G, X, *(t.state[name] for name in arrays)} | (set(t.assignments) - clocks))
    body = [f"{name} = {loop.code(e)}" for name, e in t.assignments.items() if name not in clocks]
    code = partial(pycode, fully_qualified_modules=False)
    before = [f"{name} = {code(e)}" for name, e in t.assignments.items() if name in clocks]
    return t, per_run, arrays, before + [f"{c} = x_.dtype.type({code(e)})" for e, c in loop.before.items()], body


def source(rule) -> str:
    """The kernel of a rule as text: weights and constants in double precision, then the loop in that of the arrays."""
    t, per_run, arrays, before, body = parts(rule)
    lines = [
        f"def run(x_, g_, {''.join(f'{name}_, ' for name in t.state)}{', '.join(t.hyperparameters)}):",
        *(f"    {name} = float({name}_[0])" for name in per_run),
        *(f"    {line}" for line in before),
        "    for i in range(x_.size):",
        *(f"        {name} = {name}_[i]" for name in ("x", "g", *arrays)),
        *(f"        {line}" for line in body),
        *(f"        {name}_[i] = {t.new[name]}" for name in arrays),
        "        x_[i] = x - rate * direction",
        *(f"    {name}_[0] = {t.new[name]}" for name in per_run),
    ]
    return "\n".join(lines)


@lru_cache
def _compile(text: str):
    try:
        import numba
    except ImportError:
        raise TraceError("a kernel is compiled by numba, which is not installed; pip install numba") from None
    name = f"run_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    file = _written(text, Path(numba.config.CACHE_DIR or Path(__file__).parent / "__pycache__"), name)
    # numba asks for the module of a function that it keeps
    space = {"np": np, "sqrt": np.sqrt, "__name__": __name__}
    exec(compile(text, file or "<kernel>", "exec"), space)
    # one name for one text: machine code that several processes have made meets in later ones
    space["run"].__name__ = space["run"].__qualname__ = name
    return numba.njit(space["run"], error_model="numpy", cache=bool(file), no_cfunc_wrapper=True)


def _written(text: str, folder: Path, name: str) -> str:
    """The file that holds a kernel's text, beside which numba keeps its machine code; "" where nothing can be written.

    Whoever comes first writes it, at once or not at all, and with the same date: numba takes another for another text.
    """
    file = folder / "kernels" / f"{name}.py"
    part = file.with_name(f".{name}.{os.getpid()}")
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            os.utime(part, (0, 0))
            os.replace(part, file)
    except OSError:
        return ""
    return str(file)


@lru_cache
def kernel(rule):
    """run(x, g, leaves, hyperparameters), in place; compiled at its first call for each dtype.

    Rules that differ only in the values of their hyper-parameters share the machine code.
    """
    run = _compile(source(rule))
    return lambda x, g, leaves, hyperparameters: run(x, g, *leaves, *hyperparameters)
