"""A rule as a JavaScript function, printed from the trace of its `step`: what the page that the reader moves computes with."""

import json

import numpy as np
from sympy.core.function import AppliedUndef
from sympy.printing.jscode import JavascriptCodePrinter

from .contract import hyperparameters, leaves
from .errors import TraceError
from .trace import DIRECTION, RATE, trace


class _JavaScript(JavascriptCodePrinter):
    """State and hyper-parameters as properties of s and p; squares as products."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def _print_Symbol(self, e):  # noqa: N802
        return self.places.get(e, e.name)

    def _print_Pow(self, e):  # noqa: N802
        if e.exp == 2 and e.base.is_Symbol:
            return f"({self._print(e.base)}*{self._print(e.base)})"
        return super()._print_Pow(e)

    def _print_sign(self, e):
        return f"Math.sign({self._print(e.args[0])})"


def javascript(rule) -> str:
    """{state, p, step}: a JavaScript expression; step(s, g, x, p) => [new state, rate, direction] for one coordinate.

    `state` and `p` are objects, the leaves before the first step and the hyper-parameters, by the names of the trace. A
    rule that looks across coordinates, as a clip by the norm does, has no such function: TraceError.
    """
    t, who = trace(rule), type(rule).__name__
    if wrong := [name for name in (*t.state, *t.hyperparameters) if not name.isidentifier()]:
        raise TraceError(f"{who}: {wrong[0]!r} is no name in JavaScript; give the state named leaves")
    if across := {str(f.func) for e in t.assignments.values() for f in e.atoms(AppliedUndef)}:
        raise TraceError(f"{who} looks across coordinates ({', '.join(across)}); only elementwise rules have a script")
    places = {s: f"s.{name}" for name, s in t.state.items()} | {s: f"p.{name}" for name, s in t.hyperparameters.items()}
    printer = _JavaScript(places)
    body = " ".join(f"const {name} = {printer.doprint(e)};" for name, e in t.assignments.items())
    after = ", ".join(f"{name}: {places.get(new, new)}" for name, new in t.new.items())
    start = (float(np.ravel(leaf)[0]) for _, leaf in leaves(rule.init(np.zeros(1))))
    state = json.dumps(dict(zip(t.state, start, strict=True)))
    values = json.dumps({name: float(value) for name, value in hyperparameters(rule).items()})
    step = f"(s, g, x, p) => {{ {body} return [{{{after}}}, {RATE}, {DIRECTION}]; }}"
    return f"({{state: {state}, p: {values}, step: {step}}})"
