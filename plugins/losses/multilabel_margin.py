"""Margin loss of several labels."""

from __future__ import annotations

import numpy as np

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import multilabel_margin_loss
from distgrad.nn.modules.loss import Loss


def _samples(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Scores and two true classes for each of ``n`` samples, for the conformance kit."""
    order = np.argsort(rng.random((n, 4)), 1)
    return rng.standard_normal((n, 4)), np.where(np.arange(4) < 2, order, -1)


class MultiLabelMarginLoss(Loss):
    """The sum of max(0, 1 - (x_j - x_i)) over the true classes j and the others i, divided by the number of classes.

    ``loss(input, target)``: scores (N, C) or (C), and the true classes, up to the first -1, in the same shape.

    >>> nn.MultiLabelMarginLoss()(torch.tensor([0.0, 0.5, 0.25]), torch.tensor([1, -1, 0]))
    tensor(0.4167)
    """

    targets = "others"
    conformance = dict(inputs=_samples)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return multilabel_margin_loss(input, target, reduction=self.reduction)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"multilabel_margin": MultiLabelMarginLoss}
