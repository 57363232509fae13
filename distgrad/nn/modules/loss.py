"""What losses share.  The losses themselves are plugins, found by name: ``nn.MSELoss``, ``nn.get_loss("mse")``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ...autograd import Tensor
from ...ops.nn.losses import legacy_reduction
from ..base.module import Module
from ._elsewhere import elsewhere


class Loss(Module):
    """Base of a loss, called as ``loss(input, target)``.

    Args:
        size_average, reduce: PyTorch's old way to say ``reduction``; they override it, with a warning.
        reduction: ``"mean"`` and ``"sum"`` give a number, ``"none"`` the elements; anything else is a ValueError at the
            call, as in PyTorch.

    Attributes:
        inputs: what a model has to give the loss: ``"outputs"`` (any numbers), ``"probabilities"`` or
            ``"log_probabilities"``.
        targets: what it takes them against, in a task of classes: ``"one_hot"`` vectors (of the outputs' shape),
            ``"classes"`` (their numbers, int64), ``"signs"`` (1 and -1 in place of 1 and 0), or ``"others"``, which no
            class makes.
        target_range: the least and the greatest number that a target of the outputs' shape may be; of (0, 1), targets
            are probabilities, made from classes, while a wider range is one of measured values too.
        sample_mean: options with which the loss averages over samples, where its defaults do not.

    A training program goes by these, which a loss states in its class: it knows no loss by its name.  One that states
    nothing takes any outputs against any numbers of their shape.

    >>> class Count(nn.Loss):
    ...     def forward(self, input, target):
    ...         return (input != target).sum()
    ...
    >>> Count()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    tensor(1)
    """

    inputs: ClassVar[str] = "outputs"
    targets: ClassVar[str] = "one_hot"
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    sample_mean: ClassVar[dict[str, Any]] = {}
    reduction: str

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = legacy_reduction(size_average, reduce)
        self.reduction = reduction


class WeightedLoss(Loss):
    """A loss with factors, kept as the buffer ``weight``: they move and are saved with the model.

    >>> list(nn.WeightedLoss(torch.tensor([1.0, 2.0])).state_dict())
    ['weight']
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


_ELSEWHERE = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "GaussianNLLLoss",
    "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "LinearCrossEntropyLoss", "MSELoss", "MarginRankingLoss",
    "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss", "PoissonNLLLoss", "SmoothL1Loss",
    "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return elsewhere(__name__, name, _ELSEWHERE)
