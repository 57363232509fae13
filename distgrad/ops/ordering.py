"""Elements in order: sorted, the largest few, the k-th, the one in the middle, the most frequent."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, return_types
from ..autograd import Tensor, primitive
from ..autograd.recording import watched
from ._declare import axis, method, ndim_of, raw, unknown, wide
from .extremes import shared_evenly

_MANY = 2**14  # elements from which on one is sought without sorting them all

__all__ = ["argsort", "kthvalue", "median", "mode", "msort", "nanmedian", "sort", "topk"]


def _grad_name(node: Any) -> str:
    return node.args[3] if node.args is not None else "SortBackward0"  # a freed node does not know any more


@primitive(meta="x", grad_name=_grad_name)
def _chosen(xp, x, index, dim, name, shape):
    """The elements at ``index`` along ``dim``, none of them twice, in ``shape``."""
    return xp.take_along_axis(x, index, dim).reshape(shape)


@primitive(grad_name="ScatterBackward0")
def _returned(xp, x, shape, index, dim):
    """Zeros of ``shape`` with ``x`` at ``index`` along ``dim``."""
    out = xp.zeros(shape, x.dtype)
    xp.put_along_axis(out, index, x, dim)
    return out


_chosen.defvjp(
    lambda g, ans, x, index, dim, name, shape: _returned(g.reshape(index.shape), tuple(x.shape), index, dim),
    saves="x",
)
_returned.defvjp(
    lambda g, ans, x, shape, index, dim: _chosen(g, index, dim, "GatherBackward0", index.shape),
    saves="",
)


def order(xp: Any, x: Any, dim: int, descending: bool = False) -> Any:
    """The indices (int64) that sort ``x`` along ``dim``; equals stay as they were, and NaN is the largest."""
    x = wide(x)
    if not descending:
        return xp.argsort(x, axis=dim, kind="stable").astype(np.int64, copy=False)
    last = x.shape[dim] - 1
    return xp.flip(last - xp.argsort(xp.flip(x, dim), axis=dim, kind="stable"), dim).astype(np.int64, copy=False)


def _pair(name: str, input: Tensor, index: Any, dim: int, node: str, shape: tuple[int, ...] | None = None) -> Any:
    """The elements at ``index`` and where they are, in ``shape``, as a result called ``name``."""
    shape = index.shape if shape is None else shape
    indices = Tensor._wrap(index.reshape(shape), None)
    return getattr(return_types, name)((watched(_chosen(input, index, dim, node, shape), indices), indices))


def _alone(name: str, input: Tensor) -> Any:
    """The result for a tensor of no dimensions: its element, at 0."""
    xp = backend.array_module(input._data)
    with backend.where_it_lies(input._data):
        found = Tensor._wrap(xp.zeros((), np.int64), None)
    return getattr(return_types, name)((input.clone(), found))


@method("sort")
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The elements along ``dim`` in ascending order, and their indices: a named tuple (values, indices).

    Equal elements stay in their order, whether ``stable`` or not; NaN counts as the largest.  RuntimeError for complex
    tensors.

    >>> torch.sort(torch.tensor([3.0, 1.0, 2.0]))
    torch.return_types.sort(
    values=tensor([1., 2., 3.]),
    indices=tensor([1, 2, 0]))
    """
    x, d = raw(input), axis(dim, ndim_of(input))
    if x.dtype.kind == "c":
        raise RuntimeError("Sort does not support complex dtypes on CPU")
    if x.ndim == 0:
        return _alone("sort", input)
    with backend.where_it_lies(x):
        index = order(backend.array_module(x), x, d, descending)
    return _pair("sort", input, index, d, "SortBackward0")


