"""A rule as one loop of machine code: traced from its `step`, every array read once and written once, in place.

    kernel(Adam())(x, g, leaves, hyperparameters)            one run: flat arrays, weights and clocks of shape (1,)
    row_kernel(Adam())(x, g, rows, leaves, hyperparameters)  some rows of a table, each a run with a clock of its own
    batch_kernel(Adam(), np.float32)(addresses, spans, tick, hyperparameters)    many runs, by the addresses of their arrays

The first two check every array before machine code sees it; what the third relies on is checked by `stepsize.addresses`.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from pathlib import Path

import numpy as np
import sympy
from sympy.printing.pycode import pycode

from .errors import ShapeError, TraceError
from .trace import G, X, symbol, trace
from .transforms import Chain, ClipByNorm


@dataclass(frozen=True, eq=False)
class Dialect:
    """What differs between the languages of kernels: functions by their names in SymPy, and how to write three expressions.

    `constant` makes a number of the arrays' dtype. `norm` names the norm of the gradient where the kernel is given it.
    """

    functions: dict[str, str]
    quotient: str
    constant: str
    norm: str = ""


MACHINE_CODE = Dialect(
    {"Max": "np.maximum", "Min": "np.minimum", "sign": "np.sign", "sqrt": "np.sqrt"}, "{} / {}", "x_.dtype.type({})"
)


class _Loop:
    """Writes expressions as arithmetic on single numbers; what is the same for all coordinates goes before the loop."""

    def __init__(self, varying, dialect=MACHINE_CODE):
        self.varying, self.dialect, self.before = varying, dialect, {}

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
            product = self._join(" * ", parts)
            return product if under == 1 else self.dialect.quotient.format(product, self._atom(under))
        if e.is_Pow and e.exp.is_Rational and e.exp.q <= 2:
            root = f"{self.dialect.functions['sqrt']}({self.code(e.base)})"
            base = root if e.exp.q == 2 else self._atom(e.base)
            power = " * ".join([base] * abs(e.exp.p))
            return power if e.exp > 0 else self.dialect.quotient.format(self.code(sympy.S.One), f"({power})")
        if e.func.__name__ in self.dialect.functions:
            name, arguments = self.dialect.functions[e.func.__name__], list(map(self.code, e.args))
            if len(arguments) == 1:
                return f"{name}({arguments[0]})"
            return reduce(lambda a, b: f"{name}({a}, {b})", arguments)
        raise TraceError(f"no machine code for {e}; write it with the functions of stepsize.backend")

    def _join(self, sign, parts):
        return sign.join(map(self._atom, parts))

    def _atom(self, e):
        text = self.code(e)
        return text if text.isidentifier() else f"({text})"


def _needs_norms_only(rule):
    """Whether a rule looks at single coordinates and, where it clips, at norms."""
    if getattr(rule, "elementwise", False) or not isinstance(rule, Chain):
        return getattr(rule, "elementwise", False)
    clips = (isinstance(t, ClipByNorm) or getattr(t, "elementwise", False) for t in rule.transforms)
    return _needs_norms_only(rule.rule) and all(clips)


@lru_cache
def parts(rule, dialect=MACHINE_CODE):
    """What a kernel is written from: the trace, names of weights and of arrays, lines once per run, lines per coordinate.

    The lines per run update the weights and make the constants of the loop, in double precision.
    """
    if not (getattr(rule, "elementwise", False) or (dialect.norm and _needs_norms_only(rule))):
        raise TraceError(
            f"{type(rule).__name__} looks at whole gradients, not at coordinates; step it without a kernel"
        )
    t = trace(rule)
    if dialect.norm:
        known = {sympy.Function("norm", nonnegative=True)(G): symbol(dialect.norm)}
        t = t._replace(assignments={name: e.xreplace(known) for name, e in t.assignments.items()})
    per_run, arrays = sorted(t.per_run), [name for name in t.state if name not in t.per_run]
    clocks = {t.new[name] for name in per_run}
    loop = _Loop({G, X, *(t.state[name] for name in arrays)} | (set(t.assignments) - clocks), dialect)
    body = [f"{name} = {loop.code(e)}" for name, e in t.assignments.items() if name not in clocks]
    code = partial(pycode, fully_qualified_modules=False)
    before = [f"{name} = {code(e)}" for name, e in t.assignments.items() if name in clocks]
    return (
        t,
        per_run,
        arrays,
        before + [f"{c} = {dialect.constant.format(code(e))}" for e, c in loop.before.items()],
        body,
    )


def source(rule) -> str:
    """The loop of a rule as text: weights and constants in double precision, then every coordinate in that of the arrays.

    Clocks move only where `tick` says so: a run that is cut into pieces has one step, not several.
    """
    t, per_run, arrays, before, body = parts(rule)
    lines = [
        f"def run(x_, g_, {_listed(f'{name}_' for name in t.state)}{_listed(t.hyperparameters)}tick):",
        *(f"    {name} = float({name}_[0])" for name in per_run),
        *(f"    {line}" for line in before),
        "    for i in range(x_.size):",
        *(f"        {name} = {name}_[i]" for name in ("x", "g", *arrays)),
        *(f"        {line}" for line in body),
        *(f"        {name}_[i] = {t.new[name]}" for name in arrays),
        "        x_[i] = x - rate * direction",
        "    if tick:",
        *(f"        {name}_[0] = {t.new[name]}" for name in per_run),
        "        pass",
    ]
    return "\n".join(lines)


def row_source(rule) -> str:
    """The loop over active rows as text: a row's weights and constants in double precision, then its coordinates."""
    t, per_row, arrays, before, body = parts(rule)
    lines = [
        f"def run(x_, g_, rows_, {_listed(f'{name}_' for name in (*t.state, *t.hyperparameters))}):",
        "    for k in range(rows_.size):",
        "        row = rows_[k]",
        *(f"        {name} = float({name}_[row, 0])" for name in (*t.hyperparameters, *per_row)),
        *(f"        {line}" for line in before),
        "        for i in range(x_.shape[1]):",
        "            x = x_[row, i]",
        "            g = g_[k, i]",
        *(f"            {name} = {name}_[row, i]" for name in arrays),
        *(f"            {line}" for line in body),
        *(f"            {name}_[row, i] = {t.new[name]}" for name in arrays),
        "            x_[row, i] = x - rate * direction",
        *(f"        {name}_[row, 0] = {t.new[name]}" for name in per_row),
    ]
    return "\n".join(lines)


