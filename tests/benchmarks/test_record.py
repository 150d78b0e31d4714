"""The benchmarks' plan, their timing, and the record: what is measured replaces its own row and nothing else."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import record
import timing
from plan import PLAN, Row

from companion.build import performance
from mutants import mutant

HOME = Path(record.__file__).parent
MEASURED = {"ratio": 5.0, "low": 4.0, "high": 6.0, "rounds": 3, "threads": 1, "date": "2026-01-01"}


def find(rows, benchmark, key):
    (row,) = (r for r in rows if (r["benchmark"], r["key"]) == (benchmark, key))
    return row


# ---------------------------------------------------------------- plan


def test_every_benchmark_of_the_plan_is_a_program_and_has_a_title():
    assert [n for n in PLAN if n != "gpu" and not (HOME / f"{n}.py").is_file()] == []
    assert set(PLAN) == set(performance.TITLES)


def test_every_target_is_a_bound():
    for rows in PLAN.values():
        for row in rows.values():
            assert performance.region(row.target) != (-np.inf, np.inf)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["streams", "secant", "lazy_rows", "step"])
def test_a_benchmark_measures_the_rows_that_the_plan_names(name, tmp_path):
    done = subprocess.run(
        [sys.executable, HOME / f"{name}.py", "--tiny", "--to", tmp_path / "found.json"],
        capture_output=True, text=True, env={"OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {key for key, row in PLAN[name].items() if row.threads == 1}
    assert all(0 < row["low"] <= row["ratio"] <= row["high"] for row in found.values())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch_geometric") is not None, reason="the peer is installed")
def test_rows_without_their_peer_are_named_and_the_rest_is_measured():
    before = record.read()
    done = subprocess.run(
        [sys.executable, HOME, "--tiny", "--only", "gcn", "streams"], capture_output=True, text=True, timeout=120
    )
    said = "not measured: torch-geometric is not installed; `make bench` installs it from requirements-bench.txt"
    assert done.stdout.count(said) == len(PLAN["gcn"])
    assert "4 rows not measured, see above" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert record.read() == before


# ---------------------------------------------------------------- timing


def test_every_job_is_called_in_every_round_and_the_first_rounds_do_not_count():
    calls, ticks = [], iter(range(1000))
    jobs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.interleaved(jobs, 5, clock=lambda: next(ticks), warm=2)
    assert {name: len(s) for name, s in times.items()} == {"a": 5, "b": 5}
    assert all(sorted(calls[k : k + 2]) == ["a", "b"] for k in range(0, 14, 2))
    assert calls != ["a", "b"] * 7


def test_a_ratio_is_taken_round_by_round():
    above, below = [2.0, 9.0, 8.0], [2.0, 3.0, 1.0]
    assert timing.ratio(above, below) == {"ratio": 3.0, "low": 1.0, "high": 8.0, "rounds": 3}
    pooled = mutant(timing.ratio, "above / below", "np.sort(above) / np.sort(below)")(above, below)
    assert pooled != timing.ratio(above, below)


def test_the_processor_time_of_children_counts():
    start = timing.processor()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"])
    assert timing.processor() - start > 0.05


# ---------------------------------------------------------------- record


def test_an_empty_record_holds_every_row_of_the_plan_without_a_ratio():
    rows = record.merged([], {})
    assert [(r["benchmark"], r["key"]) for r in rows] == [(b, key) for b, of in PLAN.items() for key in of]
    assert not any("ratio" in r for r in rows)


def test_a_measurement_replaces_its_own_row_and_no_other():
    old = record.merged([], {("step", "fifty"): MEASURED, ("streams", "Adam"): MEASURED})
    new = record.merged(old, {("step", "fifty"): MEASURED | {"ratio": 4.5, "date": "2026-02-02"}})
    assert find(new, "step", "fifty")["ratio"] == 4.5
    assert find(new, "streams", "Adam") == find(old, "streams", "Adam")


def test_a_missing_peer_is_named_and_removes_nothing():
    old = record.merged([], {("streams", "Adam"): MEASURED})
    absent = {("streams", key): {"missing": "river is not installed"} for key in ("Adam", "AdaGrad")}
    new = record.merged(old, absent)
    assert find(new, "streams", "Adam") == find(old, "streams", "Adam")
    assert find(new, "streams", "AdaGrad")["missing"] == "river is not installed"
    assert "missing" not in find(record.merged(new, {("streams", "AdaGrad"): MEASURED}), "streams", "AdaGrad")


def test_what_was_measured_for_other_work_is_no_measurement_of_this_row():
    old = record.merged([], {("streams", "Adam"): MEASURED})
    find(old, "streams", "Adam")["work"] = "Adam on a shorter stream"
    assert "ratio" not in find(record.merged(old, {}), "streams", "Adam")


def test_a_new_target_keeps_the_measurement():
    old = record.merged([], {("streams", "Adam"): MEASURED})
    find(old, "streams", "Adam")["target"] = "≥ 1"
    row = find(record.merged(old, {}), "streams", "Adam")
    assert (row["target"], row["ratio"]) == (PLAN["streams"]["Adam"].target, 5.0)


def test_a_peer_that_is_not_installed_is_named_with_the_remedy():
    assert "make bench" in record.absent(Row("work", "peer", "≥ 1", "no-such-peer"))
    assert record.absent(Row("work", "peer", "≥ 1", "numpy")) == ""


def test_the_record_is_read_as_it_was_written(tmp_path):
    rows = record.merged([], {("streams", "Adam"): MEASURED})
    record.write(rows, tmp_path / "results.json")
    assert record.read(tmp_path / "results.json") == rows
    assert record.read(tmp_path / "none.json") == []


def test_the_committed_record_is_that_of_the_plan():
    rows = record.read()
    assert record.merged(rows, {}) == rows
