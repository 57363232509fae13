"""Sums, means, extremes and counts over dimensions."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import checked, misfit
from ..autograd import Tensor, primitive
from ..autograd.grad_mode import recording
from ..autograd.recording import watched
from ..autograd.tensor import TENSORS
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
    unknown,
)

values_and_indices: dict[str, Any] = {
    name: namedtuple(name, ["values", "indices"])
    for name in ("max", "min", "median", "sort", "topk", "mode", "kthvalue")
}


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


_sum.defvjp(lambda g, ans, x, dims, keepdim: filled(_spread(g, x.shape, dims, keepdim), x.shape))


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


_sum_all.defvjp(lambda g, ans, x: filled(g, x.shape))


def _in_type(input: Any, dtype: Any) -> Any:
    """``input`` in ``dtype``, to be reduced there; RuntimeError, as in PyTorch, for integers where a gradient is
    wanted."""
    kind = dtypes.as_dtype(dtype)
    if kind.category < 2 and recording.enabled and input.__class__ in TENSORS and input.requires_grad:
        raise RuntimeError(f"Autograd not support dtype: {kind.tensor_type.removesuffix('Tensor')}")
    if input.__class__ not in TENSORS:
        raise misfit(input)
    return input.to(kind)


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, dtype: DType = None) -> Tensor:
    """The sum of all elements, or over dimension(s) ``dim``; of bools and integers in int64.

    >>> torch.sum(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=0)
    tensor([4., 7.])
    """
    if dtype is not None:
        return sum(_in_type(input, dtype), dim, keepdim, axis=axis).to(dtype)
    dim = axis if dim is None else dim
    if dim is None and not keepdim:
        return _sum_all(input)
    return _sum(input, axes(dim, ndim_of(input)), keeps(keepdim))


def _tensor_sum(
    self: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, dtype: DType = None
) -> Tensor:
    return sum(self, dim, keepdim, axis=axis, dtype=dtype)


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
    lambda g, ans, x, dims, keepdim: filled(_spread(g / (_count(x.shape, dims) or 1), x.shape, dims, keepdim), x.shape)
)


@primitive(meta="x", grad_name="MeanBackward0")
def _mean_all(xp, x):
    if x.dtype.itemsize == 2:
        return xp.mean(x.astype(np.float32)).astype(x.dtype)
    if xp is np:
        return np.add.reduce(x, None) / x.size if x.size else x.dtype.type(math.nan)
    return xp.mean(x)


_mean_all.defvjp(lambda g, ans, x: filled(g / (math.prod(x.shape) or 1), x.shape))


@method("mean", check=False)
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, dtype: DType = None) -> Tensor:
    """The mean of all elements, or over dimension(s) ``dim``; of floating-point and complex tensors.

    >>> torch.mean(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
    tensor([3.0000, 2.5000])
    """
    if dtype is not None:
        input = _in_type(input, dtype)
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


_prod.defvjp(_prod_vjp)


@method("prod")
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
    """The product of all elements, or over dimension ``dim``.

    >>> torch.prod(torch.tensor([2.0, 3.0, 4.0]))
    tensor(24.)
    """
    if dtype is not None:
        return prod(_in_type(input, dtype), dim, keepdim).to(dtype)
    return _prod(input, None if dim is None else axes(axis(dim, ndim_of(input)), ndim_of(input)), keepdim)


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

    def rule(g, ans, x, dims, keepdim):
        """Shared evenly among equals; where the result is NaN among those that are NaN by max() and min(), and by
        amax() and amin() NaN everywhere, as in PyTorch."""
        found = _spread(ans, x.shape, dims, keepdim)
        here = x == found
        if dims is None and whole_nan:
            here = here | ((x != x) & (found != found))
        share = _sum(here * 1.0, dims, True).astype(x.dtype) if not isinstance(x, Tensor) else raw_count(here, dims, x)
        return where(here, _spread(g, x.shape, dims, keepdim), 0.0) / share

    reduce.defvjp(rule)
    return reduce


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
    lambda g, ans, x, index, dim, shape, name: _scattered(g.reshape(index.shape), tuple(x.shape), _grid(index, dim))
)


def _along(name: str, arg: str, whole: Any, pair: Any) -> Any:
    def reduce(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return whole(input, None, False)
        if dim.__class__ in TENSORS:
            return pair(input, dim)
        d = axis(dim, ndim_of(input))
        if input._data.dtype.kind == "c":
            raise RuntimeError(f"{name}(): does not support complex input")
        if input._data.dtype.kind == "b":
            found = reduce(input.byte(), d, keepdim)
            return values_and_indices[name](found.values.bool(), found.indices)
        if ndim_of(input) == 0:
            return values_and_indices[name](clone(input), zeros((), dtype=dtypes.int64, device=input.device))
        where_ = _arg(arg, input, d, True)
        shape = tuple([n for i, n in enumerate(where_.shape) if keepdim or i != d])
        indices = Tensor._wrap(where_.reshape(shape), None)
        return values_and_indices[name](watched(_picked(input, where_, d, shape, name), indices), indices)

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


def _correction(unbiased: Any, correction: Any) -> float:
    return (1 if unbiased is None or unbiased else 0) if correction is None else correction


def _spread_over(input: Any, dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    """The dimensions of a variance and what its sum of squares is divided by; a bool in the place of ``dim`` is
    ``unbiased``, as in PyTorch."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if raw(input).dtype.kind in "biu":
        raise RuntimeError(f"std and var only support floating point and complex dtypes, got {input.dtype}")
    dims = None if dim is None else axes(dim, ndim_of(input))
    return dims, _count(raw(input).shape, dims) - _correction(unbiased, correction)


def _variance(xp: Any, x: Any, dims: Any, divisor: float, keepdim: bool) -> Any:
    off = x - xp.mean(x, axis=dims, keepdims=True)
    total = xp.sum((off * off.conj()).real, axis=dims, keepdims=keepdim)
    return total / divisor if divisor > 0 else total * (math.nan if _count(x.shape, dims) == 0 else math.inf)


def _off(g: Any, x: Any, dims: Any, divisor: float) -> Any:
    """``g`` times the derivative of half the variance; what PyTorch makes of a ``divisor`` that is not positive."""
    off = x - _mean(x, dims, True)
    if divisor > 0 or (dims is not None and divisor):
        return g * off / divisor
    return g * off * math.inf if dims is not None else g * where(off == 0, off * math.nan, math.inf)


@primitive(grad_name="VarBackward0")
@in_float32
def _var(xp, x, dims, divisor, keepdim):
    return _variance(xp, x, dims, divisor, keepdim)


_var.defvjp(lambda g, ans, x, dims, divisor, keepdim: _off(_spread(g, x.shape, dims, keepdim) * 2, x, dims, divisor))


@primitive(grad_name="StdBackward0")
@in_float32
def _std(xp, x, dims, divisor, keepdim):
    out = xp.sqrt(_variance(xp, x, dims, divisor, keepdim))
    if x.dtype.char in "fF" and (xp is not np or not ((out > 1e-15) & (out < 1e15)).all()):
        # squares that float32 cannot hold, though it holds their root
        wide = x.astype(np.float64 if x.dtype.char == "f" else np.complex128)
        return xp.sqrt(_variance(xp, wide, dims, divisor, keepdim)).astype(out.dtype)
    return out


_std.defvjp(
    lambda g, ans, x, dims, divisor, keepdim: _off(
        _spread(where(ans == 0, 0.0, g / where(ans == 0, 1.0, ans)), x.shape, dims, keepdim), x, dims, divisor
    )
)


@method("var")
def var(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance over ``dim`` (default all), divided by n - ``correction`` (default 1).

    >>> torch.var(torch.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    return _var(input, *_spread_over(input, dim, unbiased, correction), keepdim)


@method("std")
def std(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Standard deviation: the square root of :func:`var`; where it is 0 its gradient is 0.

    >>> torch.std(torch.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    return _std(input, *_spread_over(input, dim, unbiased, correction), keepdim)


@checked
def var_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean.

    >>> torch.var_mean(torch.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    over = None if isinstance(dim, bool) else dim
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, over, keepdim)


@checked
def std_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean.

    >>> torch.std_mean(torch.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    over = None if isinstance(dim, bool) else dim
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, over, keepdim)


def _reduced_shape(shape: tuple[int, ...], dims: tuple[int, ...] | None, keepdim: bool) -> tuple[int, ...]:
    """The shape of a reduction over ``dims``."""
    gone = range(len(shape)) if dims is None else dims
    return tuple([1 if i in gone else n for i, n in enumerate(shape) if keepdim or i not in gone])


@primitive(grad_name="LogsumexpBackward0")
@in_float32
def _logsumexp(xp, x, dims, keepdim):
    if not x.size and _count(x.shape, dims) == 0:
        return xp.full(_reduced_shape(x.shape, dims, keepdim), -math.inf, x.dtype)
    top = xp.max(x.real, axis=dims, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    total = xp.log(xp.sum(xp.exp(x - top), axis=dims, keepdims=True)) + top
    return total if keepdim else total.reshape(_reduced_shape(x.shape, dims, False))


_logsumexp.defvjp(
    lambda g, ans, x, dims, keepdim: (
        _spread(g, x.shape, dims, keepdim) * exp(x - _spread(ans, x.shape, dims, keepdim)).conj()
    )
)


@method("logsumexp")
def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log of the sum of exponentials over ``dim``, without overflow; integers in the default float type.

    >>> torch.logsumexp(torch.tensor([0.0, 0.0]), dim=0)
    tensor(0.6931)
    """
    if raw(input).dtype.kind in "biu":
        input = input.to(dtypes.get_default_dtype())
    return _logsumexp(input, axes(dim, ndim_of(input)), keepdim)


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


_cumsum.defvjp(lambda g, ans, x, dim: flip(_cumsum(flip(g, dim), dim), dim))


from ..autograd.primitive import clone  # noqa: E402
from .arithmetic import maximum, minimum  # noqa: E402
from .creation import ones_like, zeros  # noqa: E402
from .elementwise import (  # noqa: E402
    exp,
)
from .indexing import _grid, _scattered  # noqa: E402
from .selection import where  # noqa: E402
from .shape import cat, filled, flip  # noqa: E402

max = _along("max", "argmax", _max, maximum)
min = _along("min", "argmin", _min, minimum)
