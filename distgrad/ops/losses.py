"""Losses as functions; the fused ones have one pass forward, one backward, and a reference in simple operations."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor, fused
from ..autograd.operands import mixed
from ..autograd.tensor import TENSORS
from ._declare import raw
from .activation import log_softmax, logsigmoid, softplus
from .elementwise import log
from .indexing import _gathered, gather
from .selection import clamp, where

_REDUCTIONS = frozenset(("mean", "sum", "none"))


def _reduced(values: Any, reduction: str) -> Any:
    """``values`` averaged ("mean"), added up ("sum") or as they are ("none")."""
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ValueError(f"{reduction} is not a valid value for reduction; the values are none, mean, sum")


def legacy_reduction(size_average: Any, reduce: Any) -> str:
    """What PyTorch's old arguments say in terms of ``reduction``, with a warning."""
    averaged = size_average is None or size_average
    reduction = "none" if reduce is not None and not reduce else "mean" if averaged else "sum"
    import warnings

    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel=4
    )
    return reduction


def _same_size(input: Any, target: Any, name: str, strict: bool = False) -> None:
    """Warn, as PyTorch does, where broadcasting is likely a mistake; raise where it can't be meant."""
    for x, role in ((input, "input"), (target, "target")):
        if x.__class__ not in TENSORS:
            raise TypeError(f"{name}(): argument '{role}' must be Tensor, not {type(x).__name__}")
    a, b = input._data.shape, target._data.shape
    if a == b:
        return
    if strict:
        raise ValueError(
            f"Using a target size (torch.Size({list(b)})) that is different to the input size (torch.Size({list(a)})) "
            "is deprecated. Please ensure they have the same size."
        )
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        k = min(len(a), len(b))
        d = next(i for i in range(1, k + 1) if a[-i] != b[-i] and 1 not in (a[-i], b[-i]))
        raise RuntimeError(
            f"The size of tensor a ({a[-d]}) must match the size of tensor b ({b[-d]}) at non-singleton dimension "
            f"{max(len(a), len(b)) - d} ({name}: input {list(a)}, target {list(b)})"
        ) from None
    import warnings

    warnings.warn(
        f"Using a target size (torch.Size({list(b)})) that is different to the input size (torch.Size({list(a)})). "
        "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        stacklevel=4,
    )


def _reference_mse(input: Any, target: Any, reduction: str) -> Any:
    off = input - target
    return _reduced(off * off, reduction)


@fused(reference=_reference_mse, inputs=2, grad_name="MseLossBackward0")
def _mse(xp, x, y, reduction):
    off = x - y
    if reduction == "none":
        return off * off, off
    if off.dtype.itemsize > 2:
        flat = off.reshape(-1)
        total = xp.dot(flat, flat)
    else:
        total = xp.sum(off * off)
    return total / off.size if reduction == "mean" else total, off


