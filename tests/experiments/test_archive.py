"""Recorded grids: written whole, resumed cell by cell, and refused where they are of other facts."""

import json
from dataclasses import replace

import pytest

from companion.errors import DatasetError
from companion.experiments.archive import GRIDS, Grid, lines
from companion.experiments.archive import main as command
from mutants import mutant

CELLS = {"L2 | Adam, β₂ = 0.9": {"lr": 0.003, "scores": [1.5, None]}, "a": [1, 2], "b": []}


@pytest.fixture
def grid(tmp_path):
    return Grid(tmp_path / "grid.json", "-m somewhere.race", "a second")


@pytest.mark.parametrize("facts", [{}, {"seed": 5, "steps": 200}])
def test_what_is_written_is_read_in_its_order_and_written_again_to_the_same_text(grid, facts):
    grid = replace(grid, facts=facts)
    grid.write(CELLS)
    assert list(grid.read().items()) == list(CELLS.items())
    text = grid.path.read_text(encoding="utf-8")
    grid.write(grid.read())
    assert grid.path.read_text(encoding="utf-8") == text
    assert {**json.loads(text)} == ({**facts, "cells": CELLS} if facts else CELLS)
    assert [p.name for p in grid.path.parent.iterdir()] == ["grid.json"]


def test_cells_of_another_seed_do_not_count(grid):
    replace(grid, facts={"seed": 1}).write(CELLS)
    with pytest.raises(DatasetError, match=r"seed = 1, not 2; .* python -m somewhere\.race"):
        replace(grid, facts={"seed": 2}).read()
    grid.write(CELLS)
    with pytest.raises(DatasetError, match="seed = None, not 2"):
        replace(grid, facts={"seed": 2}).read()
    replace(grid, facts={"seed": 2}).fill(["a", "b"], str.upper, ["b"])
    assert replace(grid, facts={"seed": 2}).read() == {"b": "B"}


def test_a_missing_file_is_named_with_the_command_that_makes_it(grid):
    with pytest.raises(DatasetError, match=r"grid\.json is missing; make it with: python -m somewhere\.race"):
        grid.read()


def test_only_missing_or_chosen_cells_are_computed_and_each_is_kept_at_once(grid):
    computed = []

    def compute(name):
        computed.append((name, list(grid.read()) if grid.path.exists() else []))
        return len(computed)

    grid.fill("abc", compute, ["b"])
    grid.fill("abc", compute)
    assert computed == [("b", []), ("a", ["b"]), ("c", ["a", "b"])]
    assert grid.read() == {"a": 2, "b": 1, "c": 3}
    grid.fill("abc", compute, ["a"])
    assert grid.read() == {"a": 4, "b": 1, "c": 3}
    with pytest.raises(DatasetError, match="no cell 'd'; there are a; b; c"):
        grid.fill("abc", compute, ["d"])
    broken = mutant(Grid.fill, "name not in self._recorded()", "True")
    broken(grid, "abc", compute)
    assert len(computed) == 7


def test_a_write_that_fails_leaves_the_old_file(grid):
    grid.write({"a": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        grid.write({"a": float("nan")})
    assert grid.read() == {"a": 1.0}


def test_long_values_get_a_line_for_each_item():
    assert lines({"a": [1, 2], "b": {}}, 15) == '{\n"a": [1, 2],\n"b": {}\n}'
    assert lines([[0.5] * 200, "x" * 900]) == "[\n" + lines([0.5] * 200) + ',\n"' + "x" * 900 + '"\n]'


@pytest.mark.parametrize("name", GRIDS)
def test_the_recorded_files_are_as_the_archive_writes_them(name):
    text = GRIDS[name].path.read_text(encoding="utf-8")
    assert lines(json.loads(text), 0) + "\n" == text


def test_the_command_lists_costs_and_refuses_an_unknown_name(capsys):
    command([])
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(GRIDS)
    with pytest.raises(SystemExit, match="no grid 'x'"):
        command(["x"])
