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
    in_place,
    indexing,
    linalg,
    nn,
    norms,
    reduction,
    selection,
    shape,
)

__all__ = [
    "arithmetic", "assigning", "conversion", "creation", "drawing", "einsum", "elementwise", "in_place", "indexing",
    "linalg", "nn", "norms", "reduction", "selection", "shape",
]  # fmt: skip
