"""Which kernels :func:`~distgrad.nn.functional.scaled_dot_product_attention` may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ...ops.nn._attention_kernels import SDPBackend, allowed_kernels as _allowed, only_kernels as _only

__all__ = ["SDPBackend", "WARN_FOR_UNFUSED_KERNELS", "sdpa_kernel"]

WARN_FOR_UNFUSED_KERNELS = False


def _cur_sdpa_kernel_backends(with_priority: bool = False) -> list[SDPBackend]:
    return _allowed()


@contextlib.contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict[Any, Any]]:
    """Allow attention these kernels alone, until the context ends; a decorator, too.

    On a CPU PyTorch has MATH and FLASH_ATTENTION.  distgrad computes both in the same way, block by block, so they
    differ only in what they take: without MATH, inputs of other than 4 dimensions, dropout on a CPU, or a mask that
    requires a gradient are refused.

    Args:
        backends: one or several.
        set_priority: keep them in the order given.

    Raises:
        AssertionError: ``backends`` is neither a kernel nor a list.
        RuntimeError: by attention itself, where none of them would compute it in PyTorch.

    >>> x = torch.ones(1, 1, 2, 2)
    >>> with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
    ...     F.scaled_dot_product_attention(x, x, x).shape
    ...
    torch.Size([1, 1, 2, 2])
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    given = [backends] if isinstance(backends, SDPBackend) else list(dict.fromkeys(backends))
    with _only(given, set_priority):
        yield {}
