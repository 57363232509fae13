"""Negative log-likelihood of normal distributions."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import gaussian_nll_loss
from distgrad.nn.modules.loss import Loss


class GaussianNLLLoss(Loss):
    """(log var + (input - target)² / var) / 2, averaged by default.

    ``loss(input, target, var)``: expectations (*), samples, and variances: of the same shape, or a float.

    Args:
        full: add the constant log(2 pi) / 2.
        eps: the variances count as at least this.

    >>> nn.GaussianNLLLoss()(torch.tensor([0.0]), torch.tensor([2.0]), torch.tensor([1.0]))
    tensor(2.)
    """

    targets = "others"

    def __init__(
        self,
        *,
        full: bool = False,
        eps: float = 1e-6,
        reduction: str = "mean",
    ) -> None:
        super().__init__(None, None, reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return gaussian_nll_loss(input, target, var, reduction=self.reduction, full=self.full, eps=self.eps)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"gaussian_nll": GaussianNLLLoss}
