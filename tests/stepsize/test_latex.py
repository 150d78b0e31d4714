"""A rule's trace is the rule: the same numbers, and the formula that a paper would print."""

import inspect
import re
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import sympy

import stepsize.latex
import stepsize.rules
import stepsize.trace
import stepsize.transforms
import stepsize.wrappers
from mutants import mutant
from small_book import ROOT
from stepsize import (
    ADOPT,
    SGD,
    AdaBelief,
    AdaGrad,
    Adam,
    AMSGrad,
    ClipByNorm,
    ClipByValue,
    Coupled,
    Decoupled,
    HeavyBall,
    InverseRoot,
    LinearDecay,
    Lion,
    Pooled,
    Prodigy,
    RMSProp,
    ScheduleFree,
    chain,
)
from stepsize.backend import sqrt
from stepsize.contract import Elementwise, hyperparameters, leaves, named, rebuild, substitute
from stepsize.errors import TraceError
from stepsize.latex import Formula, latex
from stepsize.trace import DIRECTION, RATE, symbol, trace


def classes(module, method):
    """Every public dataclass that a module defines and that has the method."""
    found = (c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__)
    return [c for c in found if is_dataclass(c) and any(method in vars(base) for base in c.__mro__)]


def made(cls, **given):
    """One of a class, with some number where it has no default."""
    return cls(**given, **{f.name: 0.7 for f in fields(cls) if f.default is MISSING and f.name not in given})


RULES = [made(rule) for rule in classes(stepsize.rules, "step")]
TRANSFORMS = [made(transform) for transform in classes(stepsize.transforms, "__call__")]
WRAPPERS = [c for c in classes(stepsize.wrappers, "step") if fields(c)[0].name == "rule"]
NESTED = [
    # Pooled feeds a rule one number; a rule that looks across coordinates has nothing to look at
    *(made(wrapper, rule=rule) for wrapper in WRAPPERS for rule in RULES if rule.elementwise or wrapper is not Pooled),
    *(chain(transform, rule) for transform in TRANSFORMS for rule in RULES),
    chain(ClipByValue(0.9), ClipByNorm(0.8), ClipByValue(0.7), Coupled(Decoupled(RMSProp(), 0.1), 0.2)),
    Decoupled(Coupled(InverseRoot(AdaBelief()), 0.2), 0.3),
    InverseRoot(InverseRoot(AMSGrad())),
]


def name(rule):
    parts = [*getattr(rule, "transforms", ()), getattr(rule, "rule", None)]
    return type(rule).__name__ + "".join(f"-{name(part)}" for part in parts if part is not None)


def both(rule, t, seed=0):
    """[*new leaves, rate, direction] of random arrays, from the trace and from the rule."""
    random = np.random.default_rng(seed)
    # large values of eps and the rest, so that no term hides below rounding
    values = [random.uniform(0.1, 0.9) for _ in hyperparameters(rule)]
    rule = substitute(rule, iter(values))
    g, x = random.normal(size=(2, 3, 5))
    template = rule.init(x)
    old = [random.uniform(0.5, 1.5, np.shape(leaf)) for _, leaf in leaves(template)]
    after, rate, direction = rule.step(rebuild(template, iter(old)), g, x)
    return t.function()(*old, g, x, *values), [*(leaf for _, leaf in leaves(after)), rate, direction]


def test_every_rule_transform_and_wrapper_is_found():
    found = {type(r).__name__ for r in (*RULES, *TRANSFORMS)} | {w.__name__ for w in WRAPPERS}
    assert {"SGD", "SignDescent", "Adam", "AdaBelief", "ClipByNorm", "ClipByValue", "Decoupled", "Coupled"} <= found


@pytest.fixture(scope="module", params=[*RULES, *NESTED], ids=name)
def traced(request):
    """A rule and its trace, which is made once for all that is asked of it."""
    return request.param, trace(request.param)


def test_the_trace_gives_the_numbers_of_the_step(traced):
    for number, real in zip(*both(*traced), strict=True):
        np.testing.assert_allclose(np.broadcast_to(number, real.shape), real, rtol=1e-14, atol=1e-14)


