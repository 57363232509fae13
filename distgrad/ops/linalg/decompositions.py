"""Matrices as products: Cholesky, QR, eigenvalues and singular values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import backend, return_types
from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._declare import method, raw
from ..rearranging import tril, triu
from ..selection import _where
from ._checks import LinAlgError, diagonal_mask, diagonal_matrix, first_failing, floating, h, matrices, squares
from ._results import watched_results
from .products import matmul
from .solving import solve_triangle


@primitive(grad_name="LinalgCholeskyExBackward0")
def _cholesky(xp, x, upper, name):
    try:
        return h(xp.linalg.cholesky(h(x))) if upper else xp.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        place, matrix = first_failing(h(x) if upper else x, np.linalg.cholesky)
        minor = next(
            (k for k in range(1, len(matrix) + 1) if not np.all(np.linalg.eigvalsh(matrix[:k, :k]) > 0)), len(matrix)
        )
        raise LinAlgError(
            f"{name}: {place}The factorization could not be completed because the input is not positive-definite (the "
            f"leading minor of order {minor} is not positive-definite)."
        ) from None


def _cholesky_vjp(g, ans, x, upper, name):
    """L^-H (phi + phi'^H) / 2 L^-1, phi the lower triangle of L^H g and phi' without its diagonal (Murray 2016,
    arXiv:1602.07527), for a Hermitian input."""
    right, g = (ans, h(g)) if upper else (h(ans), g)
    phi = matmul(right, g)
    inner = solve_triangle(right, tril(phi) + h(tril(phi, -1)), True, False)
    return h(solve_triangle(right, h(inner), True, False)) * 0.5


_cholesky.defvjp(_cholesky_vjp, saves="ans")


def _lower_factor(x: Tensor, upper: bool, name: str) -> Tensor:
    squares(x, name, kernel="cholesky_cpu", whole=name != "cholesky")
    return _cholesky(x, upper, name)


@checked
def linalg_cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with ``input`` = L L^H, of (a batch of) Hermitian positive-definite matrices (..., n, n);
    ``upper``: its conjugate transpose.  LinAlgError where one is not positive-definite.

    >>> torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    return _lower_factor(input, upper, "linalg.cholesky")


@method("cholesky")
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """:func:`torch.linalg.cholesky` under its older name.

    >>> torch.cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    return _lower_factor(input, upper, "cholesky")


@primitive(meta="x", grad_name="LinalgQrBackward0")
def _qr(xp, x, mode):
    q, r = xp.linalg.qr(x, mode=mode)
    return q, r


_qr.primitive.materialize = False


def _qr_vjp(g, ans, x, mode):
    """(gQ + Q copy(triu(gR R^H - Q^H gQ))) R^-H, copy making a triangle Hermitian (Walter & Lehmann 2018,
    arXiv:1009.6112)."""
    (gq, gr), (q, r) = g, ans
    if mode == "complete" and x.shape[-2] > x.shape[-1]:
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")
    inner = None if gr is None else matmul(gr, h(r))
    if gq is not None:
        inner = -matmul(h(q), gq) if inner is None else inner - matmul(h(q), gq)
    inner = triu(inner)
    gx = matmul(q, _halved_diagonal(inner + h(inner)))
    gx = gx if gq is None else gx + gq
    return h(solve_triangle(r, h(gx), True, False))


def _halved_diagonal(x: Any) -> Any:
    """``x`` with half its diagonal."""
    return _where(x * 0.5, x, diagonal_mask(x))


_qr.defvjp(_qr_vjp, saves="ans x")


@primitive(grad_name="LinalgQrBackward0")
def _qr_r(xp, x):
    return xp.linalg.qr(x, mode="r")


def _no_r_gradient(g, ans, x):
    raise RuntimeError(
        "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
        "linalg.qr(A, mode='reduced') if you are going to require gradients"
    )


_qr_r.defvjp(_no_r_gradient, saves="")


def _factors(x: Tensor, mode: str, name: str) -> tuple[Tensor, Tensor]:
    matrices(x, name)
    floating(x, name, kernel="geqrf_cpu")
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if mode == "r":
        return x.new_empty((0,)), _qr_r(x)
    m, n = x._data.shape[-2:]
    if m >= n:
        q, r = watched_results(_qr(x, mode))
        return q, r
    q, left = watched_results(_qr(x[..., :m], "reduced"))  # of a wide matrix the rest of R follows
    from ..joining import cat

    return q, cat([left, matmul(h(q), x[..., m:])], -1)


@checked
def linalg_qr(A: Tensor, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and an upper triangular R with A = Q R, of (a batch of) matrices (..., m, n), as a
    named tuple.  ``mode``: "reduced" (Q: m by min(m, n)), "complete" (m by m, differentiable where m <= n) or "r"
    (R alone, and an empty Q).

    >>> torch.linalg.qr(torch.tensor([[0.0, 2.0], [-1.0, 0.0]])).R.abs()
    tensor([[1., 0.],
            [0., 2.]])
    """
    return return_types.linalg_qr(_factors(A, mode, "linalg.qr"))  # type: ignore[attr-defined]


@method("qr")
def qr(input: Tensor, some: bool = True) -> Any:
    """:func:`torch.linalg.qr` under its older name; ``some=False`` is the mode "complete".

    >>> torch.qr(torch.tensor([[0.0, 2.0], [-1.0, 0.0]])).R.abs()
    tensor([[1., 0.],
            [0., 2.]])
    """
    return return_types.qr(_factors(input, "reduced" if some else "complete", "qr"))  # type: ignore[attr-defined]


def _phase_free(inner: Any, what: str) -> None:
    """RuntimeError where the gradient of complex vectors depends on their phase, which is arbitrary."""
    data = raw(inner)
    if data.dtype.kind == "c":
        xp = backend.array_module(data)
        if not bool(xp.allclose(data.diagonal(0, -2, -1).imag, 0, 1e-2, 1e-2)):
            raise RuntimeError(
                f"{what} in the complex case are specified up to multiplication by e^{{i phi}}. The specified loss "
                "function depends on this quantity, so it is ill-defined."
            )


@primitive(grad_name="LinalgEighBackward0")
def _eigh(xp, x, uplo, name):
    try:
        values, vectors = xp.linalg.eigh(x, uplo)
    except np.linalg.LinAlgError:
        place, _ = first_failing(x, lambda a: np.linalg.eigh(a, uplo))
        raise LinAlgError(
            f"{name}: {place}The algorithm failed to converge because the input matrix is ill-conditioned or has too "
            "many repeated eigenvalues."
        ) from None
    return values, vectors


_eigh.primitive.materialize = False


def _eigh_vjp(g, ans, x, uplo, name):
    """V (diag(gL) + skew(V^H gV) / E) V^H with E_ij = L_j - L_i (Giles 2008), Hermitian as the input."""
    (g_values, g_vectors), (values, vectors) = g, ans
    if g_vectors is None:
        return matmul(vectors * g_values[..., None, :], h(vectors))
    inner = matmul(h(vectors), g_vectors)
    _phase_free(inner, "linalg_eigh_backward: The eigenvectors")
    on = diagonal_mask(values)
    gaps = _where(1.0, values[..., None, :] - values[..., :, None], on)
    inner = _where(0.0, (inner - h(inner)) * 0.5 / gaps, on)
    if g_values is not None:
        inner = inner + diagonal_matrix(g_values)
    return matmul(vectors, matmul(inner, h(vectors)))


_eigh.defvjp(_eigh_vjp, saves="ans")


def _uplo(UPLO: str) -> str:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper()


@checked
def eigh(input: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n), as columns, of (a batch of) Hermitian matrices, of
    which the lower triangle ("L") or the upper one ("U") is read, as a named tuple.

    >>> torch.linalg.eigh(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    squares(input, "linalg.eigh", kernel="linalg_eigh_cpu", whole=False)
    return return_types.linalg_eigh(watched_results(_eigh(input, _uplo(UPLO), "linalg.eigh")))  # type: ignore[attr-defined]


@checked
def eigvalsh(input: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues (..., n), ascending, of (a batch of) Hermitian matrices, as :func:`eigh` reads them.

    >>> torch.linalg.eigvalsh(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    squares(input, "linalg.eigh", kernel="linalg_eigh_cpu", whole=False)
    return watched_results(_eigh(input, _uplo(UPLO), "linalg.eigh"))[0]


@primitive(meta="x", grad_name="LinalgSvdBackward0")
def _svd(xp, x, full, name):
    try:
        u, s, vh = xp.linalg.svd(x, full_matrices=full)
    except np.linalg.LinAlgError:
        place, _ = first_failing(x, np.linalg.svd)
        raise LinAlgError(
            f"{name}: {place}The algorithm failed to converge because the input matrix contained non-finite values."
        ) from None
    return u, s, vh


_svd.primitive.materialize = False


def _svd_vjp(g, ans, x, full, name):
    """U ((skew(U^H gU) S + S skew(V^H gV)) / E + diag(gS)) V^H with E_ij = S_j^2 - S_i^2, and what the vectors add
    outside of the span of the others (Wan & Zhang 2019, arXiv:1909.02659, of complex matrices)."""
    (gu, gs, gvh), (u, s, vh) = g, ans
    k = s.shape[-1]
    if full:
        u, vh = u[..., :k], vh[..., :k, :]
        gu, gvh = None if gu is None else gu[..., :k], None if gvh is None else gvh[..., :k, :]
    if gu is None and gvh is None:
        return matmul(u * gs[..., None, :], vh)
    (m, n), on = x.shape[-2:], diagonal_mask(s)
    of_u = None if gu is None else matmul(h(u), gu)
    of_v = None if gvh is None else matmul(vh, h(gvh))
    of_u, of_v = (None if a is None else a - h(a) for a in (of_u, of_v))
    both = of_v if of_u is None else of_u if of_v is None else of_u + of_v
    _phase_free(both, "svd_backward: The singular vectors")
    square = s * s
    gaps = _where(1.0, square[..., None, :] - square[..., :, None], on)
    inner = 0.0 if of_u is None else of_u * s[..., None, :]
    inner = (inner if of_v is None else inner + s[..., :, None] * of_v) / gaps
    if gs is not None:
        inner = inner + diagonal_matrix(gs)
    if of_u is not None and of_v is not None and raw(u).dtype.kind == "c":
        inner = inner + diagonal_matrix(of_u.diagonal(0, -2, -1) / (s * 2))
    if m > k and gu is not None:
        left = gu / s[..., None, :]
        return matmul(matmul(u, inner) + left - matmul(u, matmul(h(u), left)), vh)
    if n > k and gvh is not None:
        right = gvh / s[..., :, None]
        return matmul(u, matmul(inner, vh) + right - matmul(matmul(right, h(vh)), vh))
    return matmul(u, matmul(inner, vh))


_svd.defvjp(_svd_vjp, saves="ans x")


def _singular(x: Tensor, full: bool, name: str) -> tuple[Tensor, Tensor, Tensor]:
    matrices(x, name)
    floating(x, name, kernel="linalg_svd_cpu")
    u, s, vh = watched_results(_svd(x, full, name))
    return u, s, vh


@checked
def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """U, the singular values S, descending, and Vh with A = U diag(S) Vh, of (a batch of) matrices (..., m, n), as a
    named tuple; without ``full_matrices`` only the first min(m, n) columns of U and rows of Vh.  ``driver``: of
    devices.

    >>> torch.linalg.svd(torch.tensor([[3.0, 0.0], [0.0, 2.0]])).S
    tensor([3., 2.])
    """
    return return_types.linalg_svd(_singular(A, full_matrices, "linalg.svd"))  # type: ignore[attr-defined]


@checked
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values (..., min(m, n)), descending, of (a batch of) matrices (..., m, n).

    >>> torch.linalg.svdvals(torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
    tensor([3., 2.])
    """
    return _singular(A, False, "linalg.svd")[1]


@method("svd")
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """:func:`torch.linalg.svd` under its older name: U, S and V, of which Vh is the conjugate transpose; without
    ``compute_uv`` the vectors are zeros.

    >>> torch.svd(torch.tensor([[3.0, 0.0], [0.0, 2.0]])).S
    tensor([3., 2.])
    """
    u, s, vh = _singular(input, not some and compute_uv, "svd")
    if not compute_uv:
        m, n = input._data.shape[-2:]
        u, vh = input.new_zeros((*input._data.shape[:-2], m, m)), input.new_zeros((*input._data.shape[:-2], n, n))
    return return_types.svd((u, s, h(vh)))  # type: ignore[attr-defined]
