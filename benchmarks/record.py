"""The record of the benchmarks, results.json: every row of the plan, with its last measurement or the reason why there is none."""

import datetime
import json
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from plan import PLAN, Row

RECORD = Path(__file__).with_name("results.json")
WORDS = ("work", "peer", "measure")
LIBRARIES = ("numpy", "numba", "torch")


def absent(row: Row) -> str:
    """Why the row cannot be measured here, or ''."""
    try:
        version(row.package)
    except PackageNotFoundError:
        return f"{row.package} is not installed; `make bench` installs it from requirements-bench.txt"
    if row.package == "gillespy2" and not shutil.which("g++"):
        return "GillesPy2's solvers are C++ and need g++, which is not installed"
    if row.threads > 1 and (busy := psutil.cpu_percent(1)) > 10:
        return f"the clock is used on {row.threads} threads, and others keep the processors {busy:.0f}% busy"
    return ""


def device() -> str:
    """The processor, in words."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def surroundings(row: Row) -> dict:
    """Where and with what a row is measured."""
    names = dict.fromkeys((*LIBRARIES, row.package))
    return {
        "date": datetime.date.today().isoformat(),
        "device": device(),
        "threads": row.threads,
        "clock": "processor" if row.threads <= 1 else "wall",
        "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in names},
    }


def read(path: Path = RECORD) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def merged(old: list[dict], new: dict[tuple[str, str], dict]) -> list[dict]:
    """Every row of the plan in its order: measured now, as on record, or without a ratio.

    `new` maps (benchmark, key) to a measurement, or to {"missing": why}, which replaces no measurement that is on record. What is
    on record for other work, another peer or another measure is another comparison and is dropped.
    """
    rows, recorded = [], {(r["benchmark"], r["key"]): r for r in old}
    for benchmark, entries in PLAN.items():
        for key, row in entries.items():
            planned = {"benchmark": benchmark, "key": key} | {name: getattr(row, name) for name in (*WORDS, "target")}
            before = recorded.get((benchmark, key), {})
            same = all(before.get(name) == planned[name] for name in WORDS)
            kept = {name: value for name, value in before.items() if name not in planned} if same else {}
            now = new.get((benchmark, key), {})
            rows.append(planned | (kept if "ratio" in kept and "ratio" not in now else now or kept))
    return rows


def write(rows: list[dict], path: Path = RECORD) -> None:
    """A line for every row, so that a new measurement is a short diff."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
