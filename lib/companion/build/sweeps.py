"""Chapter x parameter grid x seeds: every point is one run of a chapter; all of them make one table and one picture."""

import csv
import hashlib
import itertools
import json
from pathlib import Path

from companion.errors import BookError

from .book import Book, read_yaml, write_whole
from .pages import TEMPLATES

EVIDENCE = ("claim", "verdict", "when", "measure", "estimate", "low", "high", "says")


def points(book: Book, plan: Path | str) -> dict[str, dict]:
    """name -> {chapter, seed, parameters}: the product of grid and seeds of every chapter in `plan`, a YAML file.

    plateau_and_valley:
      grid: {steps: [200, 400]}
      seeds: {seed: [0, 1, 2]}
    """
    path = Path(plan)
    if not path.is_file():
        raise BookError(f"{plan} was not found; write one (chapter, grid, seeds) or name it: make sweep PLAN=file.yml")
    found = {}
    for chapter, entry in (read_yaml(path) or {}).items():
        book.source(chapter)
        if not book.claims().get(chapter):
            raise BookError(
                f"{path.name}: {chapter} judges no claim, and a sweep gathers verdicts; name a chapter with claims"
            )
        if not isinstance(entry, dict) or set(entry) - {"grid", "seeds"}:
            raise BookError(f"{path.name}: {chapter} needs 'grid' and 'seeds', each a map from a parameter to a list")
        axes = {**(entry.get("grid") or {}), **(entry.get("seeds") or {})}
        for name, values in axes.items():
            if not isinstance(values, list) or not values:
                raise BookError(f"{path.name}: {chapter}.{name} must be a list of values, got {values!r}")
        base = book.parameters(chapter)
        for values in itertools.product(*axes.values()):
            point = dict(zip(axes, values, strict=True))
            book.parameters(chapter, point)
            digest = hashlib.sha256(json.dumps([chapter, base | point], sort_keys=True).encode()).hexdigest()[:12]
            found[f"{chapter}-{digest}"] = {
                "chapter": chapter,
                "seeds": sorted(entry.get("seeds") or {}),
                "point": point,
                "parameters": base | point,
            }
    if not found:
        raise BookError(f"{path.name} names no chapter; give at least one")
    return found


def table(found: dict[str, dict], folder: Path) -> list[dict]:
    """One row per piece of evidence of every run: chapter, parameters, claim, verdict, measure, interval."""
    rows = []
    for name, entry in found.items():
        record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for verdict in record["verdicts"]:
            for e in verdict["evidence"]:
                rows.append(
                    {"chapter": entry["chapter"]}
                    | entry["point"]
                    | {"claim": verdict["claim"], "verdict": verdict["verdict"]}
                    | {"when": e["condition"], "measure": e["measure"], "says": e["says"]}
                    | {key: e["interval"][key] for key in ("estimate", "low", "high")}
                )
    return rows


def write(found: dict[str, dict], folder: Path, target: Path) -> None:
    """`target`.csv and `target`.svg."""
    rows = table(found, folder)
    swept = list(dict.fromkeys(name for entry in found.values() for name in entry["point"]))
    with target.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["chapter", *swept, *EVIDENCE], restval="")
        writer.writeheader()
        writer.writerows(rows)
    picture(found, rows, target.with_suffix(".svg"))


def picture(found: dict[str, dict], rows: list[dict], path: Path) -> None:
    """For every claim and grid point the share of runs (seeds) whose evidence supports the claim."""
    seeds = {entry["chapter"]: entry["seeds"] for entry in found.values()}
    says = {}
    for row in rows:
        names = [name for name in row if name not in ("chapter", *EVIDENCE, *seeds[row["chapter"]])]
        values = (f"{row[name]:g}" if isinstance(row[name], float) else row[name] for name in names)
        point = ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True)) or "as published"
        shares = says.setdefault(f"{row['chapter']} {row['claim']}", {})
        shares.setdefault(point, []).append(row["says"] == "supports")
    points = list(dict.fromkeys(point for shares in says.values() for point in shares))
    table = [
        {"name": name, "shares": [sum(s) / len(s) if (s := shares.get(point)) else None for point in points]}
        for name, shares in says.items()
    ]
    write_whole(path, TEMPLATES.get_template("sweep.svg").render(rows=table, points=points) + "\n")
