"""Writing and adding to the slices and elements that index vectors, flat indices and masks name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from .._arguments import kind_of
from ..autograd import Tensor
from ..autograd.errors import mismatched
from ..autograd.recording import tensors_in, watched
from ..autograd.tensor import TENSORS
from ..autograd.views import write
from ._declare import Number, Operand, attach, axis, method, ndim_of, noun, raw
from ._index import clean
from .indexing import _getitem, _read
from .scattering import Plan, _increased, _number, _written, writes
from .shape import _expanded, broadcast_shapes, broadcast_to

__all__ = ["index_add", "index_copy", "index_fill", "index_put", "masked_scatter", "put", "take"]


# --- index_…: an index for each slice --------------------------------------------------------------------------------


def _vector(name: str, index: Any) -> Any:
    """The indices of slices, which are a vector or one number."""
    at = raw(index)
    if at.dtype not in (np.int64, np.int32):
        expected = "a long tensor for index," if name == "index_copy_()" else "dtype int32/int64 for index"
        raise RuntimeError(f"{name}: Expected {expected} but got{':' * (name != 'index_copy_()')} {noun(index)}")
    if at.ndim > 1:
        raise IndexError(
            f"{name}: Index is supposed to be a vector, but got dim: {at.ndim} with type: {noun(index)} and size: "
            f"{list(at.shape)}"
        )
    return at.reshape(-1)


def slices(function: str, input: Tensor, dim: int, index: Tensor, source: Tensor) -> tuple[Any, Any] | None:
    """The index of the slices along ``dim`` that the vector ``index`` names, and ``source`` in their shape; None for
    nothing."""
    name = function + "_()" if function != "index_reduce" else "index_reduce()"
    x, at, y = raw(input), _vector(name, index), raw(source)
    d = axis(dim, x.ndim)
    copies = function == "index_copy"
    if x.dtype != y.dtype:
        what = "self and source expected to have the same dtype, but got (self)"
        raise RuntimeError(
            f"{name}: {what} {noun(input)} and (source) {noun(source)}"
            if copies
            else f"{name}: self ({noun(input)}) and source ({noun(source)}) must have the same scalar type"
        )
    if copies and y.ndim == 0 and at.size != 1:
        raise IndexError(f"{name}: When source is scalar, index should have one element (got {at.size})")
    n = y.shape[d] if y.ndim > d else 1
    want = (*x.shape[:d], n, *x.shape[d + 1 :]) if x.ndim else (n,)
    if y.ndim and x.ndim and y.shape != want:
        raise RuntimeError(
            f"{name}: Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{' '.join(str(m) for k, m in enumerate(x.shape) if k != d)} at dimension {d} and source slice shape: "
            f"{' '.join(str(m) for k, m in enumerate(y.shape) if k != d)} at dimension 0."
            if copies
            else "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape "
            f"= {list(x.shape)} source.shape = {list(y.shape)}"
        )
    if at.size != n or y.size != math.prod(want):
        error, colon = (IndexError, "") if copies else (RuntimeError, ":")
        rest = "" if copies else f", for dim: {d}"
        raise error(f"{name}: Number of indices ({at.size}) should be equal to source.size(dim){colon} ({n}){rest}")
    if not at.size:
        return None
    size = x.shape[d] if x.ndim else 1
    with backend.where_it_lies(at):
        least, most = int(at.min()), int(at.max())
    if least < 0 or most >= size:
        raise IndexError(
            f"{name}: index {least if least < 0 else most} is out of bounds for dimension {d} with size {size}"
            if copies
            else "index out of range in self"
        )
    if x.ndim == 0:
        return (), source.reshape(())
    return (*(slice(None),) * d, at), source.reshape(want) if y.shape != want else source


@writes
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Plan | None:
    """``input`` with the slices of ``source``, ``alpha`` times, added to those along ``dim`` that the vector ``index``
    names.  RuntimeError for shapes and dtypes that do not fit, IndexError for an index that there is not.

    >>> torch.index_add(torch.zeros(3), 0, torch.tensor([0, 2, 0]), torch.ones(3))
    tensor([2., 0., 1.])
    """
    found = slices("index_add", input, dim, index, source)
    if found is None:
        return None
    if raw(input).dtype.kind in "biu":
        alpha = int(alpha.real)
    return Plan(_increased, found[1] if alpha == 1 else found[1] * alpha, found[0], "IndexAddBackward0", index)


@writes
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Plan | None:
    """``input`` with the slices of ``source`` in the place of those along ``dim`` that the vector ``index`` names.

    >>> torch.index_copy(torch.zeros(3), 0, torch.tensor([0, 2]), torch.ones(2))
    tensor([1., 0., 1.])
    """
    found = slices("index_copy", input, dim, index, source)
    return None if found is None else Plan(_written, found[1], found[0], "IndexCopyBackward0", index)


@writes
def index_fill(input: Tensor, dim: int, index: Tensor, value: Operand) -> Plan | None:
    """``input`` with ``value``, a number or a tensor of no dimensions, in the slices along ``dim`` that the vector
    ``index`` names.  IndexError for an index that there is not; a negative one counts from the end.

    >>> torch.index_fill(torch.zeros(3), 0, torch.tensor([0, 2]), 1.0)
    tensor([1., 0., 1.])
    """
    x, at = raw(input), raw(index)
    d = axis(dim, x.ndim)
    if at.dtype not in (np.int64, np.int32):
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if at.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    tensor = value.__class__ in TENSORS
    if tensor and ndim_of(value):
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{ndim_of(value)} dimension(s)."
        )
    if not tensor:
        value = _number(value, x)
    if not at.size:
        return None
    at, n = at.reshape(-1), x.shape[d] if x.ndim else 1
    with backend.where_it_lies(at):
        least, most = int(at.min()), int(at.max())
        if least < -n or most >= n:
            bad = least if least < -n else most
            raise IndexError(f"index {bad} is out of bounds for dimension {d} with size {n}")
        at = backend.array_module(at).unique(at % n)  # of an index given twice the value's gradient counts once
    place = (*(slice(None),) * d, at) if x.ndim else ()
    return Plan(_written, value, place, f"IndexFillBackward{int(tensor)}", index)


@writes
def index_put(input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Plan | None:
    """``input`` with ``input[indices] = values``, or, to ``accumulate``, with them added, every occurrence by itself.

    >>> torch.index_put(torch.zeros(3), (torch.tensor([0, 0]),), torch.tensor(1.0), accumulate=True)
    tensor([2., 0., 0.])
    """
    if not isinstance(indices, tuple | list):
        raise TypeError(
            f"index_put(): argument 'indices' (position 2) must be tuple of Tensors, not {kind_of(indices)}"
        )
    x, y = raw(input), raw(values)
    if x.dtype != y.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{noun(input)} for the destination and {noun(values)} for the source."
        )
    index = clean(tuple([slice(None) if i is None else i for i in indices]), x.shape)
    with backend.where_it_lies(x):
        target = _read(x, index).shape
    if not _fits(y.shape, target):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(y.shape)} cannot be broadcast to indexing result of shape "
            f"{list(target)}"
        )
    return Plan(_increased if accumulate else _written, values, index, "IndexPutBackward0", *tensors_in(list(indices)))


def _fits(shape: Any, target: Any) -> bool:
    """Whether what has ``shape`` can be broadcast to ``target``."""
    extra = len(target) - len(shape)
    return extra >= 0 and all(n in (1, m) for n, m in zip(shape, target[extra:], strict=True))


# --- flat indices, masks ---------------------------------------------------------------------------------------------


def _flat(x: Any, index: Any) -> Any:
    """The indices ``index`` of the flattened ``x``, checked, and from 0 on."""
    at, n = raw(index), x.size
    if at.dtype not in (np.int64, np.int32):
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {noun(index)}")
    if not at.size:
        return at
    with backend.where_it_lies(at):
        least, most = int(at.min()), int(at.max())
        if least < -n or most >= n:
            bad = most if most >= n else least
            raise IndexError(f"out of range: tried to access index {bad} on a tensor of {n} elements.")
        return backend.array_module(at).where(at < 0, at + n, at)


@method("take")
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened ``input`` that ``index`` (int64) names, in its shape.

    IndexError for an index that there is not; a negative one counts from the end.

    >>> torch.take(torch.tensor([[4, 3], [5, 6]]), torch.tensor([0, 3]))
    tensor([4, 6])
    """
    at = _flat(raw(input), index)
    return watched(_getitem(input.reshape(-1), (at,)), index)


