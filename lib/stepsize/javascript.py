"""A rule as a JavaScript function, printed from the trace of its `step`: what the page that the reader moves computes with."""

import json

import numpy as np
import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.jscode import JavascriptCodePrinter

from .contract import hyperparameters, leaves
from .errors import TraceError
from .trace import DIRECTION, RATE, G, X, trace

#: What looks across coordinates, as sums over i of the printed operands.
_ACROSS = {
    "norm": "Math.sqrt(sum((i) => ({0})*({0})))",
    "norm1": "sum((i) => Math.abs({0}))",
    "inner": "sum((i) => ({0})*({1}))",
    "rms": "Math.sqrt(sum((i) => ({0})*({0})))/Math.sqrt(g.length)",
}
_SUM = "const sum = (f) => g.reduce((total, _, i) => total + f(i), 0);"


class Printer(JavascriptCodePrinter):
    """SymPy expressions as JavaScript, symbols at their `places`; squares as products, as NumPy computes them."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def _print_Symbol(self, e):  # noqa: N802
        return self.places.get(e, e.name)

    def _print_Pow(self, e):  # noqa: N802
        if e.exp == 2 and e.base.is_Symbol:
            return f"({self._print(e.base)}*{self._print(e.base)})"
        return super()._print_Pow(e)

    def _print_Add(self, e, order=None):  # noqa: N802
        # SymPy flattens w + (1 - beta); added from left to right, w - beta + 1 would lose digits where w is small
        for part in e.args:
            if sympy.S.One in e.args and part.is_Mul and (-part).is_Symbol:
                rest = self._print(e - 1 - part)
                return f"{rest} + (1 - {self._print(-part)})" if len(e.args) > 2 else f"1 - {self._print(-part)}"
        return super()._print_Add(e, order)

    def _print_sign(self, e):
        return f"Math.sign({self._print(e.args[0])})"

    def _print_AppliedUndef(self, e):  # noqa: N802
        return f"({_ACROSS[str(e.func)].format(*map(self._print, e.args))})"


def javascript(rule) -> str:
    """{init, p, step}: a JavaScript expression; init(x) => state, step(s, g, x, p) => [new state, rate, direction].

    g, x, rate and direction are arrays over the coordinates. A state is an object of the trace's leaves by name, each an
    array or, where a run has one number, a number; p holds the hyper-parameters.
    """
    t, who = trace(rule), type(rule).__name__
    if wrong := [name for name in (*t.state, *t.hyperparameters) if not name.isidentifier()]:
        raise TraceError(f"{who}: {wrong[0]!r} is no name in JavaScript; give the state named leaves")
    each = {G, X} | {s for name, s in t.state.items() if name not in t.per_run}  # one value per coordinate
    for name, e in t.assignments.items():
        # what a norm or an inner product makes of coordinates is one number
        outside = e.replace(lambda part: isinstance(part, AppliedUndef), lambda part: sympy.Integer(0))
        each |= {name} if outside.free_symbols & each else set()
    places = {s: f"s.{name}" for name, s in t.state.items()} | {s: f"p.{name}" for name, s in t.hyperparameters.items()}
    every = each | set(places) | {G, X} | set(t.assignments)
    printer = Printer({s: places.get(s, s.name) + ("[i]" if s in each else "") for s in every})
    arrays = each | {RATE, DIRECTION}
    body = [f"const {s} = {_array(printer.doprint(e), s in arrays)};" for s, e in t.assignments.items()]
    body = [_SUM, *body] if any("sum(" in line for line in body) else body
    after = ", ".join(f"{name}: {places.get(new, new)}" for name, new in t.new.items())
    values = json.dumps({name: float(value) for name, value in hyperparameters(rule).items()})
    step = f"(s, g, x, p) => {{ {' '.join(body)} return [{{{after}}}, {RATE}, {DIRECTION}]; }}"
    return f"({{init: (x) => ({{{_start(rule, t)}}}), p: {values}, step: {step}}})"


def _array(expression, is_array):
    return f"g.map((_, i) => {expression})" if is_array else expression


def _start(rule, traced):
    """The leaves before the first step: the start itself, or the same number wherever the run starts."""
    here, there = ([leaf for _, leaf in leaves(rule.init(np.full(2, at)))] for at in (0.0, 1.0))
    parts = []
    for name, leaf, other in zip(traced.state, here, there, strict=True):
        value = float(np.ravel(leaf)[0])
        array = f"x.map(() => {value})" if np.array_equal(leaf, other) else "x.slice()"
        parts.append(f"{name}: {value if name in traced.per_run else array}")
    return ", ".join(parts)
