"""Padding: with a number, by reflection, by the edge's elements, and round about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._numbers import fitting
from .axis_maps import Maps, mapped, of_runs

__all__ = ["pad"]

Ends = tuple[tuple[int, int], ...]


@primitive(grad_name="ConstantPadNdBackward0")
def _padded(xp, x, ends, value):
    """``x`` with so many elements ``value`` more, or, where negative, fewer, at both ends of the last dimensions."""
    first = x.ndim - len(ends)
    shape = [*x.shape[:first], *[n + a + b for n, (a, b) in zip(x.shape[first:], ends, strict=True)]]
    out = xp.full(shape, fitting(value, x.dtype), x.dtype) if value else xp.zeros(shape, x.dtype)
    there, here = [slice(None)] * first, [slice(None)] * first
    for n, (a, b) in zip(x.shape[first:], ends, strict=True):
        here.append(slice(max(-a, 0), n - max(-b, 0)))
        there.append(slice(max(a, 0), n + a + b - max(b, 0)))
    out[tuple(there)] = x[tuple(here)]
    return out


_padded.defvjp(lambda g, ans, x, ends, value: _padded(g, tuple([(-a, -b) for a, b in ends]), 0), saves="")

_SUPPORTED = """Padding size {} is not supported for {}D input tensor.
Supported combinations for non-constant padding:
  - 2D or 3D input: padding size = 2 (pads last dimension)
  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)
  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"""


@checked
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """``input`` with elements put before and behind: of the last dimension, then of the one before it, and so on.

    Args:
        pad: how many before and behind the last dimension, then before and behind the one before it, …; a negative
            number takes elements away.
        mode: ``"constant"``: ``value``; ``"reflect"``: the elements mirrored at the first and last one;
            ``"replicate"``: the first and last one; ``"circular"``: those of the other end.  All but the first pad one
            to three dimensions of an input with a channel, or with batch and channel, before them.
        value: 0 by default.

    Raises:
        RuntimeError: sizes that do not fit.
        NotImplementedError: another mode, or one that does not pad these dimensions.

    >>> F.pad(torch.tensor([1, 2, 3]), (1, 2))
    tensor([0, 1, 2, 3, 0, 0])
    >>> F.pad(torch.tensor([[1, 2, 3]]), (2, 1), mode="reflect")
    tensor([[3, 2, 1, 2, 3, 2]])
    """
    sizes = [int(p) for p in pad]
    if len(sizes) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(sizes) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(sizes)} and input of dimension {input.ndim}"
        )
    ends = tuple(reversed(list(zip(sizes[::2], sizes[1::2], strict=True))))
    if mode == "constant":
        return _constant(input, ends, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in _SOURCES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    n = len(ends)
    if n not in (1, 2, 3) or input.ndim not in (n + 1, n + 2):
        raise NotImplementedError(_SUPPORTED.format(len(sizes), input.ndim))
    shape = tuple(input.shape)
    if 0 in shape[input.ndim - n - 1 :]:
        raise RuntimeError(
            f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(shape)}"
        )
    maps = []
    for i, (a, b) in enumerate(reversed(ends)):
        m = shape[-1 - i]
        _check(mode, m, a, b, len(shape) - 1 - i, shape)
        at = np.arange(-a, m + b)
        if mode == "circular":  # round what a negative number leaves
            first, left = max(-a, 0), m - max(-a, 0) - max(-b, 0)
            at = (at - first) % left + first if left > 0 else at[:0]
        maps.append((-1 - i, of_runs(m, _SOURCES[mode](at, m))))
    label = {"reflect": f"ReflectionPad{n}DBackward0", "replicate": f"ReplicationPad{n}DBackward0"}
    return mapped(input, Maps(maps), None, None, label.get(mode, "CopySlices"))


def _reflected(at: np.ndarray, n: int) -> np.ndarray:
    at = np.abs(at)
    return np.where(at >= n, 2 * (n - 1) - at, at)


_SOURCES: dict[str, Any] = {
    "reflect": _reflected,
    "replicate": lambda at, n: np.clip(at, 0, n - 1),
    "circular": lambda at, n: at,
}


def _constant(x: Tensor, ends: Ends, value: Any) -> Tensor:
    first = x.ndim - len(ends)
    for d, (a, b) in enumerate(ends, first):
        n = x.shape[d]
        if n + a + b < 0 or n + min(a, 0) + min(b, 0) < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {a} and {b}, resulted in a negative output size, which is "
                f"invalid. Check dimension {d} of your input."
            )
    return _padded(x, ends, value)


def _check(mode: str, n: int, a: int, b: int, d: int, shape: tuple[int, ...]) -> None:
    if mode == "reflect" and (a >= n or b >= n):
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({a}, {b}) at dimension {d} of input {list(shape)}"
        )
    if mode == "circular" and (a > n or b > n):
        raise RuntimeError("Padding value causes wrapping around more than once.")
    if mode == "circular" and n + a + b < 0:
        raise RuntimeError("Negative padding value is resulting in an empty dimension")
    if n + a + b < 1 and mode != "circular":
        raise RuntimeError(f"input (W: {n}) is too small. Calculated output W: {n + a + b}")
