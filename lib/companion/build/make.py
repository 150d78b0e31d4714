"""Handing a build over to Snakemake: what is checked before, what is said after."""

import fcntl
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from companion.errors import BookError

from . import ledger, progress, sweeps
from .book import Book, read_yaml

#: A disk with fewer bytes than a record takes counts as full.
FULL = 2**20


def out_folder(profile: str) -> str:
    """Profiles never mix: the published book lives in _build, the smoke build in _build/smoke."""
    return "_build" if profile == "published" else f"_build/{profile}"


def make(args) -> int:
    """Build targets with Snakemake, one build of this folder at a time, after the book's own checks."""
    book = Book(".", args.profile)
    book.smoke()
    for chapter in book.chapters:
        book.fingerprint(chapter)
    if args.gate not in ("stop", "warn"):
        raise BookError(f"unknown gate {args.gate!r}; use GATE=stop or GATE=warn")
    out = Path(args.out or out_folder(args.profile))
    targets = [t.format(out=out) for t in args.targets]
    if "sweep" in targets:
        progress.LogHandler.names = {
            name: f"{run['chapter']}, {', '.join(f'{key} = {value}' for key, value in run['point'].items())}"
            for name, run in sweeps.points(book, args.plan).items()
        }
    alone = [Path(t).stem for t in targets if Path(t).parent == out / "executed"]
    for chapter in alone:
        book.source(chapter)
    cluster, prefix = _cluster(args.cluster)
    lock = _lock(Path("_build/.lock"))
    if prefix:
        _cancel(prefix)
    os.environ |= {
        "STEPSIZE_ERRORS": str(out / "errors"),
        "XDG_CACHE_HOME": str(Path("_build/cache").resolve()),
        "STEPSIZE_GATE": args.gate,
        "STEPSIZE_TIMEOUT": str(args.timeout),
    }
    for old in (out / "errors").glob("*.txt"):
        old.unlink()
    plan = args.plan if "sweep" in targets else ""
    options = cluster + _jobs(args.jobs, cluster)
    options += ["--nolock", "--rerun-incomplete", "--keep-going", "--scheduler", "greedy"]
    options += [] if args.verbose else ["--logger", "book"]
    options += ["--config", f"profile={args.profile}", f"out={out}", f"gate={args.gate}", f"plan={plan}"]
    if "replicate" in targets:
        # a clone brings the record and none of the replications, of whose absence an up-to-date record would say nothing
        options += [f"replications={args.replications}", "--forcerun", "replicate"]
    code, interrupted = _run(["--snakefile", args.snakefile or "Snakefile", *options, *args.more, "--", *targets])
    lock.close()
    if interrupted:
        print("\ninterrupted; what has run is kept, repeat the command to go on", file=sys.stderr, flush=True)
        return 130
    problems = [p.read_text(encoding="utf-8").strip() for p in sorted((out / "errors").glob("*.txt"))]
    if code and shutil.disk_usage(".").free < FULL:
        problems.append("the disk is full; make room, then repeat the command: what has run is kept")
    if code:
        elsewhere = " and in .snakemake/slurm_logs" if prefix else ""
        some = f"{len(problems)} problem{'s' * (len(problems) != 1)}:" if problems else f"see above{elsewhere}"
        print(f"\nThe build is red, {some}", *problems, sep="\n", file=sys.stderr, flush=True)
    for chapter in alone if not code else ():
        print("\n".join(ledger.lines(book, chapter, out / "executed")), flush=True)
    return code


def _jobs(jobs: str, cluster: list[str]) -> list[str]:
    """How many jobs at once: here, or in the queue of a cluster. Here they end with the build, which a cluster's cannot see."""
    if not cluster:
        os.environ["STEPSIZE_BUILD_PID"] = str(os.getpid())
        return ["--cores", str(jobs)]
    os.environ.pop("STEPSIZE_BUILD_PID", None)
    return [] if jobs == "all" else ["--jobs", str(jobs)]


def _cluster(profile: str) -> tuple[list[str], str]:
    """Snakemake's options for the executor that a profile, a folder with config.yaml, names, and what SLURM's jobs begin with.

    The name of a job in SLURM's queue begins with a digest of this folder, so that a later build finds it.
    """
    if not profile:
        return [], ""
    settings = Path(profile) / "config.yaml"
    if not settings.is_file():
        raise BookError(
            f"{settings} was not found; CLUSTER names a folder with a profile of Snakemake, such as cluster"
        )
    executor = (read_yaml(settings) or {}).get("executor")
    if not executor:
        raise BookError(f"{settings} names no executor; write one, such as executor: slurm")
    if find_spec(f"snakemake_executor_plugin_{executor}") is None:
        raise BookError(
            f"{settings}: the executor {executor} needs the package snakemake-executor-plugin-{executor}; "
            f"for slurm: {sys.executable} -m pip install -r requirements-cluster.txt"
        )
    if executor != "slurm":
        return ["--profile", profile], ""
    prefix = f"book-{hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:8]}"
    return ["--profile", profile, "--slurm-jobname-prefix", prefix], prefix


def _cancel(prefix: str, patience: float = 60) -> None:
    """Cancel this user's jobs of that name in SLURM's queue, and wait until they have ended.

    A build that was killed leaves them there; they would write results of texts that may have changed since.
    """
    queue = ["squeue", "--me", "--noheader", "--format=%i %j"]
    deadline = time.monotonic() + patience
    while True:
        try:
            said = subprocess.run(queue, capture_output=True, text=True)
        except FileNotFoundError:
            raise BookError("squeue was not found; run make where jobs are given to SLURM") from None
        if said.returncode:
            raise BookError(
                f"SLURM does not answer: {' '.join(said.stderr.split())[:200]}; run make where squeue works"
            )
        left = [line.split()[0] for line in said.stdout.splitlines() if line.split()[1].startswith(prefix)]
        if not left:
            return
        if time.monotonic() > deadline:
            raise BookError(f"jobs {', '.join(left)} of an earlier build do not end; cancel them with scancel")
        subprocess.run(["scancel", *left])
        time.sleep(1)


def _lock(path: Path) -> IO:
    """The lock of builds in this folder, once no other build holds it; what Snakemake starts inherits it."""
    path.parent.mkdir(exist_ok=True)
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another build is at work here; waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock.fileno(), True)
    return lock


def _run(arguments: list[str]) -> tuple[int, bool]:
    """(Snakemake's exit status, whether the user interrupted it): on Ctrl-C it says failure, as for a failed job."""
    from snakemake.cli import main
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    logging.raiseExceptions = False  # on a full disk each message that Snakemake logs would print a traceback
    LoggerPluginRegistry().register_plugin("snakemake_logger_plugin_book", progress)
    interrupts = []

    def interrupt(*_):
        interrupts.append(True)
        progress.LogHandler.silent = True  # the jobs end too, which is no failure of theirs
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        main(arguments)
    except KeyboardInterrupt:
        pass
    except SystemExit as end:
        return int(end.code or 0), bool(interrupts)
    return 0, bool(interrupts)
