"""Handing a build over to Snakemake: what is checked before, what is said after."""

import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import IO

from companion.errors import BookError

from . import ledger, progress, sweeps
from .book import Book


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
    lock = _lock(Path("_build/.lock"))
    os.environ |= {
        "STEPSIZE_BUILD_PID": str(os.getpid()),
        "STEPSIZE_ERRORS": str(out / "errors"),
        "XDG_CACHE_HOME": str(Path("_build/cache").resolve()),
        "STEPSIZE_GATE": args.gate,
        "STEPSIZE_TIMEOUT": str(args.timeout),
    }
    for old in (out / "errors").glob("*.txt"):
        old.unlink()
    plan = args.plan if "sweep" in targets else ""
    options = ["--cores", str(args.jobs), "--nolock", "--rerun-incomplete", "--keep-going", "--scheduler", "greedy"]
    options += [] if args.verbose else ["--logger", "book"]
    options += ["--config", f"profile={args.profile}", f"out={out}", f"gate={args.gate}", f"plan={plan}"]
    options += [f"replications={args.replications}"] if "replicate" in targets else []
    code, interrupted = _run(["--snakefile", args.snakefile or "Snakefile", *options, *args.more, "--", *targets])
    lock.close()
    if interrupted:
        print("\ninterrupted; what has run is kept, repeat the command to go on", file=sys.stderr, flush=True)
        return 130
    problems = [p.read_text(encoding="utf-8").strip() for p in sorted((out / "errors").glob("*.txt"))]
    if code:
        some = f"{len(problems)} problem{'s' * (len(problems) != 1)}:" if problems else "see above"
        print(f"\nThe build is red, {some}", *problems, sep="\n", file=sys.stderr, flush=True)
    for chapter in alone if not code else ():
        print("\n".join(ledger.lines(book, chapter, out / "executed")), flush=True)
    return code


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
