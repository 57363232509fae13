"""The largest element of each window, and where it is."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, fused, primitive
from .._declare import noun, raw, wide
from .._layout import lies_last, turned, turned_back
from ._spatial import tensor_of
from .axis_maps import Maps, of_shares, on
from .pooling import Sizes
from .windows import Windows, adaptive_sizes, in_turn

__all__ = [
    "adaptive_max_pool1d", "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices",
]  # fmt: skip


def _values(xp: Any, x: Any, maps: Maps) -> Any:
    """The largest elements of the windows of ``maps``: from the first axis on, which leaves less for the last, whose
    elements do not lie side by side in memory."""
    for axis, m in reversed(maps):
        at = x.ndim + axis
        before = (slice(None),) * at
        if m.spans:
            x = xp.concatenate([x[(*before, span)].max(at, keepdims=True) for span in m.spans], at)
            continue
        best = xp.empty((*x.shape[:at], m.sizes[0], *x.shape[at + 1 :]), x.dtype)
        for there, here, _, first in m.steps:
            part, place = x[(*before, on(xp, here))], (*before, on(xp, there))
            if first:
                best[place] = part
            elif isinstance(there, slice):
                xp.maximum(best[place], part, out=best[place])
            else:
                best[place] = xp.maximum(best[place], part)
        x = best
    return x


def _largest(xp: Any, x: Any, maps: Maps) -> tuple[Any, Any]:
    """The largest elements of the windows of ``maps``, axis after axis from the last on, and where they are among the
    elements of the last axes in one row (int64); the first of equals, the last NaN of several.

    In each row of a window it is the first, and of these rows it is the first: so it is in the window.
    """
    where: Any = None
    stride = 1
    for axis, m in maps:
        at = x.ndim + axis
        before = (slice(None),) * at
        own = xp.arange(x.shape[at]).reshape(-1, *[1] * (-1 - axis)) * stride
        where = own if where is None else where + own
        if m.spans:
            where = xp.broadcast_to(where, x.shape)
            found = [_first(xp, x[(*before, span)], where[(*before, span)], at) for span in m.spans]
            stride *= x.shape[at]
            x, where = (xp.concatenate(parts, at) for parts in zip(*found, strict=True))
            continue
        shape = (*x.shape[:at], m.sizes[0], *x.shape[at + 1 :])
        best, found = xp.empty(shape, x.dtype), xp.empty(shape, np.int64)
        for there, here, _, first in m.steps:
            here, to = on(xp, here), (*before, on(xp, there))
            part, place = x[(*before, here)], where[(..., here, *[slice(None)] * (-1 - axis))]
            if first:
                best[to], found[to] = part, place
                continue
            better = part > best[to]
            if x.dtype.kind == "f":
                better |= part != part
            best[to] = xp.where(better, part, best[to])
            found[to] = xp.where(better, place, found[to])
        stride *= x.shape[at]
        x, where = best, found
    return x, where


def _first(xp: Any, x: Any, where: Any, axis: int) -> tuple[Any, Any]:
    """The largest elements along ``axis``, which stays, and what ``where`` has there: of equals at the first, of
    several NaN at the last."""
    at = xp.expand_dims(x.argmax(axis), axis)
    if x.dtype.kind == "f":
        n, nans = x.shape[axis], x != x
        last = n - 1 - xp.expand_dims(xp.flip(nans, axis).argmax(axis), axis)
        at = xp.where(nans.any(axis, keepdims=True), last, at)
    return xp.take_along_axis(x, at, axis), xp.take_along_axis(where, at, axis)


def _sliced(maps: Maps) -> bool:
    """Whether the elements of windows are evenly spaced."""
    if any(m.spans for _, m in maps):
        return False
    return all(isinstance(i, slice) for _, m in maps for step in m.steps for i in (step.there, step.here))


def _given_back(x: Any, best: Any, g: Any, maps: Maps, apart: bool, behind: int = 0) -> Any:
    """``g``, in NumPy, at the first element of each window that equals ``best``; of windows without NaN, with axes
    ``behind`` them."""
    out = np.zeros(x.shape, g.dtype)
    rest = [slice(None)] * behind
    rows = max(1, len(x) * 2**16 // max(x.size, 1))
    for i in range(0, len(x), rows):
        at = slice(i, i + rows)
        xs, bests, gs, outs = x[at], best[at], g[at], out[at]
        free = np.ones(bests.shape, bool)
        for steps in itertools.product(*[m.steps for _, m in reversed(maps)]):
            there, here = (..., *[s.there for s in steps], *rest), (..., *[s.here for s in steps], *rest)
            chosen = xs[here] == bests[there]
            chosen &= free[there]
            free[there] ^= chosen
            if apart:
                np.multiply(gs[there], chosen, out=outs[here])
            else:
                outs[here] += gs[there] * chosen
    return out


def _flat(xp: Any, index: Any, n: int, size: int) -> Any:
    """Indices within planes of ``size`` elements, the last n axes, as indices of all planes in one row."""
    planes = math.prod(index.shape[: index.ndim - n])
    return index.reshape(planes, -1) + xp.arange(planes).reshape(-1, 1) * size if index.size else index.reshape(-1)


@primitive()
def _taken(xp, x, index, n):
    """The elements of the planes (the last n axes) at ``index``."""
    return x.reshape(-1)[_flat(xp, index, n, math.prod(x.shape[x.ndim - n :]))].reshape(index.shape)


@primitive(grad_name="MaxPoolBackwardBackward0")
def _returned(xp, g, index, n, sizes):
    """Zeros, in planes of ``sizes``, with ``g`` added at ``index``."""
    shape = (*g.shape[: g.ndim - n], *sizes)
    flat = _flat(xp, index, n, math.prod(sizes)).reshape(-1)
    if xp is np and g.dtype in (np.float32, np.float64) and g.size:
        return np.bincount(flat, g.reshape(-1), math.prod(shape)).astype(g.dtype, copy=False).reshape(shape)
    total = xp.zeros(math.prod(shape), np.float32 if g.dtype.itemsize == 2 else g.dtype)
    xp.add.at(total, flat, g.reshape(-1).astype(total.dtype))
    return total.reshape(shape).astype(g.dtype, copy=False)


_taken.defvjp(lambda g, ans, x, index, n: _returned(g, index, n, tuple(x.shape[x.ndim - n :])), saves="x")
_returned.defvjp(lambda g, ans, x, index, n, sizes: _taken(g, index, n), saves="")


def _moved(maps: Maps) -> Maps:
    """``maps`` of arrays whose channels lie behind what is pooled."""
    return Maps([(axis - 1, m) for axis, m in maps])


def _pool_reference(x: Any, maps: Maps, apart: bool, name: str, found: list[Any]) -> Any:
    return _taken(x, _index(x._data, maps, found), len(maps))


def _index(x: Any, maps: Maps, found: list[Any]) -> Any:
    """Where the largest elements are; looked for when first asked for."""
    if not found:
        with backend.where_it_lies(x):
            found.append(_largest(backend.array_module(x), wide(x), maps)[1])
    return found[0]


@fused(reference=_pool_reference, inputs=1, grad_name=lambda node: node.args[3] if node.args is not None else "")
def _max_pooled(xp, x, maps, apart, name, found):
    """The largest elements of windows, which are ``apart`` or overlap; where they are is put into ``found`` once it has
    been looked for.  What is kept: whether the backward pass can find them by comparing."""
    if lies_last(x) and x.dtype.itemsize > 2 and x.ndim == len(maps) + 2:
        values = turned_back(_values(xp, turned(x), _moved(maps)))
    else:
        values = _values(xp, wide(x), maps)
    by_value = xp is np and x.dtype.kind == "f" and x.ndim > len(maps) and _sliced(maps) and not np.isnan(values).any()
    return values.astype(x.dtype, copy=False), by_value


@_max_pooled.defbackward
def _max_pooled_backward(xp, g, ans, kept, wanted, x, maps, apart, name, found):
    n = len(maps)
    if kept and not found and lies_last(x) and x.ndim == n + 2:
        before = turned(x)
        best = _values(xp, before, _moved(maps))
        return (turned_back(_given_back(before, best, turned(g), maps, apart, 1)),)
    if kept and not found:
        return (_given_back(x, _values(xp, x, maps), g, maps, apart),)  # the result may have been written to since
    index, sizes = _index(x, maps, found), tuple(x.shape[x.ndim - n :])
    if apart and g.size:
        out = xp.zeros(x.size, g.dtype)
        out[_flat(xp, index, n, math.prod(sizes)).reshape(-1)] = g.reshape(-1)
        return (out.reshape(x.shape),)
    return (_returned.primitive.forward(xp, g, index, n, sizes),)


def _pool(x: Tensor, maps: Maps, apart: bool, name: str, indices: bool) -> Any:
    found: list[Any] = []
    out = _max_pooled(x, maps, apart, name, found)
    return (out, Tensor._wrap(_index(x._data, maps, found).copy(), None)) if indices else out


def _max_pool(n: int, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, both: bool) -> Any:
    name = f"max_pool{n}d"
    windows = Windows(name, n, kernel, stride, padding, dilation, ceil)
    x = tensor_of(name, input, n + 1, n + 2)
    _check_kind(x, name, n == 1)
    apart = all(s > (k - 1) * d for s, k, d in zip(windows.stride, windows.kernel, windows.dilation, strict=True))
    label = "SqueezeBackward1" if n == 1 else f"MaxPool{n}DWithIndicesBackward0"
    return _pool(x, windows.maps(tuple(x.shape)), apart, label, both)


def _check_kind(x: Tensor, name: str, floats: bool) -> None:
    kind = raw(x).dtype.kind
    if kind in "bc" or (floats and kind in "iu"):
        raise NotImplementedError(f"\"{name}\" not implemented for '{noun(x)}'")


def _adaptive(n: int, x: Tensor, output_size: Any, both: bool) -> Any:
    name = f"adaptive_max_pool{n}d"
    sizes = adaptive_sizes(name, n, x, output_size)
    _check_kind(x, name, True)
    given = list(zip(x.shape[-n:], sizes, strict=True))
    label = "SqueezeBackward1" if n == 1 else f"AdaptiveMaxPool{n}DBackward0"
    return _pool(x, in_turn([of_shares(m, o) for m, o in given]), all(o and m % o == 0 for m, o in given), label, both)


@checked
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window: of (N, C, L) or (C, L).

    Args:
        kernel_size: the size of a window.
        stride: from one window to the next; by default the size.
        padding: how many elements, smaller than any, to imagine at either end; at most half a window.
        dilation: from one element of a window to the next.
        ceil_mode: whether the last window may hang over the end.
        return_indices: whether to return also where the elements are, in the plane laid out in one row (int64); of
            equals it is the first, of several NaN the last.

    Raises:
        RuntimeError: sizes that do not fit.

    >>> F.max_pool1d(torch.tensor([[1.0, 3.0, 7.0, 5.0]]), 2)
    tensor([[3., 7.]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, bool(return_indices))


@checked
def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """:func:`max_pool1d` with ``return_indices``: values and indices.

    >>> F.max_pool1d_with_indices(torch.tensor([[1.0, 3.0, 7.0, 5.0]]), 2)[1]
    tensor([[1, 2]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@checked
def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window: of (N, C, H, W) or (C, H, W); see :func:`max_pool1d`.

    >>> F.max_pool2d(torch.arange(4.0).reshape(1, 2, 2), 2)
    tensor([[[3.]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, bool(return_indices))


@checked
def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """:func:`max_pool2d` with ``return_indices``: values and indices.

    >>> F.max_pool2d_with_indices(torch.arange(4.0).reshape(1, 2, 2), 2)[1]
    tensor([[[3]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@checked
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window: of (N, C, D, H, W) or (C, D, H, W); see :func:`max_pool1d`.

    >>> F.max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
    tensor([[[[7.]]]])
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, bool(return_indices))


@checked
def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """:func:`max_pool3d` with ``return_indices``: values and indices.

    >>> F.max_pool3d_with_indices(torch.arange(8.0).reshape(1, 2, 2, 2), 2)[1]
    tensor([[[[7]]]])
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@checked
def adaptive_max_pool1d(input: Tensor, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` windows that cover (N, C, L) or (C, L) evenly; see
    :func:`max_pool1d` and :func:`adaptive_avg_pool1d`.

    >>> F.adaptive_max_pool1d(torch.tensor([[1.0, 3.0, 7.0, 5.0]]), 1)
    tensor([[7.]])
    """
    return _adaptive(1, input, output_size, bool(return_indices))


@checked
def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Sizes, return_indices: bool = False) -> Any:
    """:func:`adaptive_max_pool1d` with ``return_indices``: values and indices.

    >>> F.adaptive_max_pool1d_with_indices(torch.tensor([[1.0, 3.0, 7.0, 5.0]]), 1)[1]
    tensor([[2]])
    """
    return _adaptive(1, input, output_size, True)


@checked
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` windows that cover (N, C, H, W) or (C, H, W) evenly; see
    :func:`max_pool1d` and :func:`adaptive_avg_pool2d`.

    >>> F.adaptive_max_pool2d(torch.arange(4.0).reshape(1, 2, 2), 1)
    tensor([[[3.]]])
    """
    return _adaptive(2, input, output_size, bool(return_indices))


@checked
def adaptive_max_pool2d_with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """:func:`adaptive_max_pool2d` with ``return_indices``: values and indices.

    >>> F.adaptive_max_pool2d_with_indices(torch.arange(4.0).reshape(1, 2, 2), 1)[1]
    tensor([[[3]]])
    """
    return _adaptive(2, input, output_size, True)


@checked
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` windows that cover (N, C, D, H, W) or (C, D, H, W) evenly; see
    :func:`max_pool1d` and :func:`adaptive_avg_pool3d`.

    >>> F.adaptive_max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 1)
    tensor([[[[7.]]]])
    """
    return _adaptive(3, input, output_size, bool(return_indices))


@checked
def adaptive_max_pool3d_with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """:func:`adaptive_max_pool3d` with ``return_indices``: values and indices.

    >>> F.adaptive_max_pool3d_with_indices(torch.arange(8.0).reshape(1, 2, 2, 2), 1)[1]
    tensor([[[[7]]]])
    """
    return _adaptive(3, input, output_size, True)
