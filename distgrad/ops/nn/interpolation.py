"""Resizing: by the nearest element, linearly, by cubics, by areas."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ... import dtypes
from ..._arguments import checked
from ...autograd import Tensor
from .._declare import noun
from .axis_maps import AxisMap, mapped, of_entries
from .pooling import _adaptive_average
from .windows import in_turn

__all__ = ["interpolate"]

_LINEAR = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_MODES = "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact"


@functools.lru_cache(maxsize=256)
def _nearest(n: int, out: int, scale: float, exact: bool, kind: str) -> AxisMap:
    """Element floor(i scale), or floor((i + 1/2) scale) if ``exact``."""
    f = np.dtype(kind).type
    i = np.arange(out).astype(kind)
    at = (i + f(0.5)) * f(scale) if exact else i * f(scale)
    source = np.minimum(np.floor(at.astype(np.float32)).astype(int), n - 1)
    return of_entries((out, n), np.arange(out), source)


def _positions(out: int, scale: float, align_corners: bool, kind: str) -> np.ndarray:
    """Where the elements of the result lie among those of the input."""
    f = np.dtype(kind).type
    i = np.arange(out).astype(kind)
    return i * f(scale) if align_corners else (i + f(0.5)) * f(scale) - f(0.5)


@functools.lru_cache(maxsize=256)
def _linearly(n: int, out: int, scale: float, align_corners: bool, kind: str) -> AxisMap:
    """The two elements beside each position, weighted by nearness."""
    i = np.arange(out)
    if n == out:
        return of_entries((out, n), i, i)
    at = np.maximum(_positions(out, scale, align_corners, kind), 0)
    left = np.minimum(np.floor(at).astype(int), n - 1)
    share = np.clip(at - left, 0, 1)
    there = np.tile(i, 2)
    return of_entries((out, n), there, np.r_[left, np.minimum(left + 1, n - 1)], np.r_[1 - share, share])


def _cubic(t: np.ndarray, a: float) -> np.ndarray:
    """The convolution kernel of Keys 1981, IEEE ASSP 29 (6), at distances ``t``."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


@functools.lru_cache(maxsize=256)
def _cubically(n: int, out: int, scale: float, align_corners: bool, kind: str) -> AxisMap:
    """The four elements about each position; beyond the ends the first or last one."""
    at = _positions(out, scale, align_corners, kind)
    left = np.floor(at).astype(int)
    share = at - left
    there = np.tile(np.arange(out), 4)
    here = np.concatenate([np.clip(left + k, 0, n - 1) for k in (-1, 0, 1, 2)])
    return of_entries((out, n), there, here, np.concatenate([_cubic(share - k, -0.75) for k in (-1, 0, 1, 2)]))


@functools.lru_cache(maxsize=256)
def _antialiased(n: int, out: int, scale: float, cubic: bool) -> AxisMap:
    """A kernel as wide as an element of the result, as in Pillow."""
    reach = (2.0 if cubic else 1.0) * max(scale, 1.0)
    there, here, weights = [], [], []
    for i in range(out):
        center = scale * (i + 0.5)
        low = max(int(center - reach + 0.5), 0)
        high = min(int(center + reach + 0.5), n)
        t = (np.arange(low, high) - center + 0.5) / max(scale, 1.0)
        w = _cubic(t, -0.5) if cubic else np.maximum(1 - np.abs(t), 0.0)
        there.append(np.full(high - low, i))
        here.append(np.arange(low, high))
        weights.append(w / w.sum() if w.sum() else w)
    return of_entries((out, n), np.concatenate(there), np.concatenate(here), np.concatenate(weights))


