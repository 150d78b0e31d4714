"""The build's commands, called by the Makefile and the Snakefile:  python -m companion --help.

An error of the book is printed as one line and ends with exit status 1; nothing else is caught.
"""

import argparse
import fcntl
import json
import os
import sys
import time
import traceback
from pathlib import Path

from stepsize.errors import StepsizeError

from .build import checks, execution, pages, site, sweeps
from .build import ledger as records
from .build.book import Book, write_whole


def out_folder(profile: str) -> str:
    """Profiles never mix: the published book lives in _build, the smoke build in _build/smoke."""
    return "_build" if profile == "published" else f"_build/{profile}"


def make(args) -> None:
    """Hand over to Snakemake, one build of this folder at a time, after the book's own checks."""
    book = Book(".", args.profile)
    book.smoke()
    for chapter in book.chapters:
        book.fingerprint(chapter)
    if args.gate not in ("stop", "warn"):
        raise StepsizeError(f"unknown gate {args.gate!r}; use GATE=stop or GATE=warn")
    out = Path(args.out or out_folder(args.profile))
    targets = [t.format(out=out) for t in args.targets]
    if "sweep" in targets:
        sweeps.points(book, args.plan)
    for target in targets:
        if target.startswith(f"{out}/executed/"):
            book.source(Path(target).stem)
    Path("_build").mkdir(exist_ok=True)
    lock = open("_build/.lock", "w")  # noqa: SIM115  stays open for Snakemake
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another build is at work here; waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock.fileno(), True)  # held until Snakemake itself has ended
    os.environ |= {
        "STEPSIZE_BUILD_PID": str(os.getpid()),
        "XDG_CACHE_HOME": str(Path("_build/cache").resolve()),
        "STEPSIZE_GATE": args.gate,
        "STEPSIZE_TIMEOUT": str(args.timeout),
    }
    errors = out / "errors"
    for old in errors.glob("*.txt"):
        old.unlink()
    options = ["--cores", str(args.jobs), "--nolock", "--rerun-incomplete", "--keep-going", "--scheduler", "greedy"]
    options += [
        "--quiet",
        "progress",
        "rules",
        "host",
        "reason",
        "--config",
        f"profile={args.profile}",
        f"out={out}",
        f"gate={args.gate}",
    ]
    options += [f"plan={args.plan if 'sweep' in targets else ''}"]
    from snakemake.cli import main as snakemake

    if not args.verbose:
        _hush()
    snakemake(["--snakefile", args.snakefile or "Snakefile", *options, *args.more, "--", *targets])


def _hush() -> None:
    """Of Snakemake's own words only errors, and not those that the build gathers itself at its end."""
    from snakemake import logging as its

    said = (
        "RuleException:\nCalledProcessError",
        "Exiting because a job",
        "WorkflowError:\nAt least one job",
        "Complete log",
    )
    keep = its.DefaultFilter.filter

    def errors_only(self, record):
        return record.levelno >= 40 and not str(record.msg).startswith(said) and keep(self, record)

    its.DefaultFilter.filter = errors_only


def execute(args) -> None:
    """Execute one chapter and write notebook and record."""
    execution.die_with_the_build()
    book = Book(args.root, args.profile)
    given = json.loads(args.parameters) if args.parameters else None
    timeout = float(args.timeout or os.environ.get("STEPSIZE_TIMEOUT") or 900)
    notebook, record = execution.execute(book, args.chapter, given, timeout)
    target = Path(args.output)
    write_whole(target.with_suffix(".ipynb"), json.dumps(notebook, ensure_ascii=False, indent=1))
    write_whole(target.with_suffix(".json"), json.dumps(record, ensure_ascii=False, indent=1))
    print(f"{args.chapter} · {args.profile} · {record['seconds']:.0f} s{_done(book, target.parent, given)}", flush=True)


def _done(book, folder: Path, given) -> str:
    """How many chapters of the book are up to date now."""
    if given is not None:
        return " · " + ", ".join(f"{name} = {value}" for name, value in given.items())
    names, done = book.chapters, 0
    for name in names:
        path = folder / f"{name}.json"
        done += path.is_file() and json.loads(path.read_text(encoding="utf-8"))["fingerprint"] == book.fingerprint(name)
    return f" · {done} of {len(names)} chapters done"


