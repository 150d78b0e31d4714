"""The tool that breaks formulas works itself."""

import numpy as np
import pytest

from mutants import mutant
from stepsize import SGD
from stepsize.backend import norm


def test_a_mutant_differs_and_the_original_does_not_change():
    broken = mutant(norm, "** 0.5", "** 1.0")
    assert broken(np.array([3.0, 4.0])) == 25
    assert norm(np.array([3.0, 4.0])) == 5


def test_a_mutated_class_keeps_its_name_fields_and_module():
    broken = mutant(SGD, "1e-2", "7.0")
    assert (broken().lr, broken.__name__, broken.__module__) == (7.0, "SGD", SGD.__module__)


@pytest.mark.parametrize(("old", "times"), [("no such text", 1), ("self", 1), ("state", 99)])
def test_text_that_does_not_occur_as_often_as_said_is_refused(old, times):
    with pytest.raises(LookupError, match="occurs"):
        mutant(SGD, old, "", times)