def batch_source(rule, dtype) -> str:
    """The loop over many runs as text: it finds the arrays by their addresses and calls the loop of one run for each."""
    t, per_run, *_ = parts(rule)
    dtype = np.dtype(dtype)
    piece = f"carray(pointer(addresses[k, {{}}] + {dtype.itemsize} * start), (stop - start,), np.{dtype})"
    clock = f"carray(pointer(addresses[k, {{}}]), (1,), np.{dtype})"
    arrays = [(clock if name in per_run else piece).format(c) for c, name in enumerate(("x", "g", *t.state))]
    lines = [
        f"def run(addresses, spans, tick, {', '.join(t.hyperparameters)}):",
        "    for j in range(len(spans)):",
        "        k, start, stop = spans[j, 0], spans[j, 1], spans[j, 2]",
        f"        {loop(rule).__name__}(",
        *(f"            {argument}," for argument in (*arrays, *t.hyperparameters, "tick")),
        "        )",
    ]
    return "\n".join(lines)


def _listed(names):
    return "".join(f"{name}, " for name in names)


def _numba():
    try:
        import numba
    except ImportError:
        raise TraceError("a kernel is compiled by numba, which is not installed; pip install numba") from None
    return numba


@lru_cache
def _compile(text: str, callee=None):
    """The text's function, compiled at its first call; it may call `callee`, another such function, by its name."""
    numba = _numba()
    name = f"run_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    file = _written(text, Path(numba.config.CACHE_DIR or Path(__file__).parent / "__pycache__"), name)
    # numba asks for the module of a function that it keeps
    space = {"np": np, "sqrt": np.sqrt, "__name__": __name__}
    if callee is not None:
        space |= {"carray": numba.carray, "pointer": _pointer(), callee.__name__: callee}
    exec(compile(text, file or "<kernel>", "exec"), space)
    # one name for one text: machine code that several processes have made meets in later ones
    space["run"].__name__ = space["run"].__qualname__ = name
    return numba.njit(space["run"], error_model="numpy", cache=bool(file), no_cfunc_wrapper=True, nogil=True)


