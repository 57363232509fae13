"""Which of PyTorch's kernels for attention a program allows.  Here one implementation stands for all that its device
has in PyTorch; where a program rules those out it is told, as there."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from ...autograd import Tensor

__all__ = ["SDPBackend", "allowed_kernels", "check_kernels", "only_kernels"]


class SDPBackend(enum.Enum):
    """The ways in which PyTorch computes attention, to be named to :func:`distgrad.nn.attention.sdpa_kernel`.

    >>> torch.nn.attention.SDPBackend.MATH
    <SDPBackend.MATH: 0>
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self) -> int:
        return int(self.value)


_ORDER = (
    SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH,
    SDPBackend.OVERRIDEABLE,
)  # fmt: skip
_allowed: ContextVar[tuple[SDPBackend, ...] | None] = ContextVar("allowed attention kernels", default=None)


def allowed_kernels() -> list[SDPBackend]:
    """Those that may be used now, in their order of preference."""
    return list(_ORDER if (now := _allowed.get()) is None else now)


@contextlib.contextmanager
def only_kernels(backends: list[SDPBackend], in_this_order: bool) -> Iterator[None]:
    """Allow these and no others, until the context ends."""
    token = _allowed.set(tuple(backends if in_this_order else [b for b in _ORDER if b in backends]))
    try:
        yield
    finally:
        _allowed.reset(token)


def check_kernels(q: Tensor, k: Tensor, v: Tensor, mask: Any, dropout_p: float) -> None:
    """RuntimeError where none of the allowed kernels computes this in PyTorch."""
    now = _allowed.get()
    if now is None or SDPBackend.MATH in now:
        return
    here = {SDPBackend.FLASH_ATTENTION}
    if q.device.type != "cpu":
        here |= {SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION}
    if not here & set(now):
        raise RuntimeError(
            "No viable backend for scaled_dot_product_attention was found. This is likely due to turning off both the "
            "math kernel and the fused kernels."
        )
    on_cpu = q.device.type == "cpu"
    ranks = {q.ndim, k.ndim, v.ndim}
    if ranks != {4} or (on_cpu and dropout_p > 0) or (mask is not None and mask.requires_grad):
        why = (
            f"they take inputs of 4 dimensions, and these have {q.ndim}, {k.ndim} and {v.ndim}"
            if ranks != {4}
            else "on a CPU they do not drop weights" if on_cpu and dropout_p > 0 else "they give a mask no gradient"
        )  # fmt: skip
        raise RuntimeError(f"No available kernel. Aborting execution. The fused kernels alone are allowed, but {why}.")
