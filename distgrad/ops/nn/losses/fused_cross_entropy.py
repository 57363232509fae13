"""Cross-entropy of logits (N, C) and class indices (N), fused: on the CPU, and on a device, looking at no value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....autograd import fused
from ...indexing import gather
from ..softmax import log_softmax
from .class_counts import _counting, _shares
from .common import reduced
from .nll import nll_loss


def _reference_cross_entropy(input: Any, target: Any, reduction: str) -> Any:
    picked = -gather(log_softmax(input, 1), 1, target[:, None]).squeeze(1)
    return reduced(picked, reduction)


@fused(reference=_reference_cross_entropy, inputs=2, grad_name="NllLossBackward0", kept="x")
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
    xp.maximum(values, 0, out=values)  # less by rounding, where the shift is another row's largest
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
    return gx, None


def _reference_there(input: Any, target: Any, reduction: str, ignore_index: int) -> Any:
    return nll_loss(log_softmax(input, 1), target, ignore_index=ignore_index, reduction=reduction)


@fused(reference=_reference_there, inputs=2, grad_name="NllLossBackward0", kept="x")
def _cross_entropy_there(xp, x, target, reduction, ignore_index):
    """:func:`_cross_entropy` on a device: shifted by row and counting by target, so that no value is looked at."""
    counts, safe = _counting(xp, target, x.shape[1], ignore_index, x.dtype)
    e = x - x.max(axis=1, keepdims=True)
    picked = e[xp.arange(x.shape[0]), safe]
    xp.exp(e, out=e)
    total = e.sum(axis=1)
    values = xp.where(counts == 0, 0, xp.log(total) - picked) * counts
    e /= total[:, None]
    if reduction == "none":
        return values, (e, safe, counts)
    if reduction == "sum":
        return values.sum(), (e, safe, counts)
    shares = _shares(xp, counts, counts != 0).astype(e.dtype)
    nothing = xp.where(counts.sum() == 0, math.nan, 0).astype(e.dtype)
    return (values * shares).sum() + nothing, (e, safe, shares)


@_cross_entropy_there.defbackward
def _cross_entropy_there_backward(xp, g, ans, kept, wanted, x, target, reduction, ignore_index):
    softmax, safe, factors = kept
    gx = softmax.copy()
    gx[xp.arange(x.shape[0]), safe] -= 1
    gx *= (factors * g)[:, None]
    return gx, None
