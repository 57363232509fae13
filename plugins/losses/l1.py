"""Mean absolute error."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import l1_loss
from distgrad.nn.modules.loss import Loss


class L1Loss(Loss):
    """|input - target|, averaged by default; both floating point, of one shape (*).

    >>> nn.L1Loss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
    tensor(1.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return l1_loss(input, target, reduction=self.reduction)


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"l1": L1Loss}
