"""Where compiled loops are kept, and when they are stale."""

from pathlib import Path

from numba.core.caching import UserProvidedCacheLocator

from .dependencies import digest, sources


class BySources(UserProvidedCacheLocator):
    """Keeps machine code in NUMBA_CACHE_DIR while neither the loop's file nor a module that it imports has changed.

    numba's own locators look at the loop's file alone, though the functions that a loop calls are compiled into it.
    Chosen by NUMBA_CACHE_LOCATOR_CLASSES=companion.build.numba_cache.BySources.
    """

    def get_source_stamp(self):
        return digest(sources(Path(self._py_file)))
