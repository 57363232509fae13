"""Views of memory with other strides: windows that slide along a dimension, and whatever sizes and strides say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor, primitive
from ..autograd.graph import settle
from ..autograd.tensor import TENSORS
from ._declare import array, axis, method, raw

__all__ = ["as_strided", "as_strided_scatter"]


def _over(xp: Any, x: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """The memory of ``x`` with other sizes, strides and a first element ``offset`` behind its own, all but the sizes in
    bytes: an array whose memory's owner is that of ``x``, as a view's has to be."""
    if xp is not np:
        if offset:
            if offset < 0 or not x.flags.c_contiguous:
                raise NotImplementedError("as_strided at this offset of a view is not implemented on this device")
            x = x.reshape(-1)[offset // x.itemsize :]
        return xp.lib.stride_tricks.as_strided(x, shape, strides)
    if 0 in shape:
        return x.reshape(-1)[:0].reshape(shape)
    owner: Any = x.base if x.base.__class__ is np.ndarray else x
    start = x.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    out = np.ndarray(shape, x.dtype, buffer=_bytes_of(owner), offset=start + offset, strides=strides)
    out.flags.writeable = x.flags.writeable
    return out


def _bytes_of(owner: np.ndarray) -> Any:
    """The owner's memory in the order in which it lies, for a buffer has to be contiguous."""
    if owner.flags.c_contiguous or owner.flags.f_contiguous:
        return owner
    return owner.transpose(sorted(range(owner.ndim), key=lambda k: -owner.strides[k]))


# --- unfold ----------------------------------------------------------------------------------------------------------


@primitive(meta="x", view=True, grad_name="UnfoldBackward0")
def _unfolded(xp, x, dim, size, step):
    """The windows of ``size`` along ``dim``, one every ``step``, as a last dimension."""
    if x.ndim == 0:
        return x.reshape(1)[:size]
    count = (x.shape[dim] - size) // step + 1
    shape = (*x.shape[:dim], count, *x.shape[dim + 1 :], size)
    strides = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :], x.strides[dim])
    return _over(xp, x, shape, strides, 0)


@primitive(meta="x", grad_name="UnfoldBackwardBackward0")
def _folded(xp, x, shape, dim, size, step):
    """Zeros of ``shape`` with the windows ``x`` added where they were taken."""
    out = xp.zeros(shape, x.dtype)
    if not shape:
        if size:
            out[...] = x[0]
        return out
    lead = (slice(None),) * dim
    span = (x.shape[dim] - 1) * step + 1
    for k in range(size):
        out[(*lead, slice(k, k + span, step))] += x[..., k]
    return out


_unfolded.defvjp(
    lambda g, ans, x, dim, size, step: _folded(g, tuple(x.shape), dim, size, step),
    saves="x",
)
_folded.defvjp(lambda g, ans, x, shape, dim, size, step: _unfolded(g, dim, size, step), saves="")


@method("unfold")
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of ``size`` along ``dimension``, one every ``step``, as a new last dimension; a view.

    >>> torch.arange(4).unfold(0, 2, 1)
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    x = array(self)
    d = axis(dimension, x.ndim)
    n = x.shape[d] if x.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return _unfolded(self, d, size, step)


# --- as_strided ------------------------------------------------------------------------------------------------------


def _places(shape: Any, strides: Any, offset: int) -> Any:
    """Where in memory, counted in elements, a tensor of this geometry has each of its own."""
    places = np.full(shape, offset, np.int64)
    for k, (n, s) in enumerate(zip(shape, strides, strict=True)):
        places += np.arange(n).reshape([-1 if j == k else 1 for j in range(len(shape))]) * s
    return places


