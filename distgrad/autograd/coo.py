"""Coordinates and values: what lies under a sparse tensor where an array lies under a dense one.

The engine treats a :class:`Coo` as it treats an array: it has shape and dtype, and ``+`` adds it to its like or to an
array.  So a gradient rule may return one, and only the leaf that it is delivered to asks which it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..backend.protocol import Array


class layout:  # noqa: N801 - PyTorch's name
    """How a tensor's elements lie in memory: :data:`strided` or :data:`sparse_coo`.

    >>> torch.ones(1).layout
    torch.strided
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


strided, sparse_coo = layout("strided"), layout("sparse_coo")

_MOST_ROUNDS = 64


def summed_by_key(keys: Array, values: Array) -> tuple[Array, Array]:
    """For each different key, in rising order, its first place in ``keys`` and the sum of its ``values``.

    Args:
        keys: (n), integers.  values: (n, *); half precisions are added up in float32.

    On the CPU equal keys are added in the order in which they come, so the bits do not depend on anything else.
    """
    xp = backend.array_module(keys)
    if xp is not np:
        found, first, inverse = xp.unique(keys, return_index=True, return_inverse=True)
        sums = xp.zeros((len(found), *values.shape[1:]), np.float32 if values.dtype.itemsize == 2 else values.dtype)
        xp.add.at(sums, inverse.reshape(-1), values.astype(sums.dtype))
        return first, sums.astype(values.dtype)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    new = np.ones(len(keys), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    if len(starts) == len(keys):
        return order, values[order]
    wide = values.astype(np.float32) if values.dtype.itemsize == 2 else values
    ends = np.append(starts[1:], len(keys))
    if int((ends - starts).max()) > _MOST_ROUNDS:
        sums = np.add.reduceat(wide[order], starts, axis=0)
    else:  # the second of each key, then the third: quicker than reduceat where few keys repeat
        sums = wide[order[starts]]
        where, k = np.arange(len(starts)), 0
        while len(where := where[starts[where] + (k := k + 1) < ends[where]]):
            sums[where] += wide[order[starts[where] + k]]
    return order[starts], sums.astype(values.dtype, copy=False)


class Coo:
    """``values[j]`` at ``indices[:, j]``, values at equal indices added up, zero elsewhere.

    Attributes:
        indices: (k, n), int64: for each of the first k dimensions where the n values lie.
        values: (n, *shape[k:]).
        shape: of the whole.
        coalesced: whether the indices are known to be sorted and different.
    """

    __slots__ = ("coalesced", "indices", "shape", "values")
    __array_ufunc__ = None  # an array on the left of an operator lets this class decide

    def __init__(self, indices: Array, values: Array, shape: tuple[int, ...], coalesced: bool = False) -> None:
        self.indices, self.values, self.shape, self.coalesced = indices, values, shape, coalesced

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements of the whole."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return self.values.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored."""
        return self.values.nbytes + self.indices.nbytes

    def astype(self, dtype: Any) -> Coo:
        return Coo(self.indices, self.values.astype(dtype), self.shape, self.coalesced)

    def copy(self) -> Coo:
        return Coo(self.indices.copy(), self.values.copy(), self.shape, self.coalesced)

    def keys(self) -> Array:
        """For each value the number of its place, counted row by row over the first k dimensions."""
        k = len(self.indices)
        if k == 1:
            return self.indices[0]
        keys = self.indices[:1].sum(0) * 0  # of dimension 0 the one place, 0, has no index
        for d in range(k):
            keys = keys * self.shape[d] + self.indices[d]
        return keys

    def coalesce(self) -> Coo:
        """The same with each index once, in rising order."""
        if self.coalesced:
            return self
        with backend.where_it_lies(self.values):
            first, sums = summed_by_key(self.keys(), self.values)
            return Coo(self.indices[:, first], sums, self.shape, True)

    def add_to(self, array: Array) -> None:
        """Add it to the dense ``array`` of the same shape, in place."""
        with backend.where_it_lies(array):
            once = self.coalesce()
            k = len(once.indices)
            if k == 0:
                array += once.values.sum(0)
            else:
                array[tuple([once.indices[d] for d in range(k)])] += once.values.astype(array.dtype)

    def dense(self) -> Array:
        """The whole as an array."""
        xp = backend.array_module(self.values)
        with backend.where_it_lies(self.values):
            out = xp.zeros(self.shape, self.values.dtype)
        self.add_to(out)
        return out

    def __add__(self, other: Any) -> Any:
        if other.__class__ is not Coo:
            if not backend.is_array(other):
                return NotImplemented
            out = other.copy() if other.dtype == self.dtype else other.astype(np.result_type(other.dtype, self.dtype))
            self.add_to(out)
            return out
        xp = backend.array_module(self.values)
        with backend.where_it_lies(self.values):
            indices = xp.concatenate([self.indices, other.indices], axis=1)
            values = xp.concatenate([self.values, other.values])
        both = Coo(indices, values, self.shape)
        return both.coalesce() if self.coalesced and other.coalesced else both

    __radd__ = __add__
