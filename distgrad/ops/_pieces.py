"""Elementwise functions of several passes, computed on pieces of large arrays that stay in the processor's cache.

A pass over four megabytes waits for memory, and each intermediate result asks the system for new pages; on pieces of
some ten thousand elements the same passes take a third of the time, and the memory of one piece.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from ..autograd.tensor import TENSORS
from ._layout import lies_last, turned, turned_back

F = TypeVar("F", bound=Callable[..., Any])

_MANY = 2**17  # elements from which on a function is computed in pieces
_PIECE = 2**15


def in_pieces(function: F) -> F:
    """Compute an elementwise function, a primitive's forward function or its rule, piece by piece where its arrays are
    large, contiguous and of one shape; it must give one array of that shape."""

    @functools.wraps(function)
    def pieced(*args: Any) -> Any:
        first = None
        for a in args:
            if a.__class__ is np.ndarray:
                if first is None:
                    if a.size < _MANY:
                        return function(*args)
                    first = a
                if a.shape != first.shape or not a.flags.c_contiguous:
                    return _turned(pieced, function, args, first)
            elif a.__class__ in TENSORS or (hasattr(a, "strides") and not isinstance(a, np.generic)):
                return function(*args)
        return function(*args) if first is None else _computed(function, args, first.shape, first.size)

    return cast(F, pieced)


def _turned(pieced: Any, function: Any, args: tuple[Any, ...], first: Any) -> Any:
    """``function`` of arrays that are not all contiguous: in pieces, if the channels of all lie last."""
    arrays = [a for a in args if a.__class__ is np.ndarray]
    if not all(a.shape == first.shape and lies_last(a) for a in arrays):
        return function(*args)
    return turned_back(pieced(*[turned(a) if a.__class__ is np.ndarray else a for a in args]))


def _computed(function: Any, args: tuple[Any, ...], shape: tuple[int, ...], n: int) -> Any:
    flat = [a.reshape(-1) if a.__class__ is np.ndarray else a for a in args]
    out: Any = None
    for start in range(0, n, _PIECE):
        piece = slice(start, start + _PIECE)
        part = function(*[a[piece] if a.__class__ is np.ndarray else a for a in flat])
        if out is None:
            out = np.empty(n, part.dtype)
        out[piece] = part
    return out.reshape(shape)


def in_rows(function: F) -> F:
    """Compute a function along the dimension that is its last argument some rows at a time, where that is the last one
    of large arrays, contiguous and of one shape."""

    @functools.wraps(function)
    def by_rows(*args: Any) -> Any:
        arrays = [a for a in args[:-1] if hasattr(a, "strides")]
        x = arrays[0] if arrays else None
        if x.__class__ is not np.ndarray or x.size < _MANY or args[-1] != x.ndim - 1 or x.shape[-1] > _PIECE:
            return function(*args)
        if any(a.__class__ is not np.ndarray or a.shape != x.shape or not a.flags.c_contiguous for a in arrays):
            return function(*args)
        n = x.shape[-1]
        rows = [a.reshape(-1, n) if hasattr(a, "strides") else a for a in args[:-1]]
        out: Any = None
        for start in range(0, x.size // n, _PIECE // n):
            piece = slice(start, start + _PIECE // n)
            part = function(*[a[piece] if hasattr(a, "strides") else a for a in rows], 1)
            if out is None:
                out = np.empty((x.size // n, n), part.dtype)
            out[piece] = part
        return out.reshape(x.shape)

    return cast(F, by_rows)