def _steps(x: Any) -> tuple[int, ...]:
    return tuple([s // x.itemsize for s in x.strides])


@primitive(meta="x", view=True, grad_name="AsStridedBackward0")
def _as_strided(xp, x, shape, strides, offset, geometry):
    """The memory of ``x``, whose strides are ``geometry``, with other sizes and strides from ``offset`` behind its
    first element on; strides and offset count elements."""
    if x.size and _steps(x) != geometry and x.size > 1:  # a gradient or a copy, which lies otherwise
        return _read_at(xp, x, shape, strides, offset, geometry)
    return _over(xp, x, shape, tuple([s * x.itemsize for s in strides]), offset * x.itemsize)


def _memory(shape: Any, strides: Any, offset: int, have: Any, geometry: Any) -> tuple[Any, Any, int]:
    """The places of the result and of the input in common memory, and its size."""
    theirs, own = _places(shape, strides, offset), _places(have, geometry, 0)
    least = min([int(p.min()) for p in (theirs, own) if p.size], default=0)
    most = max([int(p.max()) for p in (theirs, own) if p.size], default=-1)
    return theirs - least, own - least, most - least + 1


def _read_at(xp: Any, x: Any, shape: Any, strides: Any, offset: int, geometry: Any) -> Any:
    theirs, own, n = _memory(shape, strides, offset, x.shape, geometry)
    memory = xp.zeros(n, x.dtype)
    memory[xp.asarray(own)] = x
    return memory[xp.asarray(theirs)]


@primitive(meta="x", grad_name="AsStridedBackward1")
def _put_back(xp, x, have, strides, offset, geometry):
    """Zeros of the shape ``have`` in which each element of ``x`` is added where :func:`_as_strided` took it."""
    theirs, own, n = _memory(x.shape, strides, offset, have, geometry)
    memory = xp.zeros(n, x.dtype)
    xp.add.at(memory, xp.asarray(theirs), x)
    times = np.bincount(own.reshape(-1), minlength=n)
    if times.size and times.max() > 1:  # one place of several elements: each has its part
        memory = memory / xp.asarray(np.maximum(times, 1)).astype(memory.dtype)
    return memory[xp.asarray(own)].astype(x.dtype, copy=False)


@primitive(meta="x", grad_name="AsStridedBackward1")
def _taken_again(xp, x, shape, strides, offset, geometry):
    """What :func:`_put_back` is the gradient of, of a gradient: its own gradient."""
    theirs, own, n = _memory(shape, strides, offset, x.shape, geometry)
    memory = xp.zeros(n, x.dtype)
    xp.add.at(memory, xp.asarray(own), x)
    times = np.maximum(np.bincount(own.reshape(-1), minlength=n), 1)
    memory = memory / xp.asarray(times).astype(memory.dtype)
    return memory[xp.asarray(theirs)].astype(x.dtype, copy=False)


_as_strided.defvjp(
    lambda g, ans, x, shape, strides, offset, geometry: _put_back(g, tuple(x.shape), strides, offset, geometry),
    saves="x",
)
_put_back.defvjp(
    lambda g, ans, x, have, strides, offset, geometry: _taken_again(g, tuple(x.shape), strides, offset, geometry),
    saves="x",
)
_taken_again.defvjp(
    lambda g, ans, x, shape, strides, offset, geometry: _put_back(g, tuple(x.shape), strides, offset, geometry),
    saves="x",
)


def _own_offset(x: Any) -> int:
    """Where in its memory the first element of ``x`` lies, counted in elements."""
    if not isinstance(x, np.ndarray) or x.base.__class__ is not np.ndarray:
        return 0
    return (x.__array_interface__["data"][0] - x.base.__array_interface__["data"][0]) // x.itemsize


def _room(x: Any) -> int:
    """How many elements the memory of ``x`` has."""
    owner = x.base if isinstance(x, np.ndarray) and x.base.__class__ is np.ndarray else x
    return int(owner.nbytes // x.itemsize)


@method("as_strided")
def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """The memory of ``input`` read with other sizes and strides, from its element ``storage_offset`` on (default: the
    first of ``input``); a view.

    Strides and offset count elements.  RuntimeError for what lies outside of the memory, and a negative stride.

    >>> torch.as_strided(torch.arange(5), (3, 2), (1, 2))
    tensor([[0, 2],
            [1, 3],
            [2, 4]])
    """
    if input.__class__ in TENSORS:
        settle(input)
    x = array(input)
    shape, strides = tuple(int(n) for n in size), tuple(int(s) for s in stride)
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    start = _own_offset(x)
    offset = start if storage_offset is None else storage_offset
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    need = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1 if 0 not in shape else 0
    if need > _room(x):
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize "
            f"{x.itemsize} requiring a storage size of {need * x.itemsize} are out of bounds for storage of size "
            f"{_room(x) * x.itemsize}"
        )
    return _as_strided(input, shape, strides, offset - start, _steps(x))


@method("as_strided_scatter")
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """``input`` with ``src`` in the place of what :func:`as_strided` would take from it; a copy.

    >>> torch.as_strided_scatter(torch.zeros(4), torch.ones(2), (2,), (2,))
    tensor([1., 0., 1., 0.])
    """
    made = input.clone()
    if tuple(raw(src).shape) != tuple(size):
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(raw(src).shape)}, slice size = {list(size)}"
        )
    as_strided(made, size, stride, storage_offset).copy_(src)
    return made