@writes
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Plan | None:
    """``input`` with the elements of ``source`` at the places of its flattened form that ``index`` (int64) names, or,
    to ``accumulate``, added there.

    >>> torch.put(torch.zeros(2, 2), torch.tensor([1, 2]), torch.tensor([5.0, 6.0]))
    tensor([[0., 5.],
            [6., 0.]])
    """
    x, y = raw(input), raw(source)
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {noun(input)} and "
            f"source.dtype = {noun(source)}"
        )
    if raw(index).size != y.size:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{y.size}, index.numel() = {raw(index).size}"
        )
    at = _flat(x, index)
    if not at.size:
        return None
    with backend.where_it_lies(at):
        place = tuple(backend.array_module(at).unravel_index(at, x.shape)) if x.ndim else ()
    value = source.reshape(at.shape if x.ndim or at.size > 1 else ())
    return Plan(_increased if accumulate else _written, value, place, "PutBackward0", index)


@method("masked_scatter")
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """``input`` with the elements of ``source``, one after another, where ``mask`` (bool, broadcast) is true.

    RuntimeError for too few of them, or another dtype.

    >>> torch.masked_scatter(torch.zeros(3), torch.tensor([True, False, True]), torch.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    error = mismatched("masked_scatter", (raw(input), raw(mask)))
    if error is not None:
        raise error
    shape = broadcast_shapes(input.shape, mask.shape)
    what = _masked(input, mask, source, shape)
    return watched(what.prim(broadcast_to(input, shape), *what.args), *what.tensors)


def _masked(input: Tensor, mask: Tensor, source: Tensor, shape: Any) -> Plan:
    x, where, y = raw(input), raw(mask), raw(source)
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got{noun(input)} and {noun(source)}"
        )
    if where.dtype != np.bool_:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {noun(mask)}")
    xp = backend.array_module(where)
    with backend.where_it_lies(where):
        where = xp.broadcast_to(where, tuple(shape))
        n = int(where.sum())
    if n > y.size:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    value = source.reshape(-1)
    return Plan(_written, value[:n] if n < y.size else value, (where,), "MaskedScatterBackward0", mask)


def _masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """In-place version of :func:`masked_scatter`."""
    _expanded(tuple(self.shape), tuple(mask.shape))
    what = _masked(self, mask, source, self.shape)
    return write(what.prim.primitive, self, what.args, {}, what.tensors)


attach("masked_scatter_", _masked_scatter_)
