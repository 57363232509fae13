"""Determinants of matrices, and their logarithms."""

from __future__ import annotations

import math
from typing import Any

from ... import backend, return_types
from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._declare import method, raw
from ..elementwise import imag, log
from ..selection import _where
from ._checks import diagonal_mask, h, like, squares
from ._results import watched_results
from .decompositions import _svd
from .products import matmul
from .solving import _solve


@primitive(grad_name="LinalgDetBackward0")
def _det(xp, x):
    return xp.linalg.det(x)


def diagonal_of(scale: Any, x: Any) -> Any:
    """The unit matrices times ``scale``, as wide as the matrices ``x``."""
    return scale[..., None, None] * like(diagonal_mask(x).astype(raw(x).dtype), x)


def _det_vjp(g, ans, x):
    """g times the conjugate cofactors: det(A) A^-H, or, where A is nearly singular, from its singular vectors."""
    data = raw(x)
    xp = backend.array_module(data)
    bound = xp.prod(xp.sqrt(xp.sum(xp.abs(data) ** 2, axis=-1)), axis=-1)  # Hadamard's
    flat = xp.abs(raw(ans)) <= bound * 1e-4
    eye = diagonal_mask(x)
    if not bool(flat.any()):
        return _solve(h(x), diagonal_of(g * ans.conj(), x))
    n = data.shape[-1]
    distinct = (eye * xp.arange(1, n + 1)).astype(data.dtype)  # in the places of the others, in each of two ways
    u, s, vh = _svd(_where(x, like(distinct, x), flat[..., None, None]), False, "linalg.det")
    others = _where(1.0, s[..., None, :] + s[..., :, None] * 0, eye).prod(-1)
    scale = g * (_det(u) * _det(vh)).conj()
    of_flat = matmul(u * (scale[..., None] * others)[..., None, :], vh)
    if bool(flat.all()):
        return of_flat
    steep = _where(like(distinct, x), x, flat[..., None, None])
    return _where(of_flat, _solve(h(steep), diagonal_of(g * ans.conj(), x)), flat[..., None, None])


_det.defvjp(_det_vjp, saves="ans x")


@method("det")
def det(input: Tensor) -> Tensor:
    """The determinant of (a batch of) square matrices (..., n, n).

    >>> torch.det(torch.tensor([[2.0, 1.0], [0.0, 4.0]]))
    tensor(8.)
    """
    squares(input, "linalg.det", kernel="lu_cpu")
    return _det(input)


@checked
def linalg_det(A: Tensor) -> Tensor:
    """The determinant of (a batch of) square matrices (..., n, n).

    >>> torch.linalg.det(torch.tensor([[2.0, 1.0], [0.0, 4.0]]))
    tensor(8.)
    """
    squares(A, "linalg.det", kernel="lu_cpu")
    return _det(A)


@primitive(grad_name="LinalgSlogdetBackward0")
def _slogdet(xp, x, name):
    sign, logarithm = xp.linalg.slogdet(x)
    return xp.asarray(sign), xp.asarray(logarithm)


_slogdet.primitive.materialize = False


def _slogdet_vjp(g, ans, x, name):
    """g A^-H, of the sign of a complex determinant its turning part."""
    (g_sign, g_log), (sign, _) = g, ans
    scale = g_log
    if g_sign is not None and raw(sign).dtype.kind == "c":
        turn = imag(g_sign.conj() * sign) * -1j
        scale = turn if scale is None else scale + turn
    if scale is None:
        return x * 0
    return _solve(h(x), diagonal_of(scale, x))


_slogdet.defvjp(_slogdet_vjp, saves="ans x")


def _sign_and_log(x: Tensor, name: str) -> tuple[Tensor, ...]:
    squares(x, name)
    return watched_results(_slogdet(x, name))


@checked
def linalg_slogdet(A: Tensor) -> Any:
    """The sign (of complex matrices, phase) of the determinant, and the logarithm of its absolute value, of (a
    batch of) square matrices, as a named tuple.

    >>> torch.linalg.slogdet(torch.tensor([[1.0, 0.0], [0.0, -1.0]])).sign
    tensor(-1.)
    """
    return return_types.linalg_slogdet(_sign_and_log(A, "linalg.slogdet"))  # type: ignore[attr-defined]


@method("slogdet")
def slogdet(input: Tensor) -> Any:
    """:func:`torch.linalg.slogdet` under its older name.

    >>> torch.slogdet(torch.tensor([[1.0, 0.0], [0.0, -1.0]])).sign
    tensor(-1.)
    """
    return return_types.slogdet(_sign_and_log(input, "linalg.slogdet"))  # type: ignore[attr-defined]


@method("logdet")
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant of (a batch of) square matrices; NaN where that is negative.

    >>> torch.logdet(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor(0.)
    """
    sign, logarithm = _sign_and_log(input, "logdet")
    if input.dtype.is_complex:
        return logarithm + log(sign)
    return _where(logarithm, math.nan, raw(sign != -1))
