"""Loss of a triplet's distances, of any kind."""

from __future__ import annotations

from collections.abc import Callable

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import triplet_margin_with_distance_loss
from distgrad.nn.modules.distance import PairwiseDistance
from distgrad.nn.modules.loss import Loss


class TripletMarginWithDistanceLoss(Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with a distance d of one's own.

    ``loss(anchor, positive, negative)``: what the distance takes.

    Args:
        distance_function: gives the distances of two tensors; by default ``nn.PairwiseDistance()``.
        margin: above 0; ValueError else.
        swap: take d(positive, negative) where that is smaller than d(anchor, negative).

    >>> a, p, n = torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2)
    >>> nn.TripletMarginWithDistanceLoss(margin=2.0)(a, p, n)
    tensor(0.5858)
    """

    targets = "others"

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"triplet_margin_with_distance": TripletMarginWithDistanceLoss}
