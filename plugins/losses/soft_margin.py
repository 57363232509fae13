"""Logistic loss of targets 1 and -1."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import soft_margin_loss
from distgrad.nn.modules.loss import Loss


class SoftMarginLoss(Loss):
    """log(1 + exp(-target * input)), averaged by default; both of one shape (*).

    >>> nn.SoftMarginLoss()(torch.tensor([0.0]), torch.tensor([1]))
    tensor(0.6931)
    """

    targets = "signs"

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return soft_margin_loss(input, target, reduction=self.reduction)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"soft_margin": SoftMarginLoss}
