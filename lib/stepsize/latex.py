"""A rule in the notation of the papers: LaTeX, printed from the trace of its `step`."""

import re

import sympy
from sympy.printing.latex import LatexPrinter

from .backend import FLOOR
from .trace import DIRECTION, RATE, G, X, trace

#: How the book writes a name; anything else is printed as SymPy prints it.
NOTATION = {
    "lr": r"\alpha",
    "eps": r"\varepsilon",
    "momentum": r"\mu",
    "decay": r"\lambda",
    "limit": "c",
    "power": "p",
    "horizon": "T",
    "peak": r"v_{\max}",
    "aversion": r"\lambda",
    "mean": r"\bar g",
    "scatter": "C",
    "weight": "w",
    "rate": r"\text{rate}",
    "direction": r"\text{direction}",
}

#: How the functions of whole vectors are written.
_ACROSS = {"norm": r"\lVert {} \rVert", "norm1": r"\lVert {} \rVert_1", "inner": r"\langle {}, {} \rangle"}


class _Conventional(LatexPrinter):
    """Sums and products in the order of the papers: beta m + (1 - beta) g, sqrt(v) + eps, 1 - beta, g - m."""

    def __init__(self, names, hyperparameters):
        super().__init__({"symbol_names": names})
        self.hyper = list(hyperparameters)

    def _rank(self, e):
        """Numbers 0, hyper-parameters 1, the state 2, the gradient 3, the iterate 4."""
        bases = {_base(s) for s in e.free_symbols.difference(self.hyper)}
        return 4 if "x" in bases else 3 if "g" in bases else 2 if bases else int(bool(e.free_symbols))

    def _term(self, e):
        # numbers and hyper-parameters stand last in a sum (a number before a difference), differences after all
        return e.could_extract_minus_sign(), (6, 5, 2, 3, 4)[self._rank(e)], e.sort_key()

    def _factor(self, e):
        # in a product numbers and hyper-parameters stand first, and a sum after the symbols of its rank
        return self._rank(e), e.is_Add, self.hyper.index(e) if e in self.hyper else -1, e.sort_key()

    def _as_ordered_terms(self, e, order=None):
        return sorted(e.args, key=self._term)

    def _product(self, e):
        if e.could_extract_minus_sign():
            return f"- {self._print(-e)}"
        over, under = sympy.fraction(e)
        if under != 1 and over.is_Atom and under.is_Atom and self._rank(over) == 2:
            return f"{self._print(over)} / {self._print(under)}"
        if under != 1:
            return rf"\frac{{{self._print(over)}}}{{{self._print(under)}}}"
        factors = (self._print(f) if not f.is_Add else self._group("", f) for f in sorted(e.args, key=self._factor))
        return " ".join(factors)

    def _group(self, name, *args):
        return rf"{name}\left({', '.join(map(self._print, args))}\right)"

    def _extreme(self, e, exp=None):
        group = self._group(rf"\{str(e.func).lower()}", *sorted(e.args, key=self._term))
        return group if exp is None else f"{group}^{{{exp}}}"

    def _function(self, e, exp=None):
        if str(e.func) not in _ACROSS:
            return super()._print_Function(e, exp)
        text = _ACROSS[str(e.func)].format(*map(self._print, e.args))
        return text if exp is None else f"{text}^{{{exp}}}"

    _print_Mul, _print_Function, _print_Max, _print_Min = _product, _function, _extreme, _extreme  # noqa: N815


def _base(symbol_) -> str:
    return symbol_.name.partition("_new")[0]


def _tex(name: str) -> str:
    base, number = re.fullmatch(r"(.*?)_?(\d*)", name).groups()
    return NOTATION.get(base, sympy.latex(sympy.Symbol(base))) + (f"_{{{number}}}" if number else "")


def _rows(t, step):
    """Assignments as a paper orders them: an update comes after the step where only the value before is used."""
    before = {t.new[name]: old for name, old in t.state.items()}
    rows = {name: e for name, e in (t.assignments | {X: X - step}).items() if e != before.get(name)}
    for new in [name for name in rows if name in before]:
        others = set().union(*(e.free_symbols for name, e in rows.items() if name != new))
        if before[new] in others and new not in others and X not in rows[new].free_symbols:
            rows[new] = rows.pop(new)
    return rows


def _without_floor(e):
    """The formula without what guards its arithmetic: max(rate, FLOOR) is rate."""
    return e.replace(lambda m: m.func is sympy.Max and FLOOR in m.args, lambda m: sympy.Max(*set(m.args) - {FLOOR}))


def latex(rule) -> str:
    """The rule's formulas as aligned LaTeX, printed from its trace: assignments, and the step that they make."""
    t = trace(rule)
    t = t._replace(assignments={name: _without_floor(e) for name, e in t.assignments.items()})
    step = sympy.Add(*(t.assignments[RATE] * term for term in sympy.Add.make_args(t.assignments[DIRECTION])))
    latest = {_base(s): s for s in (*t.state.values(), G, X, RATE, DIRECTION)}
    names = {s: _tex(s.name) for s in (*latest.values(), *t.hyperparameters.values())}
    rows = []
    for assigned, expression in _rows(t, step).items():
        right = _Conventional(names, t.hyperparameters.values()).doprint(expression)
        base = _base(assigned)
        becomes = "=" if assigned in (RATE, DIRECTION) else r"\leftarrow"
        rows.append(f"{_tex(base)} &{becomes} {right}")
        # the value before is told apart from here on, should a later line still use it
        names[latest[base]], names[assigned] = rf"{{{_tex(base)}}}_{{\text{{old}}}}", _tex(base)
        latest[base] = assigned
    return "\\begin{aligned}\n" + " \\\\[4pt]\n".join(rows) + "\n\\end{aligned}"


class Formula:
    """Displays a rule's formulas in a notebook; the prose never types them."""

    def __init__(self, rule):
        self.tex = latex(rule)

    def _repr_latex_(self):
        return f"$$\n{self.tex}\n$$"

    def __repr__(self):
        return self.tex
