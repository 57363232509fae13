"""Equations of matrices: inverses, solutions, powers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, primitive
from ...autograd.errors import mismatched
from .._declare import method, noun, raw
from ..rearranging import tril, triu
from ._checks import LinAlgError, diagonal_mask, first_failing, floating, h, matrices, squares
from .products import matmul


@primitive(grad_name="LinalgInvExBackward0")
def _inv(xp, x, name):
    try:
        return xp.linalg.inv(x)
    except np.linalg.LinAlgError:
        from scipy.linalg import lu

        place, matrix = first_failing(x, np.linalg.inv)
        pivots = np.diagonal(lu(matrix, permute_l=True)[1])
        raise LinAlgError(
            f"{name}: {place}The diagonal element {int(np.argmax(pivots == 0)) + 1} is zero, the inversion could not "
            "be completed because the input matrix is singular."
        ) from None


_inv.defvjp(lambda g, ans, x, name: -matmul(matmul(h(ans), g), h(ans)), saves="ans")


@checked
def inv(A: Tensor) -> Tensor:
    """The inverse of (a batch of) square matrices (..., n, n).  LinAlgError where one is singular.

    >>> torch.linalg.inv(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    squares(A, "linalg.inv")
    return _inv(A, "linalg.inv")


@method("inverse")
def inverse(input: Tensor) -> Tensor:
    """:func:`torch.linalg.inv` under its older name.

    >>> torch.inverse(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    squares(input, "linalg.inv")
    return _inv(input, "linalg.inv")


def _together(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Two batches of matrices, both with the batch dimensions that they broadcast to."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return xp.broadcast_to(a, batch + a.shape[-2:]), xp.broadcast_to(b, batch + b.shape[-2:])


@primitive(grad_name="LinalgSolveExBackward0")
def _solve(xp, a, b):
    """X with a X = b, both batches of matrices."""
    try:
        return xp.linalg.solve(*_together(xp, a, b))
    except np.linalg.LinAlgError:
        place, _ = first_failing(a, np.linalg.inv)
        raise LinAlgError(
            f"torch.linalg.solve: {place}The solver failed because the input matrix is singular."
        ) from None


_solve.defvjp(
    lambda g, ans, a, b: -matmul(_solve(h(a), g), h(ans)),
    lambda g, ans, a, b: _solve(h(a), g),
    saves=("ans a", "a"),
)


@primitive(grad_name="LinalgSolveTriangularBackward0")
def solve_triangle(xp, a, b, upper, unit):
    """X with T X = b, T the upper or lower triangle of ``a``, with ones on its diagonal if it is ``unit``."""
    a, b = _together(xp, xp.triu(a) if upper else xp.tril(a), b)
    n = a.shape[-1]
    if unit:
        a = xp.where(xp.eye(n, dtype=np.bool_), a.dtype.type(1), a)
    try:
        return xp.linalg.solve(a, b)
    except np.linalg.LinAlgError:  # a zero on the diagonal, by which PyTorch divides
        x = xp.zeros(b.shape, np.result_type(a, b))
        for i in range(n - 1, -1, -1) if upper else range(n):
            known = slice(i + 1, n) if upper else slice(0, i)
            x[..., i, :] = (b[..., i, :] - xp.matmul(a[..., i : i + 1, known], x[..., known, :])[..., 0, :]) / a[
                ..., i, i, None
            ]
        return x


def _triangle_of(x: Any, upper: bool, unit: bool) -> Any:
    return triu(x, int(unit)) if upper else tril(x, -int(unit))


solve_triangle.defvjp(
    lambda g, ans, a, b, upper, unit: _triangle_of(
        -matmul(solve_triangle(h(a), g, not upper, unit), h(ans)), upper, unit
    ),
    lambda g, ans, a, b, upper, unit: solve_triangle(h(a), g, not upper, unit),
    saves=("ans a", "a"),
)


def _of_one_kind(A: Tensor, B: Tensor, name: str) -> None:
    if A.dtype != B.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {noun(A)} and B of type {noun(B)} "
            "instead"
        )


def _fits(A: Tensor, B: Tensor, left: bool, name: str) -> None:
    a, b = A._data.shape[-2:], B._data.shape[-2:]
    if a[0] != b[0 if left else 1]:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} ({a[0]}x{a[1]} and {b[0]}x{b[1]})"
        )
    batches = [np.broadcast_to(0, x._data.shape[:-2]) for x in (A, B)]
    error = mismatched(name, batches)
    if error is not None:
        raise error


@checked
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (or, not ``left``, X A = B), of (batches of) square matrices A (..., n, n) and matrices B or,
    where its shape is that of A without the last dimension or it has one alone, vectors.  LinAlgError where A is
    singular.

    >>> torch.linalg.solve(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    squares(A, "linalg.solve")
    _of_one_kind(A, B, "linalg.solve")
    a, b = A._data.shape, B._data.shape
    vector = len(b) == 1 or (len(a) - 1 == len(b) and b == a[:-1])
    if not vector and not b:
        matrices(B, "linalg.solve", "B")
    if vector:
        B = B[..., None]
    _fits(A, B, left, "linalg.solve")
    x = _solve(A, B) if left else _solve(A.mT, B.mT).mT
    return x[..., 0] if vector else x


@checked
def solve_triangular(
    input: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with input X = B (or, not ``left``, X input = B); of the input the ``upper`` or lower triangle alone is read,
    its diagonal as ones if it is ``unitriangular``.  A zero on the diagonal gives infinities.

    >>> torch.linalg.solve_triangular(torch.tensor([[2.0, 2.0], [0.0, 4.0]]), torch.ones(2, 1), upper=True)
    tensor([[0.2500],
            [0.2500]])
    """
    name = "linalg.solve_triangular"
    _of_one_kind(input, B, name)
    squares(input, name)
    matrices(B, name, "B")
    _fits(input, B, left, name)
    if left:
        return solve_triangle(input, B, upper, unitriangular)
    return solve_triangle(input.mT, B.mT, not upper, unitriangular).mT


def _power(x: Tensor, n: int) -> Tensor:
    if n == 0:
        data = raw(x)
        with backend.where_it_lies(data):
            eye = backend.array_module(data).zeros_like(data) + diagonal_mask(x).astype(data.dtype)
        return Tensor._wrap(eye, None) if not x.requires_grad else x * 0 + Tensor._wrap(eye, None)
    if n < 0:
        return _power(_inv(x, "linalg.inv"), -n)
    power = None
    while n:
        if n & 1:
            power = x if power is None else matmul(power, x)
        n >>= 1
        x = matmul(x, x) if n else x
    assert power is not None
    return power


@checked
def linalg_matrix_power(input: Tensor, n: int) -> Tensor:
    """(A batch of) square matrices to the integer power ``n``; a negative one is that of the inverse.

    >>> torch.linalg.matrix_power(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    matrices(input, "linalg.matrix_power")
    rows, columns = input._data.shape[-2:]
    if rows != columns:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {rows} by {columns} matrices"
        )
    if n < 0:
        squares(input, "linalg.inv")
    return _power(input, n).clone() if n == 1 else _power(input, n)


@method("matrix_power")
def matrix_power(input: Tensor, n: int) -> Tensor:
    """:func:`torch.linalg.matrix_power`.

    >>> torch.matrix_power(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    return linalg_matrix_power(input, n)


@primitive(grad_name="LinalgPinvBackward0")
def _pinv(xp, x, atol, rtol):
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    least = xp.maximum(atol, rtol * s.max(axis=-1, keepdims=True)) if s.size else s
    inverse = xp.where(s > least, 1 / xp.where(s > least, s, s.dtype.type(1)), s.dtype.type(0))
    return xp.matmul(h(vh) * inverse[..., None, :], h(u))


def _pinv_vjp(g, ans, x, atol, rtol):
    """Golub & Pereyra 1973, of matrices of constant rank."""
    gh, pinv_h = h(g), h(ans)
    first = -h(matmul(matmul(ans, gh), ans))
    left = matmul(gh - matmul(x, matmul(ans, gh)), matmul(ans, pinv_h))
    right = matmul(matmul(pinv_h, ans), gh - matmul(matmul(gh, ans), x))
    return first + left + right


_pinv.defvjp(_pinv_vjp, saves="ans x")


def _bounds(x: Tensor, atol: float | None, rtol: float | None) -> tuple[float, float]:
    """The absolute and the relative bound below which a singular value counts as 0."""
    if rtol is None:
        rtol = 0.0 if atol is not None and atol > 0 else max(x._data.shape[-2:]) * float(np.finfo(x._data.dtype).eps)
    return 0.0 if atol is None else float(atol), float(rtol)


@checked
def pinv(
    input: Tensor,
    rcond: float | None = None,
    hermitian: bool = False,
    *,
    atol: float | None = None,
    rtol: float | None = None,
) -> Tensor:
    """The pseudoinverse (..., n, m) of (a batch of) matrices (..., m, n): singular values of at most ``atol`` or
    ``rtol`` (by default max(m, n) times the type's epsilon) times the largest count as 0.

    >>> torch.linalg.pinv(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    matrices(input, "linalg.pinv")
    floating(input, "linalg.pinv")
    return _pinv(input, *_bounds(input, atol, rtol if rcond is None else rcond))


@method("pinverse")
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """:func:`torch.linalg.pinv` under its older name.

    >>> torch.pinverse(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    return pinv(input, rcond)
