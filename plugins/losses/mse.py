"""Mean squared error."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import mse_loss
from distgrad.nn.modules.loss import Loss


class MSELoss(Loss):
    """(input - target)², averaged by default; both floating point, of one shape (*).

    >>> nn.MSELoss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, reduction=self.reduction)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"mse": MSELoss}
