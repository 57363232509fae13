"""Sums, means, extremes and counts over dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import misfit
from ..autograd import Tensor, primitive
from ..autograd.grad_mode import recording
from ..autograd.tensor import TENSORS
from ..autograd.views import write
from ._declare import (
    Dims,
    DType,
    array,
    attach,
    axes,
    axis,
    in_float32,
    keeps,
    method,
    ndim_of,
    raw,
)
from .creation import ones_like
from .joining import cat
from .rearranging import flip
from .shape import filled

__all__ = ["all", "any", "count_nonzero", "cumsum", "mean", "prod", "sum"]

# Its arguments by position, which is quicker, and unknown to NumPy's stubs.
_add_reduce: Any = np.add.reduce


def _spread(g: Any, shape: tuple[int, ...], dims: tuple[int, ...] | None, keepdim: bool) -> Any:
    """``g``, a reduction's gradient, with the reduced dimensions back, of size 1."""
    if keepdim or (dims is None and not g.shape):
        return g
    kept = [1] * len(shape) if dims is None else [1 if i in dims else d for i, d in enumerate(shape)]
    return g.reshape(tuple(kept))


def _sum_name(node: Any) -> str:
    return "SumBackward0" if node.args[1] is None else "SumBackward1"


@primitive(meta="x", grad_name=_sum_name)
def _sum(xp, x, dims, keepdim):
    if x.dtype.char not in "fdFD":
        return _sum_others(xp, x, dims, keepdim)
    return xp.sum(x, axis=dims, keepdims=keepdim) if xp is not np else _add_reduce(x, dims, None, None, keepdim)


_sum.defvjp(lambda g, ans, x, dims, keepdim: filled(_spread(g, x.shape, dims, keepdim), x.shape), saves="x")


def _sum_others(xp: Any, x: Any, dims: Any, keepdim: bool) -> Any:
    """Bools and integers are added up in int64, half precisions in float32."""
    if x.dtype.kind in "biu":
        return xp.add.reduce(x, axis=dims, dtype=np.int64, keepdims=keepdim)
    return xp.add.reduce(x.astype(np.float32), axis=dims, keepdims=keepdim).astype(x.dtype)


@primitive(meta="x", grad_name="SumBackward0")
def _sum_all(xp, x):
    if x.dtype.char not in "fdFD":
        return _sum_others(xp, x, None, False)
    return np.add.reduce(x, None) if xp is np else xp.sum(x)


_sum_all.defvjp(lambda g, ans, x: filled(g, x.shape), saves="x")


def _in_type(input: Any, dtype: Any) -> Any:
    """``input`` in ``dtype``, to be reduced there; RuntimeError, as in PyTorch, for integers where a gradient is
    wanted."""
    kind = dtypes.as_dtype(dtype)
    if kind.category < 2 and recording.enabled and input.__class__ in TENSORS and input.requires_grad:
        raise RuntimeError(f"Autograd not support dtype: {kind.tensor_type.removesuffix('Tensor')}")
    if input.__class__ not in TENSORS:
        raise misfit(input)
    return input.to(kind)


def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, keepdims: bool = False,
    dtype: DType = None,
) -> Tensor:  # fmt: skip
    """The sum of all elements, or over dimension(s) ``dim``; of bools and integers in int64.

    >>> torch.sum(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=0)
    tensor([4., 7.])
    """
    if dtype is not None:
        return sum(_in_type(input, dtype), dim, keepdim, axis=axis, keepdims=keepdims).to(dtype)
    dim = axis if dim is None else dim
    if keepdims:
        keepdim = True
    if dim is None and not keepdim:
        return _sum_all(input)
    return _sum(input, axes(dim, ndim_of(input)), keeps(keepdim))


def _tensor_sum(
    self: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, keepdims: bool = False,
    dtype: DType = None,
) -> Tensor:  # fmt: skip
    return sum(self, dim, keepdim, axis=axis, keepdims=keepdims, dtype=dtype)


attach("sum", _tensor_sum)


def _count(shape: tuple[int, ...], dims: tuple[int, ...] | None) -> int:
    return math.prod(shape) if dims is None else math.prod([shape[d] for d in dims])


@primitive(meta="x", grad_name=lambda node: _sum_name(node).replace("Sum", "Mean"))
def _mean(xp, x, dims, keepdim):
    n = _count(x.shape, dims)
    if x.dtype.itemsize == 2:
        return xp.mean(x.astype(np.float32), axis=dims, keepdims=keepdim).astype(x.dtype)
    if xp is np:
        total = _add_reduce(x, dims, None, None, keepdim)
        return total / n if n else total * math.nan
    return xp.mean(x, axis=dims, keepdims=keepdim)


_mean.defvjp(
    lambda g, ans, x, dims, keepdim: filled(_spread(g / (_count(x.shape, dims) or 1), x.shape, dims, keepdim), x.shape),
    saves="x",
)


@primitive(meta="x", grad_name="MeanBackward0")
def _mean_all(xp, x):
    if x.dtype.itemsize == 2:
        return xp.mean(x.astype(np.float32)).astype(x.dtype)
    if xp is np:
        return np.add.reduce(x, None) / x.size if x.size else x.dtype.type(math.nan)
    return xp.mean(x)


_mean_all.defvjp(lambda g, ans, x: filled(g / (math.prod(x.shape) or 1), x.shape), saves="x")


