"""The page's walk is the library's walk, and its page stands alone."""

import json
import re

import numpy as np
import pytest

from companion.evidence.explorer import RULES, SLIDERS, Explorer, valley
from companion.evidence.sliders import part
from node import needs_node, node
from stepsize import descend
from stepsize.javascript import javascript

PAGE = Explorer()._repr_html_()


def numpy_walk(rule, lr):
    A, x0 = valley(30.0, 23.0)
    draws = 0.3 * Explorer().noise
    path = descend(type(rule)(**(vars(rule) | {"lr": lr})), lambda x, t: A @ x + draws[t], x0, 100)
    return path.x, path.rate


@needs_node
@pytest.mark.parametrize("name", RULES)
def test_the_page_walks_as_the_library_does(name):
    rule, lr = RULES[name], 0.02
    fast = getattr(rule, "beta1", getattr(rule, "momentum", 0.0))
    slow = getattr(rule, "beta2", getattr(rule, "beta", 0.0))
    v = {"lr": lr, "slow": slow, "fast": fast, "ratio": 30.0, "angle": np.radians(23.0), "noise": 0.3}
    call = f"walk({javascript(rule)}, {json.dumps(v)}, {json.dumps(Explorer().noise.tolist())}, 100)"
    found = node(f"{part('explorer.js')}; const w = {call}; console.log(JSON.stringify(w));")
    x, rate = numpy_walk(rule, lr)
    np.testing.assert_allclose(found["path"], x, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found["rates"], np.broadcast_to(rate, (100, 2)), rtol=1e-10)


@needs_node
def test_the_page_s_script_is_valid():
    script = re.search(r"<script>(.*)</script>", PAGE, re.DOTALL)[1]
    assert node(f"new Function({json.dumps(script)}); console.log(1)") == 1


def test_the_page_asks_no_other_host_and_labels_every_control():
    assert "http" not in PAGE
    assert len(re.findall(r"<(?:input|select)[^>]* aria-label=", PAGE)) == len(SLIDERS) + 1
    assert 'role="img" aria-label="' in PAGE
    assert repr(Explorer()).startswith("Explorer of Adam")


def test_the_start_turns_with_the_valley():
    for degrees in (0.0, 20.0, 45.0):
        A, x0 = valley(100.0, degrees)
        assert x0 @ A @ x0 == pytest.approx(101.0, rel=1e-13)
        np.testing.assert_allclose(np.linalg.eigvalsh(A), [1.0, 100.0], rtol=1e-12)
