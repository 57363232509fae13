"""The largest and the smallest: values and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes, return_types
from ..autograd import Tensor, primitive
from ..autograd.primitive import clone
from ..autograd.recording import watched
from ..autograd.tensor import TENSORS
from ._declare import (
    Dims,
    axes,
    axis,
    method,
    ndim_of,
    raw,
    unknown,
)
from .arithmetic import maximum, minimum
from .creation import zeros
from .indexing import _grid, _scattered
from .reduction import _spread, _sum
from .selection import where

__all__ = ["amax", "amin", "argmax", "argmin", "max", "min"]


def _not_empty(name: str, shape: tuple[int, ...], dims: tuple[int, ...] | None) -> None:
    """IndexError where a dimension to reduce has no element, or all are meant and there is none."""
    if dims is None:
        if 0 in shape:
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        return
    for d in dims:
        if shape[d] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


def _extreme(name: str, ufunc: str, whole_nan: bool = False) -> Any:
    def forward(xp, x, dims, keepdim):
        if x.size == 0:
            _not_empty("a" + name, x.shape, dims)
        if x.dtype.kind == "c":
            raise unknown("a" + name, x)
        return getattr(xp, ufunc)(x, axis=dims, keepdims=keepdim)

    forward.__name__ = ("_" if whole_nan else "_a") + name

    def node_name(node: Any) -> str:
        whole = node.shape == () if node.args is None else node.args[1] is None  # a freed node has its shape alone
        return f"{name.capitalize()}Backward1" if whole else f"A{name}Backward0"

    reduce = primitive(grad_name=node_name)(forward)
    reduce.defvjp(shared_evenly(whole_nan), saves="ans x")
    return reduce


def shared_evenly(whole_nan: bool) -> Any:
    """The rule of a reduction that finds one of the elements."""

    def rule(g, ans, x, dims, keepdim):
        """Shared evenly among equals; where the result is NaN among those that are NaN by max() and min(), and by
        amax() and amin() NaN everywhere, as in PyTorch."""
        found = _spread(ans, x.shape, dims, keepdim)
        here = x == found
        if dims is None and whole_nan:
            here = here | ((x != x) & (found != found))
        share = _sum(here * 1.0, dims, True).astype(x.dtype) if not isinstance(x, Tensor) else raw_count(here, dims, x)
        return where(here, _spread(g, x.shape, dims, keepdim), 0.0) / share

    return rule


def raw_count(here: Tensor, dims: tuple[int, ...] | None, like: Tensor) -> Tensor:
    """How many are true along ``dims``, as an unrecorded tensor of ``like``'s dtype with the dimensions kept."""
    return Tensor._wrap(here._data.sum(axis=dims, keepdims=True).astype(like._data.dtype), None)


_amax, _amin = _extreme("max", "max"), _extreme("min", "min")


_max, _min = _extreme("max", "max", whole_nan=True), _extreme("min", "min", whole_nan=True)


@method("amax")
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest element over dimension(s) ``dim`` (default all); equals share the gradient evenly.

    >>> torch.amax(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
    tensor([5., 3.])
    """
    return _amax(input, axes(dim, ndim_of(input)), keepdim)


@method("amin")
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest element over dimension(s) ``dim`` (default all); equals share the gradient evenly.

    >>> torch.amin(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
    tensor([1., 2.])
    """
    return _amin(input, axes(dim, ndim_of(input)), keepdim)


def _arg(name: str, input: Any, dim: int | None, keepdim: bool) -> Any:
    x = raw(input)
    if x.dtype.kind in "bc":
        raise unknown(name, x)
    xp = backend.array_module(x)
    if x.size == 0:
        if dim is None:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        _not_empty(name, x.shape, (dim,))
        shape = tuple([1 if i == dim else n for i, n in enumerate(x.shape) if keepdim or i != dim])
        return xp.zeros(shape, np.int64)
    with backend.where_it_lies(x):
        return xp.asarray(getattr(xp, name)(x, axis=dim, keepdims=keepdim)).astype(np.int64, copy=False)


@primitive(meta="x", grad_name=lambda node: node.args[4].capitalize() + "Backward0")
def _picked(xp, x, index, dim, shape, name):
    """The elements at ``index``, one along ``dim``, in ``shape``: what max and min found."""
    return xp.take_along_axis(x, index, dim).reshape(shape)


_picked.defvjp(
    lambda g, ans, x, index, dim, shape, name: _scattered(g.reshape(index.shape), tuple(x.shape), _grid(index, dim)),
    saves="x",
)


def _along(name: str, arg: str, whole: Any, pair: Any) -> Any:
    pack = getattr(return_types, name)

    def reduce(
        input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None
    ) -> Any:
        dim = dim if other is None else other
        if dim is None:
            return whole(input, None, False)
        if dim.__class__ in TENSORS:
            return pair(input, dim)
        d = axis(dim, ndim_of(input))
        if input._data.dtype.kind == "c":
            raise RuntimeError(f"{name}(): does not support complex input")
        if input._data.dtype.kind == "b":
            found = reduce(input.byte(), d, keepdim)
            return pack((found.values.bool(), found.indices))
        if ndim_of(input) == 0:
            return pack((clone(input), zeros((), dtype=dtypes.int64, device=input.device)))
        where_ = _arg(arg, input, d, True)
        shape = tuple([n for i, n in enumerate(where_.shape) if keepdim or i != d])
        indices = Tensor._wrap(where_.reshape(shape), None)
        return pack((watched(_picked(input, where_, d, shape, name), indices), indices))

    reduce.__name__ = reduce.__qualname__ = name
    size = "largest" if name == "max" else "smallest"
    reduce.__doc__ = (
        f"The {size} of all elements; over ``dim`` a named tuple of values and int64 indices (the first of equals); "
        f"with a second tensor the {size} of each pair.\n\n"
        f"    >>> torch.{name}(torch.tensor([1.0, 5.0, 3.0]))\n    tensor({'5.' if name == 'max' else '1.'})\n    "
    )
    return method(name)(reduce)


@method("argmax")
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the largest element, in the flattened tensor or along ``dim``; of equals the first.

    >>> torch.argmax(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
    tensor([1, 0])
    """
    return Tensor._wrap(_arg("argmax", input, None if dim is None else axis(dim, ndim_of(input)), keepdim), None)


@method("argmin")
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the smallest element, in the flattened tensor or along ``dim``; of equals the first.

    >>> torch.argmin(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
    tensor([0, 1])
    """
    return Tensor._wrap(_arg("argmin", input, None if dim is None else axis(dim, ndim_of(input)), keepdim), None)


max = _along("max", "argmax", _max, maximum)


min = _along("min", "argmin", _min, minimum)
