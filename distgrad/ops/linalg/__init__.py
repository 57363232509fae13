"""Linear algebra, by family."""

from __future__ import annotations

from . import building, decompositions, norms, products, solving

__all__ = ["building", "decompositions", "norms", "products", "solving"]
