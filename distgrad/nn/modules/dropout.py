"""Layers that drop at random while training."""

from __future__ import annotations

from typing import Any

from ..._arguments import number
from ...autograd import Tensor
from .. import functional as F
from ..base.module import Module
from ._elsewhere import elsewhere


class Dropout(Module):
    """In training each element is zero with probability ``p`` and the others are divided by 1 - p; else the input.

    (Hinton et al. 2012, arXiv:1207.0580.)

    Args:
        p: in [0, 1]; ValueError otherwise.
        inplace: overwrite the input.

    >>> dropout = nn.Dropout(0.5)
    >>> sorted(set(dropout(torch.ones(100)).tolist()))
    [0.0, 2.0]
    >>> dropout.eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        number("Dropout", "p", p)
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """In training each channel of (N, C, L) or (C, L) is zero with probability ``p``, the others divided by 1 - p.

    (Tompson et al. 2015, arXiv:1411.4280.)

    Args:
        p: in [0, 1]; ValueError otherwise.
        inplace: overwrite the input.

    >>> nn.Dropout1d(0.5).eval()(torch.ones(1, 2, 2)).sum().item()
    4.0
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(Dropout):
    """In training each channel of (N, C, H, W) is zero with probability ``p`` and the others are divided by 1 - p.

    (Tompson et al. 2015, arXiv:1411.4280.)

    Args:
        p: in [0, 1]; ValueError otherwise.
        inplace: overwrite the input.

    >>> nn.Dropout2d(0.5).eval()(torch.ones(1, 2, 2, 2)).sum().item()
    8.0
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(Dropout):
    """In training each channel of (N, C, D, H, W) or (C, D, H, W) is zero with probability ``p``, the others divided by
    1 - p.

    (Tompson et al. 2015, arXiv:1411.4280.)

    Args:
        p: in [0, 1]; ValueError otherwise.
        inplace: overwrite the input.

    >>> nn.Dropout3d(0.5).eval()(torch.ones(1, 2, 2, 2, 2)).sum().item()
    16.0
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


_ELSEWHERE = ["AlphaDropout", "FeatureAlphaDropout"]


def __getattr__(name: str) -> Any:
    return elsewhere(__name__, name, _ELSEWHERE)