@_mse.defbackward
def _mse_backward(xp, g, ans, off, wanted, x, y, reduction):
    scale = g * (2 / off.size if reduction == "mean" and off.size else 2)
    gx = off * scale
    return gx if wanted[0] is not None else None, -gx if wanted[1] is not None else None


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared difference, averaged, added up or elementwise by ``reduction``.

    Args:
        input, target: floating-point tensors of one shape (*).
        reduction: ``"mean"`` and ``"sum"`` give a number, ``"none"`` the shape (*).
        weight: of the input's shape, or None; a weighted mean divides by the weights' sum.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.__class__ in TENSORS and target.__class__ in TENSORS and weight is None:
        x, y = input._data, target._data
        if x.shape == y.shape and x.dtype == y.dtype and reduction in _REDUCTIONS and x.dtype.kind != "c":
            return _mse(input, target, reduction)
    _same_size(input, target, "mse_loss")
    if weight is not None:
        values = _reference_mse(input, target, "none") * weight
        return values.sum() / weight.sum() if reduction == "mean" else _reduced(values, reduction)
    return _reference_mse(input, target, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Absolute difference, averaged, added up or elementwise by ``reduction``; both arguments of one shape."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _same_size(input, target, "l1_loss")
    return _reduced((input - target).abs(), reduction)


def _reference_bce(input: Any, target: Any, reduction: str) -> Any:
    least = math.exp(-100)  # limits before the logarithm, where the gradient stays finite at 0 and 1
    yes, no = log(clamp(input, min=least)), log(clamp(1 - input, min=least))
    return _reduced(-(target * yes + (1 - target) * no), reduction)


@fused(reference=_reference_bce, inputs=2, grad_name="BinaryCrossEntropyBackward0")
def _bce(xp, p, y, reduction):
    if p.size and (float(p.min()) < 0 or float(p.max()) > 1 or bool(xp.isnan(p).any())):
        raise RuntimeError(
            f"all elements of input should be between 0 and 1; they are between {float(p.min())} and {float(p.max())}"
        )
    yes, no = xp.maximum(xp.log(p), -100), xp.maximum(xp.log1p(-p), -100)
    values = -(y * yes + (1 - y) * no)
    if reduction == "none":
        return values, (yes, no)
    return (values.mean() if reduction == "mean" else values.sum()), (yes, no)


@_bce.defbackward
def _bce_backward(xp, g, ans, logs, wanted, p, y, reduction):
    if reduction == "mean":
        g = g / p.size
    gx = g * (p - y) / xp.maximum((1 - p) * p, p.dtype.type(1e-12)) if wanted[0] is not None else None
    return gx, g * (logs[1] - logs[0]) if wanted[1] is not None else None


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y log p + (1 - y) log(1 - p)), the logarithms not below -100.

    Args:
        input: probabilities p in [0, 1], of any shape; RuntimeError for a value outside.
        target: y, of the same shape; ValueError for another.
        weight: factors of the elements, or None.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _same_size(input, target, "binary_cross_entropy", strict=True)
    if weight is not None:
        return _reduced(_bce(input, target, "none") * weight, reduction)
    if reduction not in ("mean", "sum", "none"):
        _reduced(input, reduction)
    return _bce(input, target, reduction)


def _reference_bce_logits(input: Any, target: Any, reduction: str) -> Any:
    return _reduced(softplus(input, 1.0, 1e30) - input * target, reduction)


@fused(reference=_reference_bce_logits, inputs=2, grad_name="BinaryCrossEntropyWithLogitsBackward0")
def _bce_logits(xp, x, y, reduction):
    values = xp.maximum(x, 0) - x * y + xp.log1p(xp.exp(-xp.abs(x)))
    if reduction == "none":
        return values, None
    return (values.mean() if reduction == "mean" else values.sum()), None


