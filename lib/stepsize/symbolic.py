"""A rule read as mathematics: `step` runs once on SymPy symbols, and what comes out is the formula that runs on arrays."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import sympy

from .contract import leaves, rebuild

#: How the book writes a name; anything else is printed as SymPy prints it.
NOTATION = {
    "lr": r"\alpha",
    "beta": r"\beta",
    "beta1": r"\beta_1",
    "beta2": r"\beta_2",
    "eps": r"\varepsilon",
    "momentum": r"\mu",
    "decay": r"\lambda",
    "initial": "s_0",
    "limit": "c",
    "peak": r"\hat v",
    "t": "t",
}


class Trace(NamedTuple):
    """What one step does: symbols of the old state, expressions of the new one by the same names, rate and direction.

    In `rate` and `direction` a symbol of the state stands for its *new* value; `substituted` undoes that.
    """

    state: dict[str, sympy.Symbol]
    update: dict[str, sympy.Expr]
    rate: sympy.Expr
    direction: sympy.Expr
    hyperparameters: dict[str, sympy.Symbol]

    def substituted(self):
        """rate and direction as functions of the *old* state, the gradient g and the iterate x."""
        new = {self.state[name]: expression for name, expression in self.update.items()}
        return self.rate.subs(new, simultaneous=True), self.direction.subs(new, simultaneous=True)


def symbol(name: str) -> sympy.Symbol:
    """Non-negative for what cannot be negative (rates, weights, second moments), real for g, x and first moments."""
    signed = name in ("g", "x", "m", "b")
    return sympy.Symbol(name, real=True) if signed else sympy.Symbol(name, nonnegative=True)


def _symbols(rule):
    """The rule with every hyper-parameter replaced by its symbol, inner rules included."""
    found = {}
    for field in fields(rule):
        value = getattr(rule, field.name)
        if is_dataclass(value):
            inner, symbols = _symbols(value)
            found |= symbols
            rule = replace(rule, **{field.name: inner})
        elif isinstance(value, (int, float)):
            found[field.name] = symbol(field.name)
            rule = replace(rule, **{field.name: found[field.name]})
    return rule, found


#: What a state without names of its own is called in the formula of its paper.
_MEMORY = {"AdaGrad": "s", "RMSProp": "v", "HeavyBall": "b"}


def _innermost(rule):
    return _innermost(rule.rule) if hasattr(rule, "rule") else rule


def trace(rule) -> Trace:
    """Run `rule.step` once on symbols. Works for every rule that branches on nothing; a rule that does raises TypeError."""
    symbolic, hyperparameters = _symbols(rule)
    template = rule.init(np.zeros(1))
    memory = _MEMORY.get(type(_innermost(rule)).__name__, "s")
    state = {name: symbol(name) for name, _ in leaves(template, memory)}
    new, rate, direction = symbolic.step(rebuild(template, iter(state.values())), symbol("g"), symbol("x"))
    update = {name: sympy.sympify(leaf) for name, leaf in leaves(new, memory)}
    # the longest expressions first, so that a new value is recognised before its parts
    order = sorted(update, key=lambda name: -sympy.count_ops(update[name]))
    for name in order:
        rate, direction = (sympy.sympify(e).subs(update[name], state[name]) for e in (rate, direction))
    return Trace(state, update, rate, direction, hyperparameters)


def _names(expressions):
    symbols = set().union(*(e.free_symbols for e in expressions))
    return {s: NOTATION.get(s.name, s.name) for s in symbols}


def latex(rule) -> str:
    """The rule's formulas as aligned LaTeX, printed from its trace: the state's updates, then rate and direction."""
    t = trace(rule)
    names = _names([*t.update.values(), t.rate, t.direction, *t.state.values()])

    def tex(e: Any) -> str:
        return sympy.latex(e, symbol_names=names, mul_symbol=None, order="none")

    rows = [rf"{tex(t.state[name])} &\leftarrow {tex(expression)}" for name, expression in t.update.items()]
    rows += [rf"\text{{rate}} &= {tex(t.rate)}", rf"\text{{direction}} &= {tex(t.direction)}"]
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


class Formula:
    """Displays a rule's formulas in a notebook; the prose never types them."""

    def __init__(self, rule):
        self.tex = latex(rule)

    def _repr_latex_(self):
        return f"$$\n{self.tex}\n$$"

    def __repr__(self):
        return self.tex
