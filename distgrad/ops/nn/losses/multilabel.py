"""The loss of several labels at once."""

from __future__ import annotations

from ...._arguments import checked
from ....autograd import Tensor
from ..activation import logsigmoid
from .common import legacy_reduction, reduced, tensors

__all__ = ["multilabel_soft_margin_loss"]


@checked
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y log σ(x) + (1 - y) log σ(-x)), the mean over the labels: one binary decision each.

    Args:
        input: x, (*, C).
        target: y, 0 or 1, of that shape.
        weight: of the labels, (C).
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, which gives (*).

    Raises:
        ValueError: another reduction.  RuntimeError: shapes that do not fit.

    >>> F.multilabel_soft_margin_loss(torch.zeros(2), torch.tensor([0.0, 1.0]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("multilabel_soft_margin_loss", input=input, target=target)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    return reduced(loss.sum(-1) / input.shape[-1] if input.ndim else loss, reduction)