def test_assignments_use_only_what_was_there_before(traced):
    t = traced[1]
    known = {symbol("g"), symbol("x"), *t.state.values(), *t.hyperparameters.values()}
    for assigned, expression in t.assignments.items():
        assert expression.free_symbols <= known
        known.add(assigned)
    assert list(t.assignments)[-2:] == [RATE, DIRECTION]
    assert set(t.new.values()) <= set(t.assignments)


def test_a_substituted_trace_knows_only_the_old_state():
    t = trace(AMSGrad())
    new = set(t.new.values())
    assert t.assignments[RATE].free_symbols & new
    assert not any(e.free_symbols & new for e in t.substituted().values())
    b2, v, g, peak, w, a, eps = map(symbol, ("beta2", "v", "g", "peak", "w_v", "lr", "eps"))
    rate = a / (sympy.sqrt(sympy.Max(peak, b2 * v + (1 - b2) * g**2) / (b2 * w + 1 - b2)) + eps)
    assert t.substituted()[RATE] == rate


def test_weights_are_known_as_one_value_per_run():
    assert trace(Adam()).per_run == {"w_m", "w_v"}
    assert trace(InverseRoot(AdaGrad())).per_run == {"t"}


def test_hyperparameters_of_the_same_name_stay_apart():
    t = trace(Decoupled(Coupled(SGD(), 0.1), 0.2))
    assert list(t.hyperparameters) == list(hyperparameters(Decoupled(Coupled(SGD(), 0.1), 0.2)))
    g, x, a, inner, outer = map(symbol, ("g", "x", "lr", "decay", "decay_2"))
    assert sympy.expand(t.substituted()[DIRECTION] - (g + inner * x + outer * x)) == 0
    assert t.substituted()[RATE] == a


def test_a_grid_of_learning_rates_has_the_formula_of_one():
    assert latex(Adam(lr=np.logspace(-3, 0, 4)[:, None])) == latex(Adam())


# -- what is printed ------------------------------------------------------------------------------------------------


def printed(rule):
    return Formula(rule).tex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}").split(" \\\\[4pt]\n")


def test_rmsprop_is_printed_as_in_the_papers():
    assert printed(RMSProp()) == [
        r"v &\leftarrow \beta v + \left(1 - \beta\right) g^{2}",
        r"\text{rate} &= \frac{\alpha}{\sqrt{v} + \varepsilon}",
        r"\text{direction} &= g",
        r"x &\leftarrow x - \frac{\alpha g}{\sqrt{v} + \varepsilon}",
    ]


def test_adamw_is_decoupled_adam_with_lr_times_decay_off_the_weights():
    assert printed(Decoupled(Adam())) == [
        r"m &\leftarrow \beta_{1} m + \left(1 - \beta_{1}\right) g",
        r"w_{m} &\leftarrow \beta_{1} w_{m} + 1 - \beta_{1}",
        r"v &\leftarrow \beta_{2} v + \left(1 - \beta_{2}\right) g^{2}",
        r"w_{v} &\leftarrow \beta_{2} w_{v} + 1 - \beta_{2}",
        r"\text{rate} &= \frac{\alpha}{\sqrt{v / w_{v}} + \varepsilon}",
        r"\text{direction} &= m / w_{m} + \lambda \left(\sqrt{v / w_{v}} + \varepsilon\right) x",
        r"x &\leftarrow x - \frac{\alpha m}{w_{m} \left(\sqrt{v / w_{v}} + \varepsilon\right)} - \alpha \lambda x",
    ]


def test_amsgrad_takes_the_maximum_with_the_new_second_moment():
    rows = printed(AMSGrad())
    assert rows[2:6] == [
        r"v &\leftarrow \beta_{2} v + \left(1 - \beta_{2}\right) g^{2}",
        r"w_{v} &\leftarrow \beta_{2} w_{v} + 1 - \beta_{2}",
        r"v_{\max} &\leftarrow \max\left(v_{\max}, v\right)",
        r"\text{rate} &= \frac{\alpha}{\sqrt{v_{\max} / w_{v}} + \varepsilon}",
    ]


def test_adabelief_centres_at_the_new_first_moment():
    expected = r"v &\leftarrow \beta_{2} v + \left(1 - \beta_{2}\right) \left(g - m\right)^{2} + \varepsilon"
    assert printed(AdaBelief())[2] == expected


