"""Elements in another order or several times: turned over, rolled, repeated; and triangles of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from .._arguments import checked
from ..autograd import Tensor, primitive
from ..autograd.graph import pin
from ..autograd.memory_format import contiguous_format, laid, preserve_format
from ..autograd.primitive import clone as _clone
from ..autograd.tensor import TENSORS
from ..autograd.views import write
from ._declare import Dims, attach, axis, method, named, ndim_of, raw, sizes, unknown
from .indexing import _getitem

__all__ = [
    "clone", "flip", "fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile", "tril", "triu",
]  # fmt: skip


@primitive(grad_name="FlipBackward0")
def _flip(xp, x, dims):
    return xp.flip(x, dims).copy() if x.ndim else x.copy()


_flip.defvjp(lambda g, ans, x, dims: _flip(g, dims), saves="")


@checked
def flip(input: Tensor, dims: int | Sequence[int]) -> Tensor:
    """In reverse order along ``dims``.

    >>> torch.flip(torch.tensor([1, 2, 3]), dims=[0])
    tensor([3, 2, 1])
    """
    n = ndim_of(input)
    along = tuple([axis(d, n) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))])
    if len(set(along)) != len(along):
        raise RuntimeError(f"dim {along[0]} appears multiple times in the list of dims")
    return _flip(input, along)


@primitive(grad_name="RollBackward0")
def _roll(xp, x, shifts, dims):
    return xp.roll(x, shifts[0] if dims is None else shifts, dims)


_roll.defvjp(lambda g, ans, x, shifts, dims: _roll(g, tuple([-s for s in shifts]), dims), saves="")


@method("roll")
def roll(input: Tensor, shifts: int | Sequence[int], dims: Dims = None) -> Tensor:
    """Shifted by ``shifts`` along ``dims`` (or flattened), what falls off entering at the other end.

    >>> torch.roll(torch.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    by = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if not by:
        raise RuntimeError("`shifts` required")
    n = ndim_of(input)
    along = () if dims is None else tuple([axis(d, n) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))])
    if not along and len(by) == 1:
        return _roll(input, by, None)
    if not n:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    if len(along) != len(by):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}")
    return _roll(input, by, along)


@primitive(meta="x", grad_name="RepeatBackward0")
def _tile(xp, x, reps):
    return xp.tile(x, reps)


def _tile_vjp(g, ans, x, reps):
    lead = (1,) * (len(reps) - len(x.shape))
    shape = [d for pair in zip(reps, (*lead, *x.shape), strict=True) for d in pair]
    return g.reshape(tuple(shape)).sum(tuple(range(0, len(shape), 2))).reshape(x.shape)


_tile.defvjp(_tile_vjp, saves="x")


@method("repeat")
def repeat(self: Tensor, *repeats: int | Sequence[int], **names: Any) -> Tensor:
    """Repeated so many times along each dimension; copies."""
    if names:
        repeats = (named("repeat", names, "repeats"),)
    reps = sizes(repeats)
    if len(reps) < ndim_of(self):
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: got "
            f"{len(reps)} for {ndim_of(self)} dimensions"
        )
    return _tile(self, reps)


@checked
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Repeated so many times along the last dimensions; copies.

    >>> torch.tile(torch.tensor([1, 2]), (2,))
    tensor([1, 2, 1, 2])
    """
    dims = tuple(dims)
    return _tile(input, (1,) * (ndim_of(input) - len(dims)) + dims)


@primitive(grad_name="CloneBackward0")
def _laid(xp, x, kind):
    return laid(xp, x, kind)


_laid.defvjp(lambda g, ans, x, kind: g, saves="")


@method("clone", check=False)
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with its own memory; gradients flow through it.  ``memory_format``: the order of its elements there.

    >>> x = torch.tensor([1.0])
    >>> y = torch.clone(x)
    >>> y += 1
    >>> x
    tensor([1.])
    """
    if memory_format is None or memory_format is preserve_format:
        return _clone(input)
    return _in_order(input, memory_format)


def _in_order(x: Tensor, memory_format: Any) -> Tensor:
    """A copy of ``x`` in an order that was asked for, and stays."""
    out: Tensor = _laid(x, memory_format)
    if out.__class__ in TENSORS:
        pin(out)
    return out


@method("contiguous", check=False)
def contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """Itself if its elements lie in row-major order, or in ``memory_format``, else a copy that does."""
    if memory_format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return self if self.is_contiguous(memory_format) else clone(self, memory_format=memory_format)


