"""One thread, compiled loops kept outside the tree, and the same examples on every machine."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_CACHE_DIR", os.path.expanduser("~/.cache/stepsize/numba"))
os.environ.setdefault("NUMBA_CACHE_LOCATOR_CLASSES", "companion.build.numba_cache.BySources")
# `make test` hands its level and flags down, and a make that a test runs would print other lines because of them
os.environ.pop("MAKELEVEL", None)
os.environ.pop("MAKEFLAGS", None)
os.environ.pop("MFLAGS", None)

import pytest
from hypothesis import settings

settings.register_profile("book", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("book")


@pytest.fixture
def in_house_style():
    """The look of the book's figures for one test, which leaves no setting and no open figure behind."""
    from companion.evidence.figures import house_style, plt

    with plt.rc_context():
        house_style()
        yield
    plt.close("all")