@_bce_logits.defbackward
def _bce_logits_backward(xp, g, ans, kept, wanted, x, y, reduction):
    if reduction == "mean":
        g = g / x.size
    gx = None
    if wanted[0] is not None:
        gx = xp.tanh(x * 0.5) * 0.5
        gx += 0.5
        gx -= y
        gx *= g
    return gx, -x * g if wanted[1] is not None else None


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """:func:`binary_cross_entropy` of sigmoid(input), without overflow.

    Args:
        input: logits of any shape.  target: of the same shape, in [0, 1]; ValueError for another shape.
        weight: factors of the elements.  pos_weight: factors of the positive part, broadcast.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.__class__ in TENSORS and target.__class__ in TENSORS and input._data.shape != target._data.shape:
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    _same_size(input, target, "binary_cross_entropy_with_logits")
    if weight is None and pos_weight is None and input._data.dtype == target._data.dtype:
        if reduction not in ("mean", "sum", "none"):
            _reduced(input, reduction)
        return _bce_logits(input, target, reduction)
    if pos_weight is None:
        values = _reference_bce_logits(input, target, "none")
    else:
        values = (1 - target) * input - ((pos_weight - 1) * target + 1) * logsigmoid(input)
    return _reduced(values if weight is None else values * weight, reduction)


def _reference_cross_entropy(input: Any, target: Any, reduction: str) -> Any:
    picked = -gather(log_softmax(input, 1), 1, Tensor._wrap(target[:, None], None)).squeeze(1)
    return _reduced(picked, reduction)


@fused(reference=_reference_cross_entropy, inputs=1, grad_name="NllLossBackward0")
def _cross_entropy(xp, x, target, reduction):
    """Of logits (N, C) and class indices (N): softmax and the picked logarithm in one pass, kept for backward."""
    n = x.shape[0]
    rows = xp.arange(n)
    e = x - (np.maximum.reduce(x, None) if xp is np else x.max())
    picked = e[rows, target]
    xp.exp(e, out=e)
    total = e @ xp.ones(x.shape[1], x.dtype)
    if not float(xp.minimum.reduce(total) if xp is np else total.min()) > 1e-30:  # a row far below the largest
        e = x - x.max(axis=1, keepdims=True)
        picked = e[rows, target]
        xp.exp(e, out=e)
        total = e @ xp.ones(x.shape[1], x.dtype)
    values = xp.log(total) - picked
    e /= total[:, None]
    if reduction == "none":
        return values, e
    total = np.add.reduce(values) if xp is np else values.sum()
    return total / n if reduction == "mean" else total, e


@_cross_entropy.defbackward
def _cross_entropy_backward(xp, g, ans, softmax, wanted, x, target, reduction):
    n = x.shape[0]
    gx = softmax.copy()
    gx[xp.arange(n), target] -= 1
    gx *= g[:, None] if reduction == "none" else g / n if reduction == "mean" else g
    return (gx,)


def _counting(xp: Any, y: Any, classes: int, ignore_index: int, dtype: Any) -> tuple[Any, Any]:
    """How much each target counts, and the targets as classes that exist: 1, 0 if ignored, NaN for no class at all.

    On a device nothing is asked of the values, since that would wait for all work before; array libraries there let an
    index that is out of bounds wrap around, so a target that is none must not get lost.
    """
    counted = y != ignore_index
    wrong = counted & ((y < 0) | (y >= classes))
    return xp.where(wrong, math.nan, counted).astype(dtype), xp.where(wrong | ~counted, 0, y)


def _reference_there(input: Any, target: Any, reduction: str, ignore_index: int) -> Any:
    return nll_loss(
        log_softmax(input, 1), Tensor._wrap(target, None), ignore_index=ignore_index, reduction=reduction
    )


@fused(reference=_reference_there, inputs=1, grad_name="NllLossBackward0")
def _cross_entropy_there(xp, x, target, reduction, ignore_index):
    """:func:`_cross_entropy` on a device: shifted by row and counting by target, so that no value is looked at."""
    counts, safe = _counting(xp, target, x.shape[1], ignore_index, x.dtype)
    e = x - x.max(axis=1, keepdims=True)
    picked = e[xp.arange(x.shape[0]), safe]
    xp.exp(e, out=e)
    total = e.sum(axis=1)
    values = (xp.log(total) - picked) * counts
    e /= total[:, None]
    if reduction == "none":
        return values, (e, safe, counts)
    if reduction == "sum":
        return values.sum(), (e, safe, counts)
    n = counts.sum()
    return values.sum() / n, (e, safe, counts / n)


@_cross_entropy_there.defbackward
def _cross_entropy_there_backward(xp, g, ans, kept, wanted, x, target, reduction, ignore_index):
    softmax, safe, factors = kept
    gx = softmax.copy()
    gx[xp.arange(x.shape[0]), safe] -= 1
    gx *= (factors * g)[:, None]
    return (gx,)


@contextlib.contextmanager
def _together(name: str, *tensors: Any) -> Iterator[None]:
    """Inside, the device of the tensors is the current one; RuntimeError where they lie on several."""
    arrays = [raw(t) for t in tensors if t is not None]
    if len({backend.device_of(a) for a in arrays}) > 1:
        raise mixed(arrays, name)
    with backend.where_it_lies(arrays[0]):
        yield


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
        ignore_index: a target that counts nothing.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: in [0, 1]: how much of the target is spread over all classes.

    Raises:
        RuntimeError, ValueError: shapes or types that don't fit.  IndexError: a class outside 0 … C-1; on a device,
            where asking would wait for all work before, such a class makes the loss NaN instead.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    x, y = raw(input), raw(target)
    if target.__class__ not in TENSORS or input.__class__ not in TENSORS:
        bad = target if target.__class__ not in TENSORS else input
        raise TypeError(f"cross_entropy_loss(): arguments must be Tensors, got {type(bad).__name__}")
    if x.ndim == 0:
        raise RuntimeError("cross_entropy: input must have at least one dimension, the classes")
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if y.dtype.kind not in "iu":
        return _probabilities(input, target, weight, reduction, label_smoothing)
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
    simple = weight is None and label_smoothing == 0.0 and x.ndim == 2 and x.shape[0] and x.dtype.itemsize > 2
    if simple and reduction in ("mean", "sum", "none"):
        if x.__class__ is not np.ndarray:
            return _cross_entropy_there(input, y, reduction, ignore_index)
        if all_count or not (y == ignore_index).any():
            return _cross_entropy(input, y, reduction)
    logs = log_softmax(input, 1 if x.ndim > 1 else 0)
    loss = nll_loss(logs, target, weight, ignore_index=ignore_index, reduction=reduction)
    if label_smoothing == 0.0:
        return loss
    return loss * (1 - label_smoothing) + _smooth(logs, y, weight, ignore_index, reduction) * label_smoothing


def _check_classes(x: Any, y: Any, ignore_index: int) -> bool:
    """Raise if targets ``y`` do not fit logits ``x``; else whether it is certain that none of them is ignored."""
    c = x.shape[1] if x.ndim > 1 else x.shape[0]
    expected = (x.shape[0], *x.shape[2:]) if x.ndim > 1 else ()
    if y.shape != expected:
        if x.ndim == 2 and y.ndim == 1:
            raise ValueError(f"Expected input batch_size ({x.shape[0]}) to match target batch_size ({y.shape[0]}).")
        raise RuntimeError(f"Expected target size {list(expected)}, got {list(y.shape)}")
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


def _probabilities(input: Any, target: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    if raw(target).shape != raw(input).shape:
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, of the shape of input "
            f"{list(raw(input).shape)}; got {target.dtype} {list(raw(target).shape)}"
        )
    dim = 1 if raw(input).ndim > 1 else 0
    c = raw(input).shape[dim]
    if smoothing:
        target = target * (1 - smoothing) + smoothing / c
    logs = log_softmax(input, dim)
    if weight is not None:
        logs = logs * weight.reshape([c if k == dim else 1 for k in range(raw(input).ndim)])
    values = -(logs * target).sum(dim)
    n = raw(input).size // c
    return values.sum() / n if reduction == "mean" else _reduced(values, reduction)


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
        return _reduced(values, reduction)
    if weight is None:
        return values.sum() / Tensor._wrap(xp.asarray(counted.sum()).astype(raw(logs).dtype), None)
    safe = xp.where(counted, y, 0)
    return values.sum() / Tensor._wrap(xp.asarray((raw(weight)[safe] * counted).sum()), None)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input at the target class: the rest of :func:`cross_entropy` after log-softmax; the same shapes and options."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    x, y = raw(input), raw(target)
    if not x.__class__ is y.__class__ is np.ndarray:
        with _together("nll_loss", input, target, weight):
            return _negated(input, y, weight, ignore_index, reduction)
    return _negated(input, y, weight, ignore_index, reduction)


def _negated(input: Tensor, y: Any, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
    """:func:`nll_loss` of the raw targets ``y``."""
    x = raw(input)
    _check_classes(x, y, ignore_index)
    xp = backend.array_module(x)
    if xp is np:
        counted = np.asarray(y != ignore_index)
        safe = np.where(counted, y, 0)
    else:
        counted, safe = _counting(xp, y, x.shape[min(1, x.ndim - 1)], ignore_index, x.dtype)
    if x.ndim == 1:
        picked = _gathered(input, safe.reshape(1), 0).squeeze(0)
    else:
        picked = _gathered(input, xp.expand_dims(safe, 1), 1).squeeze(1)
    factor = counted.astype(x.dtype) if weight is None else raw(weight)[safe] * counted
    values = -picked * Tensor._wrap(xp.asarray(factor), None)
    if reduction == "mean":
        return values.sum() / Tensor._wrap(xp.asarray(factor.sum()), None)
    return _reduced(values, reduction)