def test_lion_takes_its_step_before_it_updates_its_memory():
    sign = r"\operatorname{sign}{\left(\beta_{1} m + \left(1 - \beta_{1}\right) g \right)}"
    assert printed(Lion()) == [
        r"\text{rate} &= \alpha",
        rf"\text{{direction}} &= {sign}",
        rf"x &\leftarrow x - \alpha {sign}",
        r"m &\leftarrow \beta_{2} m + \left(1 - \beta_{2}\right) g",
    ]


def test_adopt_divides_by_the_second_moment_of_the_step_before():
    rows = printed(ADOPT())
    assert (
        rows[0]
        == r"m &\leftarrow \beta_{1} m + \frac{\left(1 - \beta_{1}\right) w_{v} g}{\max\left(\sqrt{v}, \varepsilon\right)}"
    )
    assert rows[3:] == [
        r"x &\leftarrow x - \alpha m",
        r"v &\leftarrow \beta_{2} v w_{v} + \left(1 - \beta_{2} w_{v}\right) g^{2}",
        r"w_{v} &\leftarrow 1",
    ]


def test_what_takes_the_whole_vector_is_printed_as_mathematics():
    rows = printed(Prodigy())
    assert rows[2] == r"r &\leftarrow \sqrt{\beta_{2}} r + \alpha d^{2} \langle g, x_{0} - x \rangle"
    assert rows[-1] == r"d &\leftarrow \max\left(d, \frac{r}{\lVert s \rVert_1}\right)"


def test_what_guards_a_division_is_not_printed():
    assert printed(ScheduleFree(SGD()))[1:3] == [
        r"\text{rate} &= \alpha",
        r"\text{direction} &= \left(1 - \beta\right) g + \frac{\beta \left(g - u / \alpha\right)}{t + 1}",
    ]


def test_an_update_that_uses_x_stays_before_the_step():
    """After it, x would mean another point."""
    assert [row.partition(" ")[0] for row in printed(Trailing())] == ["a", r"\text{rate}", r"\text{direction}", "x"]


def test_a_chain_prints_each_transform_before_the_rule():
    assert printed(chain(ClipByValue(1.0), ClipByNorm(2.0), Coupled(HeavyBall()))) == [
        r"g &\leftarrow \min\left(\max\left(g, - c\right), c\right)",
        r"g &\leftarrow \frac{c_{2} g}{\max\left(\lVert g \rVert, c_{2}\right)}",
        r"g &\leftarrow g + \lambda x",
        r"b &\leftarrow \mu b + g",
        r"\text{rate} &= \alpha",
        r"\text{direction} &= b",
        r"x &\leftarrow x - \alpha b",
    ]


@dataclass(frozen=True, eq=False)
class Lagged(Elementwise):
    """A rule that still uses the value it has just replaced."""

    lr: Any = 0.1

    def init(self, x):
        return 0 * x

    def step(self, v, g, x):
        new = v + g * g
        return new, self.lr / sqrt(v), g + new


@dataclass(frozen=True, eq=False)
class Trailing(Elementwise):
    """A rule that steps towards where x has been."""

    lr: Any = 0.1

    def init(self, x):
        return 0 * x

    def step(self, a, g, x):
        return (a + x) / 2, self.lr, g + x - a


def test_a_replaced_value_is_told_apart_where_a_later_line_uses_it():
    assert printed(Lagged())[1:3] == [
        r"\text{rate} &= \frac{\alpha}{\sqrt{{v}_{\text{old}}}}",
        r"\text{direction} &= v + g",
    ]


@dataclass(frozen=True, eq=False)
class Nameless(Elementwise):
    """A rule whose memory has a letter of its own."""

    lr: Any = 0.1

    def init(self, x):
        return 0 * x

    def step(self, q, g, x):
        return q + g, self.lr, q + g


@pytest.mark.parametrize("rule", [*RULES, *NESTED], ids=name)
def test_braces_and_brackets_of_every_formula_are_balanced(rule):
    tex = latex(rule)
    assert tex.count("{") == tex.count("}")
    assert tex.count(r"\left") - tex.count(r"\leftarrow") == tex.count(r"\right")
    assert "_new" not in tex
    assert "operatorname{norm}" not in tex


