"""Norms of vectors and matrices, distances, and the rank that small singular values leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import backend, dtypes
from ..._arguments import checked, is_number, misfit
from ...autograd import Tensor, primitive
from .._declare import Dims, DType, Number, axes, axis, method, ndim_of, noun, raw
from ..extremes import amax, amin
from ..norms import _norm2, _norm_p, norm as _vector_norm
from ..reduction import _count
from ..rounding import abs as absolute, sgn
from ..selection import _where
from ._checks import floating, matrices
from .decompositions import eigvalsh, svdvals
from .solving import _bounds


def _converted(x: Tensor, dtype: DType, name: str, half: bool = True) -> Tensor:
    """``x`` in ``dtype``, in which the norm is to be computed."""
    floating(x, name, half=half)
    if dtype is None:
        return x
    kind = dtypes.as_dtype(dtype)
    if kind.category < 2:
        raise RuntimeError(f"{name}: dtype should be floating point or complex, but got {kind}")
    if kind.is_complex != x.dtype.is_complex:
        word = "complex" if x.dtype.is_complex else "real"
        raise RuntimeError(f"{name}: dtype should be {word} for {word} inputs, but got {kind}")
    if kind.itemsize < x.dtype.itemsize:
        raise RuntimeError(
            f"{name}: the dtype of the input ({noun(x)}) should be convertible without narrowing to the specified "
            f"dtype ({kind.tensor_type[:-6]})"
        )
    return x.to(kind)


def _check_identity(x: Tensor, order: float, dims: tuple[int, ...] | None, name: str) -> None:
    """RuntimeError for the norms that nothing has none of."""
    if (order < 0 or order == math.inf) and _count(raw(x).shape, dims) == 0 and x._data.size == 0:
        if dims is None:
            raise RuntimeError(
                f"{name} cannot compute the {order:g} norm on an empty tensor because the operation does not have an "
                "identity"
            )
        empty = next(d for d in dims if raw(x).shape[d] == 0)
        raise RuntimeError(
            f"{name} cannot compute the {order:g} norm on the dimension {empty} because this dimension is empty and "
            "the operation does not have an identity"
        )


@checked
def vector_norm(
    input: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: DType = None
) -> Tensor:
    """The norm of order ``ord``, a number or an infinity, of the flattened tensor, or over dimension(s) ``dim``.

    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    name = "linalg.vector_norm"
    input = _converted(input, dtype, name)
    dims = axes(dim, ndim_of(input))
    order = float(ord)
    _check_identity(input, order, dims, name)
    return _norm2(input, dims, keepdim) if order == 2.0 else _norm_p(input, order, dims, keepdim)


def _two(dim: Any, n: int) -> tuple[int, int]:
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    first, second = axis(dim[0], n), axis(dim[1], n)
    if first == second:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    return first, second


