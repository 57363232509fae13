"""Sampling an input at places between its elements, and the places of an affine map (Jaderberg et al. 2015,
arXiv:1506.02025)."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arguments import checked
from ...autograd import Tensor
from ...dtypes import float32, int64
from .._declare import unknown
from ..creation import tensor
from ..linalg.products import matmul
from ..selection import where
from ._spatial import plain_name

__all__ = ["affine_grid", "grid_sample"]

_DEFAULT = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
    "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details."
)
_RANKS = "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
_CUBIC = -0.75  # Keys' parameter, as for resizing


@checked
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The input at the places that ``grid`` names, interpolated.

    Args:
        input: (N, C, H, W), or (N, C, D, H, W).
        grid: (N, H', W', 2), or (N, D', H', W', 3): the places as x, y (and z), -1 and 1 being the input's ends.
        mode: ``"bilinear"`` (of a volume trilinear), ``"nearest"``, whose places have no gradient, or ``"bicubic"``, of
            images alone.
        padding_mode: what stands outside: ``"zeros"``, ``"border"``, the nearest element, or ``"reflection"``.
        align_corners: whether the ends are the middles of the outer elements, instead of their edges; None: they are
            not, and a warning says so.

    Returns:
        (N, C, H', W'), or (N, C, D', H', W').

    Raises:
        ValueError: another mode.  RuntimeError: shapes or dtypes that do not fit.  NotImplementedError: integers.

    >>> x = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> F.grid_sample(x, torch.tensor([[[[0.0, 0.0], [1.0, -1.0]]]]), align_corners=True)
    tensor([[[[1.5000, 1.0000]]]])
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(_DEFAULT, stacklevel=3)
    _check(input, grid, mode)
    aligned, sizes = bool(align_corners), input.shape[2:]
    kind = input.dtype
    values = (input.float() if kind.itemsize == 2 else input).flatten(2)
    grid = grid.float() if kind.itemsize == 2 else grid
    rows = grid.flatten(1, -2)  # (N, places, dimensions), the last dimension of the input first
    places = [_unnormalized(rows[..., i], n, aligned) for i, n in enumerate(reversed(sizes))]
    places.reverse()
    settle = functools.partial(_settled, padding_mode=padding_mode, aligned=aligned)
    if mode == "bicubic":
        taps = [_cubic_taps(p, n, settle) for p, n in zip(places, sizes, strict=True)]
    else:
        places = [settle(p, n) for p, n in zip(places, sizes, strict=True)]
        taps = [_nearest(p) if mode == "nearest" else _linear_taps(p) for p in places]
    out = _weighed(values, sizes, taps)
    return out.reshape(*input.shape[:2], *grid.shape[1:-1]).to(kind)


def _check(x: Tensor, grid: Tensor, mode: str) -> None:
    sizes = f"got input with sizes {list(x.shape)} and grid with sizes {list(grid.shape)}"
    if x.ndim not in (4, 5) and x.ndim == grid.ndim:
        if grid.shape[-1:] != (x.ndim - 2,):
            raise _misshapen(x, grid)
        raise RuntimeError(_RANKS + sizes)
    if x.shape[:1] != grid.shape[:1]:
        raise RuntimeError(f"grid_sampler(): expected grid and input to have same batch size, but {sizes}")
    if grid.shape[-1] != x.ndim - 2:
        raise _misshapen(x, grid)
    if x.ndim != grid.ndim:
        raise RuntimeError(_RANKS + sizes)
    for i in range(2, x.ndim):
        if not x.shape[i]:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
                f"{list(x.shape)} with dimension {i} being empty"
            )
    if mode == "bicubic" and x.ndim != 4:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if x.dtype.category < 2:
        raise unknown("grid_sampler_2d_cpu_kernel_impl", x)
    if x.dtype != grid.dtype:
        names = [{"float": "Float", "double": "Double"}.get(plain_name(t), plain_name(t)) for t in (x, grid)]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")


def _misshapen(x: Tensor, grid: Tensor) -> RuntimeError:
    return RuntimeError(
        f"grid_sampler(): expected grid to have size {x.ndim - 2} in last dimension, but got grid with sizes "
        f"{list(grid.shape)}"
    )


def _unnormalized(x: Tensor, n: int, aligned: bool) -> Tensor:
    """Places where -1 and 1 are the ends of ``n`` elements, in elements."""
    return (x + 1) * ((n - 1) / 2) if aligned else ((x + 1) * n - 1) / 2


def _settled(x: Tensor, n: int, padding_mode: str, aligned: bool) -> Tensor:
    """Places outside of ``n`` elements brought inside, unless zeros stand there; NaN to the first."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _reflected(x, *((0.0, n - 1.0) if aligned else (-0.5, n - 0.5)))
    last = float(n - 1)
    outside = where(x.detach() >= last, last, 0.0).to(x.dtype)
    inside: Any = x > 0
    return where(inside & (x < last), x, outside)


