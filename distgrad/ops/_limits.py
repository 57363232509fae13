"""The larger or smaller of each element and a number.

NumPy computes many elements at a time where both operands are arrays, but one after the other where one is a number: a
block that is full of the number takes a quarter of the time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ._layout import lies_last, turned, turned_back

_FEW = 512  # elements, below which finding the block costs more than it saves
_BLOCK = 2**14


@functools.lru_cache(maxsize=16)
def _block(kind: str, number: float) -> Any:
    block = np.full(_BLOCK, number, kind)
    block.flags.writeable = False
    return block


def _limited(x: Any, *limits: tuple[Any, Any]) -> Any:
    """``ufunc(x, number)`` of each of ``limits`` in turn."""
    n = x.size
    if lies_last(x):
        return turned_back(_limited(turned(x), *limits))
    if n < _FEW or x.__class__ is not np.ndarray or x.dtype.char not in "fd" or not x.flags.c_contiguous:
        for ufunc, number in limits:
            x = ufunc(x, number)
        return x
    if n <= _BLOCK:
        for ufunc, number in limits:
            x = ufunc(x, _block(x.dtype.char, number)[:n].reshape(x.shape))
        return x
    out = np.empty_like(x)
    source, target = x.reshape(-1), out.reshape(-1)
    blocks = [(ufunc, _block(x.dtype.char, number)) for ufunc, number in limits]
    for start in range(0, n, _BLOCK):
        part, to = source[start : start + _BLOCK], target[start : start + _BLOCK]
        for ufunc, block in blocks:
            part = ufunc(part, block[: part.size], out=to)
    return out


def at_least(xp: Any, x: Any, low: Any) -> Any:
    """``xp.maximum(x, low)`` of an array and a number; NaN stays."""
    return _limited(x, (np.maximum, low)) if xp is np else xp.maximum(x, low)


def at_most(xp: Any, x: Any, high: Any) -> Any:
    """``xp.minimum(x, high)`` of an array and a number; NaN stays."""
    return _limited(x, (np.minimum, high)) if xp is np else xp.minimum(x, high)


def between(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """At least ``low`` and, above all, at most ``high``."""
    if xp is not np:
        return xp.minimum(xp.maximum(x, low), high)
    return _limited(x, (np.maximum, low), (np.minimum, high))
