"""Dropout, of elements and of whole channels."""

from __future__ import annotations

import warnings
from typing import Any

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._declare import in_float32, noun
from .activation import _into

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]


@primitive(grad_name="MulBackward0")
@in_float32
def _dropped(xp, x, mask, scale):
    out = x * mask
    out *= scale
    return out


_dropped.defvjp(lambda g, ans, x, mask, scale: _dropped(g, mask, scale), saves="")


@checked
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element zero with probability ``p``, the others divided by 1 - p (Hinton et al. 2012, arXiv:1207.0580).

    >>> sorted(set(F.dropout(torch.ones(100), p=0.5).tolist()))
    [0.0, 2.0]
    """
    _check(p)
    return _drop(input, tuple(input._data.shape), p, training, inplace)


def _check(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _drop(input: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: Any) -> Tensor:
    """``input`` times a mask of ``shape``, which is broadcast."""
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return _into(input, input * 0.0, inplace)
    from ...random import default_generator

    if input._data.dtype.kind in "biu":
        raise RuntimeError(f"result type Float can't be cast to the desired output type {noun(input)}")
    mask = default_generator.keep_mask(shape, p)
    device = input.device
    return _into(
        input, _dropped(input, mask if device.type == "cpu" else backend.to_device(mask, device), 1 / (1 - p)), inplace
    )


def _channels(input: Tensor, first: int) -> tuple[int, ...]:
    """A mask's shape: one element for each of the first dimensions."""
    return tuple([n if d < first else 1 for d, n in enumerate(input._data.shape)])


def _warn(name: str, n: int, ndim: int) -> None:
    if ndim not in (n + 1, n + 2):
        warnings.warn(
            f"{name}: Received a {ndim}-D input to {name}, which is deprecated and will result in an error in a future "
            "release. To retain the behavior and silence this warning, please use dropout instead.",
            stacklevel=4,
        )


@checked
def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each channel of (N, C, L) or (C, L) zero with probability ``p``, the others divided by 1 - p (Tompson et al.
    2015, arXiv:1411.4280).

    >>> F.dropout1d(torch.ones(2, 3, 4), p=0.0).shape
    torch.Size([2, 3, 4])
    """
    _check(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input.")
    return _drop(input, _channels(input, input.ndim - 1), p, training, inplace)


@checked
def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each channel of (N, C, H, W) zero with probability ``p``, the others divided by 1 - p; of (N, C, L), too.

    >>> F.dropout2d(torch.ones(2, 3, 4, 4), p=0.0).shape
    torch.Size([2, 3, 4, 4])
    """
    _check(p)
    _warn("dropout2d", 2, input.ndim)
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim.",
            stacklevel=3,
        )
    return _drop(input, _channels(input, 2), p, training, inplace)


@checked
def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each channel of (N, C, D, H, W) or (C, D, H, W) zero with probability ``p``, the others divided by 1 - p.

    >>> F.dropout3d(torch.ones(2, 3, 4, 4, 4), p=0.0).shape
    torch.Size([2, 3, 4, 4, 4])
    """
    _check(p)
    _warn("dropout3d", 3, input.ndim)
    return _drop(input, _channels(input, 2 if input.ndim == 5 else 1), p, training, inplace)