def _reflected(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` folded at both ends until it lies between them."""
    span = high - low
    if span == 0:
        return x * 0.0
    away = x - low
    away = where(away.detach() < 0, -away, away)
    times = (away.detach() / span).floor()
    rest = away - times * span
    return where(times % 2 == 0, rest + low, high - rest)


def _nearest(x: Tensor) -> list[tuple[Tensor, Any]]:
    return [(x.detach().round(), None)]


def _linear_taps(x: Tensor) -> list[tuple[Tensor, Any]]:
    """The elements beside each place, and their weights."""
    low = x.detach().floor()
    part = x - low
    return [(low, 1 - part), (low + 1, part)]


def _cubic_taps(x: Tensor, n: int, settle: Any) -> list[tuple[Tensor, Any]]:
    """The four elements about each place, each brought inside by itself, and Keys' weights (1981)."""
    low = x.detach().floor()
    t = x - low

    def near(d: Any) -> Any:
        return ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC

    weights = (far(t + 1), near(t), near(1 - t), far(2 - t))
    return [(settle(low + i, n), w) for i, w in zip((-1, 0, 1, 2), weights, strict=True)]


def _weighed(values: Tensor, sizes: Sequence[int], taps: list[list[tuple[Tensor, Any]]]) -> Tensor:
    """The sum over all combinations of taps of the elements there, (N, C, places), times their weights."""
    out: Any = None
    n, channels = values.shape[:2]
    for chosen in itertools.product(*taps):
        index: Any = 0
        inside: Any = True
        weight: Any = None
        for (at, w), size in zip(chosen, sizes, strict=True):
            here: Any = at >= 0
            here = here & (at <= size - 1)
            inside = here if inside is True else inside & here
            index = index * size + where(here, at, 0.0).to(int64)
            weight = w if weight is None else weight * w if w is not None else weight
        index = index.unsqueeze(1).expand(n, channels, index.shape[1])
        found = values.gather(2, index) * inside.to(values.dtype).unsqueeze(1)
        found = found if weight is None else found * weight.unsqueeze(1)
        out = found if out is None else out + found
    return out


@checked
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The places that affine maps give the elements of an output, for :func:`grid_sample`.

    Args:
        theta: (N, 2, 3), or (N, 3, 4): of x, y (and z) and 1 the x, y (and z) of the input.
        size: of the output: (N, C, H, W), or (N, C, D, H, W).
        align_corners: as for :func:`grid_sample`.

    Returns:
        (N, H, W, 2), or (N, D, H, W, 3).

    Raises:
        ValueError: ``theta`` of another shape or of integers, sizes of 0.
        NotImplementedError: another number of sizes.

    >>> F.affine_grid(torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2), align_corners=False)
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    if align_corners is None:
        warnings.warn(_DEFAULT, stacklevel=3)
    if theta.dtype.category < 2:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    sizes = tuple(size)
    n = len(sizes) - 2
    if n not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{sizes}."
        )
    if theta.ndim != 3 or theta.shape[1:] != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {sizes}. Got {theta.shape}."
        )
    if min(sizes) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {sizes}")
    if theta.shape[0] != sizes[0]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{sizes[0]}, {n + 1}] but got: "
            f"[{theta.shape[0]}, {n + 1}]."
        )
    if align_corners and 1 in sizes[2:]:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This "
            "is not an intended use case of affine_grid. See the documentation of affine_grid for details.",
            stacklevel=3,
        )
    axes = [np.linspace(-1, 1, m) if m > 1 else np.zeros(1) for m in sizes[2:]]
    if not align_corners:
        axes = [axis * ((m - 1) / m) for axis, m in zip(axes, sizes[2:], strict=True)]
    meshes = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*reversed(meshes), np.ones(sizes[2:])], -1).reshape(math.prod(sizes[2:]), n + 1)
    kind = float32 if theta.dtype.itemsize == 2 else theta.dtype
    places = matmul(tensor(base, dtype=kind, device=theta.device), theta.to(kind).transpose(1, 2))
    return places.reshape(sizes[0], *sizes[2:], n).to(theta.dtype)
