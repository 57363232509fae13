"""Channels made into pixels, and back."""

from __future__ import annotations

from typing import Any

from ..._arguments import checked
from ...autograd import Tensor, primitive

__all__ = ["pixel_shuffle", "pixel_unshuffle"]


@primitive(grad_name="PixelShuffleBackward0")
def _shuffled(xp, x, r):
    *head, c, h, w = x.shape
    n = len(head)
    apart = x.reshape(*head, c // (r * r), r, r, h, w)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return xp.array(apart.transpose(order), order="C").reshape(*head, c // (r * r), h * r, w * r)


@primitive(grad_name="PixelUnshuffleBackward0")
def _unshuffled(xp, x, r):
    *head, c, h, w = x.shape
    n = len(head)
    apart = x.reshape(*head, c, h // r, r, w // r, r)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return xp.array(apart.transpose(order), order="C").reshape(*head, c * r * r, h // r, w // r)


_shuffled.defvjp(lambda g, ans, x, r: _unshuffled(g, r), saves="")
_unshuffled.defvjp(lambda g, ans, x, r: _shuffled(g, r), saves="")


def _check(name: str, x: Any, word: str, factor: int) -> None:
    if x.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {x.ndim} dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {word}, but got {factor}")


@checked
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r², H, W) as (*, C, H r, W r), r being the factor: r² channels make a square of pixels (Shi et al. 2016,
    arXiv:1609.05158).

    RuntimeError: fewer than three dimensions, channels that are no multiple of r².

    >>> F.pixel_shuffle(torch.arange(4).reshape(4, 1, 1), 2)
    tensor([[[0, 1],
             [2, 3]]])
    """
    _check("pixel_shuffle", input, "upscale_factor", upscale_factor)
    if input.shape[-3] % upscale_factor**2:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={input.shape[-3]} is not divisible by {upscale_factor**2}"
        )
    return _shuffled(input, upscale_factor)


@checked
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) as (*, C r², H, W), r being the factor: :func:`pixel_shuffle` undone.

    RuntimeError: fewer than three dimensions, height or width that is no multiple of r.

    >>> F.pixel_unshuffle(torch.arange(4).reshape(1, 2, 2), 2).flatten()
    tensor([0, 1, 2, 3])
    """
    _check("pixel_unshuffle", input, "downscale_factor", downscale_factor)
    for word, d in (("height", -2), ("width", -1)):
        if input.shape[d] % downscale_factor:
            raise RuntimeError(
                f"pixel_unshuffle expects {word} to be divisible by downscale_factor, but input.size({d})="
                f"{input.shape[d]} is not divisible by {downscale_factor}"
            )
    return _unshuffled(input, downscale_factor)
