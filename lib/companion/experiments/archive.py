"""Recorded grids: results that take longer than a chapter may, computed once, cell by cell, and kept as JSON in the chapter's folder.

python -m companion.experiments.archive              # the grids, and what each costs
python -m companion.experiments.archive NAME ...     # computes the cells that these lack, or those of all; to begin anew, delete the file

A file is one object, cell name -> what was measured; or, where a grid has `facts`, such as its seed or its number of steps,
{fact: value, ..., "cells": {name: ...}}. A cell recorded under other facts does not count.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from companion.errors import DatasetError


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a grid lies, what Python runs to make it, what that costs, and the facts that all its cells share."""

    path: Path
    command: str
    cost: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> dict[str, Any]:
        """Cell name -> cell, in the order of the file; DatasetError where there is none under these facts."""
        if not self.path.is_file():
            raise DatasetError(f"{self.path.name} is missing; make it with: python {self.command}")
        record = json.loads(self.path.read_text(encoding="utf-8"))
        for name, value in self.facts.items():
            if record.get(name) != value:
                raise DatasetError(
                    f"{self.path.name} was made with {name} = {record.get(name)}, not {value}; "
                    f"make it again with: python {self.command}"
                )
        return record.get("cells", record)

    def write(self, cells: Mapping[str, Any]) -> None:
        """The file with these cells, whole or not at all; floats as Python prints them, not finite ones are refused."""
        record = {**self.facts, "cells": cells} if self.facts else cells
        part = self.path.with_suffix(f".{os.getpid()}")
        part.write_text(lines(record, width=0) + "\n", encoding="utf-8")
        part.replace(self.path)

    def fill(self, names: Iterable[str], compute: Callable[[str], Any], chosen: Iterable[str] = ()) -> None:
        """compute(name) for the `names` that the file lacks, or again for the `chosen`; written after each, so that a stop loses one."""
        names, chosen = list(names), list(chosen)
        if unknown := [name for name in chosen if name not in names]:
            raise DatasetError(f"{self.path.name} has no cell {unknown[0]!r}; there are {'; '.join(names)}")
        for name in chosen or [name for name in names if name not in self._recorded()]:
            start = time.perf_counter()
            cells = {name: compute(name)}
            cells = self._recorded() | cells  # another process may have written meanwhile
            self.write({name: cells[name] for name in names if name in cells})
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)

    def _recorded(self):
        try:
            return self.read()
        except DatasetError:
            return {}


def lines(value, width: int = 800) -> str:
    """JSON on one line up to `width` letters; what is longer has a line for each of its items."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(text) <= width or not isinstance(value, (Mapping, list)):
        return text
    if isinstance(value, list):
        items = [lines(item) for item in value]
    else:
        items = [f"{json.dumps(key, ensure_ascii=False)}: {lines(item)}" for key, item in value.items()]
    return text[0] + "\n" + ",\n".join(items) + "\n" + text[-1]


_HERE = Path(__file__).parent

#: The grids of the book by name.
GRIDS = {
    "defenders": Grid(
        _HERE / "adversarial_training/defenders.json",
        "-m companion.experiments.adversarial_training.defenses",
        "15 minutes on one core",
        {"seed": 0},
    ),
    "recurrent_races": Grid(
        _HERE / "recurrent_networks/recurrent_races.json",
        "-m companion.experiments.recurrent_networks.race",
        "an hour on one core",
    ),
    "graph_races": Grid(
        _HERE / "graph_hubs/graph_races.json",
        "-m companion.experiments.graph_hubs.race",
        "8 minutes on one core",
    ),
    "graph_variants": Grid(
        _HERE / "graph_hubs/graph_variants.json",
        "-m companion.experiments.graph_hubs.race",
        "8 minutes on one core",
    ),
    "embedding_rates": Grid(
        _HERE / "sparse_embeddings/embedding_rates.json",
        "-m companion.experiments.sparse_embeddings.race",
        "4 minutes on one core",
    ),
    "embedding_epochs": Grid(
        _HERE / "sparse_embeddings/embedding_epochs.json",
        "-m companion.experiments.sparse_embeddings.epochs",
        "12 minutes on one core",
    ),
    "embedding_readings": Grid(
        _HERE / "sparse_embeddings/embedding_readings.json",
        "-m companion.experiments.sparse_embeddings.readings",
        "10 minutes on one core",
    ),
    "embedding_words": Grid(
        _HERE / "sparse_embeddings/embedding_words.json",
        "-m companion.experiments.sparse_embeddings.by_word",
        "5 minutes on one core",
    ),
    "lazy_rows": Grid(
        _HERE / "sparse_embeddings/lazy_rows.json",
        "benchmarks/lazy_rows.py --record",
        "20 seconds on one core; the times are those of the machine that makes them",
    ),
    "large_tables": Grid(
        _HERE / "sparse_embeddings/large_tables.json",
        "benchmarks/lazy_rows.py --record-large",
        "a minute on one core; the times are those of the machine that makes them",
    ),
}


def main(names: list[str]) -> None:
    """Make the named grids, or list all with their costs."""
    if unknown := set(names) - {*GRIDS, "all"}:
        sys.exit(f"error: no grid {min(unknown)!r}; there are {', '.join(GRIDS)}, and all")
    for name, grid in GRIDS.items():
        if not names:
            print(f"{name:16s} {grid.cost}")
        elif name in names or "all" in names:
            subprocess.run([sys.executable, *grid.command.split()], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
