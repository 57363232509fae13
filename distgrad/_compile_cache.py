"""numba's files of compiled loops: where they cannot be read or written, only time changes.

numba (0.68, ``numba/core/caching.py``) unpickles its index and data files at a loop's first call and writes them after
compiling; what goes wrong there (a file cut short, a full disk, a folder that is no longer writable) would be the
caller's error, at each step of each later job.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

__all__ = ["make_careful"]

_said: set[str] = set()


class _CarefulCache:
    """In place of a dispatcher's cache: what it cannot do is not done, and said once."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """What was compiled for ``signature`` and kept; None where there is nothing, or nothing that can be read."""
        try:
            return self._cache.load_overload(signature, context)
        except Exception as error:  # whatever unpickling a damaged file raises
            self._forget("read", error)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled, where that is possible."""
        try:
            self._cache.save_overload(signature, compiled)
        except Exception as error:
            self._forget("written", error)

    def _forget(self, what: str, error: Exception) -> None:
        """Take the index away: it is damaged, or names data that is older than it says."""
        folder = Path(self._cache.cache_path)
        index = getattr(getattr(self._cache, "_cache_file", None), "_index_path", None)
        if index is not None:
            with contextlib.suppress(OSError):
                Path(index).unlink()
        file = str(folder / Path(index).name) if index is not None else str(folder)
        if file not in _said:
            _said.add(file)
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            sys.stderr.write(
                f"distgrad: the compiled loop kept in {file} could not be {what} ({reason}); it is compiled anew\n"
            )


def make_careful(dispatcher: Any) -> Any:
    """``dispatcher``, a loop that numba compiles and keeps, with a cache that raises nothing."""
    cache = getattr(dispatcher, "_cache", None)
    if cache is not None:
        dispatcher._cache = _CarefulCache(cache)
    return dispatcher
