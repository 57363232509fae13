"""Binary cross-entropy of probabilities."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import binary_cross_entropy
from distgrad.nn.modules.loss import WeightedLoss


class BCELoss(WeightedLoss):
    """-(y log p + (1 - y) log(1 - p)), the logarithms not below -100; averaged by default.

    ``loss(input, target)``: probabilities p in [0, 1] (*), and y of the same shape.

    Args:
        weight: factors of the elements, broadcast to (*).

    >>> nn.BCELoss()(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    inputs, target_range = "probabilities", (0.0, 1.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"bce": BCELoss}
