"""Dropout."""

from __future__ import annotations

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._declare import in_float32, noun
from .activation import _into

__all__ = ["dropout"]


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
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return _into(input, input * 0.0, inplace)
    from ...random import default_generator

    if input._data.dtype.kind in "biu":
        raise RuntimeError(f"result type Float can't be cast to the desired output type {noun(input)}")
    mask = default_generator.keep_mask(input._data.shape, p)
    device = input.device
    return _into(
        input, _dropped(input, mask if device.type == "cpu" else backend.to_device(mask, device), 1 / (1 - p)), inplace
    )
