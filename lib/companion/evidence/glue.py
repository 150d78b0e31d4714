"""Notebook libraries without the part of them that is slow to import and that no notebook needs."""

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
