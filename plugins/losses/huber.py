"""Squared error, absolute far out."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import huber_loss
from distgrad.nn.modules.loss import Loss


class HuberLoss(Loss):
    """d² / 2 where the difference d is at most delta, else delta (|d| - delta / 2); averaged by default.

    ``loss(input, target)``: floating point, of one shape (*).

    Args:
        delta: where the square ends, above 0; TypeError if it is no number.

    >>> nn.HuberLoss(reduction="none")(torch.tensor([0.5, 3.0]), torch.zeros(2))
    tensor([0.1250, 2.5000])
    """

    def __init__(
        self,
        reduction: str = "mean",
        delta: float = 1.0,
    ) -> None:
        if not isinstance(delta, (float, int)):
            raise TypeError(f"delta must be a float or int, got: {type(delta)}")
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return huber_loss(input, target, reduction=self.reduction, delta=self.delta)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"huber": HuberLoss}
