"""Pooling by powers, by windows drawn at random, and what undoes max pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor
from .._declare import raw
from ..indexing import gather
from ..rounding import abs as absolute, sign
from ..scattering import scatter
from ._spatial import each
from .activation import relu
from .pooling import avg_pool1d, avg_pool2d, avg_pool3d

__all__ = [
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_unpool1d", "max_unpool2d",
    "max_unpool3d",
]  # fmt: skip

Sizes = int | Sequence[int]


def _lp(n: int, pool: Any, x: Tensor, p: float, kernel: Any, stride: Any, ceil_mode: bool) -> Tensor:
    size = math.prod(each(f"lp_pool{n}d", "kernel_size", kernel, n))
    mean = pool(x**p, kernel, stride, 0, ceil_mode)
    return (sign(mean) * relu(absolute(mean)) * size) ** (1.0 / p)


@checked
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The ``norm_type``-th root of the sum of that power over windows of (N, C, L) or (C, L); windows as of
    :func:`avg_pool1d`.

    >>> F.lp_pool1d(torch.tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    return _lp(1, avg_pool1d, input, norm_type, kernel_size, stride, ceil_mode)


@checked
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The ``norm_type``-th root of the sum of that power over windows of (N, C, H, W) or (C, H, W); windows as of
    :func:`avg_pool2d`.

    >>> F.lp_pool2d(torch.ones(1, 2, 2), 2, 2)
    tensor([[[2.]]])
    """
    return _lp(2, avg_pool2d, input, norm_type, kernel_size, stride, ceil_mode)


@checked
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The ``norm_type``-th root of the sum of that power over windows of (N, C, D, H, W) or (C, D, H, W); windows as of
    :func:`avg_pool3d`.

    >>> F.lp_pool3d(torch.ones(1, 2, 2, 2), 1, 2)
    tensor([[[[8.]]]])
    """
    return _lp(3, avg_pool3d, input, norm_type, kernel_size, stride, ceil_mode)


# --- windows drawn at random (Graham 2014, arXiv:1412.6071) -----------------------------------------------------------


def _starts(samples: np.ndarray, size: int, out: int, kernel: int) -> np.ndarray:
    """Where the ``out`` windows begin, for each of ``samples`` (N, C) in [0, 1): evenly apart but for rounding."""
    if out == 1:
        return np.full((*samples.shape, 1), size - kernel, np.int64)
    step = (size - kernel) / (out - 1)
    i = np.arange(out - 1)
    found = np.floor((i + samples[..., None]) * step) - np.floor(samples[..., None] * step)
    last = np.full((*samples.shape, 1), size - kernel)
    return np.concatenate((found, last), -1).astype(np.int64)


def _drawn(n: int, x: Tensor) -> np.ndarray:
    from ...random import default_generator

    return default_generator.uniform((x.shape[0], x.shape[1], n), x.dtype)


def _fractional(
    n: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Any
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}")
    kernel = each(name, "kernel_size", kernel_size, n)
    x = input if input.ndim == n + 2 else input.unsqueeze(0)
    sizes = tuple(x.shape[2:])
    if output_size is None:
        ratio = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * n
        output_size = tuple([int(s * r) for s, r in zip(sizes, ratio, strict=True)])
    outs = each(name, "output_size", output_size, n)
    words = ("time", "height", "width")[3 - n :]
    for word, k, o, s in zip(words, kernel, outs, sizes, strict=True):
        if o + k - 1 > s:
            raise RuntimeError(f"{name}(): pool {word} {k} too large relative to input {word} {s}")
    drawn = _drawn(n, x) if samples is None else samples.detach().cpu().numpy()[: x.shape[0]]
    order = range(n) if n == 3 else range(n - 1, -1, -1)  # in two dimensions the first sample is that of the width
    lead = (x.shape[0], x.shape[1])
    place: Any = np.zeros((*lead, *[1] * (2 * n)), np.int64)
    for d, k, o, s, which in zip(range(n), kernel, outs, sizes, order, strict=True):
        at = _starts(drawn[..., which], s, o, k)[..., None] + np.arange(k)
        place = place * s + at.reshape(*lead, *[1] * d, o, *[1] * (n - 1), k, *[1] * (n - 1 - d))
    place = place.reshape(*lead, math.prod(outs), math.prod(kernel))
    device = backend.device_of(raw(x))
    indices = Tensor._wrap(place if device.type == "cpu" else backend.to_device(place, device), None)
    windows = gather(x.flatten(2), 2, indices.flatten(2)).view(*lead, math.prod(outs), math.prod(kernel))
    values, best = windows.max(-1)
    found = gather(indices, 3, best.unsqueeze(-1)).squeeze(-1)
    values, found = values.view(*lead, *outs), found.view(*lead, *outs)
    return (values, found) if input.ndim == n + 2 else (values.squeeze(0), found.squeeze(0))


@checked
def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size: Sizes, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """:func:`fractional_max_pool2d` with ``return_indices``: values and indices.

    >>> F.fractional_max_pool2d_with_indices(torch.arange(4.0).reshape(1, 2, 2), 2, 1)[1]
    tensor([[[3]]])
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


