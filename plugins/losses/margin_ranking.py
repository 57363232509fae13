"""Loss of the order of pairs."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import margin_ranking_loss
from distgrad.nn.modules.loss import Loss


class MarginRankingLoss(Loss):
    """max(0, -target (input1 - input2) + margin), averaged by default.

    ``loss(input1, input2, target)``: of one rank; the target is 1 where the first should be larger, else -1.

    >>> nn.MarginRankingLoss()(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([1]))
    tensor(2.)
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
        return margin_ranking_loss(input1, input2, target, reduction=self.reduction, margin=self.margin)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"margin_ranking": MarginRankingLoss}
