"""Kullback-Leibler divergence."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import kl_div
from distgrad.nn.modules.loss import Loss


class KLDivLoss(Loss):
    """target (log target - input); by default averaged over elements; ``"batchmean"`` is the definition.

    ``loss(input, target)``: log-probabilities (*), and probabilities.

    Args:
        log_target: whether the target is log-probabilities too.

    >>> p = torch.tensor([[0.5, 0.5]])
    >>> nn.KLDivLoss(reduction="batchmean")(torch.log(p), p)
    tensor(0.)
    """

    inputs, target_range = "log_probabilities", (0.0, 1.0)
    sample_mean = {"reduction": "batchmean"}

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"kl_div": KLDivLoss}
