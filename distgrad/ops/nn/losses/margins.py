"""Margins between the scores of classes, for one true class or several."""

from __future__ import annotations

from ...._arguments import checked
from ....autograd import Tensor
from ....dtypes import int64
from ..._declare import noun, raw
from ...creation import ones_like
from ...selection import where
from .common import known, legacy_reduction, reduced, tensors

__all__ = ["multi_margin_loss", "multilabel_margin_loss"]


def _check_long(target: Tensor) -> None:
    if target.dtype.tensor_type != "LongTensor":
        raise RuntimeError(f"expected scalar type Long but found {noun(target)}")


def _classes(x: Tensor) -> Tensor:
    """0 … C - 1 for the scores ``x`` (N, C), as one row where they lie: no array of the host's is copied there."""
    return ones_like(x[:1].detach(), dtype=int64).cumsum(1) - 1


@checked
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum of max(0, margin - x_y + x_i)ᵖ over the classes i other than y, divided by their number C.

    Args:
        input: scores x, (N, C) or (C).
        target: classes y, int64, (N), or of one score row () or (1).
        p: 1 or 2.
        weight: a factor for each class, (C), for that of the target.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, which gives the target's shape.

    Raises:
        ValueError: another ``p`` or reduction, a weight of another rank.
        RuntimeError: targets of another type, shape or range, weights of another number.

    >>> F.multi_margin_loss(torch.tensor([[0.0, 0.5]]), torch.tensor([0]))
    tensor(0.7500)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("multi_margin_loss", input=input, target=target)
    reduction = known(reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    _check_long(target)
    x = input if input.ndim == 2 else input.reshape(1, -1)
    n, c = x.shape
    if target.ndim > 1 or target.numel() != n:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch "
            f"size). Expected target size [{n}], but got {list(target.shape)}. Input has shape {list(input.shape)}."
        )
    if weight is not None and weight.numel() != c:
        raise RuntimeError(f"inconsistent weight size, expected {c} but got {list(weight.shape)}")
    y = target.reshape(n, 1)
    if n and (int(y.min()) < 0 or int(y.max()) >= c):
        raise RuntimeError("target out of range")
    short = (margin - x.gather(1, y) + x).clamp_min(0)
    short = short if p == 1 else short * short
    if weight is not None:
        short = short * weight[y]
    others = y != _classes(x)
    loss = where(others, short, 0.0).sum(1) / c
    return reduced(loss.reshape(target.shape) if input.ndim < 2 and target.ndim == 0 else loss, reduction)


@checked
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum of max(0, 1 - (x_j - x_i)) over the true classes j and the others i, divided by the number of classes C.

    Args:
        input: scores x, (N, C) or (C).
        target: of that shape, int64: the true classes, up to the first -1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, which gives (N) or ().

    Raises:
        ValueError: another reduction.  RuntimeError: targets of another type, shape or range.

    >>> F.multilabel_margin_loss(torch.tensor([0.0, 0.5, 0.25]), torch.tensor([1, -1, 0]))
    tensor(0.4167)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("multilabel_margin_loss", input=input, target=target)
    reduction = known(reduction)
    _check_long(target)
    if raw(target).shape != raw(input).shape or input.ndim > 2:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    c = input.shape[-1] if input.ndim else 1
    x, y = input.reshape(-1, c), target.reshape(-1, c)
    if y.numel() and (int(y.min()) < -1 or int(y.max()) >= c):
        raise RuntimeError("argument #2 'target' is out of range")
    there = (y >= 0).long().cumprod(1) == 1  # up to the first -1
    classes = where(there, y, 0)
    true = (there.unsqueeze(2) & (classes.unsqueeze(2) == _classes(x).unsqueeze(1))).any(1)
    short = (1 - (x.gather(1, classes).unsqueeze(2) - x.unsqueeze(1))).clamp_min(0)
    counts = there.unsqueeze(2) & ~true.unsqueeze(1)
    loss = where(counts, short, 0.0).sum((1, 2)) / c
    return reduced(loss if input.ndim == 2 else loss.reshape(()), reduction)
