"""Average and maximum over windows."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arguments import checked
from ...autograd import Tensor
from .._declare import noun
from ._spatial import each, tensor_of, whole
from .axis_maps import AxisMap, Maps, mapped, of_shares, of_windows, shares

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
]  # fmt: skip

Sizes = int | Sequence[int]


def pooled_size(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are; with ``ceil_mode`` also one that hangs over the end, if it starts within."""
    room = n + 2 * padding - dilation * (kernel - 1) - 1 + (stride - 1 if ceil_mode else 0)
    out = room // stride + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= n + padding else out


class Windows:
    """Kernel, stride, padding and dilation of a pooling function over n dimensions, checked."""

    def __init__(
        self, function: str, n: int, kernel: Any, stride: Any, padding: Any, dilation: Any = 1, ceil_mode: bool = False
    ) -> None:
        self.function, self.n, self.ceil_mode = function, n, bool(ceil_mode)
        self.kernel = each(function, "kernel_size", kernel, n)
        absent = stride is None or (isinstance(stride, (tuple, list)) and not stride)
        self.stride = self.kernel if absent else each(function, "stride", stride, n)
        self.padding = each(function, "padding", padding, n)
        self.dilation = each(function, "dilation", dilation, n)
        if 0 in self.stride:
            raise RuntimeError("stride should not be zero")
        for name in ("kernel", "stride", "dilation"):
            if min(getattr(self, name)) <= 0:
                word = {"kernel": "kernel size", "stride": "stride", "dilation": "dilation"}[name]
                raise RuntimeError(f"{word} should be greater than zero, but got {list(getattr(self, name))}")
        for k, p, d in zip(self.kernel, self.padding, self.dilation, strict=True):
            if p < 0:
                raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
            if p > ((k - 1) * d + 1) // 2:
                raise RuntimeError(
                    f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                    f"dilation={d}"
                )

    def out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The number of windows in each of the last dimensions of ``shape``."""
        given = zip(shape[-self.n :], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        out = tuple([pooled_size(*sizes, self.ceil_mode) for sizes in given])
        if min(out) < 1:
            if self.n == 1:
                raise RuntimeError(f"{self.function}() Invalid computed output size: {out[0]}")
            kept = shape[-self.n - 1]
            before, after = "x".join(map(str, (kept, *shape[-self.n :]))), "x".join(map(str, (kept, *out)))
            raise RuntimeError(
                f"Given input size: ({before}). Calculated output size: ({after}). Output size is too small"
            )
        return out

    def maps(self, shape: tuple[int, ...]) -> Maps:
        """The sums over windows, axis by axis."""
        out, n = self.out(shape), shape[-self.n :]
        given = zip(n, self.kernel, self.stride, self.padding, self.dilation, out, strict=True)
        return in_turn([of_windows(*sizes) for sizes in given])

    def counts(self, shape: tuple[int, ...], with_padding: bool) -> list[np.ndarray]:
        """How many elements each window has, axis by axis; with or without padding, without what hangs over the end."""
        found, sizes = [], shape[-self.n :]
        for n, k, s, p, o in zip(sizes, self.kernel, self.stride, self.padding, self.out(shape), strict=True):
            start = np.arange(o) * s - p
            end = np.minimum(start + k, n + p)
            found.append(end - start if with_padding else np.minimum(end, n) - np.maximum(start, 0))
        return found


def in_turn(maps: Sequence[AxisMap]) -> Maps:
    """Maps of the last axes, from the last to the first."""
    return Maps([(-1 - i, m) for i, m in enumerate(reversed(maps))])


def inverse_product(counts: list[np.ndarray]) -> Any:
    """One over the product of ``counts`` along each axis; a number if all are equal."""
    if all((c == c[0]).all() for c in counts if len(c)) and all(len(c) for c in counts):
        return 1.0 / math.prod(int(c[0]) for c in counts)
    return 1.0 / functools.reduce(np.multiply.outer, counts)


def _avg_pool(name: str, n: int, input: Any, windows: Windows, count_include_pad: bool, divisor: Any) -> Tensor:
    x = tensor_of(name, input, n + 1, n + 2)
    kind = x._data.dtype.kind
    if kind not in "fV" and not (x._data.dtype == np.int64 and n > 1):
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


def adaptive_sizes(name: str, n: int, x: Tensor, output_size: Any) -> tuple[int, ...]:
    """``output_size`` for each dimension, None being the input's; the input checked."""
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(x.shape)}")
    shape = tuple(x.shape)
    for d in range(-n - ("max" in name and x.ndim == n + 2), 0):
        if shape[d] == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                f"{list(shape)} with dimension {d + len(shape)} being empty"
            )
    given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * n
    if len(given) != n:
        raise RuntimeError(f"{name}: output_size must be {n}")
    sizes = tuple([m if o is None else whole(name, "output_size", o) for o, m in zip(given, shape[-n:], strict=True)])
    if min(sizes) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, sizes))}}}"
        )
    return sizes


def adaptive_average(name: str, n: int, x: Tensor, output_size: Any) -> Tensor:
    """The mean of windows that cover the last n dimensions evenly."""
    sizes = adaptive_sizes(name, n, x, output_size)
    if x._data.dtype.kind not in "fV":
        raise NotImplementedError(f"\"{name}\" not implemented for '{noun(x)}'")
    given = list(zip(x.shape[-n:], sizes, strict=True))
    share = inverse_product([shares(m, o)[1] for m, o in given])
    label = "SqueezeBackward1" if n == 1 else "MeanBackward1" if set(sizes) == {1} else f"AdaptiveAvgPool{n}DBackward0"
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
    return adaptive_average("adaptive_avg_pool1d", 1, input, output_size)


@checked
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that cover (N, C, H, W) or (C, H, W) evenly; ``output_size``: one size, or two, None being
    the input's.

    >>> F.adaptive_avg_pool2d(torch.arange(4.0).reshape(1, 2, 2), (1, None))
    tensor([[[1., 2.]]])
    """
    return adaptive_average("adaptive_avg_pool2d", 2, input, output_size)


@checked
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that cover (N, C, D, H, W) or (C, D, H, W) evenly; see :func:`adaptive_avg_pool2d`.

    >>> F.adaptive_avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 1)
    tensor([[[[3.5000]]]])
    """
    return adaptive_average("adaptive_avg_pool3d", 3, input, output_size)
