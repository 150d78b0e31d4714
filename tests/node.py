"""Scripts run by node, where it is installed."""

import json
import shutil
import subprocess

import pytest

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the scripts are not run")


def node(script):
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def evaluate(expression: str, data: str, script: str, name: str, replacer: str = "null"):
    """A JavaScript expression of `core`, what `script` exports, and `data`, which its text leaves in globalThis.`name`; by way of JSON."""
    lines = [
        "const module = {exports: {}};",
        data,
        script,
        f"const core = module.exports, data = globalThis.{name};",
        f"console.log(JSON.stringify({expression}, {replacer}));",
    ]
    return node("\n".join(lines))