@checked
def fractional_max_pool2d(
    input: Tensor, kernel_size: Sizes, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The largest elements of windows of (N, C, H, W) or (C, H, W) that lie at random distances (Graham 2014,
    arXiv:1412.6071).

    Args:
        kernel_size: the windows' size, one number or (height, width).
        output_size, output_ratio: how many there are, or what share of the input's sizes; one of them.
        return_indices: also give where in its plane each element lies.
        _random_samples: (N, C, 2), in [0, 1): by what the windows are placed; drawn by default.

    Raises:
        ValueError: neither size nor ratio.  RuntimeError: windows that do not fit.

    >>> F.fractional_max_pool2d(torch.arange(4.0).reshape(1, 2, 2), 2, 1)
    tensor([[[3.]]])
    """
    values, indices = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return (values, indices) if return_indices else values


@checked
def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size: Sizes, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """:func:`fractional_max_pool3d` with ``return_indices``: values and indices.

    >>> F.fractional_max_pool3d_with_indices(torch.arange(8.0).reshape(1, 2, 2, 2), 2, 1)[1]
    tensor([[[[7]]]])
    """
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


@checked
def fractional_max_pool3d(
    input: Tensor, kernel_size: Sizes, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """:func:`fractional_max_pool2d` of (N, C, D, H, W) or (C, D, H, W), with samples (N, C, 3).

    >>> F.fractional_max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2, 1)
    tensor([[[[7.]]]])
    """
    values, indices = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return (values, indices) if return_indices else values


# --- the way back -----------------------------------------------------------------------------------------------------


def _unpooled(
    n: int, x: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    name = f"max_unpool{n}d"
    kernel = each(name, "kernel_size", kernel_size, n)
    steps = kernel if stride is None else each(name, "stride", stride, n)
    pads = each(name, "padding", padding, n)
    if indices.dtype.tensor_type != "LongTensor":
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype.tensor_type[:-6]}")
    if tuple(indices.shape) != tuple(x.shape):
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(x.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got a {x.ndim}d tensor")
    usual = [(m - 1) * s + k - 2 * p for m, s, k, p in zip(x.shape[-n:], steps, kernel, pads, strict=True)]
    sizes = usual if output_size is None else list(output_size)[-n:]
    for d, (size, least, s) in enumerate(zip(sizes, usual, steps, strict=True)):
        if not least - s < size < least + s:
            raise ValueError(
                f'invalid output_size "{tuple(sizes)}" (dim {d} must be between {least - s} and {least + s})'
            )
    lead, total = tuple(x.shape[:-n]), math.prod(sizes)
    index = raw(indices)
    if isinstance(index, np.ndarray) and index.size:
        wrong = index[(index < 0) | (index >= total)]
        if wrong.size:
            text = "x".join(map(str, sizes))
            raise RuntimeError(f"Found an invalid max index: {int(wrong[0])} (output volumes are of size {text})")
    flat = x.new_zeros((*lead, total))
    return scatter(flat, len(lead), indices.flatten(len(lead)), x.flatten(len(lead))).view(*lead, *sizes)


@checked
def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Any = None, padding: Sizes = 0, output_size: Any = None
) -> Tensor:
    """What :func:`max_pool1d` found, where it was, and zeros around: of (N, C, L) or (C, L).

    Args:
        indices: as max pooling gives them.
        kernel_size, stride, padding: those of max pooling.
        output_size: the size before it, where several have the same result.

    Raises:
        RuntimeError: indices of another type or shape, or beyond the result.  ValueError: no such size.

    >>> values, at = F.max_pool1d(torch.tensor([[1.0, 3.0, 7.0, 5.0]]), 2, return_indices=True)
    >>> F.max_unpool1d(values, at, 2)
    tensor([[0., 3., 7., 0.]])
    """
    return _unpooled(1, input, indices, kernel_size, stride, padding, output_size)


@checked
def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Any = None, padding: Sizes = 0, output_size: Any = None
) -> Tensor:
    """:func:`max_unpool1d` of (N, C, H, W) or (C, H, W).

    >>> F.max_unpool2d(torch.ones(1, 1, 1), torch.tensor([[[3]]]), 2)
    tensor([[[0., 0.],
             [0., 1.]]])
    """
    return _unpooled(2, input, indices, kernel_size, stride, padding, output_size)


@checked
def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Any = None, padding: Sizes = 0, output_size: Any = None
) -> Tensor:
    """:func:`max_unpool1d` of (N, C, D, H, W) or (C, D, H, W).

    >>> F.max_unpool3d(torch.ones(1, 1, 1, 1), torch.tensor([[[[7]]]]), 2).sum()
    tensor(1.)
    """
    return _unpooled(3, input, indices, kernel_size, stride, padding, output_size)
