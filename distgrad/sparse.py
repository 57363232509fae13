"""Functions of sparse tensors, by the names of ``torch.sparse``.

>>> matrix = torch.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0], (2, 2))
>>> torch.sparse.mm(matrix, torch.ones(2, 1))
tensor([[2.],
        [3.]])
"""

from __future__ import annotations

from typing import Any

from . import dtypes
from .autograd import Tensor
from .autograd.sparse import SparseTensor, sparse_coo_tensor
from .ops.sparse_products import spmm

__all__ = ["DoubleTensor", "FloatTensor", "LongTensor", "mm", "sum"]


def mm(mat1: Tensor, mat2: Tensor) -> Tensor:
    """:func:`distgrad.spmm`."""
    return spmm(mat1, mat2)


def sum(input: SparseTensor) -> Tensor:
    """The sum of all elements.

    >>> torch.sparse.sum(torch.sparse_coo_tensor([[0, 1]], [2.0, 3.0], (4,)))
    tensor(5.)
    """
    return input.sum()


def FloatTensor(indices: Any, values: Any, size: Any = None) -> SparseTensor:
    """:func:`distgrad.sparse_coo_tensor` in float32, by its old name."""
    return sparse_coo_tensor(indices, values, size, dtype=dtypes.float32)


def DoubleTensor(indices: Any, values: Any, size: Any = None) -> SparseTensor:
    """Likewise in float64."""
    return sparse_coo_tensor(indices, values, size, dtype=dtypes.float64)


def LongTensor(indices: Any, values: Any, size: Any = None) -> SparseTensor:
    """Likewise in int64."""
    return sparse_coo_tensor(indices, values, size, dtype=dtypes.int64)