def letters(rules):
    """The state and the hyper-parameters that stand in the formulas of rules, as they are printed, without braces."""
    names = set()
    for t in map(trace, rules):
        used = set().union(*(e.free_symbols for e in t.assignments.values()))
        names |= {key for key, letter in {**t.state, **t.hyperparameters}.items() if letter in used}
    return {re.sub("[{}]", "", stepsize.latex._tex(key)) for key in names}


def unexplained(rules):
    """Letters that are in no first column of the notation page's tables."""
    cells = re.findall(r"^\| (.+?) \|", (ROOT / "chapters/notation.md").read_text(encoding="utf-8"), re.MULTILINE)
    page = re.sub("[{}]", "", " ".join(cells))
    return {letter for letter in letters(rules) if not re.search(rf"(?<![\w\\]){re.escape(letter)}(?!\w)", page)}


def test_the_notation_page_explains_every_letter_of_the_rules():
    assert unexplained(RULES) == set(), "add a row to chapters/notation.md"
    assert unexplained([LinearDecay(Decoupled(chain(ClipByNorm(1.0), SGD())), 9)]) == set()


def test_a_letter_that_it_lacks_is_named():
    assert unexplained([InverseRoot(Nameless())]) == {"q"}


def test_a_formula_displays_as_mathematics_and_prints_as_its_source():
    formula = Formula(SGD())
    assert formula._repr_latex_() == f"$$\n{formula!r}\n$$"


# -- what has no formula --------------------------------------------------------------------------------------------


def rule(step):
    """A rule made of one `step`."""
    return dataclass(frozen=True, eq=False)(type("Branching", (Elementwise,), {
        "__annotations__": {"lr": Any}, "lr": 0.1, "init": lambda self, x: (), "step": step,
    }))()  # fmt: skip


BRANCHES = {
    "an if on the gradient": lambda self, state, g, x: (state, self.lr, g if g > 0 else -g),
    "an if on equality, which symbols answer": lambda self, state, g, x: (state, self.lr, x if g == 0 else g),
    "an if on a setting, which symbols answer": lambda self, state, g, x: (state, self.lr, x if self.lr == 0.1 else g),
    "where": lambda self, state, g, x: (state, self.lr, np.where(g > 0, g, 0)),
    "a function of NumPy": lambda self, state, g, x: (state, self.lr, np.tanh(g)),
    "a method of arrays": lambda self, state, g, x: (state, self.lr, g.clip(-1, 1)),
}


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_rule_that_branches_has_no_formula_and_says_so_in_one_line(branch):
    with pytest.raises(TraceError, match=r"^Branching has no formula .*write its step without branches") as error:
        trace(rule(BRANCHES[branch]))
    assert "\n" not in str(error.value)


# -- and the guards are awake ---------------------------------------------------------------------------------------


def test_the_comparison_sees_a_wrong_formula():
    t = trace(Adam())
    wrong = t._replace(assignments=t.assignments | {t.new["v"]: t.assignments[t.new["v"]] + symbol("eps")})
    traced, real = both(Adam(), wrong)
    assert not np.allclose(traced[-2], real[-2])


def test_without_its_check_a_trace_would_follow_the_wrong_branch(monkeypatch):
    blind = mutant(stepsize.trace.trace, "_verify(rule, traced, template, arrays, values, who)", "pass")
    assert blind(rule(BRANCHES["an if on a setting, which symbols answer"])).assignments[DIRECTION] == symbol("g")


def test_the_longest_value_must_be_recognised_first(monkeypatch):
    shortest = mutant(stepsize.trace._in_order, "reversed(patterns)", "patterns")
    monkeypatch.setattr(stepsize.trace, "_in_order", shortest)
    assert r"\max\left" in next(row for row in printed(AMSGrad()) if row.startswith(r"\text{rate}"))


def test_leaves_of_a_trace_are_those_of_the_state():
    template = InverseRoot(InverseRoot(Adam())).init(np.zeros(1))
    assert list(trace(InverseRoot(InverseRoot(Adam()))).state) == list(named(leaves(template)))
