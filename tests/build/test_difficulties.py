"""Rules against difficulties: relative costs, one rate for all that leaves the row's own curve out, marks for failures."""

import json
import math
import warnings
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

import small_book
from companion.build import difficulties, execution, ledger, pages, site
from companion.build.book import Book, write_whole
from companion.evidence.races import MIME, race_record
from markup import Page
from mutants import mutant
from stepsize.tuning import Choice, choose

LRS = 10 ** np.arange(-3, 1.01, 0.25)


def valley(best: float, floor: float, scale: float = 1.0, lrs=LRS) -> tuple[Choice, np.ndarray]:
    """A rule whose cost rises quadratically in log10 of the rate from `floor` at `best`."""
    curve = scale * (floor + (np.log10(lrs) - np.log10(best)) ** 2)
    choice = choose(curve, lrs)
    return choice._replace(scores=np.array([curve.min()])), lrs


def race(difficulty: str, scale: float = 1.0, **rules) -> dict:
    """A race as a chapter's record has it: rule -> (best rate, floor)."""
    entries = {rule: valley(*of, scale) for rule, of in rules.items()}
    return {"chapter": "tiny"} | race_record(difficulty, "steps", entries, "tiny-fig")


@pytest.fixture
def races():
    """Adam's best rate is the same everywhere, SGD's moves by two decades."""
    return [
        race("plateau", SGD=(1.0, 2), Adam=(0.1, 1)),
        race("valley", SGD=(0.1, 1), Adam=(0.1, 2)),
        race("spikes", SGD=(0.01, 3), Adam=(0.1, 1)),
    ]


def test_every_relative_cost_is_at_least_one_and_some_rule_of_each_race_is_the_best(races):
    for row in difficulties.cells(races).values():
        assert min(cell.own for cell in row.values()) == 1
        assert all(cell.one >= 1 for cell in row.values())


def test_the_unit_of_a_race_and_the_order_of_rules_and_races_change_nothing(races):
    other = [
        race("spikes", 60, Adam=(0.1, 1), SGD=(0.01, 3)),
        race("valley", 1e-3, SGD=(0.1, 1), Adam=(0.1, 2)),
        races[0],
    ]
    one, two = difficulties.cells(races), difficulties.cells(other)
    for name, row in one.items():
        for rule, cell in row.items():
            assert two[name][rule] == pytest.approx(cell, rel=1e-12), (name, rule)


def test_the_one_rate_is_the_best_compromise_of_the_other_difficulties(races):
    table = difficulties.cells(races)
    # mean of log(1 + l^2) and log(3 + (l + 2)^2) over l = log10(rate): a rate between those of valley and spikes
    log = np.arange(-3, 1.01, 0.25)
    others = np.log((1 + (log + 1) ** 2) / 1) + np.log((3 + (log + 2) ** 2) / 1)
    assert table["plateau"]["SGD"].rate == pytest.approx(10 ** log[others.argmin()])
    assert table["plateau"]["SGD"].one == pytest.approx(2 + log[others.argmin()] ** 2)
    assert [row["Adam"].rate for row in table.values()] == pytest.approx([0.1] * 3)


def leaves_out(races):
    """The rate for the first race does not depend on the curves of the first race."""
    moved = [race("plateau", SGD=(1e-3, 2), Adam=(10, 1)), *races[1:]]
    one, two = (difficulties.cells(all_of)["plateau"] for all_of in (races, moved))
    assert [cell.rate for cell in one.values()] == [cell.rate for cell in two.values()]


def test_no_rate_is_chosen_on_the_curve_it_is_reported_on(races):
    leaves_out(races)


def test_a_choice_that_used_the_rows_own_curve_would_be_noticed(races, monkeypatch):
    monkeypatch.setattr(
        difficulties, "one_rate", mutant(difficulties.one_rate, "name != difficulty and rule in of", "rule in of")
    )
    with pytest.raises(AssertionError):
        leaves_out(races)


def test_a_rate_outside_the_grid_of_a_race_is_read_at_the_edge_and_marked(races):
    narrow = {"chapter": "tiny"} | race_record(
        "narrow", "steps", {"Adam": valley(1e-3, 1, lrs=LRS[:3]), "SGD": valley(0.1, 1)}, "tiny-fig"
    )
    table = difficulties.cells([*races, narrow])
    cell = table["narrow"]["Adam"]
    assert cell.beyond
    assert cell.one == pytest.approx(1 + 0.5**2)
    assert not table["plateau"]["Adam"].beyond


