"""Hinge loss of distances."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import hinge_embedding_loss
from distgrad.nn.modules.loss import Loss


class HingeEmbeddingLoss(Loss):
    """The input where the target is 1, max(0, margin - input) where it is -1; averaged by default.

    ``loss(input, target)``: distances (*), and 1 or -1.

    >>> nn.HingeEmbeddingLoss()(torch.tensor([0.5, 0.5]), torch.tensor([1, -1]))
    tensor(0.5000)
    """

    targets = "others"

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return hinge_embedding_loss(input, target, reduction=self.reduction, margin=self.margin)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"hinge_embedding": HingeEmbeddingLoss}
