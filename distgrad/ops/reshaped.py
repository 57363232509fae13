"""Another shape, or another memory, for a tensor that stays the same object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import backend
from ..autograd import Tensor
from ..autograd.errors import leaf_written
from ..autograd.grad_mode import recording
from ..autograd.graph import Cell, Leaf
from ._declare import Dims, array, method, sizes
from .shape import squeeze, t, transpose, unsqueeze
from .windows import as_strided

__all__: list[str] = []


def _become(x: Tensor, made: Any) -> Tensor:
    """``x`` becomes what ``made`` gives of it, a view: of what ``x`` was, which lives on as the base."""
    if type(x._node) is Leaf:
        if recording.enabled:
            raise leaf_written(x._view is not None)
        x.data = made(x.detach())
        return x
    told = x.__dict__.get("_when_replaced")
    if told is not None:
        told(x)
    if x._vc is None:
        x._vc = Cell()
    before = Tensor._wrap(x._data, x._node)
    before._vc, before._view = x._vc, x._view
    out = made(before)
    if out is before:
        return x
    x._data, x._node, x._view = out._data, out._node, out._view
    x._vc.version += 1
    return x


@method("squeeze_")
def squeeze_(self: Tensor, dim: Dims = None) -> Tensor:
    """In-place version of :func:`squeeze`."""
    return _become(self, lambda x: squeeze(x, dim))


@method("unsqueeze_")
def unsqueeze_(self: Tensor, dim: int) -> Tensor:
    """In-place version of :func:`unsqueeze`."""
    return _become(self, lambda x: unsqueeze(x, dim))


@method("transpose_", "swapaxes_", "swapdims_")
def transpose_(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """In-place version of :func:`transpose`."""
    return _become(self, lambda x: transpose(x, dim0, dim1))


@method("t_")
def t_(self: Tensor) -> Tensor:
    """In-place version of :func:`t`."""
    return _become(self, t)


@method("as_strided_")
def as_strided_(self: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """In-place version of :func:`as_strided`."""
    return _become(self, lambda x: as_strided(x, size, stride, storage_offset))


@method("resize_", check=False)
def resize_(self: Tensor, *size: int | Sequence[int], memory_format: Any = None) -> Tensor:
    """In place: of another shape; the elements that there are stay, in order, and others are not set.

    RuntimeError for a tensor that requires grad.
    """
    shape = sizes(size)
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    x = array(self)
    n = math.prod(shape)
    if n <= x.size and x.flags.c_contiguous:
        self._data = x.reshape(-1)[:n].reshape(shape)
        return self
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        made = xp.empty(n, x.dtype)
        made[: min(n, x.size)] = x.reshape(-1)[:n]
    told = self.__dict__.get("_when_replaced")
    if told is not None:
        told(self)
    self._data = made.reshape(shape)
    return self


@method("resize_as_")
def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """In place: of the shape of ``the_template``, as :meth:`resize_` makes it."""
    return resize_(self, *the_template.shape)
