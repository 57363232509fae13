"""Negative log-likelihood of Poisson distributions."""

from __future__ import annotations

import math

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import poisson_nll_loss
from distgrad.nn.modules.loss import Loss


class PoissonNLLLoss(Loss):
    """exp(input) - target * input, or input - target * log(input + eps); averaged by default.

    ``loss(log_input, target)``: logarithms of expectations (*), or expectations; and counts.

    Args:
        log_input: whether the input is logarithms.
        full: add Stirling's approximation of log(target!) for targets above 1.
        eps: keeps the logarithm finite at 0.

    >>> nn.PoissonNLLLoss()(torch.tensor([0.0]), torch.tensor([2.0]))
    tensor(1.)
    """

    target_range = (0.0, math.inf)

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return poisson_nll_loss(log_input, target, self.log_input, self.full, reduction=self.reduction, eps=self.eps)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"poisson_nll": PoissonNLLLoss}
