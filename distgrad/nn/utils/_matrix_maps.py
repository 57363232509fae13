"""Norms of weights and maps onto orthogonal ones, made of operations that have gradients of every order."""

from __future__ import annotations

import math

from ...autograd import Tensor, no_grad
from ...ops.creation import zeros_like
from ...ops.linalg.decompositions import qr
from ...ops.linalg.products import matmul
from ...ops.ranges import eye

__all__ = [
    "as_matrix", "householder_factors", "householder_product", "is_orthogonal", "made_orthogonal", "matrix_exp",
    "norm_except",
]  # fmt: skip

_TERMS = 18  # of the series, at a norm of 1/2 at most: the next is below 2⁻⁵³


def norm_except(v: Tensor, dim: int | None) -> Tensor:
    """The norm of each slice of ``v`` along ``dim``, in a shape that broadcasts to it; of all of it for None and -1."""
    if dim is None or dim == -1:
        return (v * v).sum().sqrt()
    others = [d for d in range(v.ndim) if d != dim % max(v.ndim, 1)]
    return (v * v).sum(others, True).sqrt() if others else v.abs()


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """(sizes along ``dim``, all others)."""
    if dim != 0:
        weight = weight.permute(dim, *[d for d in range(weight.ndim) if d != dim])
    return weight.flatten(1)


def matrix_exp(a: Tensor) -> Tensor:
    """The exponential of matrices (…, n, n): the power series of A / 2^s, squared s times (Moler and Van Loan 2003)."""
    n = a.shape[-1]
    if not a.numel():
        return a.clone()
    with no_grad():
        norm = float(a.abs().sum(-2).max())
    times = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 and math.isfinite(norm) else 0
    a = a / 2.0**times
    one = eye(n, dtype=a.dtype, device=a.device)
    found = one + a / _TERMS
    for k in range(_TERMS - 1, 0, -1):  # Horner's rule
        found = one + matmul(a, found) / k
    for _ in range(times):
        found = matmul(found, found)
    return found


def householder_product(a: Tensor, tau: Tensor) -> Tensor:
    """The first k columns of H₁ H₂ … Hₖ, Hᵢ = 1 - tauᵢ vᵢ vᵢᴴ, where vᵢ is column i of ``a`` (…, n, k) below the
    diagonal, 1 on it and 0 above."""
    n, k = a.shape[-2:]
    one = eye(n, k, dtype=a.dtype, device=a.device)
    vs = a.tril(-1) + one
    found = one.expand(*a.shape)
    for i in range(k - 1, -1, -1):
        v = vs[..., i : i + 1]
        found = found - tau[..., i : i + 1].unsqueeze(-1) * matmul(v, matmul(v.mH, found))
    return found


def householder_factors(q: Tensor) -> Tensor:
    """For orthogonal columns (…, n, k) the vectors that :func:`householder_product` makes them of, below the diagonal,
    on it the signs of its columns, and above what LAPACK leaves there, which nothing reads.  No gradient."""
    with no_grad():
        rest, made = q.clone(), zeros_like(q)
        for i in range(q.shape[-1]):
            x = rest[..., i:, i : i + 1]
            first = x[..., :1, :]
            size = (x.abs() ** 2).sum(-2, True).sqrt()
            positive = (first >= 0).to(q.dtype) * 2 - 1
            v = x.clone()
            v[..., :1, :] = first + positive * size
            tau = 2 / (v * v).sum(-2, True)
            made[..., i + 1 :, i : i + 1] = v[..., 1:, :] / v[..., :1, :]
            made[..., i : i + 1, i : i + 1] = -positive  # of R's diagonal, and so of the column
            rest[..., i:, :] = rest[..., i:, :] - tau * matmul(v, matmul(v.mT, rest[..., i:, :]))
        return made + rest.triu(1)


def made_orthogonal(a: Tensor) -> Tensor:
    """The orthogonal factor of matrices (…, n, k), n >= k, with a positive diagonal of the other; no gradient."""
    with no_grad():
        q, r = qr(a)
        return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def is_orthogonal(q: Tensor) -> bool:
    """Whether the columns of (…, n, k) are orthonormal, but for rounding."""
    from ...dtypes import finfo

    with no_grad():
        one = eye(q.shape[-1], dtype=q.dtype, device=q.device)
        return bool(((matmul(q.mH, q) - one).abs() <= 10 * q.shape[-2] * finfo(q.dtype).eps).all())
