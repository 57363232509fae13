"""The windows of pooling: how many there are, which elements are theirs, and how many these are."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...autograd import Tensor
from ._spatial import each, whole
from .axis_maps import AxisMap, Maps, of_windows

__all__: list[str] = []


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

    def places(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Kernel, stride, zeros before and behind, and dilation: behind as many as the last window reaches over."""
        behind = []
        given = zip(
            self.out(shape), shape[-self.n :], self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        for o, m, k, s, p, d in given:
            reach = (o - 1) * s + d * (k - 1) + 1
            behind.append(p if m + 2 * p >= reach else reach - m - p)
        return self.kernel, self.stride, self.padding, tuple(behind), self.dilation

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


def adaptive_sizes(name: str, n: int, x: Tensor, output_size: Any) -> tuple[int, ...]:
    """``output_size`` for each dimension, None being the input's; the input checked."""
    given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * n
    if x.ndim < len(given) + 1 and n > 1:
        raise ValueError(f"Input dimension should be at least {len(given) + 1}")
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(x.shape)}")
    shape = tuple(x.shape)
    for d in range(-n - ("max" in name and x.ndim == n + 2), 0):
        if shape[d] == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                f"{list(shape)} with dimension {d + len(shape)} being empty"
            )
    if len(given) != n:
        raise RuntimeError(f"{name}: output_size must be {n}")
    sizes = tuple([m if o is None else whole(name, "output_size", o) for o, m in zip(given, shape[-n:], strict=True)])
    if min(sizes) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, sizes))}}}"
        )
    return sizes
