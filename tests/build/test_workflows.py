"""The workflows are valid, safe, and pinned; the Makefile says what its targets are."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import small_book
import stepsize
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


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_calls_targets_of_the_makefile_and_scripts_that_are_there(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    commands = [line for job in jobs for step in job["steps"] for line in step.get("run", "").splitlines()]
    targets = {word for line in commands if line.startswith("make ") for word in line.split()[1:] if "=" not in word}
    assert targets
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    scripts = set(re.findall(r"\.ci/\w+", "\n".join(commands)))
    assert ".ci/run" in scripts
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts), scripts


SIZES = [
    r"([\d.]+ GB) (?:\(torch|for the environment with)",
    r"(\d+ MB)(?: \|| for the built)",
    r"([\d.]+ to [\d.]+ GB) (?:per|for a) chapter",
]


@pytest.mark.parametrize("pattern", SIZES)
def test_the_readme_and_the_page_on_reproduction_name_the_same_sizes(pattern):
    """One said 15 MB for the site, the other 25."""
    readme, page = (
        re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"))
        for name in ("README.md", "chapters/reproduce.md")
    )
    assert readme == page
    assert len(page) == 1


def test_the_everyday_tests_begin_with_the_style():
    """A change that only its layout kept from passing has cost a whole run of the check."""
    for target in ("test", "test-all"):
        said = run("make", "-n", target, "PYTHON=true").stdout
        assert 0 < said.index(".ci/lint") < said.index("-m pytest")


def test_the_linter_is_not_given_the_arguments_of_the_tests():
    said = run("make", "-n", "test-all", "PYTHON=true", "ARGS=-q --durations=15").stdout
    assert re.search(r"\.ci/lint *$", said, re.MULTILINE)
    assert re.search(r"-m pytest.* -q --durations=15$", said, re.MULTILINE)
    assert run("make", "-n", "lint", "PYTHON=true", "ARGS=--fix").stdout.rstrip().endswith(".ci/lint --fix")


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


def test_the_linter_names_the_line_of_a_chapter_and_formats_its_cells(tmp_path):
    path = small_book.write(tmp_path).joinpath("chapters/tiny.md")
    sound = path.read_text(encoding="utf-8")
    cells = runpy.run_path(str(ROOT / ".ci/lint"))["cells"]
    assert cells([path], fix=False) == []
    path.write_text(sound.replace("time.sleep(nap)", "time.sleep( nap ); lost = undefined  # " + "long " * 20))
    faults = cells([path], fix=False)
    at = sound[: sound.index("time.sleep")].count("\n") + 1
    assert [line.partition(" ")[0] for line in faults] == [f"{path}:{at}:"] * len(faults)
    text = "\n".join(faults)
    assert all(word in text for word in ("E501", "F821 Undefined name", "E702", "not formatted")), text
    cells([path], fix=True)
    assert "time.sleep(nap)\nlost = undefined  # long" in path.read_text(encoding="utf-8")


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


@pytest.mark.slow
def test_an_installed_book_brings_its_claims_its_pages_and_its_data_and_nothing_else(tmp_path):
    """The source distribution, and the wheel that is made of it."""
    clone = tmp_path / "clone"
    shutil.copytree(
        ROOT / "lib", clone / "lib", symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in (
        "Makefile",
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "LICENSE-text",
        "chapters/claims.yml",
    ):
        clone.joinpath(name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    files = {p.relative_to(clone / "lib").as_posix() for p in clone.joinpath("lib").rglob("*") if p.is_file()}
    cache = clone / "lib/stepsize/__pycache__/kernels"
    cache.mkdir(parents=True)
    (cache / "run_0.py").write_text("a compiled kernel\n")
    made = run("make", "-C", str(clone), "wheel", "PYTHON=true", f"VENV={BIN}")
    assert made.returncode == 0, made.stdout
    with zipfile.ZipFile(next(clone.glob("dist/*.whl"))) as archive:
        assert archive.read("companion/claims.yml") == (ROOT / "chapters/claims.yml").read_bytes()
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == files


def test_the_version_is_the_same_wherever_it_stands():
    version = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert version == stepsize.__version__
    assert (ROOT / "CHANGELOG.md").read_text().count(f"\n## {version} (") == 1
