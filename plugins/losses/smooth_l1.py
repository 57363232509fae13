"""Absolute error, squared near 0."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import smooth_l1_loss
from distgrad.nn.modules.loss import Loss


class SmoothL1Loss(Loss):
    """d² / (2 beta) where the difference d is smaller than beta, else |d| - beta / 2; averaged by default.

    ``loss(input, target)``: floating point, of one shape (*).

    Args:
        beta: where the square ends, at least 0.

    >>> nn.SmoothL1Loss(reduction="none")(torch.tensor([0.5, 3.0]), torch.zeros(2))
    tensor([0.1250, 2.5000])
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"smooth_l1": SmoothL1Loss}
