"""Cross-entropy of logits."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import cross_entropy
from distgrad.nn.modules.loss import WeightedLoss


class CrossEntropyLoss(WeightedLoss):
    """-log softmax(input) at the target class; by default averaged, over the targets' weights where there are weights.

    ``loss(input, target)``: logits (N, C), (C) or (N, C, d1, …), and class indices (N), () or (N, d1, …), or
    probabilities in the shape of the input.

    Args:
        weight: a factor for each class (C).
        ignore_index: a target that counts nothing; negative where targets are probabilities.
        label_smoothing: in [0, 1]: how much of the target is spread over all classes.

    >>> nn.CrossEntropyLoss()(torch.zeros(3, 4), torch.tensor([0, 1, 3]))
    tensor(1.3863)
    """

    targets = "classes"

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"cross_entropy": CrossEntropyLoss}
