"""The workflows are valid, safe, and pinned; the Makefile says what its targets are."""

import os
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


def test_help_names_every_target():
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"book", "smoke", "test", "test-all", "lint", "lab", "bench", "sweep", "reproduce", "zip", "clean"} <= set(
        rules
    )
    done = run("make", "help")
    for target in rules:
        assert re.search(rf"make {target} +\S", done.stdout), target


def test_the_laboratory_takes_arguments_and_runs_in_a_container():
    said = run("make", "-n", "lab", "ARGS=--no-browser").stdout
    assert "chapters --no-browser" in said
    assert ("--allow-root" in said) == (os.getuid() == 0)


def test_the_environment_is_made_by_a_python_that_runs_and_is_new_enough(tmp_path):
    """python3.13 is the dead shim of a version manager, python3.12 is older than its name."""
    for name, text in {
        "python3.13": "exit 127",
        "python3.12": "echo Python 3.9.1",
        "python3.11": "echo Python 3.11.7",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    code = f"import os, runpy, sys; os.environ['PATH'] = {str(tmp_path)!r}; sys.version_info = (3, 10, 1); print(runpy.run_path('.ci/venv')['base_python']())"
    done = run(sys.executable, "-c", code)
    assert done.stdout.strip() == str(tmp_path / "python3.11"), done.stdout
