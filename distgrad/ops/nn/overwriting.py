"""Activations that overwrite their input, and functions under names that are deprecated."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..._arguments import checked
from ...autograd import Tensor
from .activation import celu, elu, leaky_relu, selu
from .interpolation import interpolate
from .piecewise import hardtanh, threshold
from .random_activation import rrelu

__all__ = [
    "celu_", "elu_", "hardtanh_", "leaky_relu_", "relu_", "rrelu_", "selu_", "threshold_", "upsample",
    "upsample_bilinear", "upsample_nearest",
]  # fmt: skip


@checked
def relu_(input: Tensor) -> Tensor:
    """:func:`relu`, written to ``input``.

    >>> F.relu_(torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """
    return input.relu_()


@checked
def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """:func:`elu`, written to ``input``.

    >>> F.elu_(torch.tensor([-1.0, 1.0]))
    tensor([-0.6321,  1.0000])
    """
    return elu(input, alpha, True)


@checked
def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """:func:`celu`, written to ``input``.

    >>> F.celu_(torch.tensor([-1.0, 1.0]))
    tensor([-0.6321,  1.0000])
    """
    return celu(input, alpha, True)


@checked
def selu_(input: Tensor) -> Tensor:
    """:func:`selu`, written to ``input``.

    >>> F.selu_(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.0507])
    """
    return selu(input, True)


@checked
def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """:func:`hardtanh`, written to ``input``.

    >>> F.hardtanh_(torch.tensor([-2.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """
    return hardtanh(input, min_val, max_val, True)


@checked
def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """:func:`leaky_relu`, written to ``input``.

    >>> F.leaky_relu_(torch.tensor([-1.0, 1.0]), 0.5)
    tensor([-0.5000,  1.0000])
    """
    return leaky_relu(input, negative_slope, True)


@checked
def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """:func:`rrelu`, written to ``input``.

    >>> F.rrelu_(torch.tensor([-1.0, 1.0]), 0.5, 0.5)
    tensor([-0.5000,  1.0000])
    """
    return rrelu(input, lower, upper, training, True)


@checked
def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """:func:`threshold`, written to ``input``.

    >>> F.threshold_(torch.tensor([1.0, 3.0]), 2.0, 5.0)
    tensor([5., 3.])
    """
    return _threshold(input, threshold, value, True)


_threshold = threshold  # the argument has its name


def _deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", UserWarning, stacklevel=3
    )


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """:func:`interpolate`, under a name that is deprecated.

    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> F.upsample(torch.ones(1, 1, 2), 4).shape
    torch.Size([1, 1, 4])
    """
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: int | Sequence[int] | None = None
) -> Tensor:
    """:func:`interpolate` by the nearest element, under a name that is deprecated.

    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> F.upsample_nearest(torch.ones(1, 1, 2), 4).shape
    torch.Size([1, 1, 4])
    """
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: int | Sequence[int] | None = None
) -> Tensor:
    """:func:`interpolate` in straight lines with corners that stay, under a name that is deprecated.

    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> F.upsample_bilinear(torch.ones(1, 1, 2, 2), 4).shape
    torch.Size([1, 1, 4, 4])
    """
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)
