"""Numbers and tables that the prose of a chapter takes from its run, glued by MyST-NB.

Notebook libraries are imported without the part of them that is slow and that no notebook needs.
"""

import sys
from contextlib import contextmanager

_IRIS = "rfc3987_syntax"


@contextmanager
def without_iris():
    """Inside, jsonschema, which nbformat needs, is imported without its check of IRIs; a notebook has none.

    The check would build 39 grammars at import: more time than all else that a small chapter needs, once in its kernel and
    once in the process that runs it. Afterwards the library can be imported as ever.
    """
    hide = _IRIS not in sys.modules
    if hide:
        sys.modules[_IRIS] = None  # for Python: there is no such module
    try:
        yield
    finally:
        if hide:
            del sys.modules[_IRIS]


def _glue(name: str, value) -> None:
    with without_iris():
        from myst_nb import glue

        glue(name, value, display=False)


class _Text(str):
    """A string that displays without quotes."""

    def __repr__(self):
        return str(self)
