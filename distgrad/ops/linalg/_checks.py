"""What functions of linear algebra ask of their matrices, and what they share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import backend
from ...autograd import Tensor
from ...autograd.tensor import TENSORS
from .._declare import noun, raw, unknown


class _LinAlgError(RuntimeError):
    """A matrix does not have what was asked for: an inverse, a factorization.

    >>> try:
    ...     torch.linalg.inv(torch.zeros(1, 1))
    ... except torch.linalg.LinAlgError:
    ...     print("singular")
    ...
    singular
    """


LinAlgError = _LinAlgError  # the class is named so in PyTorch


def h(x: Any) -> Any:
    """The conjugate transpose of (a batch of) matrices: of a tensor or, in a rule, an array."""
    turned = x.swapaxes(-1, -2)
    return turned.conj() if raw(x).dtype.kind == "c" else turned


def diagonal_mask(x: Any) -> Any:
    """An array that is true on the diagonal of matrices as wide as the last dimension of ``x``."""
    data = raw(x)
    with backend.where_it_lies(data):
        return backend.array_module(data).eye(data.shape[-1], dtype=np.bool_)


def like(array: Any, x: Any) -> Any:
    """The ``array`` as a tensor where ``x`` is one."""
    return Tensor._wrap(array, None) if x.__class__ in TENSORS else array


def diagonal_matrix(v: Any) -> Any:
    """The matrices with the vectors ``v`` on their diagonals."""
    data = raw(v)
    return v[..., None] * like(diagonal_mask(v).astype(data.dtype), v)


def floating(x: Tensor, name: str, half: bool = False, kernel: str | None = None, whole: bool = True) -> None:
    """RuntimeError for a tensor that linear algebra does not compute with; where it is the ``kernel`` that finds it
    out, of half precisions and, not ``whole``, of integers, NotImplementedError."""
    kind = x.dtype
    if kernel is not None and ((kind.itemsize == 2 and kind.is_floating_point) or (kind.category < 2 and not whole)):
        raise unknown(kernel, raw(x))
    if kind.category < 2:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {noun(x)}")
    if kind.itemsize == 2 and not half:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {noun(x)}")


def matrices(x: Tensor, name: str, role: str = "A") -> None:
    """RuntimeError for a tensor that is no batch of matrices of numbers that linear algebra computes with."""
    if x._data.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {role} must have at least 2 dimensions.")


def squares(x: Tensor, name: str, role: str = "A", kernel: str | None = None, whole: bool = True) -> None:
    """RuntimeError for a tensor that is no batch of square matrices of floating-point or complex numbers."""
    matrices(x, name, role)
    m, n = x._data.shape[-2:]
    if m != n:
        raise RuntimeError(f"{name}: {role} must be batches of square matrices, but they are {m} by {n} matrices")
    floating(x, name, kernel=kernel, whole=whole)


def first_failing(a: Any, works: Any) -> tuple[str, np.ndarray]:
    """The first of a batch of matrices for which ``works`` raises NumPy's error, and how PyTorch names its place."""
    host = backend.to_host(a)
    flat = host.reshape(math.prod(host.shape[:-2]), *host.shape[-2:])
    for i, matrix in enumerate(flat):
        try:
            works(matrix)
        except np.linalg.LinAlgError:
            return (f"(Batch element {i}): " if host.ndim > 2 else ""), matrix
    return "", flat[0]
