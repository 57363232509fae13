"""Turning the update engine's screws: what must not change a result is changed here, inside a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ... import jit
from ...optim.update import pieces

__all__ = ["block_bytes", "uncompiled"]


@contextlib.contextmanager
def block_bytes(n: int) -> Iterator[None]:
    """Inside, updates are cut into blocks of ``n`` bytes."""
    before = pieces.BLOCK_BYTES
    pieces.BLOCK_BYTES = n
    try:
        yield
    finally:
        pieces.BLOCK_BYTES = before


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Inside, optimizers that are made compute by NumPy even where numba is installed."""
    before = jit.available
    jit.available = lambda: False  # type: ignore[assignment]
    try:
        yield
    finally:
        jit.available = before
