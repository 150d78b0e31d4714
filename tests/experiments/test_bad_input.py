"""The table of bad input: what goes in, where, and what comes out. Never NaN in silence, never an error without a remedy."""

import re

import numpy as np
import pytest

from bad_input import PLACES, REFUSED, arrays, kinds
from companion.errors import DatasetError
from companion.experiments.datasets import Dataset, load
from companion.experiments.inputs import numbers
from companion.experiments.poisson_bursts.streams import kl, recorded_kl
from mutants import mutant
from stepsize.errors import StepsizeError


def silent(result) -> bool:
    return any(np.isnan(a).any() for a in arrays(result) if a.dtype.kind in "fc")


def answer(place, value):
    """The error in one line, or None if the value that came out is sound."""
    try:
        result = place.call(value)
    except StepsizeError as error:
        return str(error)
    assert not silent(result)
    assert place.right(result)
    return None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", PLACES)
def test_what_is_bad_is_refused_with_a_remedy_and_what_is_not_has_a_value(name):
    place = PLACES[name]
    assert answer(place, place.good) is None
    answers = {kind: answer(place, value) for kind, value in kinds(place.good).items()}
    errors = {kind: text for kind, text in answers.items() if text is not None}
    assert set(errors) == REFUSED[name]
    for kind, text in errors.items():
        assert re.search(place.names or re.escape(name.split(": ")[-1]), text), (kind, text)
        assert "; " in text or " must " in text, (kind, text)
        assert "\n" not in text
        assert len(text) < 320, (kind, text)


def test_the_table_is_large_and_no_place_is_without_expectation():
    assert sum(len(kinds(place.good)) for place in PLACES.values()) >= 300
    assert set(REFUSED) == set(PLACES)


def test_nan_in_silence_would_be_noticed():
    assert silent(recorded_kl(2.0, np.nan))
    assert not silent(kl(1.0, 2.0))
    unguarded = mutant(numbers, "not np.isfinite(total)", "False")
    assert np.isnan(unguarded([np.nan], "x", "fill it")).all()


@pytest.mark.parametrize(
    "name", [np.nan, np.inf, "", 0, 1e300, -1, ["digits"], "digits"[::-1], b"digits", None, {}, np.array(["digits"])]
)
def test_what_is_no_name_of_a_data_set_is_answered_with_the_names(name):
    with pytest.raises(DatasetError, match=r"no data set .*; there are auckland_pedestrians, .*digits"):
        load(name)


@pytest.mark.parametrize("module", ["", "no_such.module", "stepsize.errors", 5, None, np.nan])
def test_a_module_that_holds_no_data_is_answered_with_the_command_that_installs_it(module):
    with pytest.raises(DatasetError, match=r"'Nothing' needs the package .*: pip install"):
        Dataset("Nothing", "", "", {"a": "0" * 64}, dict, module, "nothing==1.0").verify()


@pytest.mark.parametrize("files", [{}, {"data/digits.csv.gz": ""}, {"data/digits.csv.gz": np.nan}, {"": "0" * 64}])
def test_a_data_set_without_files_or_with_a_wrong_checksum_is_refused(files):
    with pytest.raises(DatasetError, match=r"names no file; give|has checksum .*; pip install"):
        Dataset("Digits", "", "", files, dict).verify()
