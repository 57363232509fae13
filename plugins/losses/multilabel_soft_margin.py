"""Binary decisions, one for each label."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import multilabel_soft_margin_loss
from distgrad.nn.modules.loss import WeightedLoss


class MultiLabelSoftMarginLoss(WeightedLoss):
    """-(y log σ(x) + (1 - y) log σ(-x)), the mean over the labels: one binary decision each.

    ``loss(input, target)``: scores and 0 or 1, (N, C) or (C); averaged by default.

    Args:
        weight: a factor for each label (C).

    >>> nn.MultiLabelSoftMarginLoss()(torch.zeros(2), torch.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    targets = "one_hot"

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"multilabel_soft_margin": MultiLabelSoftMarginLoss}
