"""Loss of a triplet's distances."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import triplet_margin_loss
from distgrad.nn.modules.loss import Loss


class TripletMarginLoss(Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm of the difference; averaged by default.

    ``loss(anchor, positive, negative)``: vectors (N, D) or (D).

    Args:
        margin: above 0; ValueError else.
        p: of the norm.
        eps: added to the differences.
        swap: take d(positive, negative) where that is smaller than d(anchor, negative).

    >>> a, p, n = torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2)
    >>> nn.TripletMarginLoss(margin=2.0)(a, p, n)
    tensor(0.5858)
    """

    targets = "others"

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        super().__init__(size_average, reduce, reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"triplet_margin": TripletMarginLoss}
