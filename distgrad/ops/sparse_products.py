"""Products of a sparse matrix and a dense one, with the gradient of the dense one."""

from __future__ import annotations

import numpy as np

from ..autograd import Tensor, primitive
from ..autograd.coo import Coo
from ..autograd.sparse import SparseTensor
from ._declare import attach, noun, raw, wide

__all__ = ["spmm"]


@primitive(grad_name="SparseAddmmBackward0")
def _sparse_times(xp, x, matrix):
    """``matrix``, a :class:`Coo` (n, m), times ``x`` (m, …): (n, …)."""
    rows, columns = matrix.indices
    values, dense = wide(matrix.values), wide(x)
    if xp is np and dense.dtype.char in "fdFD":
        from scipy import sparse  # takes longer to import than NumPy

        return (sparse.csr_array((values, (rows, columns)), shape=matrix.shape) @ dense).astype(x.dtype, copy=False)
    out = xp.zeros((matrix.shape[0], *x.shape[1:]), dense.dtype)
    xp.add.at(out, rows, values.reshape(-1, *[1] * (x.ndim - 1)) * dense[columns])
    return out.astype(x.dtype, copy=False)


def _turned(matrix: Coo) -> Coo:
    """The conjugate transpose."""
    return Coo(matrix.indices[::-1], matrix.values.conj(), matrix.shape[::-1])


_sparse_times.defvjp(lambda g, ans, x, matrix: _sparse_times(g, _turned(matrix)), saves="")


def spmm(input: Tensor, mat2: Tensor) -> Tensor:
    """A sparse matrix (n, m) times a dense one (m, p): (n, p), dense; ``mat2`` has a gradient, the sparse one has none.

    Raises:
        RuntimeError: no matrices, sizes that do not fit, two dtypes.
        NotImplementedError: a sparse ``mat2``.

    >>> matrix = torch.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0], (2, 2))
    >>> torch.spmm(matrix, torch.tensor([[1.0], [10.0]]))
    tensor([[20.],
            [ 3.]])
    """
    return _product("mm", input, mat2, (2,))


def _product(name: str, matrix: Tensor, dense: Tensor, ranks: tuple[int, ...]) -> Tensor:
    if not isinstance(matrix, SparseTensor):
        return matrix.mm(dense)
    if dense.is_sparse:
        raise NotImplementedError(f"{name} of two sparse tensors is not there; make one dense by to_dense()")
    a, b = matrix._data, raw(dense)
    if len(a.indices) != 2 or len(a.shape) != 2 or b.ndim not in ranks:
        raise RuntimeError(f"{name}: expected a sparse matrix and a tensor of {ranks[-1]} dimensions, not {b.ndim}")
    if a.shape[1] != b.shape[0]:
        shapes = "x".join(map(str, a.shape)), "x".join(map(str, b.shape))
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({shapes[0]} and {shapes[1]})")
    if a.dtype != b.dtype:
        raise RuntimeError(f"{name}: expected both to have one dtype, but got {noun(matrix)} and {noun(dense)}")
    return _sparse_times(dense, a)


def _method(name: str, ranks: tuple[int, ...]) -> None:
    def product(self: Tensor, other: Tensor) -> Tensor:
        return _product(name, self, other, ranks)

    product.__name__ = product.__qualname__ = name
    product.__doc__ = "A sparse matrix times a dense tensor: :func:`distgrad.spmm`."
    setattr(SparseTensor, name, product)


for _name, _ranks in (("mm", (2,)), ("mv", (1,)), ("matmul", (1, 2)), ("__matmul__", (1, 2))):
    _method(_name, _ranks)
attach("smm", spmm)
