"""Norms of vectors, and their gradients where they have a kink."""

from __future__ import annotations

import math

import numpy as np

from .. import backend, dtypes
from .._arguments import is_number, misfit
from ..autograd import Tensor, primitive
from ..autograd.tensor import TENSORS
from ._declare import Dims, DType, axes, in_float32, ndim_of, noun, raw
from .reduction import _count, _spread
from .rounding import abs as absolute, sgn
from .selection import _where


def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: DType = None
) -> Tensor:
    """The ``p``-norm of the flattened tensor, or over dimension(s) ``dim``: p a number, inf, -inf or "fro" (2); not the
    norms of matrices, which :mod:`distgrad.ops.linalg` adds."""
    if dtype is not None:
        kind = dtypes.as_dtype(dtype)
        if kind.category < 2:
            raise RuntimeError(f"linalg.vector_norm: dtype should be floating point or complex, but got {kind}")
        input = input.to(kind)
    if raw(input).dtype.kind in "biu":
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {noun(input)}"
        )
    if not (p is None or isinstance(p, str) or is_number(p)):
        raise misfit(p, "Number")
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"linalg.matrix_norm: Order {p} not supported.")
    dims = None if dim is None else axes(dim, ndim_of(input))
    p = 2.0 if p in ("fro", None) else float(p)
    if (p < 0 or p == math.inf) and _count(raw(input).shape, dims) == 0:
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {p} norm on an empty tensor because the operation does not have an "
            "identity"
        )
    return _norm2(input, dims, keepdim) if p == 2.0 else _norm_p(input, p, dims, keepdim)


@primitive(grad_name="LinalgVectorNormBackward0")
@in_float32
def _norm2(xp, x, dims, keepdim):
    return xp.sqrt(xp.sum((x.conj() * x).real, axis=dims, keepdims=keepdim))


def _norm2_vjp(g, ans, x, dims, keepdim):
    size = _spread(ans, x.shape, dims, keepdim)
    g, nought = _spread(g, x.shape, dims, keepdim), raw(size) == 0
    if nought.__class__ is np.ndarray and not nought.any():
        return x * (g / size)
    return g * _where(0.0, x / size, nought)  # 0 at 0, and the second one NaN, as in PyTorch


_norm2.defvjp(_norm2_vjp, saves="ans x")


@primitive(grad_name="LinalgVectorNormBackward0")
@in_float32
def _norm_p(xp, x, p, dims, keepdim):
    size = xp.abs(x)
    if math.isinf(p):
        return (xp.max if p > 0 else xp.min)(size, axis=dims, keepdims=keepdim)
    if p == 0:
        return xp.sum(size != 0, axis=dims, keepdims=keepdim, dtype=size.dtype)
    if p == 1:
        return xp.sum(size, axis=dims, keepdims=keepdim)
    return xp.sum(size**p, axis=dims, keepdims=keepdim) ** (1 / p)


def _norm_p_vjp(g, ans, x, p, dims, keepdim):
    """sgn(x) (|x| / norm)^(p - 1); 0 where the norm is 0, and where the element is, which is a kink or a pole."""
    g, ans = _spread(g, x.shape, dims, keepdim), _spread(ans, x.shape, dims, keepdim)
    if p == 0:
        return None  # a count
    if p == 1:
        return sgn(x) * g
    size = absolute(x)
    if math.isinf(p):
        most = raw(size == ans) | raw(size != size)
        xp = backend.array_module(most)
        share = xp.sum(most, axis=dims, keepdims=True).astype(raw(size).dtype)
        mask = most.astype(raw(size).dtype)
        if x.__class__ in TENSORS:
            mask, share = Tensor._wrap(mask, None), Tensor._wrap(share, None)
        return sgn(x) * (g / share * mask)
    if p < 1:
        nought = raw(x) == 0
        return sgn(x) * _where(0.0, size ** (p - 1), nought) * g * ans ** (1 - p)
    nought = raw(ans) == 0
    scale = _where(0.0, g / _where(1.0, ans, nought) ** (p - 1), nought)
    return (sgn(x) * size ** (p - 1) if p < 2 else x * size ** (p - 2)) * scale


_norm_p.defvjp(_norm_p_vjp, saves="ans x")
