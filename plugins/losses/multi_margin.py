"""Margin loss of classes."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import multi_margin_loss
from distgrad.nn.modules.loss import WeightedLoss


class MultiMarginLoss(WeightedLoss):
    """The sum of max(0, margin - x_y + x_i)ᵖ over the classes i other than the target y, divided by their number.

    ``loss(input, target)``: scores (N, C) or (C), and classes (N) or (); averaged by default.

    Args:
        p: 1 or 2.
        margin: by how much the true class should be ahead.
        weight: a factor for each class (C).

    Raises:
        ValueError: another ``p``, a weight that is no vector.

    >>> nn.MultiMarginLoss()(torch.tensor([[0.0, 0.5]]), torch.tensor([0]))
    tensor(0.7500)
    """

    targets = "classes"

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.ndim}D instead")
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"multi_margin": MultiMarginLoss}
