"""Negative log-likelihood."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import nll_loss
from distgrad.nn.modules.loss import WeightedLoss


class NLLLoss(WeightedLoss):
    """-input at the target class; by default averaged, over the targets' weights where there are weights.

    ``loss(input, target)``: log-probabilities (N, C), (C) or (N, C, d1, …), and class indices (N), () or (N, d1, …).

    Args:
        weight: a factor for each class (C).
        ignore_index: a target that counts nothing.

    >>> nn.NLLLoss()(torch.log(torch.tensor([[0.25, 0.75]])), torch.tensor([1]))
    tensor(0.2877)
    """

    inputs, targets = "log_probabilities", "classes"

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"nll": NLLLoss}
