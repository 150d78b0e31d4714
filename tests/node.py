"""Scripts run by node, where it is installed."""

import json
import shutil
import subprocess

import pytest

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the scripts are not run")


def node(script):
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)