def ledger(args) -> None:
    """Write the ledger's tables, picture and verdicts.json from the records."""
    pages.write(Book(args.root, args.profile), Path(args.executed), Path(args.output))


def gate(args) -> None:
    """Compare computed with published verdicts."""
    found = records.differences(Book(args.root, args.profile), Path(args.executed))
    how = "off" if args.profile != "published" else os.environ.get("STEPSIZE_GATE", "stop")
    if found and how == "stop":
        raise StepsizeError(
            "the gate is closed:\n  " + "\n  ".join(found) + "\n  mend the chapter, or set the verdict in"
            " chapters/claims.yml if the run is right; GATE=warn goes on with a warning"
        )
    for line in found if how == "warn" else ():
        print(f"gate: warning: {line}", flush=True)
    write_whole(Path(args.output), how + "\n")


def html(args) -> None:
    """Assemble and build the site, check its pages, put it in place."""
    execution.die_with_the_build()
    start, book, out = time.monotonic(), Book(args.root, args.profile), Path(args.out)
    site.assemble(book, out / "executed", out / "ledger", out / "src")
    built = site.build(book, out / "src", out / "work")
    (built / "verdicts.json").write_bytes((out / "ledger" / "verdicts.json").read_bytes())
    if found := checks.problems(built):
        raise StepsizeError("the pages have problems:\n  " + "\n  ".join(found))
    site.put_in_place(built, out / "html")
    pages = len(list((out / "html").rglob("*.html")))
    print(
        f"site · {args.profile} · {pages} pages · {time.monotonic() - start:.0f} s · {out}/html/index.html", flush=True
    )


def pack(args) -> None:
    """The site as one zip."""
    site.pack(Path(args.html), Path(args.output))
    print(f"zip · {args.output}", flush=True)


def sweep(args) -> None:
    """Gather the runs of a sweep in one table and one picture."""
    found = sweeps.points(Book(args.root, args.profile), args.plan)
    sweeps.write(found, Path(args.folder), Path(args.output))
    print(f"sweep · {len(found)} runs · {args.output}.csv · {args.output}.svg", flush=True)


def compare(args) -> None:
    """Compare verdicts and glued values of two executed trees."""
    if found := records.compare(Path(args.one), Path(args.two)):
        raise StepsizeError("the two runs differ:\n  " + "\n  ".join(found))
    print(f"equal: verdicts and glued values of {len(list(Path(args.one).glob('*.json')))} chapters", flush=True)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m companion", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    def command(function, *positional, **options):
        sub = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        sub.add_argument("--profile", default="published")
        for name in positional:
            sub.add_argument(name)
        for name, default in options.items():
            sub.add_argument(f"--{name}", default=default)
        return sub

    sub = command(make, jobs="all", gate="stop", timeout="900", out="", snakefile="", plan="sweep.yml")
    sub.add_argument("--verbose", action="store_true")
    sub.add_argument("--more", action="append", default=[], help="an option for Snakemake itself")
    sub.add_argument("targets", nargs="+", help="files or rules of the Snakefile; {out} is the profile's folder")
    command(execute, "chapter", "output", root=".", parameters="", timeout="")
    command(ledger, "executed", "output", root=".")
    command(gate, "executed", "output", root=".")
    command(html, "out", root=".")
    command(pack, "html", "output")
    command(sweep, "plan", "folder", "output", root=".")
    command(compare, "one", "two")
    return top


def _report(args, text: str) -> None:
    """Within a build: one file per failed job, shown together at the end. Alone: print it."""
    if not (folder := os.environ.get("STEPSIZE_ERRORS")):
        print(text, file=sys.stderr, flush=True)
        return
    name = getattr(args, "chapter", args.command)
    print(f"{name} · {args.profile} · failed", flush=True)
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / f"{name}.txt").write_text(text + "\n", encoding="utf-8")


def main(arguments=None) -> int:
    args = parser().parse_args(arguments)
    try:
        args.function(args)
    except StepsizeError as error:
        _report(args, f"error: {error}")
        return 1
    except Exception:
        if not os.environ.get("STEPSIZE_ERRORS"):
            raise
        _report(args, traceback.format_exc())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
