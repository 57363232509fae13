"""Softmax and its logarithm."""

from __future__ import annotations

import functools
from typing import Any

from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._declare import DType, axis, method, ndim_of, of_floats
from .._pieces import in_rows
from ..elementwise import exp
from .activation import _in_wide

__all__ = ["log_softmax", "softmax", "softmin"]


@primitive(grad_name="SoftmaxBackward0")
@functools.partial(of_floats, nothing=True)
@in_rows
def _softmax(xp, x, dim):
    if x.ndim == 0:
        return xp.exp(x - x)
    if not x.shape[dim]:
        return x.copy()
    out = x - x.max(axis=dim, keepdims=True)
    xp.exp(out, out=out)
    out /= out.sum(axis=dim, keepdims=True)
    return out


_softmax.defvjp(
    in_rows(_in_wide(lambda g, ans, x, dim: ans * (g - (g * ans).sum(dim).reshape(_kept(ans.shape, dim))))), saves="ans"
)


def _kept(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    return tuple([1 if i == dim else d for i, d in enumerate(shape)])


def _implicit(dim: Any, ndim: int) -> int:
    if dim is not None:
        return axis(dim, ndim)
    return 0 if ndim in (0, 1, 3) else 1


def _floats(x: Any, name: str) -> Any:
    if x.dtype.category != 2:
        kind = x.dtype.tensor_type.removesuffix("Tensor")
        raise NotImplementedError(f"\"{name}_lastdim_kernel_impl\" not implemented for '{kind}'")
    return x


@method("softmax")
def softmax(input: Tensor, dim: int | None = None, dtype: DType = None) -> Tensor:
    """exp(input) divided by its sum over ``dim``: non-negative, sums to 1.

    >>> torch.softmax(torch.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    if dtype is not None:
        input = _floats(input.to(dtype), "softmax")
    return _softmax(input, _implicit(dim, ndim_of(input)))


@checked
def softmin(input: Tensor, dim: int | None = None, dtype: DType = None) -> Tensor:
    """:func:`softmax` of ``-input``.

    >>> F.softmin(torch.tensor([0.0, 1.0]), dim=0)
    tensor([0.7311, 0.2689])
    """
    return softmax(-input, dim, dtype)


@primitive(grad_name="LogSoftmaxBackward0")
@functools.partial(of_floats, nothing=True)
@in_rows
def _log_softmax(xp, x, dim):
    if x.ndim == 0:
        return x - x
    if not x.shape[dim]:
        return x.copy()
    out = x - x.max(axis=dim, keepdims=True)
    out -= xp.log(xp.exp(out).sum(axis=dim, keepdims=True))
    return out


_log_softmax.defvjp(
    in_rows(
        _in_wide(lambda g, ans, x, dim: g - exp(ans) * (g.sum(dim).reshape(_kept(ans.shape, dim)) if ans.shape else g))
    ),
    saves="ans",
)


@method("log_softmax")
def log_softmax(input: Tensor, dim: int | None = None, dtype: DType = None) -> Tensor:
    """Logarithm of :func:`softmax` over ``dim``, without overflow.

    >>> torch.log_softmax(torch.tensor([1.0, 1.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    if dtype is not None:
        input = _floats(input.to(dtype), "log_softmax")
    return _log_softmax(input, _implicit(dim, ndim_of(input)))
