# What is built from what. The commands themselves are in lib/companion/__main__.py; the Makefile calls this file
# through them. Runs as it is on one machine; with CLUSTER=profile a cluster executes the chapters.

import json
import math
import os
import shlex
import sys

from companion.build.book import Book
from companion.build.dependencies import dependencies, digest, library_files
from companion.build.replication import read, seeds
from companion.build.site import pages
from companion.build.sweeps import points

PROFILE = config.get("profile", "published")
OUT = config.get("out") or ("_build" if PROFILE == "published" else f"_build/{PROFILE}")
BOOK = Book(".", PROFILE)
CHAPTERS = BOOK.chapters
TOOL = f"{shlex.quote(sys.executable)} -m companion"
PINS = [name for name in ("requirements.txt",) if os.path.exists(name)]
CLAIMS = [name for name in ("chapters/claims.yml",) if os.path.exists(name)]
REPLICATIONS = [name for name in ("chapters/replication.json",) if os.path.exists(name)]
PERFORMANCE = [name for name in ("benchmarks/results.json", "benchmarks/gpu.json") if os.path.exists(name)]
# The longest chapter starts first, so that none is left over at the end while the other processors wait.
SECONDS = read(BOOK.root).get("seconds", {})
ALONE = 1000  # threads, of which Snakemake gives as many as there are
# What a chapter asks of a cluster: megabytes, minutes.
MEMORY = 2000
MINUTES = math.ceil(float(os.environ.get("STEPSIZE_TIMEOUT") or 900) / 60) + 5


localrules:
    html,
    executed,
    ledger,
    gate,
    site,
    replicate,
    zip,
    pdf,
    sweep,


wildcard_constraints:
    chapter=r"\w+",
    point=r"\w+-\w+",
    seed=r"\d+",


rule html:
    input:
        f"{OUT}/html",


rule executed:
    input:
        expand(f"{OUT}/executed/{{chapter}}.ipynb", chapter=CHAPTERS),


# The fingerprint holds the contents of everything a chapter depends on: its text and claims, its parameters, the
# modules that it imports, the pins, Python. A chapter runs again when one of them changes, and only then.
rule execute:
    input:
        "chapters/{chapter}.md",
    output:
        notebook=f"{OUT}/executed/{{chapter}}.ipynb",
        record=f"{OUT}/executed/{{chapter}}.json",
    params:
        fingerprint=lambda wildcards: BOOK.fingerprint(wildcards.chapter),
    priority: lambda wildcards: SECONDS.get(wildcards.chapter, 0)
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=MINUTES,
    shell:
        "{TOOL} execute --profile {PROFILE} {wildcards.chapter} {output.record:q}"


rule ledger:
    input:
        records=expand(f"{OUT}/executed/{{chapter}}.json", chapter=CHAPTERS),
        claims=CLAIMS,
        replications=REPLICATIONS,
        performance=PERFORMANCE,
    output:
        expand(f"{OUT}/ledger/{{name}}", name=["ledger.txt", "summary.txt", "subjects.txt", "counts.txt", "timings.txt", "performance.txt", "difficulties.txt", "growth.svg", "verdicts.svg", "verdicts.txt", "verdicts.json"]),
    params:
        chapters=CHAPTERS,
        code=digest(dependencies(["import companion.build.pages"])),
    shell:
        "{TOOL} ledger --profile {PROFILE} {OUT:q}/executed {OUT:q}/ledger"


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
        "{TOOL} gate --profile {PROFILE} {OUT:q}/executed {output:q}"


# The pages print docstrings of the whole library.
rule site:
    input:
        notebooks=rules.executed.input,
        ledger=rules.ledger.output,
        gate=ancient(rules.gate.output),
        pages=[os.path.relpath(p) for p in pages(BOOK)],
        replications=REPLICATIONS,
        settings=["_config.yml", "_toc.yml"],
        pins=PINS,
    output:
        directory(f"{OUT}/html"),
    params:
        chapters=CHAPTERS,
        library=digest(library_files()),
    threads: ALONE
    shell:
        "{TOOL} html --profile {PROFILE} {OUT:q}"


# Every chapter that has claims, under further seeds -> how often each verdict comes out. The record is committed.
COUNT = int(config.get("replications") or 0)
RECORD = "chapters/replication.json" if PROFILE == "published" else f"{OUT}/replication.json"
JUDGED = [chapter for chapter in CHAPTERS if BOOK.claims().get(chapter)]


rule replica:
    input:
        "chapters/{chapter}.md",
    output:
        notebook=temp(f"{OUT}/replications/{{seed}}/{{chapter}}.ipynb"),
        record=f"{OUT}/replications/{{seed}}/{{chapter}}.json",
    params:
        fingerprint=lambda wildcards: BOOK.fingerprint(wildcards.chapter, {"seed": int(wildcards.seed)}),
        parameters=lambda wildcards: json.dumps({"seed": int(wildcards.seed)}),
    priority: lambda wildcards: SECONDS.get(wildcards.chapter, 0)
    resources:
        mem_mb=MEMORY,
        runtime=MINUTES,
    shell:
        "{TOOL} execute --profile {PROFILE} --parameters {params.parameters:q} {wildcards.chapter} {output.record:q}"


rule replicate:
    input:
        expand(f"{OUT}/replications/{{seed}}/{{chapter}}.json", seed=seeds(COUNT) if COUNT else [], chapter=JUDGED),
    output:
        update(RECORD),
    shell:
        "{TOOL} replicate --profile {PROFILE} {OUT:q}/replications {COUNT} {output:q}"


rule zip:
    input:
        f"{OUT}/html",
    output:
        f"{OUT}/adaptive-learning-rates.zip",
    shell:
        "{TOOL} pack {input:q} {output:q}"


rule pdf:
    input:
        f"{OUT}/html",
    output:
        f"{OUT}/adaptive-learning-rates.pdf",
    threads: ALONE
    shell:
        "{TOOL} pdf {input:q} {output:q}"


# Chapter x parameter grid x seeds, as sweep.yml says -> one table (CSV) and one picture.
PLAN = config.get("plan", "")
POINTS = points(BOOK, PLAN) if PLAN else {}


rule point:
    input:
        lambda wildcards: f"chapters/{POINTS[wildcards.point]['chapter']}.md",
    output:
        notebook=f"{OUT}/sweep/points/{{point}}.ipynb",
        record=f"{OUT}/sweep/points/{{point}}.json",
    params:
        fingerprint=lambda wildcards: BOOK.fingerprint(POINTS[wildcards.point]["chapter"], POINTS[wildcards.point]["parameters"]),
        chapter=lambda wildcards: POINTS[wildcards.point]["chapter"],
        parameters=lambda wildcards: json.dumps(POINTS[wildcards.point]["parameters"]),
    resources:
        mem_mb=MEMORY,
        runtime=MINUTES,
    shell:
        "{TOOL} execute --profile {PROFILE} --parameters {params.parameters:q} {params.chapter} {output.record:q}"


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
        "{TOOL} sweep --profile {PROFILE} {PLAN:q} {OUT:q}/sweep/points {OUT:q}/sweep/sweep"