@method("argsort")
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices (int64) that put the elements along ``dim`` in order, as :func:`sort` does.

    >>> torch.argsort(torch.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([0, 2, 1])
    """
    return sort(input.detach(), dim, descending, stable).indices


@method("msort")
def msort(input: Tensor) -> Tensor:
    """The elements along the first dimension in ascending order.

    >>> torch.msort(torch.tensor([[3, 1], [1, 2]]))
    tensor([[1, 1],
            [3, 2]])
    """
    return sort(input, 0).values


def _largest(xp: Any, x: Any, k: int, dim: int, largest: bool) -> Any:
    """The indices of the ``k`` largest or smallest along ``dim``, in order."""
    n = x.shape[dim]
    lead = (slice(None),) * dim
    if xp is not np or 8 * k > n or n < 64:
        return order(xp, x, dim, largest)[(*lead, slice(0, k))]
    x = wide(x)
    found = np.argpartition(x, n - k if largest else k - 1, axis=dim)
    found = np.sort(found[(*lead, slice(n - k, n) if largest else slice(0, k))], axis=dim)
    inner = order(xp, np.take_along_axis(x, found, dim), dim, largest)
    return np.take_along_axis(found, inner, dim)


@method("topk")
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and their indices: (values, indices).

    NaN counts as the largest.  RuntimeError for more than there are, and for complex tensors.

    >>> torch.topk(torch.tensor([1.0, 3.0, 2.0]), 2)
    torch.return_types.topk(
    values=tensor([3., 2.]),
    indices=tensor([1, 2]))
    """
    x, d = raw(input), axis(dim, ndim_of(input))
    if not 0 <= k <= (x.shape[d] if x.ndim else 1):
        raise RuntimeError("selected index k out of range")
    if x.dtype.kind in "bc":
        kind = "complex" if x.dtype.kind == "c" else "bool"
        raise RuntimeError(f"topk does not support {kind} dtypes on CPU")
    if x.ndim == 0:
        return _alone("topk", input)
    with backend.where_it_lies(x):
        index = _largest(backend.array_module(x), x, k, d, largest)
    return _pair("topk", input, index, d, "TopkBackward0")


def _at(index: Any, dim: int, k: Any) -> Any:
    """The ``k``-th of the sorting ``index`` along ``dim``, which stays, of size 1."""
    return index[(*(slice(None),) * dim, slice(k, k + 1))]


def _without(shape: tuple[int, ...], dim: int, keepdim: bool) -> tuple[int, ...]:
    return tuple([1 if i == dim else n for i, n in enumerate(shape) if keepdim or i != dim])


@method("kthvalue")
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The ``k``-th smallest element (from 1) along ``dim`` and its index: a named tuple (values, indices).

    NaN counts as the largest.  RuntimeError for a ``k`` that there is not.

    >>> torch.kthvalue(torch.tensor([3.0, 1.0, 2.0]), 2)
    torch.return_types.kthvalue(
    values=tensor(2.),
    indices=tensor(2))
    """
    x, d = raw(input), axis(dim, ndim_of(input))
    n = x.shape[d] if x.ndim else 1
    if n == 0:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= n:
        raise RuntimeError("kthvalue(): selected number k out of range for dimension " + str(d))
    if x.dtype.kind in "bc":
        raise unknown("kthvalue_cpu", x)
    if x.ndim == 0:
        return _alone("kthvalue", input)
    with backend.where_it_lies(x):
        index = _kth(backend.array_module(x), wide(x), k - 1, d)
    return _pair("kthvalue", input, index, d, "KthvalueBackward0", _without(x.shape, d, keepdim))


def _kth(xp: Any, x: Any, k: int, dim: int) -> Any:
    """The index along ``dim``, which stays, of the element number ``k`` (from 0) in stable order, NaN behind all."""
    if xp is not np or x.size < _MANY:
        return _at(order(xp, x, dim), dim, k)
    value = _at(np.partition(x, k, axis=dim), dim, k)
    same = (x == value) | ((x != x) & (value != value))
    before = np.where(value == value, x < value, x == x).sum(axis=dim, keepdims=True)
    return (same & (np.cumsum(same, axis=dim, dtype=np.int32) == k + 1 - before)).argmax(axis=dim, keepdims=True)


def _middle(xp: Any, x: Any, ignore_nan: bool) -> Any:
    """The lower median of all elements of ``x``: NaN if one is and they are not ignored."""
    flat = wide(x).reshape(-1)
    if not flat.size:
        return xp.asarray(np.nan if x.dtype.kind in "fV" else np.iinfo(x.dtype).min).astype(x.dtype)
    floats = flat.dtype.kind == "f"
    n = flat.size - (int(xp.isnan(flat).sum()) if floats else 0)
    if floats and n < flat.size and (not ignore_nan or n == 0):
        return xp.asarray(np.nan).astype(x.dtype)
    k = (n - 1) // 2
    return xp.asarray(xp.partition(flat, k)[k]).astype(x.dtype)


def _median_of_all(name: str, ignore_nan: bool) -> Any:
    def forward(xp, x, dims, keepdim):
        return _middle(xp, x, ignore_nan)

    forward.__name__ = "_" + name
    made = primitive(grad_name=name.capitalize() + "Backward0")(forward)
    made.defvjp(shared_evenly(True), saves="ans x")
    return made


def _middle_along(xp: Any, x: Any, dim: int, ignore_nan: bool) -> Any:
    """The index of the lower median along ``dim``, which stays; the first NaN, unless those are ignored."""
    x = wide(x)
    index = order(xp, x, dim)
    n = x.shape[dim]
    if x.dtype.kind != "f":
        return _at(index, dim, (n - 1) // 2)
    numbers = n - xp.isnan(x).sum(axis=dim, keepdims=True)
    k = xp.where(numbers == n, (n - 1) // 2, xp.maximum(numbers - 1, 0) // 2 if ignore_nan else numbers)
    return xp.take_along_axis(index, k.astype(np.int64), dim)


def _median(name: str, ignore_nan: bool, doc: str) -> Any:
    whole = _median_of_all(name, ignore_nan)
    node = name.capitalize() + "Backward1"

    def reduce(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        x = raw(input)
        if x.dtype.kind in "bc":
            raise unknown("median_out" if dim is not None else "median_cpu", x)
        if dim is None:
            return whole(input, None, False)
        d = axis(dim, x.ndim)
        if x.ndim == 0:
            return _alone(name, input)
        if x.shape[d] == 0:
            raise IndexError(f"median(): Expected reduction dim {d} to have non-zero size.")
        with backend.where_it_lies(x):
            index = _middle_along(backend.array_module(x), x, d, ignore_nan)
        return _pair(name, input, index, d, node, _without(x.shape, d, keepdim))

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = doc
    return method(name)(reduce)


median = _median(
    "median",
    False,
    """The median of all elements, of an even number the lower of the two in the middle; NaN if one is NaN.

    Over ``dim`` a named tuple of values and indices.  Equals share the gradient of the median of all evenly.

    >>> torch.median(torch.tensor([3.0, 1.0, 2.0, 4.0]))
    tensor(2.)
    """,
)
nanmedian = _median(
    "nanmedian",
    True,
    """:func:`median` of the elements that are not NaN.

    >>> torch.nanmedian(torch.tensor([3.0, torch.nan, 2.0]))
    tensor(2.)
    """,
)


def _most_frequent(xp: Any, x: Any, dim: int) -> Any:
    """The index of the most frequent element along ``dim``, which stays: of several the smallest, the last of it."""
    index = order(xp, x, dim)
    ordered = xp.moveaxis(xp.take_along_axis(wide(x), index, dim), dim, -1)
    n = ordered.shape[-1]
    last = xp.concatenate([ordered[..., 1:] != ordered[..., :-1], xp.ones((*ordered.shape[:-1], 1), bool)], axis=-1)
    ends = xp.where(last, xp.arange(n), -1)
    before = xp.concatenate([xp.full((*ends.shape[:-1], 1), -1), running_max(xp, ends, ends.ndim - 1)[..., :-1]], -1)
    length = xp.where(last, xp.arange(n) - before, 0)
    found = xp.argmax(length, axis=-1)[..., None]
    return xp.take_along_axis(index, xp.moveaxis(found, -1, dim), dim)


def running_max(xp: Any, x: Any, dim: int) -> Any:
    """The largest so far along ``dim``."""
    return scan(xp, xp.maximum, x, dim)


def scan(xp: Any, combine: Any, x: Any, dim: int) -> Any:
    """``combine`` of all elements up to each along ``dim``: in NumPy one by one, on a device in strides that double."""
    if xp is np and isinstance(combine, np.ufunc):
        return combine.accumulate(x, axis=dim)
    out, step, n = x, 1, x.shape[dim]
    lead = (slice(None),) * dim
    while step < n:
        head = out[(*lead, slice(0, step))]
        tail = combine(out[(*lead, slice(step, None))], out[(*lead, slice(0, n - step))])
        out, step = xp.concatenate([head, tail], axis=dim), 2 * step
    return out


@method("mode")
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along ``dim`` (of several the smallest) and the index of its last occurrence.

    >>> torch.mode(torch.tensor([1, 2, 2, 3]))
    torch.return_types.mode(
    values=tensor(2),
    indices=tensor(2))
    """
    x, d = raw(input), axis(dim, ndim_of(input))
    if x.dtype.kind == "c":
        raise unknown("mode_cpu", x)
    if x.ndim == 0:
        return _alone("mode", input)
    if x.shape[d] == 0:
        raise IndexError(f"mode(): Expected reduction dim {d} to have non-zero size.")
    with backend.where_it_lies(x):
        index = _most_frequent(backend.array_module(x), x, d)
    return _pair("mode", input, index, d, "ModeBackward0", _without(x.shape, d, keepdim))
