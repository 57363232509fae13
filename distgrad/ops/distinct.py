"""Which elements there are and how often, whether one is among others, and between which two it lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from .._arguments import checked, misfit
from ..autograd import Tensor
from ..autograd.tensor import TENSORS
from ._declare import Operand, axis, method, noun, raw, unknown

__all__ = ["bincount", "bucketize", "isin", "searchsorted", "unique", "unique_consecutive"]


def _results(values: Any, inverse: Any, counts: Any) -> Any:
    """The results asked for: one, or a tuple."""
    made = [Tensor._wrap(a, None) for a in (values, inverse, counts) if a is not None]
    return made[0] if len(made) == 1 else tuple(made)


def _as_rows(xp: Any, x: Any, dim: int) -> Any:
    """The slices of ``x`` along ``dim`` as rows of numbers."""
    moved = xp.moveaxis(x, dim, 0)
    return moved.reshape(moved.shape[0], -1) if moved.size else xp.zeros((moved.shape[0], 0), x.dtype)


def _lexicographic(xp: Any, rows: Any) -> Any:
    """The indices that sort ``rows`` by their first number, then by the second, …"""
    index = xp.arange(len(rows))
    for k in range(rows.shape[1] - 1, -1, -1):
        index = index[xp.argsort(rows[index, k], kind="stable")]
    return index


def _runs(xp: Any, rows: Any) -> Any:
    """Of each row whether it begins a run of equal ones."""
    begins = xp.ones(len(rows), bool)
    if len(rows) > 1:
        begins[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return begins


def _counted(xp: Any, begins: Any) -> Any:
    """The lengths of runs."""
    starts = xp.nonzero(begins)[0]
    return xp.diff(xp.concatenate([starts, xp.asarray([len(begins)])])).astype(np.int64)


def _collected(input: Tensor, dim: int | None, inverse: bool, counts: bool, ordered: bool) -> Any:
    x = raw(input)
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        d = None if dim is None else axis(dim, x.ndim)
        if d is not None and x.ndim and not x.size and x.shape[d]:
            raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
        rows = x.reshape(-1, 1) if d is None or x.ndim == 0 else _as_rows(xp, x, d)
        n = len(rows)
        index = _lexicographic(xp, rows) if ordered else xp.arange(n)
        begins = _runs(xp, rows[index])
        first = index[begins]
        where = lengths = None
        if inverse:
            where = xp.empty(n, np.int64)
            where[index] = xp.cumsum(begins) - 1
            where = where.reshape(x.shape) if d is None or x.ndim == 0 else where
        if counts:
            lengths = _counted(xp, begins)
        values = x.reshape(-1)[first] if d is None or x.ndim == 0 else xp.take(x, first, axis=d)
        return _results(values, where, lengths)


@method("unique")
def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements (or slices along ``dim``) in ascending order, sorted or not; each NaN is one.

    With ``return_inverse`` also of each element the index of its like, with ``return_counts`` how often each occurs.
    Nothing is differentiable.

    >>> torch.unique(torch.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    return _collected(input, dim, return_inverse, return_counts, True)


@method("unique_consecutive")
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The first of each run of equal elements (or slices along ``dim``); otherwise as :func:`unique`.

    >>> torch.unique_consecutive(torch.tensor([1, 1, 3, 1]))
    tensor([1, 3, 1])
    """
    return _collected(input, dim, return_inverse, return_counts, False)


