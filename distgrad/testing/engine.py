"""Turning the update engine's screws: what must not change a result is changed here, inside a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .. import compiled
from ..optim import flat

__all__ = ["block_bytes", "uncompiled"]


@contextlib.contextmanager
def block_bytes(n: int) -> Iterator[None]:
    """Inside, updates are cut into blocks of ``n`` bytes."""
    before = flat.BLOCK_BYTES
    flat.BLOCK_BYTES = n
    try:
        yield
    finally:
        flat.BLOCK_BYTES = before


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Inside, optimizers that are made compute by NumPy even where numba is installed."""
    before = compiled.available
    compiled.available = lambda: False  # type: ignore[assignment]
    try:
        yield
    finally:
        compiled.available = before
