"""Cross-entropy and negative log-likelihood of classes: what may be given, and all that is not the plain case."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import backend
from ...._arguments import checked
from ....autograd import Tensor
from ....autograd.tensor import TENSORS
from ..._declare import raw
from ...selection import where
from ..softmax import log_softmax
from .common import legacy_reduction, needs_floats, promoted, reduced
from .fused_cross_entropy import _cross_entropy, _cross_entropy_there
from .nll import _check_classes, _check_weight, _noun, _together, nll_loss


@checked
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input) at the target class.

    Args:
        input: logits (N, C), (C) or (N, C, d1, …).
        target: class indices (int64) (N), () or (N, d1, …), or probabilities in the shape of ``input``.
        weight: a factor for each class (C); a weighted mean divides by the weights of the targets.
        ignore_index: a target that counts nothing; of probabilities there is none, so it must then be negative.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: in [0, 1]: how much of the target is spread over all classes.

    Raises:
        RuntimeError, ValueError: shapes or types that don't fit.  IndexError: a class outside 0 … C-1; on a device,
            where asking would wait for all work before, such a class makes the loss NaN instead.

    >>> F.cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3]))
    tensor(1.3863)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    x, y = raw(input), raw(target)
    if target.__class__ not in TENSORS or input.__class__ not in TENSORS:
        bad = target if target.__class__ not in TENSORS else input
        raise TypeError(f"cross_entropy_loss(): arguments must be Tensors, got {type(bad).__name__}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if y.dtype.kind not in "iu" or y.shape == x.shape:
        return _probabilities(input, target, weight, ignore_index, reduction, label_smoothing)
    if not x.__class__ is y.__class__ is np.ndarray:
        with _together("cross_entropy", input, target, weight):
            return _of_classes(input, target, weight, ignore_index, reduction, label_smoothing)
    return _of_classes(input, target, weight, ignore_index, reduction, label_smoothing)


def _of_classes(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    """:func:`cross_entropy` where the target is class indices."""
    x, y = raw(input), raw(target)
    all_count = _check_classes(x, y, ignore_index)
    if y.dtype.char == "B":
        y = y.astype(np.int64)
        target = Tensor._wrap(y, None)
    simple = weight is None and label_smoothing == 0.0 and x.ndim == 2 and x.shape[0] and x.dtype.char in "fd"
    if simple and reduction in ("mean", "sum", "none"):
        if x.__class__ is not np.ndarray:
            return _cross_entropy_there(input, target, reduction, ignore_index)
        if all_count or not (y == ignore_index).any():
            return _cross_entropy(input, target, reduction)
    needs_floats("cross_entropy", input)
    logs = log_softmax(input, 1 if x.ndim > 1 else 0)
    loss = nll_loss(logs, target, weight, ignore_index=ignore_index, reduction=reduction)
    if label_smoothing == 0.0:
        return loss
    return loss * (1 - label_smoothing) + _smooth(logs, y, weight, ignore_index, reduction) * label_smoothing


def _probabilities(input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float) -> Any:
    """:func:`cross_entropy` where the target is probabilities, in the shape of the input."""
    x, y = raw(input), raw(target)
    if y.shape == x.shape and not target.dtype.is_floating_point:
        raise RuntimeError(f"Expected floating point type for target with class probabilities, got {_noun(y)}")
    if y.shape != x.shape:
        if x.ndim and y.ndim == x.ndim - 1:
            raise RuntimeError(f"expected target dtype to be Long or Byte, but got {_noun(y)}")
        raise RuntimeError(
            f"target probabilities must have the shape of the input, {list(x.shape)}; got {list(y.shape)}"
        )
    if x.ndim == 0:
        raise RuntimeError("cross_entropy: input must have at least one dimension, the classes")
    if ignore_index >= 0:
        raise RuntimeError(f"ignore_index is not supported for floating point target; got {ignore_index}")
    needs_floats("cross_entropy", input)
    input, target = promoted(input, target)
    dim = 1 if raw(input).ndim > 1 else 0
    c = raw(input).shape[dim]
    if smoothing:
        target = target * (1 - smoothing) + (smoothing / c if c else math.nan)
    logs = log_softmax(input, dim)
    if weight is not None:
        _check_weight(weight, c, raw(logs))
        logs = logs * weight.reshape([c if k == dim else 1 for k in range(raw(input).ndim)])
    values = -(logs * target).sum(dim)
    if reduction != "mean":
        return reduced(values, reduction)
    n = raw(values).size
    return values.sum() / (n if raw(input).size else 0)  # of no logits NaN, though there may be rows


def _smooth(logs: Any, y: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    """The loss against the uniform distribution, averaged as the main loss is."""
    dim = 1 if raw(logs).ndim > 1 else 0
    c = raw(logs).shape[dim]
    xp = backend.array_module(y)
    counted = y != ignore_index
    if weight is not None:
        logs = logs * weight.reshape([c if k == dim else 1 for k in range(raw(logs).ndim)])
    values = where(Tensor._wrap(xp.asarray(counted), None), -logs.sum(dim) / c, 0.0)
    if reduction != "mean":
        return reduced(values, reduction)
    if weight is None:
        return values.sum() / Tensor._wrap(xp.asarray(counted.sum()).astype(raw(logs).dtype), None)
    safe = xp.where(counted, y, 0)
    return values.sum() / Tensor._wrap(xp.asarray((raw(weight)[safe] * counted).sum()), None)
