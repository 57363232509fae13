"""Normalization over neighbouring channels, and channels taken in turn from groups."""

from __future__ import annotations

from ..._arguments import checked
from ...autograd import Tensor
from .padding import pad
from .pooling import avg_pool2d

__all__ = ["channel_shuffle", "local_response_norm"]


@checked
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """``input`` divided by (k + alpha · m)^beta, m the mean square of ``size`` neighbouring channels, those beyond the
    last being 0 (Krizhevsky et al. 2012).

    ValueError: fewer than 3 dimensions.

    >>> F.local_response_norm(torch.ones(1, 1, 1), 1, alpha=3.0, beta=0.5)
    tensor([[[0.5000]]])
    """
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if input.numel() == 0:
        return input
    n, c = input.shape[:2]
    squares = (input * input).reshape(n, 1, c, -1)
    mean = avg_pool2d(pad(squares, (0, 0, size // 2, (size - 1) // 2)), (size, 1), 1).reshape(input.shape)
    return input / (mean * alpha + k) ** beta


@checked
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, *), taken in turn from ``groups`` of them.

    RuntimeError: fewer than 3 dimensions, groups that do not divide the channels.

    >>> F.channel_shuffle(torch.arange(4).reshape(1, 4, 1), 2).flatten()
    tensor([0, 2, 1, 3])
    """
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    n, c = input.shape[:2]
    if c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    rest = input.shape[2:]
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(n, c, *rest)
