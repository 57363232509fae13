"""Tensors joined to one and one taken apart into several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._arguments import checked
from ..autograd import Tensor, primitive
from ._declare import array, attach, axis, method, ndim_of, raw
from .shape import reshape

__all__ = ["cat", "chunk", "concat", "concatenate", "hstack", "split", "stack", "unbind", "vstack"]


@primitive(meta="xs", promote="same", grad_name="CatBackward0")
def _cat(xp, *xs, dim):
    return xp.concatenate(xs, axis=dim)


def _part(i, g, ans, *xs, dim):
    start = 0
    for x in xs[:i]:
        start += x.shape[dim]
    return g[(slice(None),) * dim + (slice(start, start + xs[i].shape[dim]),)]


_cat.defvjp_each(_part, saves="xs")


def _tensors(tensors: Any, name: str) -> tuple[Any, ...]:
    tensors = tuple(tensors)
    if not tensors:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return tensors


@checked
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one behind the other along ``dim``; their other sizes must agree.  ValueError for none.

    >>> torch.cat([torch.tensor([1, 2]), torch.tensor([3])])
    tensor([1, 2, 3])
    """
    tensors = tuple(tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    if any_zero_dim(tensors):
        raise RuntimeError("zero-dimensional tensor cannot be concatenated")
    whole = [x for x in tensors if raw(x).shape != (0,)]
    if not whole:
        return _cat(*tensors, dim=0)  # of nothing along any dimension
    n = ndim_of(whole[0])
    d = axis(dim, n)
    if len(whole) < len(tensors):  # nothing takes no place, but part in the dtype and in what wants a gradient
        shape = raw(whole[0]).shape
        nothing = (*shape[:d], 0, *shape[d + 1 :])
        whole = [x if raw(x).shape != (0,) else x.reshape(nothing) for x in tensors]
    for i, x in enumerate(whole[1:], 1):
        s, s0 = raw(x).shape, raw(whole[0]).shape
        if len(s) != n:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {n} and {len(s)}")
        for k in range(n):
            if k != d and s[k] != s0[k]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {s0[k]} but got size {s[k]} "
                    f"for tensor number {i} in the list."
                )
    return _cat(*whole, dim=d)


concat = concatenate = cat


def any_zero_dim(tensors: Sequence[Tensor]) -> bool:
    """Whether one of the tensors has no dimension."""
    return any(ndim_of(x) == 0 for x in tensors)


@primitive(promote="same", meta="xs", grad_name="StackBackward0")
def _stack(xp, *xs, dim):
    if dim == 0 and xp is np:
        first = xs[0]
        if first.shape == ():
            return np.array(xs, first.dtype)
        out = np.empty((len(xs), *first.shape), first.dtype)
        for i, x in enumerate(xs):
            out[i] = x
        return out
    return xp.stack(xs, axis=dim)


_stack.defvjp_each(lambda i, g, ans, *xs, dim: g[(slice(None),) * dim + (i,)], saves="")


@checked
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, of one shape, along a new dimension ``dim``.

    >>> torch.stack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    tensors = _tensors(tensors, "stack")
    shape = raw(tensors[0]).shape
    for i, x in enumerate(tensors):
        if raw(x).shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(raw(x).shape)} at entry {i}"
            )
    return _stack(*tensors, dim=axis(dim, len(shape) + 1))


@checked
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second dimension (vectors along the first).

    >>> torch.hstack([torch.tensor([1, 2]), torch.tensor([3])])
    tensor([1, 2, 3])
    """
    if not tensors:
        raise RuntimeError("hstack expects a non-empty TensorList")
    tensors = [x if ndim_of(x) else reshape(x, 1) for x in tensors]
    return cat(tensors, 0 if ndim_of(tensors[0]) == 1 else 1)


@checked
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the first dimension, vectors as rows.

    >>> torch.vstack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    if not tensors:
        raise RuntimeError("vstack expects a non-empty TensorList")
    return cat([x if ndim_of(x) > 1 else reshape(x, 1, -1) for x in tensors], 0)


@primitive(meta="x", view=True, grad_name="UnbindBackward0")
def _unbind(xp, x, dim):
    if dim == 0:
        return tuple([x[i, ...] for i in range(len(x))])
    return tuple([x[(*(slice(None),) * dim, i, ...)] for i in range(x.shape[dim])])


_unbind.defvjp(lambda g, ans, x, dim: np.array(g) if isinstance(g[0], np.floating) else _stack(*g, dim=dim), saves="")


@method("unbind")
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """A tuple of the slices along ``dim``, which is gone from each; views.

    >>> torch.unbind(torch.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    if ndim_of(input) == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return _unbind(input, axis(dim, ndim_of(input)))


def _iterate(self: Tensor) -> Iterator[Tensor]:
    if self._data.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(_unbind(self, 0))


@primitive(meta="x", view=True, grad_name=lambda node: node.args[3])
def _split(xp, x, parts, dim, name):
    out, start = [], 0
    for n in parts:
        out.append(x[(*(slice(None),) * dim, slice(start, start + n))])
        start += n
    return tuple(out)


_split.defvjp(lambda g, ans, x, parts, dim, name: cat(g, dim), saves="")


@method("split")
def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """A tuple of pieces along ``dim``: of one size (the last may be smaller), or of the sizes given; views.

    >>> torch.split(torch.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    if ndim_of(tensor) == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = axis(dim, ndim_of(tensor))
    n = array(tensor).shape[d]
    if isinstance(split_size_or_sections, np.integer):
        split_size_or_sections = int(split_size_or_sections)
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size <= 0 and n:
            raise RuntimeError(f"split expects split_size be positive, but got split_size={size}")
        parts = [min(size, n - s) for s in range(0, n, size)] if n else [0]
    else:
        parts = list(split_size_or_sections)
        if sum(parts) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), "
                f"but got split_sizes={parts}"
            )
    by_size = isinstance(split_size_or_sections, int)
    return _split(tensor, tuple(parts), d, "SplitBackward0" if by_size else "SplitWithSizesBackward0")


@method("chunk")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` pieces along ``dim``, all but the last of one size; views.

    >>> torch.chunk(torch.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if ndim_of(input) == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    n = array(input).shape[axis(dim, ndim_of(input))]
    return split(input, -(-n // chunks), dim) if n else split(input, [0] * chunks, dim)


attach("__iter__", _iterate)
