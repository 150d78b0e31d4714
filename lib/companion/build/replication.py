"""The whole book again under other seeds: how often does each claim get the verdict that is published?

`make replicate N=20` executes every chapter under N further seeds through Snakemake, resumes where it was stopped, and writes
chapters/replication.json: the seeds, the versions they ran with, for every claim its verdict under each seed, the claims that
no seed can change, and the seconds that each chapter takes, by which a build starts the longest first.
"""

import json
import math
from collections import Counter
from pathlib import Path
from statistics import median

from companion.errors import BookError

from .book import write_whole

FIRST_SEED = 1001
FRAGILE = 0.9


def seeds(n: int) -> list[int]:
    """The seeds of n replications; the first n of any larger number."""
    if n < 1:
        raise BookError(f"N={n} replications make no record; use N=1 or more")
    return list(range(FIRST_SEED, FIRST_SEED + n))


def gather(records: dict[int, list[dict]], profile: str) -> dict:
    """seed -> records of its chapters -> the content of replication.json."""
    verdicts: dict[str, dict[int, str]] = {}
    for seed, chapters in records.items():
        for v in (v for record in chapters for v in record["verdicts"]):
            verdicts.setdefault(v["claim"], {})[seed] = v.get("computed", v["verdict"])
    if lost := [claim for claim, by_seed in verdicts.items() if set(by_seed) != set(records)]:
        raise BookError(f"claim {lost[0]} has no verdict under some seeds; run make replicate again")
    return {
        "profile": profile,
        "seeds": list(records),
        "versions": _versions(records),
        "claims": {claim: [by_seed[seed] for seed in records] for claim, by_seed in verdicts.items()},
        "constant": constant(records),
        "seconds": _seconds(records),
    }


def _seconds(records: dict[int, list[dict]]) -> dict[str, int]:
    """The median over the seeds of the time that a chapter takes, in whole seconds; chapters without claims are not replicated."""
    taken: dict[str, list[float]] = {}
    for record in (record for chapters in records.values() for record in chapters):
        taken.setdefault(record["chapter"], []).append(record["seconds"])
    return {chapter: round(median(seconds)) for chapter, seconds in taken.items()}


def constant(records: dict[int, list[dict]]) -> dict[str, list[str]]:
    """The claims of which no estimate in the text's own setting depends on the seed, exact or from a recorded grid, and their rows.

    Two seeds agree within 1e-6 of a value, or 1e-12 where it is zero: other processors add in another order.
    """
    estimates: dict[str, list[dict[str, float]]] = {}
    for v in (v for chapters in records.values() for record in chapters for v in record["verdicts"]):
        estimates.setdefault(v["claim"], []).append(_stated(v))

    def same(a, b):
        return a.keys() == b.keys() and all(math.isclose(a[row], b[row], rel_tol=1e-6, abs_tol=1e-12) for row in a)

    return {
        claim: list(first)
        for claim, (first, *others) in estimates.items()
        if others and all(same(first, o) for o in others)
    }


def _stated(verdict: dict) -> dict[str, float]:
    """measure and condition of the rows in the text's own setting -> estimate."""
    rows = (e for e in verdict["evidence"] if e["setting"] == "stated")
    return {f"{e['key']}: {e['condition']}": float(e["interval"]["estimate"]) for e in rows}


def _versions(records: dict[int, list[dict]]) -> list[dict]:
    """Each set of versions that replications ran with, and the seeds of which it ran a chapter."""
    found: dict[str, dict] = {}
    for seed, chapters in records.items():
        for record in chapters:
            entry = found.setdefault(json.dumps(record["versions"]), record["versions"] | {"seeds": []})
            entry["seeds"] += [] if seed in entry["seeds"] else [seed]
    return list(found.values())


def write(folder: Path, names: list[str], count: int, profile: str, target: Path) -> None:
    """`target` from the executed chapters below `folder`/<seed>/: the `count` seeds asked for, and others that are complete."""

    def record(seed, name):
        return folder / str(seed) / f"{name}.json"

    others = (int(f.name) for f in folder.iterdir() if f.name.isdigit())
    complete = {seed for seed in others if all(record(seed, name).is_file() for name in names)}
    records = {
        seed: [json.loads(record(seed, name).read_text(encoding="utf-8")) for name in names]
        for seed in sorted(complete | set(seeds(count)))
    }
    lines = json.dumps(gather(records, profile), ensure_ascii=False, indent=1)
    write_whole(target, lines + "\n")


def read(root: Path) -> dict:
    """chapters/replication.json of a book; {} where there is none."""
    path = root / "chapters" / "replication.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def replicated(record: dict, verdict: dict) -> dict | None:
    """{runs, same, others, fragile, constant} of one claim: in how many replications its verdict is what `verdict` computes.

    None without a record. What no seed can change has the published verdict under every seed, also where the register has taken
    rows away since the replications; rows that it has added may depend on the seed.
    """
    verdicts = record.get("claims", {}).get(verdict["claim"])
    if not verdicts:
        return None
    constant = record.get("constant", {})
    steady = verdict["claim"] in constant and _stated(verdict).keys() <= set(constant[verdict["claim"]])
    counts = Counter([verdict["computed"]] * len(verdicts) if steady else verdicts)
    same = counts[verdict["computed"]]
    return {
        "runs": len(verdicts),
        "same": same,
        "others": {v: n for v, n in counts.items() if v != verdict["computed"]},
        "fragile": same < FRAGILE * len(verdicts),
        "constant": steady,
    }