def _sizes(x: Tensor, size: Any, factor: Any, recompute: Any) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The sizes of the result, and the given scale factors that count beside them."""
    n, spatial = x.ndim - 2, tuple(x.shape[2:])
    if size is not None and factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    for word, given in (("output size", size), ("scale_factor", factor)):
        if isinstance(given, (tuple, list)) and len(given) != n:
            of, letter = ("of", "o") if word == "output size" else ("of shape", "s")
            name = "output size" if word == "output size" else word
            raise ValueError(
                f"Input and {'output' if letter == 'o' else word} must have the same number of spatial dimensions, but "
                f"got input with spatial dimensions of {list(spatial)} and {word} {of} {given}. Please provide input "
                f"tensor in (N, C, d1, d2, ...,dK) format and {name} in ({letter}1, {letter}2, ...,{letter}K) format."
            )
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return tuple([int(s) for s in (size if isinstance(size, (tuple, list)) else (size,) * n)]), (None,) * n
    if factor is None:
        raise ValueError("either size or scale_factor should be defined")
    factors = tuple([float(f) for f in (factor if isinstance(factor, (tuple, list)) else (factor,) * n)])
    sizes = tuple([math.floor(m * f) for m, f in zip(spatial, factors, strict=True)])
    return sizes, (None,) * n if recompute else factors


@checked
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """``input`` (N, C, *) made larger or smaller in its last one to three dimensions.

    Args:
        size: of the result; one, or one for each dimension.
        scale_factor: of what the size is multiplied by, in place of ``size``.
        mode: ``"nearest"`` and ``"nearest-exact"`` (which counts from the middle of the elements); ``"linear"``,
            ``"bilinear"``, ``"trilinear"`` of 1, 2, 3 dimensions; ``"bicubic"`` of 2; ``"area"``: the mean of what is
            covered.
        align_corners: whether the middles of the outermost elements, not their outer edges, stay where they are.
        recompute_scale_factor: whether to compute with the ratio of the sizes, not with the given factor.
        antialias: whether to take the mean of all that a smaller result covers; of bilinear and bicubic.

    Raises:
        ValueError: arguments that do not fit together.
        NotImplementedError: a mode for another number of dimensions.
        RuntimeError: nothing to interpolate.

    >>> F.interpolate(torch.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    >>> F.interpolate(torch.tensor([[[1.0, 2.0]]]), size=3, mode="linear", align_corners=True)
    tensor([[[1.0000, 1.5000, 2.0000]]])
    """
    if align_corners is not None and mode not in _LINEAR:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    x, n = input, input.ndim - 2
    if n not in (1, 2, 3) or mode not in {*_LINEAR, "nearest", "nearest-exact", "area"}:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: {_MODES} "
            f"(got {mode})"
        )
    sizes, factors = _sizes(x, size, scale_factor, recompute_scale_factor)
    if antialias and not (mode in ("bilinear", "bicubic") and n == 2):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode in _LINEAR and _LINEAR[mode] != n:
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {_LINEAR[mode] + 2}D input")
    if mode == "area":
        return _adaptive_average(f"adaptive_avg_pool{n}d", n, x, sizes)
    _check(x, n, sizes, mode)
    given = list(zip(x.shape[2:], sizes, factors, strict=True))
    kind = x._data.dtype.name if x._data.dtype.char in "fd" else "float32"
    corners = bool(align_corners)
    label = _node_name(mode, n, antialias)
    if mode.startswith("nearest"):
        exact = mode == "nearest-exact"
        maps = [_nearest(m, o, _scale(m, o, f), exact, kind) for m, o, f in given]
        return mapped(x, in_turn(maps), None, None, label)
    if antialias:
        maps = [_antialiased(m, o, _scale(m, o, f, corners), mode == "bicubic") for m, o, f in given]
    else:
        curve = _cubically if mode == "bicubic" else _linearly
        maps = [curve(m, o, _scale(m, o, f, corners), corners, kind) for m, o, f in given]
    if x._data.dtype.kind == "u":
        exact = mapped(x.to(dtypes.float64), in_turn(maps), None, None, label)
        return exact.round().clamp(0, 255).to(x.dtype)
    return mapped(x, in_turn(maps), None, None, label)


def _scale(n: int, out: int, factor: float | None, align_corners: bool = False) -> float:
    """How many elements of the input one of the result takes."""
    if align_corners:
        return (n - 1) / (out - 1) if out > 1 else 0.0
    return 1.0 / factor if factor is not None and factor > 0 else n / out


def _node_name(mode: str, n: int, antialias: bool) -> str:
    name = {"nearest": "Nearest", "nearest-exact": "NearestExact"}.get(mode, mode.capitalize())
    return f"Upsample{name}{n}D{'Aa' if antialias else ''}Backward0"


def _check(x: Tensor, n: int, sizes: tuple[int, ...], mode: str) -> None:
    spatial = tuple(x.shape[2:])
    if 0 in spatial or min(sizes) < 1:
        letters = "DHW"[-n:]
        given, wanted = (", ".join(f"{a}: {b}" for a, b in zip(letters, s, strict=True)) for s in (spatial, sizes))
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({given}) output ({wanted})"
        )
    if x.shape[1] == 0:
        raise RuntimeError(f"Non-empty {n + 2}D data tensor expected but got a tensor with sizes {list(x.shape)}")
    kind = x._data.dtype
    if kind.kind in "bci" or (kind.kind == "u" and (kind.itemsize > 1 or mode not in _8_BIT)):
        raise NotImplementedError(f"\"upsample_{mode}{n}d\" not implemented for '{noun(x)}'")


_8_BIT = ("nearest", "nearest-exact", "bilinear", "bicubic")
