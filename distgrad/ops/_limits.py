"""The larger or smaller of each element and a number.

NumPy computes many elements at a time where both operands are arrays, but one after the other where one is a number: a
block that is full of the number takes a quarter of the time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

_FEW = 512  # elements, below which finding the block costs more than it saves
_BLOCK = 2**14


@functools.lru_cache(maxsize=16)
def _block(kind: str, number: float) -> Any:
    block = np.full(_BLOCK, number, kind)
    block.flags.writeable = False
    return block


def _against(ufunc: Any, x: Any, number: Any) -> Any:
    n = x.size
    if n < _FEW or x.__class__ is not np.ndarray or x.dtype.char not in "fd" or not x.flags.c_contiguous:
        return ufunc(x, number)
    block = _block(x.dtype.char, number)
    if n <= _BLOCK:
        return ufunc(x, block[:n].reshape(x.shape))
    out = np.empty_like(x)
    source, target = x.reshape(-1), out.reshape(-1)
    for start in range(0, n, _BLOCK):
        part = source[start : start + _BLOCK]
        ufunc(part, block[: part.size], out=target[start : start + _BLOCK])
    return out


def at_least(xp: Any, x: Any, low: Any) -> Any:
    """``xp.maximum(x, low)`` of an array and a number; NaN stays."""
    return _against(np.maximum, x, low) if xp is np else xp.maximum(x, low)


def at_most(xp: Any, x: Any, high: Any) -> Any:
    """``xp.minimum(x, high)`` of an array and a number; NaN stays."""
    return _against(np.minimum, x, high) if xp is np else xp.minimum(x, high)


def between(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """At least ``low`` and, above all, at most ``high``."""
    return at_most(xp, at_least(xp, x, low), high)
