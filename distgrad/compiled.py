"""Compiled loops: arithmetic in one pass over memory, where numba is installed.

NumPy stays the reference: a loop does the same operations in the same order and precision, so it gives the same bits.
Without numba (``pip install 'distgrad[jit]'``), or with ``DISTGRAD_JIT=0`` in the environment, only time changes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import Array

__all__ = ["Loop", "available", "compiled", "usable"]

Loop = Callable[..., None]

_CHARS = "fd"  # float32 and float64
_made: dict[Loop, Loop] = {}
_lock = threading.Lock()


@functools.cache
def available() -> bool:
    """Whether loops are compiled: numba is installed and ``DISTGRAD_JIT`` is not 0; asked once in a process."""
    return os.environ.get("DISTGRAD_JIT") != "0" and importlib.util.find_spec("numba") is not None


def usable(like: Array) -> bool:
    """Whether a loop over arrays such as ``like`` is compiled: float32 or float64 on the CPU, and :func:`available`."""
    return like.__class__ is np.ndarray and like.dtype.char in _CHARS and available()


def compiled(loop: Loop, like: Array) -> Loop | None:
    """``loop`` compiled for arrays such as ``like``; None where that is not :func:`usable`.

    Args:
        loop: a plain Python loop over one-dimensional arrays and numbers of their dtype, which it writes to.
        like: one of the arrays.
    """
    if not usable(like):
        return None
    found = _made.get(loop)
    if found is None:
        with _lock:
            found = _made[loop] = _made.get(loop) or _compile(loop)
    return found


def _compile(loop: Loop) -> Loop:
    numba: Any = importlib.import_module("numba")
    # no fast-math: reassociation and fused multiply-adds would change bits with the place in a block
    options = dict(nogil=True, error_model="numpy", boundscheck=False)
    try:
        return numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # no folder that a cache could be written to
        return numba.njit(**options)(loop)
