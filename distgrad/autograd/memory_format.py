"""In which order a tensor's elements lie in memory, by PyTorch's names."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "is_laid",
    "laid",
    "lies_last",
    "memory_format",
    "preserve_format",
]


class memory_format:  # noqa: N801 - PyTorch's name
    """An order of elements in memory: :data:`contiguous_format` (row-major), :data:`channels_last`,
    :data:`channels_last_3d` (the second dimension varies fastest) or :data:`preserve_format`.

    >>> torch.zeros(1, 2, 3, 4).contiguous(memory_format=torch.channels_last).stride()
    (24, 1, 8, 2)
    """

    def __init__(self, name: str, rank: int = 0) -> None:
        self.name, self.rank = name, rank

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


preserve_format = memory_format("preserve_format")
contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last", 4)
channels_last_3d = memory_format("channels_last_3d", 5)


def _turned(x: Any, kind: Any) -> Any:
    """``x`` as an array that is row-major where ``x`` is of ``kind``."""
    if not isinstance(kind, memory_format):
        raise TypeError(f"argument 'memory_format' must be torch.memory_format, not {type(kind).__name__}")
    if not kind.rank:
        return x
    if x.ndim != kind.rank:
        raise RuntimeError(f"required rank {kind.rank} tensor to use {kind.name} format")
    return x.transpose(0, *range(2, x.ndim), 1)


def is_laid(x: Any, kind: Any) -> bool:
    """Whether the elements of the array ``x`` lie in the order ``kind``, without gaps."""
    return bool(_turned(x, kind).flags.c_contiguous)


def lies_last(x: Any) -> bool:
    """Whether the channels of NumPy's array ``x`` (N, C, ...) lie last in memory, without gaps, and not row by row."""
    return (
        x.__class__ is np.ndarray
        and x.ndim > 2
        and not x.flags.c_contiguous
        and bool(x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous)
    )


def laid(xp: Any, x: Any, kind: Any) -> Any:
    """A copy of the array ``x`` whose elements lie in the order ``kind``."""
    copy = _turned(x, kind).copy()
    return copy.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if kind.rank else copy
