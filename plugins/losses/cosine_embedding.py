"""Loss of the angle between pairs of vectors."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import cosine_embedding_loss
from distgrad.nn.modules.loss import Loss


class CosineEmbeddingLoss(Loss):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1; averaged by default.

    ``loss(input1, input2, target)``: vectors (N, D) or (D), and 1 or -1: (N) or ().

    Args:
        margin: the cosine that unlike pairs may have.

    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> nn.CosineEmbeddingLoss()(a, b, torch.tensor([1]))
    tensor(1.)
    """

    targets = "others"

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return cosine_embedding_loss(input1, input2, target, reduction=self.reduction, margin=self.margin)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"cosine_embedding": CosineEmbeddingLoss}