@method("bincount")
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, … occurs in a vector of integers, or the sum of its ``weights``.

    At least ``minlength`` counts; int64, with weights float32 or float64.  RuntimeError for what is no vector of
    integers from 0 on.

    >>> torch.bincount(torch.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    x = raw(input)
    if x.dtype.kind not in "iu":
        raise unknown("bincount_cpu", x)
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        if x.ndim != 1 or (x.size and int(x.min()) < 0):
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
        if weights is None:
            return Tensor._wrap(xp.bincount(x.astype(np.int64), minlength=minlength).astype(np.int64), None)
        w = raw(weights)
        if w.shape != x.shape:
            raise RuntimeError("weights should be 1-d and have the same length as input")
        kind = np.float32 if w.dtype == np.float32 else np.float64
        if not x.size:
            return Tensor._wrap(xp.zeros(minlength, kind), None)
        found = xp.bincount(x.astype(np.int64), w.astype(np.float64), minlength)
        return Tensor._wrap(found.astype(kind), None)


@checked
def isin(elements: Operand, test_elements: Operand, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Of each element whether it is one of ``test_elements`` (bool); either may be a number, one a tensor.

    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 5]))
    tensor([False,  True, False])
    """
    given = next((t for t in (elements, test_elements) if t.__class__ in TENSORS), None)
    if given is None:
        raise misfit(elements)
    x = raw(given)
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        found = xp.isin(xp.asarray(raw(elements)), xp.asarray(raw(test_elements)), invert=invert)
        return Tensor._wrap(xp.asarray(found), None)


def _places(xp: Any, edges: Any, values: Any, side: str) -> Any:
    """Where ``values`` belong among ``edges``, both of the same leading shape but for a vector of edges."""
    if edges.ndim == 1:
        return xp.searchsorted(edges, values.reshape(-1), side=side).reshape(values.shape)
    if not values.size:
        return xp.zeros(values.shape, np.int64)
    rows, wanted = edges.reshape(-1, edges.shape[-1]), values.reshape(-1, values.shape[-1])
    found = [xp.searchsorted(r, w, side=side) for r, w in zip(rows, wanted, strict=True)]
    return xp.stack(found).reshape(values.shape)


def _side(right: bool, side: str | None) -> str:
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if right and side == "left":
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    return "right" if right or side == "right" else "left"


@checked
def searchsorted(
    sorted_sequence: Tensor, input: Operand, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where each value belongs in the sorted last dimension of ``sorted_sequence``: the index before which it can be
    put; with ``right`` behind its equals.

    The sequence is a vector, or has the leading sizes of ``input``; ``sorter`` says in which order it is sorted.
    int64, or int32.  RuntimeError for sizes that do not fit.

    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 6]))
    tensor([1, 3])
    """
    edges, values = raw(sorted_sequence), raw(input)
    chosen = _side(right, side)
    xp = backend.array_module(edges)
    with backend.where_it_lies(edges):
        number = not hasattr(values, "dtype")
        values = xp.asarray(values, edges.dtype if not isinstance(values, float) or edges.dtype.kind == "f" else None)
        if edges.ndim == 0:
            raise RuntimeError(
                "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension"
            )
        if number and edges.ndim != 1:
            raise RuntimeError(
                "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we "
                f"got boundaries tensor dim({edges.ndim}) and input value's dim(0) numel(1)"
            )
        if edges.ndim != 1 and (edges.ndim != values.ndim or edges.shape[:-1] != values.shape[:-1]):
            raise RuntimeError(
                "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
                "boundaries tensor and input value tensor must match, but we got boundaries tensor "
                f"{list(edges.shape)} and input value tensor {list(values.shape)}"
            )
        if sorter is not None:
            if raw(sorter).shape != edges.shape:
                raise RuntimeError(
                    "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                    f"{list(edges.shape)}and got sorter tensor {list(raw(sorter).shape)}"
                )
            at = raw(sorter)
            if at.dtype != np.int64:
                raise RuntimeError(
                    "torch.searchsorted(): sorter must be a tensor of long dtype but got dtype " + noun(sorter)
                )
            if at.size and (int(at.min()) < 0 or int(at.max()) >= edges.shape[-1]):
                raise RuntimeError("torch.searchsorted(): sorter index out of range")
            edges = xp.take_along_axis(edges, raw(sorter), -1)
        found = _places(xp, edges, values, chosen)
        return Tensor._wrap(xp.asarray(found).astype(np.int32 if out_int32 else np.int64), None)


@checked
def bucketize(input: Operand, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Between which two of the sorted vector ``boundaries`` each value lies; int64, or int32.

    The index i of ``boundaries[i-1] < value <= boundaries[i]``; with ``right`` the equality is on the other side.

    >>> torch.bucketize(torch.tensor([3, 6, 9]), torch.tensor([1, 3, 5, 7]))
    tensor([1, 3, 4])
    """
    if raw(boundaries).ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({raw(boundaries).ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
