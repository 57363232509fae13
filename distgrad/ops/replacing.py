"""A tensor with a part of it replaced, as new memory: a slice, several, a diagonal."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor, primitive
from ._declare import axis, method, ndim_of, raw
from .linalg.products import _diagonal, _on_diagonal
from .scattering import _written

__all__ = ["diag_embed", "diagonal_scatter", "select_scatter", "slice_scatter"]


def _fits(name: str, part: tuple[int, ...], src: Tensor) -> None:
    have = tuple(raw(src).shape)
    if have != part:
        raise RuntimeError(
            f"expected src to have a size equal to the {name} of self. src size = {list(have)}, "
            f"{name} size = {list(part)}"
        )


@method("select_scatter")
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """``input`` with ``src`` in the place of the slice number ``index`` along ``dim``; a copy.

    >>> torch.select_scatter(torch.zeros(2, 2), torch.ones(2), 0, 0)
    tensor([[1., 1.],
            [0., 0.]])
    """
    x, d = raw(input), axis(dim, ndim_of(input))
    if x.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    n = x.shape[d]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(x.shape)} at dimension {d}")
    _fits("slice", (*x.shape[:d], *x.shape[d + 1 :]), src)
    return _written(input, src.to(input.dtype), (*(slice(None),) * d, index), "SelectScatterBackward0")


@method("slice_scatter")
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """``input`` with ``src`` in the place of the slices ``start`` to ``end`` (exclusive) along ``dim``; a copy.

    >>> torch.slice_scatter(torch.zeros(4), torch.ones(2), start=1, end=3)
    tensor([0., 1., 1., 0.])
    """
    x, d = raw(input), axis(dim, ndim_of(input))
    if x.ndim == 0:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    part = slice(*slice(start, end, step).indices(x.shape[d]))
    if part.stop < part.start:
        part = slice(part.start, part.start, step)
    _fits("slice", (*x.shape[:d], len(range(part.start, part.stop, step)), *x.shape[d + 1 :]), src)
    return _written(input, src.to(input.dtype), (*(slice(None),) * d, part), "SliceScatterBackward0")


@primitive(meta="value", grad_name="DiagonalScatterBackward0")
def _with_diagonal(xp, x, value, offset, dim1, dim2):
    """``x`` with ``value`` on a diagonal."""
    out = xp.array(x)
    diagonal = out.diagonal(offset, dim1, dim2)
    if diagonal.__class__.__module__ == "numpy":
        diagonal.flags.writeable = True  # NumPy's is read-only
    diagonal[...] = value
    return out


_with_diagonal.defvjp(
    lambda g, ans, x, value, offset, dim1, dim2: _with_diagonal(g, 0.0, offset, dim1, dim2),
    lambda g, ans, x, value, offset, dim1, dim2: _diagonal(g, offset, dim1, dim2),
    saves="",
)


def _two_dims(name: str, dim1: int, dim2: int, n: int) -> tuple[int, int]:
    first, second = axis(dim1, n), axis(dim2, n)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return first, second


@method("diagonal_scatter")
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """``input`` with ``src`` on the diagonal (``offset`` above the main one) of ``dim1`` and ``dim2``; a copy.

    >>> torch.diagonal_scatter(torch.zeros(2, 2), torch.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    first, second = _two_dims("diagonal_scatter", dim1, dim2, ndim_of(input))
    _fits("slice", tuple(raw(input).diagonal(offset, first, second).shape), src)
    return _with_diagonal(input, src.to(input.dtype), offset, first, second)


@method("diag_embed")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dimension of ``input`` on the diagonal (``offset`` above the main one) of matrices in ``dim1`` and
    ``dim2`` of the result, zeros elsewhere.

    >>> torch.diag_embed(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    shape = raw(input).shape
    if not shape:
        raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got -2)")
    n = len(shape) + 1
    first, second = _two_dims("diag_embed", dim1, dim2, n)
    size = shape[-1] + abs(offset)
    made: list[Any] = list(shape[:-1])
    for d in sorted((first, second)):
        made.insert(d, size)
    return _on_diagonal(input, tuple(made), offset, first, second)
