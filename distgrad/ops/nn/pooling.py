"""Average and maximum over windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arguments import checked
from ...autograd import Tensor
from .._declare import noun
from ._spatial import tensor_of
from .axis_maps import mapped, of_shares, shares
from .windows import Windows, adaptive_sizes, in_turn, inverse_product

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
]  # fmt: skip

Sizes = int | Sequence[int]


def _avg_pool(name: str, n: int, input: Any, windows: Windows, count_include_pad: bool, divisor: Any) -> Tensor:
    x = tensor_of(name, input, n + 1, n + 2)
    kind = x._data.dtype.kind
    if kind not in "fV" and x._data.dtype != np.int64:
        raise NotImplementedError(f"\"{name}\" not implemented for '{noun(x)}'")
    shape = tuple(x.shape)
    maps = windows.maps(shape)
    if divisor is not None:
        if divisor == 0:
            raise RuntimeError("divisor must be not zero")
        share: Any = 1.0 / divisor
    else:
        share = inverse_product(windows.counts(shape, bool(count_include_pad)))
    if kind == "i":
        total = mapped(x, maps, None, None, "")
        return total.div(Tensor._wrap(np.rint(1 / np.asarray(share)).astype(np.int64), None), rounding_mode="trunc")
    label = f"AvgPool{n}DBackward0" if n > 1 else "SqueezeBackward1"
    return mapped(x, maps, None, share, label)


@checked
def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window: of (N, C, L) or (C, L).

    Args:
        kernel_size: the size of a window.
        stride: from one window to the next; by default the size.
        padding: how many zeros to imagine at either end; at most half a window.
        ceil_mode: whether the last window may hang over the end.
        count_include_pad: whether the mean counts the padding.

    Raises:
        RuntimeError: sizes that do not fit.

    >>> F.avg_pool1d(torch.tensor([[1.0, 3.0, 5.0, 7.0]]), 2)
    tensor([[2., 6.]])
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {input.ndim}-dimensional tensor for argument #1 'self' (while "
            "checking arguments for avg_pool1d)"
        )
    windows = Windows("avg_pool1d", 1, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool("avg_pool1d", 1, input, windows, count_include_pad, None)


@checked
def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window: of (N, C, H, W) or (C, H, W); see :func:`avg_pool1d`.

    ``divisor_override`` is divided by in place of the number of elements.

    >>> F.avg_pool2d(torch.arange(4.0).reshape(1, 2, 2), 2)
    tensor([[[1.5000]]])
    """
    windows = Windows("avg_pool2d", 2, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool("avg_pool2d", 2, input, windows, count_include_pad, divisor_override)


@checked
def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window: of (N, C, D, H, W) or (C, D, H, W); see :func:`avg_pool2d`.

    >>> F.avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
    tensor([[[[3.5000]]]])
    """
    windows = Windows("avg_pool3d", 3, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool("avg_pool3d", 3, input, windows, count_include_pad, divisor_override)


def _adaptive_average(name: str, n: int, x: Tensor, output_size: Any) -> Tensor:
    """The mean of windows that cover the last n dimensions evenly."""
    sizes = adaptive_sizes(name, n, x, output_size)
    if x._data.dtype.kind not in "fV":
        raise NotImplementedError(f"\"{name}\" not implemented for '{noun(x)}'")
    if set(sizes) == {1} and 0 not in x.shape:
        return x.mean(tuple(range(-n, 0)), keepdim=True)
    given = list(zip(x.shape[-n:], sizes, strict=True))
    share = inverse_product([shares(m, o)[1] for m, o in given])
    label = "SqueezeBackward1" if n == 1 else f"AdaptiveAvgPool{n}DBackward0"
    return mapped(x, in_turn([of_shares(m, o) for m, o in given]), None, share, label)


@checked
def adaptive_avg_pool1d(input: Tensor, output_size: Sizes) -> Tensor:
    """The means of ``output_size`` windows that cover (N, C, L) or (C, L) evenly: floor(i L / out) to
    ceil((i + 1) L / out).

    Raises:
        RuntimeError: sizes that do not fit.

    >>> F.adaptive_avg_pool1d(torch.tensor([[1.0, 2.0, 3.0]]), 2)
    tensor([[1.5000, 2.5000]])
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {input.ndim}-dimensional tensor for argument #1 'self' (while "
            "checking arguments for adaptive_avg_pool1d)"
        )
    return _adaptive_average("adaptive_avg_pool1d", 1, input, output_size)


@checked
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that cover (N, C, H, W) or (C, H, W) evenly; ``output_size``: one size, or two, None being
    the input's.

    >>> F.adaptive_avg_pool2d(torch.arange(4.0).reshape(1, 2, 2), (1, None))
    tensor([[[1., 2.]]])
    """
    return _adaptive_average("adaptive_avg_pool2d", 2, input, output_size)


@checked
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that cover (N, C, D, H, W) or (C, D, H, W) evenly; see :func:`adaptive_avg_pool2d`.

    >>> F.adaptive_avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 1)
    tensor([[[[3.5000]]]])
    """
    return _adaptive_average("adaptive_avg_pool3d", 3, input, output_size)
