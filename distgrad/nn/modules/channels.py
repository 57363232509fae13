"""What works across channels: normalization by neighbours, shuffling, softmax."""

from __future__ import annotations

from ...autograd import Tensor
from .. import functional as F
from ..base.module import Module

__all__ = ["ChannelShuffle", "CrossMapLRN2d", "LocalResponseNorm", "Softmax2d"]


class LocalResponseNorm(Module):
    """The input divided by (k + alpha · m)^beta, m the mean square of ``size`` neighbouring channels (Krizhevsky et al.
    2012); see :func:`distgrad.nn.functional.local_response_norm`.

    >>> nn.LocalResponseNorm(1, alpha=3.0, beta=0.5)(torch.ones(1, 1, 1))
    tensor([[[0.5000]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """:class:`LocalResponseNorm` of (N, C, H, W) as Lua's Torch had it: of an even ``size`` the channels summed up are
    one fewer, as many on both sides.  PyTorch's never forgets the first channel, which is not done here.

    >>> nn.CrossMapLRN2d(1, alpha=3.0, beta=0.5)(torch.ones(1, 1, 1, 1))
    tensor([[[[0.5000]]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.ndim}D instead.")
        n = 2 * ((self.size - 1) // 2) + 1
        return F.local_response_norm(input, n, self.alpha * n / self.size, self.beta, self.k)


class ChannelShuffle(Module):
    """The channels of (N, C, *), taken in turn from ``groups`` of them.

    >>> nn.ChannelShuffle(2)(torch.arange(4).reshape(1, 4, 1)).flatten()
    tensor([0, 2, 1, 3])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W); ValueError for other ranks.

    >>> nn.Softmax2d()(torch.zeros(2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
