"""Adding to the elements that indices name, every occurrence counted, and reading them: on the CPU by flat places.

NumPy adds at one vector of places some ten times faster than at a tuple of index arrays, and a sparse matrix times a
dense one adds whole rows faster still.  Both add in the order in which the values come, so that sums which begin at 0
have the bits of ``add.at``; what is added by rows to other numbers is summed up first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._index import FULL, Steps, is_basic

_MANY = 2**15  # elements from which on a sparse matrix pays
_PIECE = 2**15  # places that are computed at a time


class Grid(tuple[Any, ...]):
    """Index arrays, one a dimension, known to be within bounds and not negative."""

    __slots__ = ()


def grid(xp: Any, index: Any, dim: int) -> Grid:
    """Index arrays that address ``[..., index, ...]`` along ``dim`` and each position along the others."""
    axes = [xp.arange(n).reshape([-1 if k == i else 1 for k in range(index.ndim)]) for i, n in enumerate(index.shape)]
    return Grid([index if k == dim else axes[k] for k in range(index.ndim)])


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(shape[k + 1 :]) for k in range(len(shape))]


def _places(shape: tuple[int, ...], index: Grid) -> Any:
    """Where in a flat array of ``shape`` the elements lie; the narrow parts are added up first."""
    parts = sorted(zip(index, _strides(shape), strict=True), key=lambda part: part[0].size)
    return functools.reduce(np.add, [part * stride if stride != 1 else part for part, stride in parts])


def _pieces(shape: tuple[int, ...], index: Grid) -> Iterator[tuple[slice, Any]]:
    """:func:`_places` by so many first slices that a piece stays in the cache: what slices, and their places."""
    whole = np.broadcast_shapes(*[part.shape for part in index])
    rows = max(1, _PIECE // max(1, math.prod(whole[1:])))
    for start in range(0, whole[0], rows):
        piece = slice(start, start + rows)
        yield piece, _places(shape, Grid([part if part.shape[0] == 1 else part[piece] for part in index]))


def _slices(shape: tuple[int, ...], index: Any) -> tuple[int, Any] | None:
    """The dimension that an index names slices of, and their numbers, none negative; None for any other index."""
    terms = index if index.__class__ is tuple else (index,)
    at = terms[-1] if terms else None
    d = len(terms) - 1
    if at.__class__ is not np.ndarray or at.ndim != 1 or at.dtype.kind not in "iu" or not at.size:
        return None
    if any(i.__class__ is not slice or i != FULL for i in terms[:-1]):
        return None
    least, most = int(at.min()), int(at.max())
    if least < -shape[d] or most >= shape[d]:
        return None  # of which NumPy says what is wrong
    return d, np.where(at < 0, at + shape[d], at) if least < 0 else at


def read_at(xp: Any, x: Any, index: Grid) -> Any:
    """``x[index]``."""
    if xp is not np or not x.flags.c_contiguous:
        return x[index]
    flat = x.reshape(-1)
    out = np.empty(np.broadcast_shapes(*[part.shape for part in index]), x.dtype)
    for piece, places in _pieces(x.shape, index):
        out[piece] = flat[places]
    return out


def write_at(xp: Any, out: Any, index: Grid, value: Any) -> None:
    """``out[index] = value``, of the index's shape or one number; of several for one place the last stays."""
    if xp is not np or not out.flags.c_contiguous:
        out[index] = value
        return
    flat = out.reshape(-1)
    for piece, places in _pieces(out.shape, index):
        flat[places] = value[piece] if np.ndim(value) else value


def combine(ufunc: Any, out: Any, index: Any, value: Any) -> None:
    """``ufunc.at(out, index, value)`` of NumPy's arrays, by flat places where that is the same."""
    if index.__class__ is not Grid or not out.flags.c_contiguous:
        ufunc.at(out, index, value)
        return
    flat = out.reshape(-1)
    value = np.broadcast_to(np.asarray(value, out.dtype), np.broadcast_shapes(*[part.shape for part in index]))
    for piece, places in _pieces(out.shape, index):
        ufunc.at(flat, places.reshape(-1), value[piece].reshape(-1))


def add_at(xp: Any, out: Any, index: Any, value: Any) -> None:
    """``out[index] += value`` where every occurrence counts."""
    if index.__class__ is Steps:
        out, index = out[index.basic], index.picks
    if is_basic(index):
        out[index] += value
        return
    if out.dtype.kind == "b":
        xp.logical_or.at(out, index, value)
        return
    if xp is not np or not out.flags.c_contiguous:
        xp.add.at(out, index, value)
        return
    named = None if index.__class__ is Grid or out.dtype.kind not in "fiu" else _slices(out.shape, index)
    if named is None:
        combine(np.add, out, index, value)
        return
    d, at = named
    shape = (math.prod(out.shape[:d]), len(at), math.prod(out.shape[d + 1 :]))
    value = np.broadcast_to(np.asarray(value, out.dtype), (*out.shape[:d], len(at), *out.shape[d + 1 :]))
    if d == 0 and _dense(out.dtype, shape, out.shape[0]):
        out += added_rows(at, value.reshape(shape[1:]), out.shape[0]).reshape(out.shape)
    else:
        places = grid(np, np.broadcast_to(at[:, None], shape), 1)
        combine(np.add, out.reshape(shape[0], out.shape[d], shape[2]), places, value.reshape(shape))


def _dense(dtype: Any, shape: tuple[int, ...], n: int) -> bool:
    """Whether rows are best added by a sparse matrix: of some size, and about as many as there are in the sum."""
    return dtype.char in "fd" and math.prod(shape) >= _MANY and n <= 4 * shape[1]


def added_rows(at: Any, rows: Any, n: int) -> Any:
    """A matrix of ``n`` rows, each the sum of those of ``rows`` (float32 or float64) whose number in ``at`` it has."""
    from scipy import sparse  # takes longer to import than NumPy

    ones = np.ones(len(at), rows.dtype)
    return sparse.csc_matrix((ones, at, np.arange(len(at) + 1)), shape=(n, len(at))) @ rows


def summed(xp: Any, shape: tuple[int, ...], index: Any, value: Any) -> Any:
    """Zeros of ``shape`` with ``value`` added at ``index``."""
    if xp is np and value.__class__ is np.ndarray and len(shape) > 1 and not is_basic(index):
        named = None if index.__class__ in (Grid, Steps) else _slices(shape, index)
        if named is not None and named[0] == 0:
            at, width = named[1], math.prod(shape[1:])
            if _dense(value.dtype, (1, len(at), width), shape[0]):
                return added_rows(at, value.reshape(len(at), width), shape[0]).reshape(shape)
    out = xp.zeros(shape, value.dtype)
    add_at(xp, out, index, value)
    return out
