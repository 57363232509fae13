"""Compiled loops: arithmetic in one pass over memory, where numba is installed.

NumPy stays the reference: a loop does the same operations in the same order and precision, so it gives the same bits.
Without numba (``pip install 'distgrad[jit]'``), with ``DISTGRAD_JIT=0`` in the environment, or where what numba has
compiled cannot be kept or read again, only time changes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import operator
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._compile_cache import make_careful
from ._instead import JIT_NAMES, instead
from .backend.protocol import Array

__all__ = ["Loop", "MOST_PARTS", "Mean", "available", "compiled", "usable"]

Loop = Callable[..., None]

MOST_PARTS = 16  # of a mean: a loop reads all of them side by side

_CHARS = "fd"  # float32 and float64
_made: dict[Loop, Loop] = {}
_lock = threading.Lock()


class Mean(NamedTuple):
    """The mean of several arrays, for a compiled loop to read as one: an element is made when the loop asks for it.

    Elements have the bits that :func:`~distgrad.distributed.communication.reduction.combine` gives.

    Attributes:
        parts: the arrays, of one shape (1-d) and dtype; at most :data:`MOST_PARTS`.
        number: how many they are, of their dtype; where that is a power of two, one over it.
    """

    parts: tuple[Array, ...]
    number: Any

    @classmethod
    def of(cls, parts: Sequence[Array]) -> Mean:
        n = len(parts)
        return cls(tuple(parts), parts[0].dtype.type(n if n & (n - 1) else 1 / n))


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
        loop: a plain Python loop over one-dimensional arrays and numbers of their dtype, which it writes to.  Where
            it only reads an array, element by element, it may be given a :class:`Mean` instead.
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
    _teach_means()
    # no fast-math: reassociation and fused multiply-adds would change bits with the place in a block
    options = dict(nogil=True, error_model="numpy", boundscheck=False)
    try:
        return make_careful(numba.njit(cache=True, **options)(loop))
    except RuntimeError:  # no folder that a cache could be written to
        return numba.njit(**options)(loop)


@functools.cache
def _teach_means() -> None:
    """Have compiled loops read ``mean[i]`` of a :class:`Mean`.

    Loops compiled before a change of this text are found in numba's caches until their own file changes.
    """
    types, extending = importlib.import_module("numba.core.types"), importlib.import_module("numba.extending")

    def sum_at(parts, i):  # type: ignore[no-untyped-def]
        """Element ``i`` of the sum of ``parts``, added up in their order."""

    total: Any = sum_at  # numba compares signatures, hints included, so there are none

    @extending.overload(total)
    def total_of(parts, i):  # type: ignore[no-untyped-def]
        if len(parts) == 1:
            return lambda parts, i: parts[0][i]
        return lambda parts, i: total(parts[:-1], i) + parts[-1][i]

    @extending.overload(operator.getitem)
    def element_of(mean, i):  # type: ignore[no-untyped-def]
        if not isinstance(mean, types.BaseNamedTuple) or mean.instance_class is not Mean:
            return None
        n = len(mean.types[0])
        if n & (n - 1):
            return lambda mean, i: total(mean.parts, i) / mean.number
        return lambda mean, i: total(mean.parts, i) * mean.number


def __getattr__(name: str) -> Any:
    if name in JIT_NAMES:  # PyTorch's
        raise instead(f"jit.{name}")
    raise AttributeError(f"module 'distgrad.jit' has no attribute {name!r}")