def test_failures_are_marked_and_count_a_hundredfold_in_choosing():
    entries = {"SGD": valley(1.0, 1), "far": valley(0.1, 150)}
    hard = {"chapter": "tiny"} | race_record("hard", "steps", entries, "tiny-fig")
    row = difficulties.cells([hard, race("plateau", SGD=(0.1, 1), far=(0.1, 2))])["hard"]
    assert math.isinf(row["far"].own)
    assert math.isinf(row["far"].one)
    assert difficulties.typical([1.0, math.inf]) == pytest.approx(10)


def test_a_race_in_which_everything_fails_has_marks_and_no_best_rule(races):
    lost = {"chapter": "tiny"} | race_record("lost", "steps", {"SGD": (None, LRS), "Adam": (None, LRS)}, "tiny-fig")
    page = difficulties.page({"tiny": {"races": [*races, lost]}})
    assert all(math.isinf(cell.own) for cell in difficulties.cells([*races, lost])["lost"].values())
    assert '<td class="best">none</td>' in page


def test_a_rule_without_a_curve_has_its_own_cost_and_no_other(races):
    alone = {
        rule: (Choice(0.1, None, (), False, np.empty(0), np.array([cost])), [])
        for rule, cost in (("SGD", 1.0), ("Adam", 2.0))
    }
    bare = {"chapter": "tiny"} | race_record("recorded", "error", alone, "tiny-fig")
    cell = difficulties.cells([*races, bare])["recorded"]["Adam"]
    assert cell == (2.0, None, None, False)


def test_the_page_links_every_cell_and_says_who_is_best(races):
    races.append(race("bursts", SGD=(0.1, 1), implicit=(0.1, 0.5)))
    page = difficulties.page({"tiny": {"races": races}, "other": {}})
    table = page.partition("```{raw} html\n")[2].removesuffix("```\n")
    Page(table)
    assert table.count('href="tiny.html#tiny-fig"') == 4 + 7  # a row's name, and its cells
    assert '<td class="best">implicit</td>' in table
    assert "3 different rules in 4 races, most often Adam (2)" in page
    assert page.count("\n- **With") == 2


def test_without_races_the_page_says_so():
    assert difficulties.page({"tiny": {"verdicts": []}}) == "No chapter reports a race.\n"


def test_a_race_goes_from_the_notebook_into_the_record_and_not_onto_the_chapters_page(races, tmp_path):
    book, run = Book(small_book.write(tmp_path / "book")), tmp_path / "run"
    shown = nbformat.v4.new_output("display_data", {MIME: races[0]})
    cells = [nbformat.v4.new_markdown_cell("# Tiny"), nbformat.v4.new_code_cell("book.race()", outputs=[shown])]
    notebook = nbformat.v4.new_notebook(cells=cells)
    said = execution.record(notebook, SimpleNamespace(lines={}))
    assert said["races"] == [races[0]]
    write_whole(run / "tiny.ipynb", json.dumps(notebook))
    write_whole(run / "tiny.json", json.dumps({"chapter": "tiny", "seconds": 1.0} | said))
    pages.write(book, run, tmp_path / "made")
    assert "tiny.html#tiny-fig" in (tmp_path / "made/difficulties.txt").read_text()
    site.assemble(book, run, tmp_path / "made", tmp_path / "site")
    markdown, code = json.loads((tmp_path / "site/chapters/tiny.ipynb").read_text())["cells"]
    assert code["outputs"] == []
    assert "outputs" not in markdown


def test_a_race_that_comes_out_otherwise_is_a_difference_between_two_runs(races, tmp_path):
    for folder, race in (("one", races[0]), ("two", races[0] | {"unit": "epochs"})):
        write_whole(tmp_path / folder / "tiny.json", json.dumps({"verdicts": [], "races": [race], "glued": {}}))
    assert ledger.compare(tmp_path / "one", tmp_path / "one") == []
    (line,) = ledger.compare(tmp_path / "one", tmp_path / "two")
    assert line.startswith("tiny, race plateau")


def test_a_cost_that_overflows_when_compared_is_a_failure_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert difficulties.relative(np.array([1.0, 1e308]), 1e-9).tolist() == [np.inf, np.inf]
        assert difficulties.relative(np.array([1e-9, 1e300]), 1e-9).tolist() == [1.0, np.inf]