def _triangle(name: str) -> Any:
    def forward(xp, x, diagonal):
        return getattr(xp, name)(x, diagonal)

    forward.__name__ = "_" + name
    keep = primitive()(forward)
    keep.defvjp(lambda g, ans, x, diagonal: keep(g, diagonal), saves="")

    def triangle(input: Tensor, diagonal: int = 0) -> Tensor:
        if ndim_of(input) < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return keep(input, diagonal)

    def inplace(self: Tensor, diagonal: int = 0) -> Tensor:
        return write(keep.primitive, self, (diagonal,), {})

    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"In-place version of :func:`{name}`."
    attach(name + "_", inplace)
    triangle.__name__ = triangle.__qualname__ = name
    side = "below or on" if name == "tril" else "above or on"
    rows = ("[1., 0.]", "[1., 1.]") if name == "tril" else ("[1., 1.]", "[0., 1.]")
    example = f"torch.{name}(torch.ones(2, 2))\n    tensor([{rows[0]},\n            {rows[1]}])"
    triangle.__doc__ = f"Zero but {side} the ``diagonal``.\n\n    >>> {example}\n    "
    return method(name)(triangle)


tril, triu = _triangle("tril"), _triangle("triu")


@method("flip", check=False)
def _flipped(self: Tensor, *dims: int | Sequence[int], **names: Any) -> Tensor:
    """In reverse order along ``dims``."""
    return flip(self, sizes(dims if not names else (named("flip", names, "dims"),)))


@method("tile", check=False)
def _tiled(self: Tensor, *dims: int | Sequence[int], **names: Any) -> Tensor:
    """Repeated so many times along the last dimensions; copies."""
    return tile(self, sizes(dims if not names else (named("tile", names, "dims"),)))


@method("fliplr")
def fliplr(input: Tensor) -> Tensor:
    """In reverse order along the second dimension.

    >>> torch.fliplr(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 1],
            [4, 3]])
    """
    if ndim_of(input) < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@method("flipud")
def flipud(input: Tensor) -> Tensor:
    """In reverse order along the first dimension.

    >>> torch.flipud(torch.tensor([[1, 2], [3, 4]]))
    tensor([[3, 4],
            [1, 2]])
    """
    if ndim_of(input) < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


@primitive(grad_name="Rot90Backward0")
def _turned(xp, x, k, dims):
    return xp.array(xp.rot90(x, k, dims), order="C")  # never the memory of x: k may be a multiple of 4


_turned.defvjp(lambda g, ans, x, k, dims: _turned(g, -k, dims), saves="")


@method("rot90")
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees, ``k`` times, from the first towards the second of ``dims``.

    >>> torch.rot90(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    n = ndim_of(input)
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    along = (axis(dims[0], n), axis(dims[1], n))
    if along[0] == along[1]:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    return _turned(input, k, along)


def _times(repeats: Any) -> Any:
    """The index that names each of 0 … n-1 as often as ``repeats`` says."""
    xp = backend.array_module(repeats)
    if repeats.dtype not in (np.int64, np.int32):
        raise unknown("repeat_interleave_cpu", repeats)
    if repeats.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.size and int(repeats.min()) < 0:
        raise RuntimeError("repeats can not be negative")
    ends = xp.cumsum(repeats)
    total = int(ends[-1]) if repeats.size else 0
    return xp.searchsorted(ends, xp.arange(total), side="right").astype(np.int64, copy=False)


@method("repeat_interleave")
def repeat_interleave(
    input: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each slice along ``dim`` (default: each element, flattened) so many times in a row, all alike or each as often as
    a vector of ``repeats`` says; with a vector alone the indices that do it.

    >>> torch.repeat_interleave(torch.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> torch.repeat_interleave(torch.tensor([1, 2]), torch.tensor([2, 1]))
    tensor([1, 1, 2])
    """
    with backend.where_it_lies(raw(input)):
        if repeats is None:
            index = _times(raw(input))
            return Tensor._wrap(index.astype(raw(input).dtype, copy=False), None)
        x = input.reshape(-1) if dim is None or ndim_of(input) == 0 else input
        d = 0 if dim is None else axis(dim, ndim_of(input))
        xp, n = backend.array_module(raw(input)), raw(x).shape[d]
        if repeats.__class__ is int:
            if repeats < 0:
                raise RuntimeError("Repeats must be non-negative")
            if output_size not in (None, n * repeats):
                raise RuntimeError(
                    f"repeat_interleave: Invalid output_size, expected {n * repeats} but got {output_size}"
                )
            index = xp.repeat(xp.arange(n), repeats)
        else:
            counts = raw(repeats)
            if counts.ndim > 1:
                raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
            if counts.size not in (1, n):
                raise RuntimeError(
                    f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.size} and "
                    f"input.size({d}) = {n}"
                )
            index = _times(xp.broadcast_to(counts.reshape(-1), (n,)) if counts.size == 1 else counts)
        if output_size is not None and output_size != index.size:
            raise RuntimeError("allocated size does not match required size")
    return _getitem(x, (*(slice(None),) * d, index))