@method("mean", check=False)
def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, keepdims: bool = False,
    dtype: DType = None,
) -> Tensor:  # fmt: skip
    """The mean of all elements, or over dimension(s) ``dim``; of floating-point and complex tensors.

    >>> torch.mean(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
    tensor([3.0000, 2.5000])
    """
    if dtype is not None:
        input = _in_type(input, dtype)
    if keepdims:
        keepdim = True
    kind = array(input).dtype.kind
    if kind == "f" and dim is None and axis is None and not keepdim:
        return _mean_all(input)
    if kind in "biu":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {dtypes.FROM_NUMPY[raw(input).dtype].tensor_type[:-6]}"
        )
    dim = axis if dim is None else dim
    return _mean(input, None if dim is None else axes(dim, ndim_of(input)), keeps(keepdim))


@primitive(grad_name="ProdBackward0")
@in_float32
def _prod(xp, x, dims, keepdim):
    if x.dtype.kind in "biu":
        x = x.astype(np.int64)
    return xp.prod(x, axis=dims, keepdims=keepdim)


def _prod_vjp(g, ans, x, dims, keepdim):
    """The product over the element where no element is 0; else the product of the others, element by element."""
    if not x.shape:
        return g
    zero = raw(x) == 0
    g = _spread(g, x.shape, dims, keepdim)
    if not zero.any():
        return g * (_spread(ans, x.shape, dims, keepdim) / x).conj()
    if dims is not None:
        return g * _prod_others(x, dims[0]).conj()
    if zero.sum() > 1 and x.__class__ not in TENSORS:  # none of the products, though their gradients may be some
        return filled(g * 0, x.shape)
    return g * _prod_others(x.reshape(-1), 0).reshape(x.shape).conj()


def _prod_others(x: Any, dim: int) -> Any:
    """Products from the left times products from the right, so that zeros do no harm."""
    n = x.shape[dim]
    lead = (slice(None),) * dim
    first = (*lead, slice(0, 1))
    ones = ones_like(x[first]) if x.__class__ in TENSORS else backend.array_module(x).ones_like(x[first])
    parts_left, parts_right = [ones], [ones]
    for i in range(n - 1):
        parts_left.append(parts_left[-1] * x[(*lead, slice(i, i + 1))])
        parts_right.append(parts_right[-1] * x[(*lead, slice(n - 1 - i, n - i))])
    return cat(parts_left, dim) * cat(parts_right[::-1], dim)


_prod.defvjp(_prod_vjp, saves="ans x")


@method("prod")
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
    """The product of all elements, or over dimension ``dim``.

    >>> torch.prod(torch.tensor([2.0, 3.0, 4.0]))
    tensor(24.)
    """
    if dtype is not None:
        return prod(_in_type(input, dtype), dim, keepdim).to(dtype)
    return _prod(input, None if dim is None else axes(axis(dim, ndim_of(input)), ndim_of(input)), keepdim)


def _plain(name: str, doc: str) -> Callable[..., Tensor]:
    def reduce(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
        x = raw(input)
        xp = backend.array_module(x)
        if isinstance(dim, list | tuple) and not dim:  # of no dimensions: each element by itself
            found = x != 0
            return Tensor._wrap(found if x.dtype != np.uint8 else found.astype(np.uint8), None)
        with backend.where_it_lies(x):
            none = isinstance(dim, (tuple, list)) and not dim  # over no dimension, as PyTorch has it here alone
            found = x != 0 if none else getattr(xp, name)(x, axis=axes(dim, x.ndim), keepdims=keepdim)
            found = xp.asarray(found)
            return Tensor._wrap(found if x.dtype != np.uint8 else found.astype(np.uint8), None)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = doc
    return method(name)(reduce)


all = _plain("all", """Whether all elements (over ``dim``) are non-zero, as a bool tensor (of uint8 in uint8).

    >>> torch.all(torch.tensor([True, False]))
    tensor(False)
    """)
any = _plain("any", """Whether one of the elements (over ``dim``) is non-zero, as a bool tensor.

    >>> torch.any(torch.tensor([True, False]))
    tensor(True)
    """)


@method("count_nonzero")
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements (over ``dim``) are non-zero, as an int64 tensor.

    >>> torch.count_nonzero(torch.tensor([0, 3, 0, 5]))
    tensor(2)
    """
    x = raw(input)
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        return Tensor._wrap(xp.asarray(xp.count_nonzero(x, axis=axes(dim, x.ndim))), None)


@method("cumsum")
def cumsum(input: Tensor, dim: int, *, dtype: DType = None) -> Tensor:
    """Running sum along ``dim``.

    >>> torch.cumsum(torch.tensor([1, 2, 3]), dim=0)
    tensor([1, 3, 6])
    """
    if dtype is not None:
        return cumsum(_in_type(input, dtype), dim).to(dtype)
    return _cumsum(input, axis(dim, ndim_of(input)))


@primitive(grad_name="CumsumBackward0")
@in_float32
def _cumsum(xp, x, dim):
    if x.ndim == 0:
        return x.astype(np.int64 if x.dtype.kind in "biu" else x.dtype)
    return xp.cumsum(x, axis=dim, dtype=np.int64 if x.dtype.kind in "biu" else None)


_cumsum.defvjp(lambda g, ans, x, dim: flip(_cumsum(flip(g, dim), dim), dim), saves="")


@method("cumsum_")
def cumsum_(self: Tensor, dim: int, *, dtype: DType = None) -> Tensor:
    """In-place version of :func:`cumsum`."""
    return write(_cumsum.primitive, self, (axis(dim, ndim_of(self)),), {})
