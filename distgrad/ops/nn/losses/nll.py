"""Negative log-likelihood of classes, and what targets and weights may be given."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .... import backend, dtypes
from ...._arguments import checked
from ....autograd import Tensor
from ....autograd.promotion import mixed
from ..._declare import raw
from ...indexing import _gathered
from ...selection import where
from .class_counts import _counting, _shares
from .common import legacy_reduction, needs_floats, reduced, tensors


@contextlib.contextmanager
def _together(name: str, *tensors: Any) -> Iterator[None]:
    """Inside, the device of the tensors is the current one; RuntimeError where they lie on several."""
    arrays = [raw(t) for t in tensors if t is not None]
    if len({backend.device_of(a) for a in arrays}) > 1:
        raise mixed(arrays, name)
    with backend.where_it_lies(arrays[0]):
        yield


def _check_classes(x: Any, y: Any, ignore_index: int) -> bool:
    """Raise if targets ``y`` do not fit logits ``x``; else whether it is certain that none of them is ignored."""
    if y.dtype.char not in "lB" and y.dtype not in (np.int64, np.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {_noun(y)}")
    c = x.shape[1] if x.ndim > 1 else x.shape[0]
    expected = (x.shape[0], *x.shape[2:]) if x.ndim > 1 else ()
    if y.shape != expected and not (x.ndim == 1 and y.shape == (1,)):
        raise _misfit(x, y, expected)
    if y.size and isinstance(y, np.ndarray):  # on a device: _counting()
        low, high = int(np.minimum.reduce(y, None)), int(np.maximum.reduce(y, None))
        if low >= 0 and high < c:
            return not low <= ignore_index <= high
        for bad in (low, high):
            if not 0 <= bad < c and bad != ignore_index:
                raise IndexError(f"Target {bad} is out of bounds: the classes are 0 to {c - 1}.")
        if (low < 0 or high >= c) and bool((((y < 0) | (y >= c)) & (y != ignore_index)).any()):
            raise IndexError(f"A target is out of bounds: the classes are 0 to {c - 1}, ignored is {ignore_index}.")
        return False
    return True


def _noun(array: Any) -> str:
    """PyTorch's word for the element type."""
    return dtypes.from_numpy_dtype(array.dtype).tensor_type[:-6]


def _misfit(x: Any, y: Any, expected: tuple[int, ...]) -> Exception:
    """What is wrong with targets ``y`` of logits ``x``."""
    if x.ndim == 1 and y.ndim == 1:
        return ValueError(f"For 1D input, 1D target must have size 1, but got target size: {y.shape[0]}")
    if x.ndim <= 2 and y.ndim > 1:
        return RuntimeError(f"0D or 1D target tensor expected, multi-target not supported; got {list(y.shape)}")
    if x.ndim > 1 and (y.ndim == 0 or x.shape[0] != y.shape[0]):
        batch = y.shape[0] if y.ndim else "none"
        return ValueError(f"Expected input batch_size ({x.shape[0]}) to match target batch_size ({batch}).")
    return RuntimeError(f"Expected target size {list(expected)}, got {list(y.shape)}")


def _check_weight(weight: Tensor, c: int, x: Any) -> None:
    """Raise if there is not one factor for each of ``c`` classes, of the input's dtype."""
    w = raw(weight)
    if w.shape != (c,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {c} classes or no classes but got weight tensor of shape: "
            f"{list(w.shape)}"
        )
    if w.dtype != x.dtype:
        raise RuntimeError(f"expected scalar type {_noun(x)} but found {_noun(w)}")


@checked
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input at the target class: the rest of :func:`cross_entropy` after log-softmax; the same shapes and options.

    >>> F.nll_loss(torch.log(torch.tensor([[0.25, 0.75]])), torch.tensor([1]))
    tensor(0.2877)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("nll_loss", input=input, target=target)
    x, y = raw(input), raw(target)
    if x.ndim == 0:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if not x.__class__ is y.__class__ is np.ndarray:
        with _together("nll_loss", input, target, weight):
            return _negated(input, y, weight, ignore_index, reduction)
    return _negated(input, y, weight, ignore_index, reduction)


def _negated(input: Tensor, y: Any, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
    """:func:`nll_loss` of the raw targets ``y``."""
    x = raw(input)
    needs_floats("nll_loss", input)
    all_count = _check_classes(x, y, ignore_index)
    if weight is not None:
        _check_weight(weight, x.shape[min(1, x.ndim - 1)], x)
    if x.ndim == 1:
        y = y.reshape(())
    xp = backend.array_module(x)
    if xp is np and all_count and weight is None and x.ndim > 1 and y.size:
        own = np.expand_dims(y, 1).copy()  # whatever is written to the targets
        return reduced(-_gathered(input, own, 1).squeeze(1), reduction)
    if xp is np:
        counted = np.asarray(y != ignore_index)
        safe = np.where(counted, y, 0)
    else:
        counted, safe = _counting(xp, y, x.shape[min(1, x.ndim - 1)], ignore_index, x.dtype)
    if x.ndim == 1:
        picked = _gathered(input, safe.reshape(1), 0).squeeze(0)
    else:
        picked = _gathered(input, xp.expand_dims(safe, 1), 1).squeeze(1)
    factor = xp.asarray(counted.astype(x.dtype) if weight is None else raw(weight)[safe] * counted)
    # what is ignored is not multiplied by 0 but left out: it may be infinite, and so may be its gradient
    values = where(Tensor._wrap(xp.asarray(counted != 0), None), -picked, 0.0)
    if reduction != "mean":
        return reduced(values * Tensor._wrap(factor, None), reduction)
    return (values * Tensor._wrap(_shares(xp, factor, counted != 0).astype(x.dtype), None)).sum() + _nothing(xp, factor)


def _nothing(xp: Any, factor: Any) -> Tensor:
    """0, but NaN where the factors' sum is 0: the mean of nothing, whose gradient is 0, as in PyTorch."""
    return Tensor._wrap(xp.asarray(xp.where(factor.sum() == 0, math.nan, 0.0).astype(factor.dtype)), None)
