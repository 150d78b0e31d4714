"""What a chapter reports of a race: the tuning curve at the chosen setting, one positive cost for every rule, failures marked."""

import json

import numpy as np
import pytest

from companion.evidence import Chapter
from companion.evidence.races import MIME, race_record
from mutants import mutant
from stepsize.errors import EvidenceError
from stepsize.tuning import Choice, choose

LRS = np.array([0.01, 0.1, 1.0])


def chosen(curve, scores=(1.0, 3.0), settings=None) -> Choice:
    return choose(curve, LRS, settings)._replace(scores=np.array(scores))


def record(**changes) -> dict:
    given = {"entries": {"SGD": (chosen([4, 2, 8]), LRS), "Adam": (chosen([3, 2, 1]), LRS)}, "anchor": "plateau-fig"}
    return race_record("Plateau", **{"unit": "steps"} | given | changes)


def test_cost_is_the_statistic_of_the_scores_and_the_curve_that_of_the_chosen_setting():
    tuned = chosen([[9, 9, 9], [5, 4, 6]], settings=["a", "b"])
    entry = record(entries={"SGD": (tuned, LRS), "Adam": (chosen([3, 2, 1]), LRS)}, statistic=np.max)["entries"]["SGD"]
    assert entry == {"lr": 0.1, "lrs": [0.01, 0.1, 1.0], "curve": [5, 4, 6], "cost": 3.0}


def test_what_is_not_finite_or_above_the_limit_is_a_failure():
    entries = {"SGD": (chosen([4, np.inf, 8], [1.0, np.nan]), LRS), "Adam": (None, LRS)}
    found = record(entries=entries, limit=7)["entries"]
    assert found["SGD"]["curve"] == [4, None, None]
    assert found["SGD"]["cost"] is None
    assert found["Adam"] == {"lr": None, "lrs": LRS.tolist(), "curve": [None] * 3, "cost": None}


def test_a_choice_without_a_curve_reports_its_cost_alone():
    found = record(
        entries={"A": (Choice(1.0, None, (), False, np.empty(0), np.ones(2)), []), "B": (chosen([3, 2, 1]), LRS)}
    )
    assert found["entries"]["A"] == {"lr": 1.0, "lrs": [], "curve": [], "cost": 1.0}


def test_the_record_reaches_the_notebook_as_strict_json(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    Chapter("c", claims={}).race(
        "Plateau", unit="steps", anchor="a", entries={n: (chosen([3, 2, np.inf]), LRS) for n in "AB"}
    )
    (data,) = shown
    assert json.loads(json.dumps(data, allow_nan=False))[MIME]["chapter"] == "c"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": ""}, "needs a difficulty and a unit"),
        ({"anchor": "#plateau fig"}, "is no id of a page"),
        ({"entries": {"SGD": (chosen([4, 2, 8]), LRS)}}, "at least two"),
        ({"entries": {"SGD": (chosen([4, 2, 8]), LRS), "Adam": (choose([1, 2, 3], LRS), LRS)}}, "Adam: the choice has no scores"),
        ({"entries": {"SGD": (chosen([4, 2, 8]), LRS), "Adam": (chosen([1, 2, 3]), LRS[:2])}}, "3 costs does not fit 2"),
        ({"entries": {"SGD": (chosen([4, 2, 8]), LRS), "Adam": (chosen([1, 2, 3]), -LRS)}}, "must be positive and rise"),
        ({"entries": {"SGD": (chosen([4, 0, 8]), LRS), "Adam": (chosen([1, 2, 3]), LRS)}}, "SGD: cost 0 is not positive"),
    ],
)  # fmt: skip
def test_what_has_no_relative_cost_is_refused(changes, message):
    with pytest.raises(EvidenceError, match=message):
        record(**changes)


def test_a_curve_of_another_setting_would_be_noticed(monkeypatch):
    monkeypatch.setattr(
        "companion.evidence.races._entry",
        mutant(race_record.__globals__["_entry"], "curve[choice.index[:-1]]", "curve[0]"),
    )
    with pytest.raises(AssertionError):
        test_cost_is_the_statistic_of_the_scores_and_the_curve_that_of_the_chosen_setting()
