"""Differentiable operations, one file a family."""

from __future__ import annotations

from . import (
    arithmetic,
    assigning,
    conversion,
    creation,
    drawing,
    einsum,
    elementwise,
    indexing,
    linalg,
    nn,
    norms,
    reduction,
    reshaped,
    selection,
    shape,
)

__all__ = [
    "arithmetic", "assigning", "conversion", "creation", "drawing", "einsum", "elementwise", "indexing",
    "linalg", "nn", "norms", "reduction", "reshaped", "selection", "shape",
]  # fmt: skip
