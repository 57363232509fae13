"""Pooling as modules; the mathematics is in ``distgrad.ops.nn.pooling`` and ``distgrad.ops.nn.max_pooling``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...autograd import Tensor
from ...ops.nn._spatial import each
from .. import functional as F
from ..base.module import Module
from ._elsewhere import elsewhere

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d",
]  # fmt: skip

Sizes = int | Sequence[int]


class _MaxPool(Module):
    """The largest element of each window; see :func:`distgrad.nn.functional.max_pool1d`, which has the same arguments,
    each one number or one for each dimension."""

    _n: int

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        pool = getattr(F, f"max_pool{self._n}d")
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class _AvgPool(Module):
    """The mean of each window; see :func:`distgrad.nn.functional.avg_pool2d`, which has the same arguments, each one
    number or one for each dimension."""

    _n: int

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        pool = getattr(F, f"avg_pool{self._n}d")
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _Adaptive(Module):
    """Windows that cover the input evenly.

    Args:
        output_size: how many; one number, or one for each dimension, None being the input's size.
    """

    _n: int

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(_Adaptive):
    def forward(self, input: Tensor) -> Tensor:
        return getattr(F, f"adaptive_avg_pool{self._n}d")(input, self.output_size)


class _AdaptiveMaxPool(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return getattr(F, f"adaptive_max_pool{self._n}d")(input, self.output_size, self.return_indices)


class MaxPool1d(_MaxPool):
    """The largest element of each window of (N, C, L) or (C, L); see :func:`distgrad.nn.functional.max_pool1d`.

    Args:
        kernel_size, stride, padding, dilation: of windows; one number, or one for each dimension.
        return_indices: whether to return also where the elements are.
        ceil_mode: whether the last window may hang over the end.

    >>> nn.MaxPool1d(2)(torch.ones(3, 4)).shape
    torch.Size([3, 2])
    """

    _n = 1


class MaxPool2d(_MaxPool):
    """The largest element of each window of (N, C, H, W) or (C, H, W); see :func:`distgrad.nn.functional.max_pool2d`.

    Args:
        kernel_size, stride, padding, dilation: of windows; one number, or one for each dimension.
        return_indices: whether to return also where the elements are.
        ceil_mode: whether the last window may hang over the end.

    >>> nn.MaxPool2d(2)(torch.ones(3, 4, 4)).shape
    torch.Size([3, 2, 2])
    """

    _n = 2


class MaxPool3d(_MaxPool):
    """The largest element of each window of (N, C, D, H, W) or (C, D, H, W).

    See :func:`distgrad.nn.functional.max_pool3d`.

    Args:
        kernel_size, stride, padding, dilation: of windows; one number, or one for each dimension.
        return_indices: whether to return also where the elements are.
        ceil_mode: whether the last window may hang over the end.

    >>> nn.MaxPool3d(2)(torch.ones(3, 4, 4, 4)).shape
    torch.Size([3, 2, 2, 2])
    """

    _n = 3


class AvgPool1d(_AvgPool):
    """The mean of each window of (N, C, L) or (C, L); see :func:`distgrad.nn.functional.avg_pool1d`.

    Args:
        kernel_size, stride, padding: of windows; one number, or one for each dimension.
        ceil_mode: whether the last window may hang over the end.
        count_include_pad: whether the mean counts the padding.

    >>> nn.AvgPool1d(2)(torch.ones(3, 4)).shape
    torch.Size([3, 2])
    """

    _n = 1

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        size = each("AvgPool1d", "kernel_size", kernel_size, 1)
        step = size if stride is None else each("AvgPool1d", "stride", stride, 1)
        super().__init__(size, step, each("AvgPool1d", "padding", padding, 1), ceil_mode, count_include_pad)

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """The mean of each window of (N, C, H, W) or (C, H, W); see :func:`distgrad.nn.functional.avg_pool2d`.

    Args:
        kernel_size, stride, padding: of windows; one number, or one for each dimension.
        ceil_mode: whether the last window may hang over the end.
        count_include_pad: whether the mean counts the padding.
        divisor_override: what to divide by in place of the number of elements.

    >>> nn.AvgPool2d(2)(torch.ones(3, 4, 4)).shape
    torch.Size([3, 2, 2])
    """

    _n = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); see :func:`distgrad.nn.functional.avg_pool3d`.

    Args:
        kernel_size, stride, padding: of windows; one number, or one for each dimension.
        ceil_mode: whether the last window may hang over the end.
        count_include_pad: whether the mean counts the padding.
        divisor_override: what to divide by in place of the number of elements.

    >>> nn.AvgPool3d(2)(torch.ones(3, 4, 4, 4)).shape
    torch.Size([3, 2, 2, 2])
    """

    _n = 3


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of ``output_size`` windows that cover (N, C, L) or (C, L) evenly.

    Args:
        output_size: how many; one number.

    >>> nn.AdaptiveAvgPool1d(1)(torch.ones(3, 4)).shape
    torch.Size([3, 1])
    """

    _n = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of ``output_size`` windows that cover (N, C, H, W) or (C, H, W) evenly.

    Args:
        output_size: how many; one number, or one for each dimension, None being the input's size.

    >>> nn.AdaptiveAvgPool2d(1)(torch.ones(3, 4, 4)).shape
    torch.Size([3, 1, 1])
    """

    _n = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of ``output_size`` windows that cover (N, C, D, H, W) or (C, D, H, W) evenly.

    Args:
        output_size: how many; one number, or one for each dimension, None being the input's size.

    >>> nn.AdaptiveAvgPool3d(1)(torch.ones(3, 4, 4, 4)).shape
    torch.Size([3, 1, 1, 1])
    """

    _n = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest element of each of ``output_size`` windows that cover (N, C, L) or (C, L) evenly.

    Args:
        output_size: how many; one number.
        return_indices: whether to return also where the elements are.

    >>> nn.AdaptiveMaxPool1d(1)(torch.ones(3, 4)).shape
    torch.Size([3, 1])
    """

    _n = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest element of each of ``output_size`` windows that cover (N, C, H, W) or (C, H, W) evenly.

    Args:
        output_size: how many; one number, or one for each dimension, None being the input's size.
        return_indices: whether to return also where the elements are.

    >>> nn.AdaptiveMaxPool2d(1)(torch.ones(3, 4, 4)).shape
    torch.Size([3, 1, 1])
    """

    _n = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest element of each of ``output_size`` windows that cover (N, C, D, H, W) or (C, D, H, W) evenly.

    Args:
        output_size: how many; one number, or one for each dimension, None being the input's size.
        return_indices: whether to return also where the elements are.

    >>> nn.AdaptiveMaxPool3d(1)(torch.ones(3, 4, 4, 4)).shape
    torch.Size([3, 1, 1, 1])
    """

    _n = 3


_ELSEWHERE = [
    "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxUnpool1d", "MaxUnpool2d",
    "MaxUnpool3d",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return elsewhere(__name__, name, _ELSEWHERE)
