"""One thread, and the same examples on every machine."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("book", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("book")