@lru_cache
def _pointer():
    """In machine code: an address, an integer, as a pointer."""
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def pointer(typing_context, address):
        def code(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return types.voidptr(types.int64), code

    return pointer


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
def loop(rule):
    """run(x, g, *leaves, *hyperparameters, tick): the machine code of `kernel` itself, without any check."""
    return _compile(source(rule))


@lru_cache
def kernel(rule):
    """run(x, g, leaves, hyperparameters), in place; compiled at its first call for each dtype.

    x, g and the leaves are flat arrays, weights and clocks of shape (1,); hyper-parameters are numbers. Rules that differ
    only in the values of their hyper-parameters share the machine code. ShapeError where an array does not fit.
    """
    t, per_run, *_ = parts(rule)
    steps, names = loop(rule), ["x", "g", *t.state]
    clocks = [name in per_run for name in names]

    def run(x, g, leaves, hyperparameters):
        arrays = [x, g, *leaves]
        _require_shapes(arrays, [(1,) if clock else (x.size,) for clock in clocks], names)
        steps(*arrays, *hyperparameters, True)

    return run


def row_kernel(rule):
    """run(x, g, rows, leaves, hyperparameters), in place; compiled at its first call for each dtype.

    x has shape (rows, d), g (active, d), `rows` holds the active rows, each once. Leaves have shape (rows, d) or, weights and
    clocks, (rows, 1); a hyper-parameter is a number or has shape (rows, 1). ShapeError where an array does not fit.
    """
    steps, names, per_row = _row_loop(rule)

    def run(x, g, rows, leaves, hyperparameters):
        n, d = x.shape
        arrays = [g, *leaves, *(h if np.ndim(h) else _spread(float(h), n) for h in hyperparameters)]
        _require_shapes(arrays, [(len(rows), d), *((n, 1) if one else (n, d) for one in per_row)], names)
        if rows.size and not 0 <= rows.min() <= rows.max() < n:
            raise ShapeError(f"rows must lie in 0 ... {n - 1}, got {rows.min()} ... {rows.max()}")
        steps(x, g, rows, *arrays[1:])

    return run


@lru_cache
def _row_loop(rule):
    t, per_run, *_ = parts(rule)
    per_row = [*(name in per_run for name in t.state), *(True for _ in t.hyperparameters)]
    return _compile(row_source(rule)), ["g", *t.state, *t.hyperparameters], per_row


def _require_shapes(arrays, expected, names):
    """Machine code would read and write beyond the end of an array that is too short."""
    if len(arrays) != len(expected):
        raise ShapeError(f"a kernel takes {', '.join(names)}; got {len(arrays)} of these {len(names)}")
    if [a.shape for a in arrays] != expected:
        wrong = next(k for k, (a, shape) in enumerate(zip(arrays, expected, strict=True)) if a.shape != shape)
        raise ShapeError(
            f"a kernel needs {names[wrong]} of shape {expected[wrong]}, got {arrays[wrong].shape}; "
            "make the state with rule.init(x)"
        )


@lru_cache
def _spread(value, n):
    """One number for every row, in the place of one."""
    return np.broadcast_to(np.float64(value), (n, 1))


@lru_cache
def batch_kernel(rule, dtype):
    """run(addresses, spans, tick, *hyperparameters), in place, without any check: see `stepsize.addresses.Batch`.

    addresses (runs, 2 + leaves) holds those of x, g and the leaves, all contiguous and of one dtype, float32 or float64.
    spans (pieces, 3) names coordinates start ... stop of a run; clocks move where `tick`.
    """
    return _compile(batch_source(rule, dtype), loop(rule))


def coalesce(indices, values):
    """Sums of `values` (n, d) that share an index, and the indices, each once, in the order of their first appearance.

    A hash table of 2 n slots, so that neither sorting nor a table of all rows is needed.
    """
    if np.ndim(values) != 2 or np.shape(indices) != np.shape(values)[:1]:
        raise ShapeError(
            f"coalesce needs n indices and values of shape (n, d), got {np.shape(indices)} and {np.shape(values)}"
        )
    return _coalescing()(indices, values)


@lru_cache
def _coalescing():
    return _numba().njit(_coalesce, cache=True)


def _coalesce(indices, values):
    n, d = values.shape
    bits = 4
    while 1 << bits < 2 * n:
        bits += 1
    mask = (1 << bits) - 1
    slots = np.full(mask + 1, -1, np.int32)
    rows = np.empty(n, np.int64)
    sums = np.empty((n, d), values.dtype)
    found = 0
    for j in range(n):
        row = indices[j]
        # Knuth's multiplicative hash: neighbouring rows land far apart
        slot = ((row * 2654435769) >> 7) & mask
        while slots[slot] >= 0 and rows[slots[slot]] != row:
            slot = (slot + 1) & mask
        k = slots[slot]
        if k < 0:
            slots[slot] = found
            rows[found] = row
            for i in range(d):
                sums[found, i] = values[j, i]
            found += 1
        else:
            for i in range(d):
                sums[k, i] += values[j, i]
    return rows[:found], sums[:found]
