"""The build's commands, called by the Makefile and the Snakefile:  python -m companion --help.

An error of the book, a full disk and a folder that cannot be written to are printed as one line, with exit status 1.
"""

import argparse
import errno
import json
import os
import sys
import time
import traceback
from pathlib import Path

from stepsize.errors import StepsizeError

from .build import execution, pages, replication, site, sweeps
from .build import ledger as records
from .build import pdf as printed
from .build.book import Book, write_whole
from .build.make import make
from .errors import BookError

#: What the machine may refuse, and what helps.
REFUSED = {
    errno.ENOSPC: "make room on the disk, then repeat the command",
    errno.EDQUOT: "make room on the disk, then repeat the command",
    errno.EROFS: "a build writes to _build and .snakemake; use a checkout that can be written to",
    errno.EACCES: "a build writes to _build and .snakemake; use a checkout that can be written to",
}


def execute(args) -> None:
    """Execute one chapter and write notebook and record."""
    execution.die_with_the_build()
    book, target = Book(args.root, args.profile), Path(args.output)
    given = json.loads(args.parameters) if args.parameters else None
    timeout = float(args.timeout or os.environ.get("STEPSIZE_TIMEOUT") or 900)
    try:
        notebook, record = execution.execute(book, args.chapter, given, timeout)
    except BookError as error:
        if given is None:
            raise
        point = ", ".join(f"{name} = {value}" for name, value in given.items())
        raise BookError(f"{error} (with {point})") from None
    write_whole(target.with_suffix(".ipynb"), json.dumps(notebook, ensure_ascii=False, indent=1))
    write_whole(target.with_suffix(".json"), json.dumps(record, ensure_ascii=False, indent=1))


def ledger(args) -> None:
    """Write the ledger's tables, picture and verdicts.json from the records."""
    pages.write(Book(args.root, args.profile), Path(args.executed), Path(args.output))


def gate(args) -> None:
    """Compare computed with published verdicts."""
    found = records.differences(Book(args.root, args.profile), Path(args.executed))
    how = "off" if args.profile != "published" else os.environ.get("STEPSIZE_GATE", "stop")
    if found and how == "stop":
        raise StepsizeError(
            "the gate is closed:\n  " + "\n  ".join(found) + "\n  correct the chapter, or set the verdict in"
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
    built, faults = site.build(book, out / "src", out / "work")
    if faults:
        raise BookError("the pages have faults:\n  " + "\n  ".join(faults))
    site.put_in_place(built, out / "html")
    number, seconds = len(list((out / "html").rglob("*.html"))), time.monotonic() - start
    print(f"site · {args.profile} · {number} pages · {seconds:.0f} s · {out}/html/index.html", flush=True)


def pack(args) -> None:
    """The site as one zip."""
    site.pack(Path(args.html), Path(args.output))
    print(f"zip · {args.output}", flush=True)


def pdf(args) -> None:
    """The site as one PDF."""
    number = printed.write(Path(args.html), Path(args.output))
    print(f"pdf · {number} pages joined · {args.output}", flush=True)


def sweep(args) -> None:
    """Gather the runs of a sweep in one table and one picture."""
    found = sweeps.points(Book(args.root, args.profile), args.plan)
    sweeps.write(found, Path(args.folder), Path(args.output))
    print(f"sweep · {len(found)} runs · {args.output}.csv · {args.output}.svg", flush=True)


def replicate(args) -> None:
    """Gather replications, chapters executed under further seeds, in one record."""
    book = Book(args.root, args.profile)
    names = [chapter for chapter in book.chapters if book.claims().get(chapter)]
    replication.write(Path(args.folder), names, int(args.count), args.profile, Path(args.output))
    print(f"replications · {args.count} seeds · {len(names)} chapters · {args.output}", flush=True)


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

    sub = command(
        make,
        jobs="all",
        gate="stop",
        timeout="900",
        out="",
        snakefile="",
        plan="sweep.yml",
        replications="0",
        cluster="",
    )
    sub.add_argument("--verbose", action="store_true")
    sub.add_argument("--more", action="append", default=[], help="an option for Snakemake itself")
    sub.add_argument("targets", nargs="+", help="files or rules of the Snakefile; {out} is the profile's folder")
    command(execute, "chapter", "output", root=".", parameters="", timeout="")
    command(ledger, "executed", "output", root=".")
    command(gate, "executed", "output", root=".")
    command(html, "out", root=".")
    command(pack, "html", "output")
    command(pdf, "html", "output")
    command(sweep, "plan", "folder", "output", root=".")
    command(replicate, "folder", "count", "output", root=".")
    command(compare, "one", "two")
    return top


def _report(args, text: str) -> None:
    """Within a build: one file per failed job, shown together at the end. Alone: print it."""
    if folder := os.environ.get("STEPSIZE_ERRORS"):
        name = Path(args.output).stem if args.command == "execute" else args.command
        try:
            write_whole(Path(folder) / f"{name}.txt", text + "\n")
            return
        except OSError:  # of a full disk one can speak, but not write
            pass
    print(text, file=sys.stderr, flush=True)


def main(arguments=None) -> int:
    args = parser().parse_args(arguments)
    try:
        return args.function(args) or 0
    except StepsizeError as error:
        text = f"error: {error}"
    except OSError as error:
        if error.errno in REFUSED:
            text = f"error: {error.filename or args.command}: {error.strerror}; {REFUSED[error.errno]}"
        elif os.environ.get("STEPSIZE_ERRORS"):
            text = traceback.format_exc()
        else:
            raise
    except KeyboardInterrupt:
        return 130
    except Exception:
        if not os.environ.get("STEPSIZE_ERRORS"):
            raise
        text = traceback.format_exc()
    _report(args, text)
    return 1


if __name__ == "__main__":
    sys.exit(main())