@checked
def matrix_norm(
    input: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType = None,
) -> Tensor:
    """The norm of the matrices in dimensions ``dim``: "fro" (root of the sum of squares), "nuc" (sum of singular
    values), inf and -inf (largest and smallest sum of a row), 1 and -1 (of a column), 2 and -2 (singular value).

    >>> torch.linalg.matrix_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    name = "linalg.matrix_norm"
    matrices(input, name)
    first, second = _two(dim, ndim_of(input))
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise RuntimeError(f"{name}: Order {ord} not supported.")
        if ord == "fro":
            return vector_norm(input, 2, (first, second), keepdim, dtype=dtype)
    elif abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    by_values = ord == "nuc" or abs(ord) == 2  # type: ignore[arg-type]
    input = _converted(input, dtype, name, half=not by_values)
    if by_values:
        values = svdvals(input.movedim((first, second), (-2, -1)))
        found = values.sum(-1) if ord == "nuc" else _extreme(values, -1, ord).squeeze(-1)
        return _with_dims(found, first, second) if keepdim else found
    inner, outer = (second, first) if math.isinf(ord) else (first, second)  # type: ignore[arg-type]
    found = _extreme(_norm_p(input, 1.0, (inner,), True), outer, ord)
    return found if keepdim else found.squeeze((first, second))


def _extreme(values: Tensor, dim: int, order: Any) -> Tensor:
    """The largest along ``dim``, of none 0, or for a negative order the smallest."""
    if order < 0:
        return amin(values, dim, True)
    return amax(values, dim, True) if raw(values).shape[dim] else values.sum(dim, keepdim=True)


def _with_dims(x: Tensor, first: int, second: int) -> Tensor:
    for d in sorted((first, second)):
        x = x.unsqueeze(d)
    return x


@checked
def linalg_norm(
    input: Tensor, ord: Any = None, dim: Dims = None, keepdim: bool = False, *, dtype: DType = None
) -> Tensor:
    """:func:`vector_norm` or, of two dimensions, :func:`matrix_norm`; without ``ord`` of order 2 of all of ``dim``.

    >>> torch.linalg.norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), ord=2)
    tensor(4.)
    """
    if not (ord is None or isinstance(ord, str) or is_number(ord)):
        raise misfit(ord, "Number")
    dims = None if dim is None else tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if ord is None:
        return vector_norm(input, 2, dims, keepdim, dtype=dtype)
    n = ndim_of(input) if dims is None else len(dims)
    if isinstance(ord, str):
        if n != 2:
            raise RuntimeError(
                f"linalg.norm: If ord is specified but dim is not, the input must be 1D or 2D. Got {n}D."
                if dims is None
                else f"linalg.matrix_norm: dim must be a 2-tuple. Got {list(dims)}"
            )
        return matrix_norm(input, ord, (-2, -1) if dims is None else dims, keepdim, dtype=dtype)
    if dims is None and n not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {n}D.")
    if n == 2:
        return matrix_norm(input, ord, (-2, -1) if dims is None else dims, keepdim, dtype=dtype)
    return vector_norm(input, ord, dims, keepdim, dtype=dtype)


@checked
def matrix_rank(
    input: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values (of ``hermitian`` matrices absolute eigenvalues) are above ``atol`` (or ``tol``) and
    ``rtol``, by default max(m, n) times the type's epsilon, times the largest: int64, without a gradient.

    >>> torch.linalg.matrix_rank(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    matrices(input, "linalg.matrix_rank")
    floating(input, "linalg.matrix_rank")
    input = input.detach()
    shape = input._data.shape[:-2]
    if input._data.size == 0:
        return input.new_zeros(shape, dtype=dtypes.int64)
    atol, rtol = (tol, 0.0) if tol is not None else (atol, rtol)
    low, high = (raw(a) if isinstance(a, Tensor) else a for a in (atol, rtol))
    if high is None:
        usual = _bounds(input, None, None)[1]
        high = usual if low is None else np.where(low > 0, 0.0, usual)
    low = 0.0 if low is None else low
    sizes = absolute(eigvalsh(input)) if hermitian else svdvals(input)
    data = raw(sizes)
    with backend.where_it_lies(data):
        bound = high * data.max(axis=-1)
        larger = (low > bound) * low + (low <= bound) * bound
        xp = backend.array_module(data)
        return Tensor._wrap(xp.asarray((data > larger[..., None]).sum(-1), np.int64), None)


@method("norm")
def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: DType = None
) -> Tensor:
    """The ``p``-norm of the flattened tensor, or over dimension(s) ``dim``: p a number, inf, -inf or "fro" (2); or
    "nuc", the sum of the singular values of a matrix.

    >>> torch.norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if p != "nuc":
        return _vector_norm(input, p, dim, keepdim, dtype)
    if isinstance(dim, int):
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)


@method("dist")
def dist(input: Tensor, other: Tensor, p: Number = 2) -> Tensor:
    """The ``p``-norm of ``input - other``, with broadcasting.

    >>> torch.dist(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 6.0]))
    tensor(5.)
    """
    return norm(input - other, float(p))  # type: ignore[arg-type]


@primitive(grad_name="CdistBackward0")
def _largest_part(xp, x):
    return xp.max(xp.abs(x), axis=-1) if x.shape[-1] else xp.zeros(x.shape[:-1], x.dtype)


_largest_part.defvjp(  # equals all get the gradient, as in PyTorch
    lambda g, ans, x: _where(sgn(x) * g[..., None], 0.0, raw(absolute(x) == ans[..., None])),
    saves="ans x",
)


@checked
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The ``p``-norms of the differences of each of the vectors ``x1`` (..., P, M) and each of ``x2`` (..., R, M):
    (..., P, R).  Where two are equal the gradient is 0.  Any ``compute_mode`` computes from the differences.

    >>> torch.cdist(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for i, x in enumerate((x1, x2), 1):
        if not x.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, X{i} got: {noun(x)}")
    for i, x in enumerate((x1, x2), 1):
        if ndim_of(x) < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, X{i} got: {ndim_of(x)}D")
    if raw(x1).shape[-1] != raw(x2).shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {raw(x1).shape[-1]} X2: {raw(x2).shape[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    apart = x1[..., :, None, :] - x2[..., None, :, :]
    if p == math.inf:
        return _largest_part(apart)
    return (
        _norm2(apart, (ndim_of(apart) - 1,), False)
        if p == 2
        else _norm_p(apart, float(p), (ndim_of(apart) - 1,), False)
    )
