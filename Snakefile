# What is built from what. The commands themselves are in lib/stepsize/__main__.py; the Makefile calls this file.
# Runs as it is on one machine; the same rules go to a cluster through Snakemake's executor plugins.

import json
import os
import sys

from companion.build.book import Book, library_files
from companion.build.site import pages
from companion.build.sweeps import points

PROFILE = config.get("profile", "published")
OUT = config.get("out") or ("_build" if PROFILE == "published" else f"_build/{PROFILE}")
BOOK = Book(".", PROFILE)
CHAPTERS = BOOK.chapters
TOOL = f"{sys.executable} -m companion"
LIBRARY = [str(p) for p in library_files()]
PINS = [name for name in ("requirements.txt",) if os.path.exists(name)]
CLAIMS = [name for name in ("chapters/claims.yml",) if os.path.exists(name)]
REPLICATIONS = [name for name in ("chapters/replication.json",) if os.path.exists(name)]

os.environ["STEPSIZE_ERRORS"] = f"{OUT}/errors"


wildcard_constraints:
    chapter=r"\w+",
    point=r"\w+-\w+",


rule html:
    input:
        f"{OUT}/html",


rule executed:
    input:
        expand(f"{OUT}/executed/{{chapter}}.ipynb", chapter=CHAPTERS),


# The fingerprint holds the contents of everything a chapter depends on: its text and claims, its parameters, the
# library, the pins, Python. A chapter runs again when one of them changes, and only then.
rule execute:
    input:
        source="chapters/{chapter}.md",
        library=LIBRARY,
        pins=PINS,
    output:
        notebook=f"{OUT}/executed/{{chapter}}.ipynb",
        record=f"{OUT}/executed/{{chapter}}.json",
    params:
        fingerprint=lambda wildcards: BOOK.fingerprint(wildcards.chapter),
    threads: 1
    shell:
        "{TOOL} execute --profile {PROFILE} {wildcards.chapter} {output.record}"


rule ledger:
    input:
        records=expand(f"{OUT}/executed/{{chapter}}.json", chapter=CHAPTERS),
        claims=CLAIMS,
        replications=REPLICATIONS,
        library=LIBRARY,
    output:
        expand(f"{OUT}/ledger/{{name}}", name=["ledger.txt", "summary.txt", "subjects.txt", "counts.txt", "timings.txt", "verdicts.svg", "verdicts.txt", "verdicts.json"]),
    params:
        chapters=CHAPTERS,
    shell:
        "{TOOL} ledger --profile {PROFILE} {OUT}/executed {OUT}/ledger"


rule gate:
    input:
        records=expand(f"{OUT}/executed/{{chapter}}.json", chapter=CHAPTERS),
        claims=CLAIMS,
    output:
        f"{OUT}/gate",
    params:
        gate=config.get("gate", "stop"),
        chapters=CHAPTERS,
    shell:
        "{TOOL} gate --profile {PROFILE} {OUT}/executed {output}"


rule site:
    input:
        notebooks=rules.executed.input,
        ledger=rules.ledger.output,
        gate=ancient(rules.gate.output),
        pages=[os.path.relpath(p) for p in pages(BOOK)],
        settings=["_config.yml", "_toc.yml"],
        library=LIBRARY,
        pins=PINS,
    output:
        directory(f"{OUT}/html"),
    params:
        chapters=CHAPTERS,
    threads: workflow.cores
    shell:
        "{TOOL} html --profile {PROFILE} {OUT}"


rule zip:
    input:
        f"{OUT}/html",
    output:
        f"{OUT}/adaptive-learning-rates.zip",
    shell:
        "{TOOL} pack {input} {output}"


# Chapter x parameter grid x seeds, as sweep.yml says -> one table (CSV) and one picture.
PLAN = config.get("plan", "")
POINTS = points(BOOK, PLAN) if PLAN else {}


rule point:
    input:
        source=lambda wildcards: f"chapters/{POINTS[wildcards.point]['chapter']}.md",
        library=LIBRARY,
        pins=PINS,
    output:
        notebook=f"{OUT}/sweep/points/{{point}}.ipynb",
        record=f"{OUT}/sweep/points/{{point}}.json",
    params:
        fingerprint=lambda wildcards: BOOK.fingerprint(POINTS[wildcards.point]["chapter"], POINTS[wildcards.point]["parameters"]),
        chapter=lambda wildcards: POINTS[wildcards.point]["chapter"],
        parameters=lambda wildcards: json.dumps(POINTS[wildcards.point]["parameters"]),
    shell:
        "{TOOL} execute --profile {PROFILE} --parameters {params.parameters:q} {params.chapter} {output.record}"


rule sweep:
    input:
        records=expand(f"{OUT}/sweep/points/{{point}}.json", point=POINTS),
        plan=PLAN or [],
    output:
        f"{OUT}/sweep/sweep.csv",
        f"{OUT}/sweep/sweep.svg",
    params:
        points=POINTS,
    shell:
        "{TOOL} sweep --profile {PROFILE} {PLAN} {OUT}/sweep/points {OUT}/sweep/sweep"


onerror:
    from pathlib import Path

    found = [p.read_text().strip() for p in sorted(Path(f"{OUT}/errors").glob("*.txt"))]
    print(f"\nThe build is red, {len(found)} problem{'s' * (len(found) != 1)}:", *(found or [f"see {log}"]), sep="\n", file=sys.stderr)
