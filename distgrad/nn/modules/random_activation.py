"""Activations and dropout that draw at random and keep mean and variance, as modules."""

from __future__ import annotations

from ...autograd import Tensor
from .. import functional as F
from ..base.module import Module
from .dropout import Dropout

__all__ = ["AlphaDropout", "FeatureAlphaDropout", "RReLU"]


class RReLU(Module):
    """The input where positive, else a factor times it: in training drawn for each element between ``lower`` and
    ``upper``, else their mean (Xu et al. 2015, arXiv:1505.00853).

    >>> nn.RReLU(0.5, 0.5)(torch.tensor([-2.0, 1.0]))
    tensor([-1.,  1.])
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU (Klambauer et al. 2017, arXiv:1706.02515).

    >>> nn.AlphaDropout(0.5).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(Dropout):
    """:class:`AlphaDropout` of whole channels of (N, C, *).

    >>> nn.FeatureAlphaDropout(0.5).eval()(torch.ones(1, 1, 1))
    tensor([[[1.]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
