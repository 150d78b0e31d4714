"""Chapters on a cluster: what is said without one, which jobs a build cancels, and a real SLURM on this machine."""

import importlib.util
import os
import re
import runpy
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest

import small_book
from companion.build import make
from companion.errors import BookError
from small_book import ROOT

EXECUTOR = "snakemake_executor_plugin_slurm"


def profile(folder, text):
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "config.yaml was not found; CLUSTER names a folder"),
        ("", "names no executor; write one"),
        ("jobs: 5", "names no executor; write one"),
        ("executor: lost", "needs the package snakemake-executor-plugin-lost"),
        ("executor: {", "no valid YAML"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, says):
    name = str(tmp_path / "none") if text is None else profile(tmp_path / "p", text)
    with pytest.raises(BookError, match=says) as error:
        make._cluster(name)
    assert "\n" not in str(error.value)


def test_the_profile_that_is_shipped_names_slurm_and_jobs_begin_with_a_digest_of_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(make, "find_spec", lambda name: name == EXECUTOR)
    seen = set()
    for folder in (tmp_path, ROOT):
        monkeypatch.chdir(folder)
        options, prefix = make._cluster(str(ROOT / "cluster"))
        assert options == ["--profile", str(ROOT / "cluster"), "--slurm-jobname-prefix", prefix]
        seen.add(prefix)
    assert len(seen) == 2
    assert make._cluster("") == ([], "")


def test_only_jobs_on_this_machine_watch_the_build_that_started_them(monkeypatch):
    """The process of the build is nobody's on another machine: a job that looked for it would end at once."""
    monkeypatch.setenv("STEPSIZE_BUILD_PID", "1")
    assert make._jobs("all", ["--profile", "p"]) == []
    assert "STEPSIZE_BUILD_PID" not in os.environ
    assert make._jobs("7", ["--profile", "p"]) == ["--jobs", "7"]
    assert make._jobs("all", []) == ["--cores", "all"]
    assert os.environ["STEPSIZE_BUILD_PID"] == str(os.getpid())


@pytest.fixture
def queue(monkeypatch):
    """A queue of SLURM as a dictionary, number -> name; what is in `stubborn` does not end."""
    jobs, stubborn = {}, set()

    def run(command, **_):
        for number in command[1:] if command[0] == "scancel" else ():
            jobs.pop(number) if number not in stubborn else None
        lines = [f"{number} {name}" for number, name in jobs.items()]
        return SimpleNamespace(returncode=0, stdout="\n".join(lines), stderr="")

    monkeypatch.setattr(make.subprocess, "run", run)
    monkeypatch.setattr(make.time, "sleep", lambda seconds: None)
    return jobs, stubborn


def test_jobs_of_an_earlier_build_of_this_folder_are_cancelled_and_no_others(queue):
    jobs, _ = queue
    jobs |= {"1": "book-1234_a", "2": "book-5678_a", "3": "another", "4": "book-1234_b"}
    make._cancel("book-1234")
    assert jobs == {"2": "book-5678_a", "3": "another"}


def test_a_job_that_does_not_end_is_named(queue):
    jobs, stubborn = queue
    jobs["8"] = "book-1234_a"
    stubborn.add("8")
    with pytest.raises(BookError, match="jobs 8 of an earlier build do not end; cancel them with scancel"):
        make._cancel("book-1234", patience=0)


def test_a_machine_without_slurm_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BookError, match="squeue was not found"):
        make._cancel("book-1234")
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'no controller' >&2\nexit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    with pytest.raises(BookError, match="SLURM does not answer: no controller; run make where squeue works"):
        make._cancel("book-1234")


NAP = "runs, shift, nap = 20, 1.0, 0.0"
PLAN = "tiny:\n  grid: {runs: [5, 9]}\n  seeds: {seed: [0, 1]}\n"
RESULTS = {"sweep": "_build/smoke/sweep/sweep.csv", "replicate": "_build/smoke/replication.json"}


def _without_times(result):
    """The text of a result; the seconds that a chapter took are no part of it."""
    return re.sub(r'"seconds": \{.*?\}', "", result.read_text(), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin")
    or os.getuid() != 0
    or importlib.util.find_spec(EXECUTOR) is None,
    reason="needs root, Debian's slurmctld, slurmd, slurm-client and munge, and requirements-cluster.txt",
)
def test_a_sweep_and_replications_on_slurm_equal_those_here_to_the_last_digit_after_three_kills(tmp_path):
    chapter = small_book.CHAPTER.replace(NAP, "runs, shift, nap, seed = 20, 1.0, 1.0, 0").replace("rng(0)", "rng(seed)")
    here, there = (small_book.write(tmp_path / name, chapter) for name in ("here", "there"))
    for root in (here, there):
        (root / "sweep.yml").write_text(PLAN)
    small = ("--profile", "smoke", "--replications", "2")
    cluster = ("--cluster", str(ROOT / "cluster"), "--jobs", "9")
    for target in RESULTS:
        assert small_book.build(here, *small, target=target).returncode == 0
    with runpy.run_path(str(ROOT / ".ci/slurm"))["slurm"]():
        for patience in (15, 25, 35):
            command = [*small_book.command(there, *small, *cluster), "sweep"]
            process = subprocess.Popen(command, cwd=there, env=small_book.environment(), start_new_session=True)
            time.sleep(patience)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        for target, result in RESULTS.items():
            run = small_book.build(there, *small, *cluster, target=target, patience=1500)
            assert run.returncode == 0, run.stdout
            assert _without_times(there / result) == _without_times(here / result)
