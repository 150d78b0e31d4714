"""A rule as a list of assignments: `step` runs once on SymPy symbols, and what comes out is the formula that runs on arrays.

The printed formulas, JavaScript and machine code all start from the same `Trace`.
"""

import inspect
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import sympy
from sympy.printing.numpy import NumPyPrinter

from . import backend
from .contract import Wrapper, hyperparameters, leaves, named, rebuild, substitute
from .errors import TraceError


def symbol(name: str) -> sympy.Symbol:
    """Real and nothing more: SymPy then keeps sqrt(v / w) whole instead of splitting the root."""
    return sympy.Symbol(name, real=True)


RATE, DIRECTION, G, X = map(symbol, ("rate", "direction", "g", "x"))


class Trace(NamedTuple):
    """One step as assignments, in order. Each may use g, x, hyper-parameters, the old state, and what was assigned before.

    `state` and `new` hold the symbols of each leaf before and after the step, `per_run` the names of leaves of shape
    (..., 1). RATE and DIRECTION are assigned last; a gradient that a wrapper changes is assigned first, as g_new.
    """

    state: dict[str, sympy.Symbol]
    new: dict[str, sympy.Symbol]
    per_run: frozenset[str]
    hyperparameters: dict[str, sympy.Symbol]
    assignments: dict[sympy.Symbol, sympy.Expr]

    def substituted(self) -> dict[sympy.Symbol, sympy.Expr]:
        """Every assignment as a function of g, x, the hyper-parameters and the *old* state alone."""
        known = {}
        for name, expression in self.assignments.items():
            known[name] = expression.xreplace(known)
        return known

    def function(self):
        """NumPy function (*old leaves, g, x, *hyper-parameters) -> [*new leaves, rate, direction]; norms over the last axis."""
        arguments = [*self.state.values(), G, X, *self.hyperparameters.values()]
        values = self.substituted()
        outputs = [values[name] for name in (*self.new.values(), RATE, DIRECTION)]
        return sympy.lambdify(arguments, outputs, [vars(backend), "numpy"], printer=_NumPy)


class _NumPy(NumPyPrinter):
    """Pairwise maximum and minimum, which broadcast; SymPy's own stack their arguments."""

    def __init__(self, settings=None):
        super().__init__({"fully_qualified_modules": False, "allow_unknown_functions": True} | (settings or {}))

    def _pairwise(self, e):
        name = "maximum" if e.func is sympy.Max else "minimum"
        return reduce(lambda a, b: f"{name}({a}, {b})", map(self._print, e.args))

    _print_Max = _print_Min = _pairwise  # noqa: N815


def _note(g, made):
    """A symbol for a gradient that a wrapper or transform has made; the expression goes to `made`."""
    if g.is_Symbol:
        return g
    name = symbol("g_new" if not made else f"g_new_{len(made) + 1}")
    made[name] = g
    return name


@dataclass(frozen=True, eq=False)
class _Watched(Wrapper):
    """The rule itself, noting the gradient that reaches it."""

    rule: Any
    made: dict

    def step(self, state, g, x):
        return self.rule.step(state, _note(g, self.made), x)


def _watch(rule, made):
    if not hasattr(rule, "rule"):
        return rule
    transforms = tuple(lambda g, f=f: _note(f(g), made) for f in getattr(rule, "transforms", ()))
    return replace(
        rule, rule=_Watched(_watch(rule.rule, made), made), **({"transforms": transforms} if transforms else {})
    )


def _memory(rule) -> str:
    """What a state without names of its own is called: as the rule's `step` calls it."""
    while hasattr(rule, "rule"):
        rule = rule.rule
    name = next(iter(inspect.signature(rule.step).parameters))
    return "s" if name == "state" else name


def _in_order(expressions, new, made):
    """Each expression written with the new values that it contains, and placed after those that it needs."""
    patterns = sorted((e.count_ops(), name, e) for name, e in expressions.items() if name in new and not e.is_Atom)
    waiting = {}
    for name, e in expressions.items():
        longest = e.count_ops() if name in new else np.inf
        # the longest first, so that a new value is recognised before its parts
        for ops, part, pattern in reversed(patterns):
            e = e.subs(pattern, new[part]) if ops < longest else e
        waiting[new.get(name, symbol(name))] = e
    assignments = dict(made)
    while waiting:
        ready = next(name for name, e in waiting.items() if not e.free_symbols & set(waiting))
        assignments[ready] = waiting.pop(ready)
    return assignments


def trace(rule) -> Trace:
    """Run `rule.step` once on symbols, and check the outcome against one step on arrays.

    A rule that branches on data, or leaves stepsize.backend, has no formula: TraceError.
    """
    memory, made, values = _memory(rule), {}, hyperparameters(rule)
    symbols = {name: symbol(name) for name in values}
    template = rule.init(np.zeros(2))
    arrays = named(leaves(template, memory))
    state, new = ({name: symbol(name + end) for name in arrays} for end in ("", "_new"))
    who = type(rule).__name__
    try:
        symbolic = _watch(substitute(rule, iter(symbols.values())), made)
        after, rate, direction = symbolic.step(rebuild(template, iter(state.values())), G, X)
    except (TypeError, AttributeError, ValueError) as error:
        raise TraceError(_NO_FORMULA.format(who, str(error).splitlines()[0])) from error
    expressions = named(leaves(after, memory)) | {"rate": rate, "direction": direction}
    expressions = {name: sympy.sympify(e) for name, e in expressions.items()}
    assignments = _in_order(expressions, new, made)
    per_run = frozenset(name for name, leaf in arrays.items() if np.shape(leaf)[-1] == 1)
    traced = Trace(state, new, per_run, symbols, assignments)
    _verify(rule, traced, template, arrays, values, who)
    return traced


_NO_FORMULA = "{} has no formula ({}); write its step without branches, from the functions of stepsize.backend"


def _verify(rule, traced, template, arrays, values, who):
    """One step on arrays gives what the trace gives, else the trace took another branch than the rule."""
    random = np.random.default_rng(0)
    old = [0.5 + random.random(np.shape(leaf)) for leaf in arrays.values()]
    g, x = random.normal(size=(2, 2))
    # of hyper-parameters with leading axes, which are independent runs, those of the first run
    values = [v[(0,) * (np.ndim(v) - 1)] if np.ndim(v) > 1 else v for v in values.values()]
    values = [np.asarray(v.tolist() if hasattr(v, "tolist") else v) for v in values]
    try:
        after, rate, direction = substitute(rule, iter(values)).step(rebuild(template, iter(old)), g, x)
    except ValueError as error:
        raise TraceError(_NO_FORMULA.format(who, str(error).splitlines()[0])) from error
    real = [*(leaf for _, leaf in leaves(after)), rate, direction]
    if not all(
        np.allclose(a, b, rtol=1e-9, atol=0) for a, b in zip(traced.function()(*old, g, x, *values), real, strict=True)
    ):
        raise TraceError(_NO_FORMULA.format(who, "its trace differs from its step"))
