"""The JavaScript of a rule takes the same steps as the rule itself, under node."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from mutants import mutant
from node import needs_node, node
from stepsize import (
    ADOPT,
    SGD,
    AdaBelief,
    AdaGrad,
    Adam,
    AMSGrad,
    ClipByNorm,
    ClipByValue,
    HeavyBall,
    Lion,
    Pooled,
    Prodigy,
    RMSProp,
    RowAdaGrad,
    SignDescent,
    chain,
)
from stepsize import javascript as module
from stepsize.errors import TraceError
from stepsize.javascript import javascript
from stepsize.signals import respond
from stepsize.wrappers import Decoupled, InverseRoot, LinearDecay, ScheduleFree

RULES = [
    SGD(0.1),
    HeavyBall(0.1, 0.9),
    SignDescent(0.1),
    AdaGrad(0.1),
    RowAdaGrad(0.1),
    RMSProp(0.1),
    Adam(0.1),
    AMSGrad(0.1),
    InverseRoot(SGD(0.1)),
]
RULES += [AdaBelief(0.1), Decoupled(Adam(0.1), 0.01), LinearDecay(Adam(0.1), 500)]
RULES += [Lion(0.1), ADOPT(0.1), ScheduleFree(Adam(0.1)), Prodigy(), Pooled(Adam(0.1))]
RULES += [chain(ClipByNorm(0.5), Adam(0.1)), chain(ClipByValue(0.5), SGD(0.1))]
G = np.random.default_rng(0).standard_normal((200, 2)) * np.geomspace(1, 1e-4, 200)[:, None]

LOOP = """
const rule = RULE, gradients = GRADIENTS;
let x = gradients[0].map(() => 0), s = rule.init(x);
console.log(JSON.stringify(gradients.map((g) => {
  const [after, rate, direction] = rule.step(s, g, x, rule.p);
  s = after; x = x.map((xi, i) => xi - rate[i] * direction[i]);
  return [rate, direction, x];
})));
"""


def under_node(rule, gradients=G):
    return np.array(
        node(LOOP.replace("RULE", javascript(rule)).replace("GRADIENTS", json.dumps(gradients.tolist()))), float
    )


def in_numpy(rule, gradients=G):
    path = respond(rule, gradients)
    return np.stack([path.rate, path.direction, path.x[1:]], axis=1)


@needs_node
@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("d", [1, 2])
def test_a_rule_in_javascript_takes_the_steps_of_the_rule(rule, d):
    np.testing.assert_allclose(under_node(rule, G[:, :d]), in_numpy(rule, G[:, :d]), rtol=1e-12, atol=1e-14)


@needs_node
@pytest.mark.parametrize(
    ("method", "old", "new"),
    [
        ("_print_Pow", 'f"({self._print(e.base)}*{self._print(e.base)})"', 'f"{self._print(e.base)}"'),
        ("_print_AppliedUndef", "_ACROSS[str(e.func)]", '_ACROSS["norm1"]'),
    ],
)
def test_a_printer_that_prints_another_formula_is_noticed(monkeypatch, method, old, new):
    monkeypatch.setattr(module, "Printer", mutant(module.Printer, old, new))
    rule = chain(ClipByNorm(0.5), AdaGrad(0.1))
    assert not np.allclose(under_node(rule), in_numpy(rule), rtol=1e-3), method


def test_a_rule_starts_where_the_walk_starts():
    assert "x0: x.slice()" in javascript(Prodigy())
    assert "w_m: 0.0" in javascript(Adam())


@dataclass(frozen=True, eq=False)
class Nested(SGD):
    """A rule whose state is a plain tuple: its leaves have numbers for names."""

    def init(self, x):
        return 0 * x, 0 * x

    def step(self, state, g, x):
        return (state[0] + g, state[1]), self.lr + 0 * g, g


def test_a_state_without_names_is_refused():
    with pytest.raises(TraceError, match="named leaves"):
        javascript(Nested())
