"""The JavaScript of a rule takes the same steps as the rule itself, under node."""

import json

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
    HeavyBall,
    Lion,
    Prodigy,
    RMSProp,
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
    RMSProp(0.1),
    Adam(0.1),
    AMSGrad(0.1),
    InverseRoot(SGD(0.1)),
]
RULES += [AdaBelief(0.1), Decoupled(Adam(0.1), 0.01), LinearDecay(Adam(0.1), 500)]
RULES += [Lion(0.1), ADOPT(0.1), ScheduleFree(Adam(0.1))]
G = np.random.default_rng(0).standard_normal(200) * np.geomspace(1, 1e-4, 200)

LOOP = """
const rule = RULE, gradients = GRADIENTS;
let s = rule.state, x = 0;
console.log(JSON.stringify(gradients.map(g => {
  const [after, rate, direction] = rule.step(s, g, x, rule.p);
  s = after; x -= rate * direction;
  return [rate, direction, x];
})));
"""


def under_node(rule):
    return np.array(node(LOOP.replace("RULE", javascript(rule)).replace("GRADIENTS", json.dumps(G.tolist()))), float)


def in_numpy(rule):
    path = respond(rule, G[:, None])
    return np.stack([path.rate[:, 0], path.direction[:, 0], path.x[1:, 0]], axis=1)


@needs_node
@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_a_rule_in_javascript_takes_the_steps_of_the_rule(rule):
    np.testing.assert_allclose(under_node(rule), in_numpy(rule), rtol=1e-12, atol=1e-14)


@needs_node
def test_a_printer_that_drops_the_square_is_noticed(monkeypatch):
    broken = mutant(module._JavaScript, 'f"({self._print(e.base)}*{self._print(e.base)})"', 'f"{self._print(e.base)}"')
    monkeypatch.setattr(module, "_JavaScript", broken)
    assert not np.allclose(under_node(AdaGrad(0.1)), in_numpy(AdaGrad(0.1)), rtol=1e-3)


@pytest.mark.parametrize("rule", [chain(ClipByNorm(1.0), Adam()), Prodigy()], ids=lambda r: type(r).__name__)
def test_a_rule_that_looks_across_coordinates_has_no_script(rule):
    with pytest.raises(TraceError, match="looks across coordinates"):
        javascript(rule)
