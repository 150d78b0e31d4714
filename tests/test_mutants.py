"""The tool that breaks formulas works itself."""

import ast

import numpy as np
import pytest

from mutants import mutant, replaced
from stepsize import SGD
from stepsize.backend import norm


def test_a_mutant_differs_and_the_original_does_not_change():
    broken = mutant(norm, "0.5", "1.0")
    assert broken(np.array([3.0, 4.0])) == 25
    assert norm(np.array([3.0, 4.0])) == 5


def test_a_mutated_class_keeps_its_name_fields_and_module():
    broken = mutant(SGD, "1e-2", "7.0")
    assert (broken().lr, broken.__name__, broken.__module__) == (7.0, "SGD", SGD.__module__)


SOURCE = '''
def f(a, b):
    """a + b"""
    c = (a +   # a + b
         b) * 2
    if c: c = 1
    return a - b + "a + b" * (a + b)
'''


@pytest.mark.parametrize(
    ("old", "new", "times", "line"),
    [
        ("a+b", "a", 2, "return a - b + 'a + b' * a"),  # any layout, but neither text nor comment
        ("a - b", "b", 1, "return b + 'a + b' * (a + b)"),
        ("c = 1", "c = 2; d = 3", 1, "        d = 3"),  # statements
        ("    if c:\n        c = 1", "", 1, "    pass"),
        ("c = (a + b) * 2\nif c: c = 1", "c = a", 1, "    c = a"),  # several
    ],
)
def test_terms_are_found_by_their_meaning(old, new, times, line):
    assert line in ast.unparse(replaced(ast.parse(SOURCE), old, new, times))


@pytest.mark.parametrize(
    ("old", "times"),
    [("d", 1), ("a + b", 1), ("a + b", 3), ("b + 'a + b'", 1), ("c = 1\nc = 2", 1)],  # b belongs to a - b
)
def test_a_term_that_does_not_occur_as_often_as_said_is_refused(old, times):
    with pytest.raises(LookupError, match="occurs"):
        replaced(ast.parse(SOURCE), old, "0", times)


def test_half_a_term_is_refused():
    with pytest.raises(SyntaxError):
        replaced(ast.parse(SOURCE), "+ b)", "")
