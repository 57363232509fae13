"""Variances, standard deviations and log-sum-exp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from .._arguments import checked
from ..autograd import Tensor, primitive
from ._declare import (
    Dims,
    axes,
    in_float32,
    method,
    ndim_of,
    raw,
)
from .elementwise import (
    exp,
)
from .reduction import _count, _mean, _spread, mean
from .selection import where

__all__ = ["logsumexp", "std", "std_mean", "var", "var_mean"]


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


_var.defvjp(
    lambda g, ans, x, dims, divisor, keepdim: _off(_spread(g, x.shape, dims, keepdim) * 2, x, dims, divisor), saves="x"
)


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
    ),
    saves="ans x",
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
    ),
    saves="ans x",
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
