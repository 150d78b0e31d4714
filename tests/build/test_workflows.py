"""The workflows are valid, safe, and pinned; the doors of the Makefile exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from small_book import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
BIN = Path(sys.executable).parent


def run(*command):
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_there_are_workflows():
    assert WORKFLOWS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_is_valid(path):
    done = run(str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(path))
    assert done.returncode == 0, done.stdout


def test_the_workflows_are_safe():
    done = run(str(BIN / "zizmor"), "--offline", "--no-progress", *map(str, WORKFLOWS))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_every_action_is_pinned_to_a_commit(path):
    for action in re.findall(r"uses:\s*(\S+)", path.read_text()):
        assert re.search(r"@[0-9a-f]{40}$", action), action


def test_the_shell_scripts_stop_at_the_first_error():
    assert "set -euo pipefail" in (ROOT / ".ci/run").read_text()
    assert run("bash", "-n", ".ci/run").returncode == 0


def test_help_names_every_door():
    done = run("make", "help")
    for door in ("book", "test", "smoke", "lab", "bench", "federation", "sweep", "reproduce", "zip", "clean"):
        assert re.search(rf"make {door}\b", done.stdout), door
