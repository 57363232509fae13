"""Warnings that one rank gives for all."""

from __future__ import annotations

import sys
import warnings

__all__ = ["advise"]


def advise(text: str, stacklevel: int) -> None:
    """Warn (RuntimeWarning) of what slows a job; with ``-W error``, write it: an error on one rank would end them all.

    Args:
        stacklevel: of the user's line, seen from here.
    """
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=stacklevel)
    except RuntimeWarning:
        sys.stderr.write(f"distgrad: {text}\n")
