"""Differentiable operations, one file a family."""

from __future__ import annotations

from . import (
    activation,
    arithmetic,
    assigning,
    conversion,
    creation,
    drawing,
    einsum,
    elementwise,
    embedding,
    indexing,
    linalg,
    losses,
    normalization,
    norms,
    reduction,
    selection,
    shape,
)

__all__ = [
    "activation", "arithmetic", "assigning", "conversion", "creation", "drawing", "einsum", "elementwise", "embedding",
    "indexing", "linalg", "losses", "normalization", "norms", "reduction", "selection", "shape",
]  # fmt: skip
