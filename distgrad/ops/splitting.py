"""Tensors taken apart at given places, and joined with dimensions put in first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arguments import checked, is_number, kind_of
from ..autograd import Tensor
from ..autograd.tensor import TENSORS
from ._declare import array, axis, method, ndim_of, noun, raw
from .indexing import _getitem
from .joining import _tensors, cat, split, vstack
from .shape import _unsqueezed, reshape

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "column_stack", "dsplit", "dstack", "hsplit", "row_stack",
    "split_with_sizes", "tensor_split", "vsplit",
]  # fmt: skip


@method("split_with_sizes")
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """A tuple of pieces of the sizes given along ``dim``; views.

    RuntimeError where the sizes do not add up to the dimension's.

    >>> torch.split_with_sizes(torch.arange(5), (2, 3))
    (tensor([0, 1]), tensor([2, 3, 4]))
    """
    if split_sizes and min(split_sizes) < 0:
        raise RuntimeError(
            "split_with_sizes expects split_sizes have only non-negative entries, but got "
            f"split_sizes={list(split_sizes)}"
        )
    return split(input, list(split_sizes), dim)


def _pieces(input: Tensor, ends: Sequence[int], d: int) -> tuple[Tensor, ...]:
    """The slices along ``d`` up to each of ``ends``, and what remains."""
    n = array(input).shape[d]
    out, start = [], 0
    for end in (*ends, n):
        stop = max(0, end + n) if end < 0 else min(end, n)
        out.append(_getitem(input, (*(slice(None),) * d, slice(start, max(start, stop)))))
        start = min(max(0, end + n if end < 0 else end), n)
    return tuple(out)


@method("tensor_split")
def tensor_split(input: Tensor, indices_or_sections: Any = None, dim: int = 0, **names: Any) -> tuple[Tensor, ...]:
    """A tuple of pieces along ``dim``: so many, of sizes that differ by 1 at most, or ending before the indices given
    (a sequence or a tensor); views.

    >>> torch.tensor_split(torch.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    >>> torch.tensor_split(torch.arange(5), (1, 3))
    (tensor([0]), tensor([1, 2]), tensor([3, 4]))
    """
    what = names.pop("sections", names.pop("indices", indices_or_sections))
    if names:
        raise TypeError(f"tensor_split() got an unexpected keyword argument '{next(iter(names))}'")
    if ndim_of(input) == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = axis(dim, ndim_of(input))
    if what.__class__ in TENSORS:
        if ndim_of(what) > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, "
                f"but got a tensor with {ndim_of(what)} dims"
            )
        if raw(what).dtype != np.int64:
            raise RuntimeError(
                f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {noun(what)}"
            )
        what = what.tolist()
    if not is_number(what):
        if not isinstance(what, tuple | list):
            raise TypeError(
                "tensor_split(): argument 'indices_or_sections' (position 1) must be int or tuple of ints, not "
                f"{kind_of(what)}"
            )
        return _pieces(input, [int(i) for i in what], d)
    if what <= 0:
        raise RuntimeError(f"number of sections must be larger than 0, got {what}")
    size, more = divmod(array(input).shape[d], int(what))
    return _pieces(input, [k * size + min(k, more) for k in range(1, int(what))], d)


def _evenly_split(name: str, dims: int, least: int, doc: str) -> Any:
    def split(input: Tensor, indices_or_sections: Any = None, **names: Any) -> tuple[Tensor, ...]:
        what = names.pop("sections", names.pop("indices", indices_or_sections))
        n = ndim_of(input)
        if n < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {n} dimensions!"
            )
        d = dims if n > 1 else 0
        size = array(input).shape[d]
        if isinstance(what, int | np.integer) and (what <= 0 or size % what):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {d}, but the size of the dimension {size} is "
                f"not divisible by the split_size {what}!"
            )
        return tensor_split(input, what, d)

    split.__name__ = split.__qualname__ = name
    split.__doc__ = doc
    return method(name)(split)


hsplit = _evenly_split("hsplit", 1, 1, """Pieces along the second dimension (of a vector the first); views.

    So many of one size, or as :func:`tensor_split` ending before the indices given.

    >>> torch.hsplit(torch.arange(4), 2)
    (tensor([0, 1]), tensor([2, 3]))
    """)  # fmt: skip
vsplit = _evenly_split("vsplit", 0, 2, """Pieces along the first dimension, otherwise as :func:`hsplit`.

    >>> torch.vsplit(torch.tensor([[0, 1], [2, 3]]), 2)
    (tensor([[0, 1]]), tensor([[2, 3]]))
    """)  # fmt: skip
dsplit = _evenly_split("dsplit", 2, 3, """Pieces along the third dimension, otherwise as :func:`hsplit`.

    >>> [x.shape for x in torch.dsplit(torch.ones(1, 2, 4), 2)]
    [torch.Size([1, 2, 2]), torch.Size([1, 2, 2])]
    """)  # fmt: skip


def _at_least(name: str, widened: Any, doc: str) -> Any:
    def atleast(*tensors: Tensor | Sequence[Tensor]) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], tuple | list):
            return tuple([widened(x) for x in tensors[0]])
        made = tuple([widened(x) for x in tensors])
        return made[0] if len(made) == 1 else made

    atleast.__name__ = atleast.__qualname__ = name
    atleast.__doc__ = doc
    return checked(atleast)


def _in_1d(x: Any) -> Any:
    return _unsqueezed(x, (1,)) if array(x).ndim == 0 else x


def _in_2d(x: Any) -> Any:
    shape = array(x).shape
    return _unsqueezed(x, (1, *shape) if shape else (1, 1)) if len(shape) < 2 else x


def _in_3d(x: Any) -> Any:
    shape = array(x).shape
    if len(shape) > 2:
        return x
    return _unsqueezed(x, (1, 1, 1) if not shape else (1, *shape, 1) if len(shape) == 1 else (*shape, 1))


atleast_1d = _at_least("atleast_1d", _in_1d, """The tensor, of no dimensions as a vector of one; of several a tuple.

    >>> torch.atleast_1d(torch.tensor(2.0))
    tensor([2.])
    """)  # fmt: skip
atleast_2d = _at_least("atleast_2d", _in_2d, """The tensor with dimensions of size 1 in front, up to two; of several a
    tuple.

    >>> torch.atleast_2d(torch.tensor([1, 2]))
    tensor([[1, 2]])
    """)  # fmt: skip
atleast_3d = _at_least("atleast_3d", _in_3d, """The tensor with dimensions of size 1 up to three, of a vector one on
    each side, of a matrix behind; of several a tuple.

    >>> torch.atleast_3d(torch.tensor([1, 2])).shape
    torch.Size([1, 2, 1])
    """)  # fmt: skip


@checked
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second dimension, vectors as columns.

    >>> torch.column_stack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    columns = _tensors(tensors, "column_stack")
    return cat([reshape(x, raw(x).size, 1) if ndim_of(x) < 2 else x for x in columns], 1)


@checked
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the third dimension, what has fewer as :func:`atleast_3d` makes it.

    >>> torch.dstack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[[1, 3],
             [2, 4]]])
    """
    return cat([_in_3d(x) for x in _tensors(tensors, "dstack")], 2)


row_stack = vstack
