"""Places in tensors as index tensors: of triangles, of what is not zero, of numbers that count through a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import checked
from ..autograd import Tensor
from ._declare import Device, DType, method, raw
from .creation import _made
from .indexing import nonzero

__all__ = ["argwhere", "tril_indices", "triu_indices", "unravel_index"]


@method("argwhere")
def argwhere(input: Tensor) -> Tensor:
    """The indices (int64) of the elements that are not 0, one row each.

    >>> torch.argwhere(torch.tensor([1, 0, 1]))
    tensor([[0],
            [2]])
    """
    found = nonzero(input)
    assert isinstance(found, Tensor)
    return found


def _triangle(name: str, columns: Any, side: str, shown: str) -> Any:
    def indices(
        row: int, col: int, offset: int = 0, *, dtype: DType = dtypes.int64, device: Device = None, layout: Any = None
    ) -> Tensor:
        kind = dtypes.as_dtype(dtype)
        for given, n in (("row", row), ("col", col)):
            if n < 0:
                raise RuntimeError(f"{given} must be non-negative, got{n}")
        if kind.category == 0:
            raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")
        first, last = (np.clip(bound, 0, col) for bound in columns(np.arange(row) + offset, col))
        counts = last - first
        rows = np.repeat(np.arange(row), counts)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        return _made(np.stack([rows, places], dtype=kind.np, casting="unsafe"), device, False)

    indices.__name__ = indices.__qualname__ = name
    indices.__doc__ = (
        f"The indices of the {side} triangle, up to the diagonal ``offset``, of a matrix of ``row`` rows and ``col``\n"
        "    columns, row by row: two rows, of the rows and of the columns; int64 by default.\n\n"
        f"    >>> torch.{name}(2, 2)\n    {shown}\n    "
    )
    return checked(indices)


tril_indices = _triangle(
    "tril_indices", lambda diagonal, n: (0, diagonal + 1), "lower", "tensor([[0, 1, 1],\n            [0, 0, 1]])"
)
triu_indices = _triangle(
    "triu_indices", lambda diagonal, n: (diagonal, n), "upper", "tensor([[0, 0, 1],\n            [0, 1, 1]])"
)


@checked
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The coordinates, one tensor a dimension, of the elements that ``indices`` name in a flattened tensor of
    ``shape``.

    >>> torch.unravel_index(torch.tensor([1, 5]), (2, 3))
    (tensor([0, 1]), tensor([1, 2]))
    """
    x = raw(indices)
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if x.dtype.kind not in "iu":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    found: list[Any] = []
    with backend.where_it_lies(x):
        below = x.astype(np.int64)
        for n in reversed(sizes):
            found.append(below % n if n else below)
            below = below // n if n else below
        return tuple([Tensor._wrap(a, None) for a in reversed(found)])
