"""Binary cross-entropy of logits."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import binary_cross_entropy_with_logits
from distgrad.nn.modules.loss import WeightedLoss


class BCEWithLogitsLoss(WeightedLoss):
    """Binary cross-entropy of sigmoid(input), without overflow; averaged by default.

    ``loss(input, target)``: logits (*), and targets in [0, 1] of the same shape.

    Args:
        weight: factors of the elements, broadcast to (*).
        pos_weight: factors of the positive part, broadcast to (*).

    >>> nn.BCEWithLogitsLoss()(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    target_range = (0.0, 1.0)
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"bce_with_logits": BCEWithLogitsLoss}
