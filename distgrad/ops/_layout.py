"""Arrays whose channels lie last in memory, as convolutions leave them, taken as what they are there: row by row."""

from __future__ import annotations

from typing import Any

from ..autograd.memory_format import lies_last

__all__ = ["as_rows", "lies_last", "turned", "turned_back"]


def turned(x: Any) -> Any:
    """(N, C, ...) as (N, ..., C), a view."""
    return x.transpose(0, *range(2, x.ndim), 1)


def turned_back(x: Any) -> Any:
    """(N, ..., C) as (N, C, ...), a view."""
    return x.transpose(0, -1, *range(1, x.ndim - 1))


def as_rows(x: Any) -> Any:
    """(N, C, ...) whose channels lie last as rows (N ..., C), a view."""
    return turned(x).reshape(-1, x.shape[1])
