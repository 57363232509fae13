"""Differentiable operations, one file a family."""

from __future__ import annotations

from . import (
    activation,
    arithmetic,
    assigning,
    conversion,
    creation,
    elementwise,
    embedding,
    indexing,
    linalg,
    losses,
    normalization,
    reduction,
    selection,
    shape,
)

__all__ = [
    "activation", "arithmetic", "assigning", "conversion", "creation", "elementwise", "embedding", "indexing", "linalg",
    "losses", "normalization", "reduction", "selection", "shape",
]  # fmt: skip
