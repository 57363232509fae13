"""Numbers in a row, evenly or by powers, and grids of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from .._arguments import checked, tensors_of
from ..autograd import Tensor
from ..autograd.tensor import TENSORS
from ._declare import Device, DType, Operand, aside
from ._numbers import fitting
from .creation import _made, _number

_PIECE = 2**14  # numbers that are computed at a time

__all__ = ["arange", "eye", "linspace", "logspace", "meshgrid"]


@checked
def arange(
    start: float = 0,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
    **names: Any,
) -> Tensor:
    """``start`` (default 0) to ``end`` (exclusive) by ``step``; int64 if all are integers, else the default dtype.

    >>> torch.arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    aside("arange", names)
    if end is None:
        start, end = 0, start
    start, end, step = _number(start), _number(end), _number(step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if step != step or max(abs(v) for v in (start, end, step)) >= 2**63:
        raise RuntimeError(f"unsupported range: {start} -> {end} by {step}")
    if (end - start) / step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is None:
        dtype = (
            dtypes.int64
            if all(isinstance(v, (int, np.integer)) for v in (start, end, step))
            else dtypes.get_default_dtype()
        )
    kind = dtypes.computed_in(dtypes.as_dtype(dtype), "arange")
    if kind.category == 0:
        raise NotImplementedError("\"arange\" not implemented for 'Bool'")
    if kind is dtypes.int64:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError("step must be nonzero")
    whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    n = max(-((start - end) // step) if whole else math.ceil((end - start) / step), 0)
    if kind.category == 1:  # the number of elements is that of the numbers given, each of which is then cut
        start, step = int(start), int(step)
    wide = np.int64 if kind.category == 1 else np.float64
    return _made((start + step * np.arange(n, dtype=wide)).astype(kind.np), device, requires_grad)


@checked
def linspace(
    start: Operand,
    end: Operand,
    steps: int,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` values from ``start`` to ``end`` (inclusive), evenly spaced; of integers between the two as integers.

    Raises:
        RuntimeError: ends that the dtype does not hold, a negative number of steps.

    >>> torch.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    start, end, kind = _ends("linspace", start, end, steps, dtype)
    return _made(_evenly(start, end, int(steps), kind.np).astype(kind.np), device, requires_grad)


def _ends(name: str, start: Any, end: Any, steps: int, dtype: Any) -> tuple[Any, Any, dtypes.dtype]:
    """The ends as numbers of the dtype (integers are cut before they are divided), and the dtype."""
    for word, x in (("start", start), ("end", end)):
        if x.__class__ in TENSORS and x.ndim:
            raise RuntimeError(
                f"{name} only supports 0-dimensional start and end tensors, but got {word} with {x.ndim} dimension(s)."
            )
    start, end = _number(start), _number(end)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    natural = dtypes.get_default_dtype()
    if isinstance(start, complex) or isinstance(end, complex):
        natural = natural.to_complex()
    kind = natural if dtype is None else dtypes.computed_in(dtypes.as_dtype(dtype), name)
    if natural.is_complex and not kind.is_complex:
        raise RuntimeError(f"torch.{name}(): inferred dtype {natural} can't be safely cast to passed dtype {kind}")
    if kind is dtypes.bool_:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for 'Bool'")
    return fitting(start, kind.np), fitting(end, kind.np), kind


def _evenly(start: Any, end: Any, steps: int, kind: Any) -> Any:
    """Each half of the values counted from its end, as PyTorch does; half precisions round each step."""
    if steps <= 1:
        return np.full(steps, start)
    number = (
        kind.type if kind.itemsize == 2 and kind.kind in "fV" else np.complex128 if kind.kind == "c" else np.float64
    )
    start, end = number(start), number(end)
    with np.errstate(all="ignore"):
        step = (end - start) / number(steps - 1)
        half = steps // 2
        out = np.empty(steps, number)
        for first in range(0, half, _PIECE):  # of a million numbers each pass would wait for memory
            last = min(first + _PIECE, half)
            out[first:last] = start + step * np.arange(first, last).astype(number)
        for first in range(half, steps, _PIECE):
            last = min(first + _PIECE, steps)
            out[first:last] = end - step * np.arange(steps - 1 - first, steps - 1 - last, -1).astype(number)
        return out


def _spaced(start: float, end: float, steps: int) -> Any:
    """``steps`` numbers from ``start`` to ``end``, the second half of them counted from the end, as PyTorch does."""
    start, end = float(start), float(end)
    if math.isfinite(start) and math.isfinite(end):
        return np.linspace(start, end, steps)
    if steps == 1:
        return np.array([start])
    step, i = (end - start) / (steps - 1), np.arange(steps)
    with np.errstate(invalid="ignore"):
        return np.where(i < steps / 2, start + step * i, end - step * (steps - 1 - i))


@checked
def logspace(
    start: Operand,
    end: Operand,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """``base`` to the powers of :func:`linspace`; of integers those between the ends, cut to integers, are not cut.

    >>> torch.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    first, end, kind = _ends("logspace", start, end, steps, dtype)
    powers = _evenly(_number(start) if steps == 1 else first, end, int(steps), np.dtype(np.float64))
    with np.errstate(all="ignore"):
        return _made((base**powers).astype(kind.np), device, requires_grad)


@checked
def eye(
    n: int, m: int | None = None, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """The n × m matrix with ones on the diagonal.

    >>> torch.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    for role, size in (("n", n), ("m", 0 if m is None else m)):
        if size < 0:
            raise RuntimeError(f"{role} must be greater or equal to 0, got {size}")
    return _made(np.eye(n, m, dtype=dtypes.as_dtype(dtype or dtypes.get_default_dtype()).np), device, requires_grad)


@checked
def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Grids of coordinates from vectors, of shape (n0, n1, …), or (n1, n0, …) with ``indexing="xy"``.

    >>> a, b = torch.meshgrid(torch.tensor([1, 2]), torch.tensor([3, 4]), indexing="ij")
    >>> a, b
    (tensor([[1, 1],
            [2, 2]]), tensor([[3, 4],
            [3, 4]]))
    """
    several: Any = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    n = len(several)
    several = tensors_of(several)
    if n == 0:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"torch.meshgrid: indexing must be one of 'xy' or 'ij', but received: {indexing}")
    for x in several:
        if x.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x.ndim}D")
        if x.dtype != several[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    place = list(range(n))  # the dimension along which each varies
    if indexing == "xy" and n > 1:
        place[:2] = 1, 0
    lengths = [x.numel() for x in several]
    shape = tuple([lengths[place[d]] for d in range(n)])
    return tuple(x.reshape([-1 if d == place[k] else 1 for d in range(n)]).expand(shape) for k, x in enumerate(several))
