"""Linear algebra, by family."""

from __future__ import annotations

from . import building, decompositions, determinants, norms, products, solving

__all__ = ["building", "decompositions", "determinants", "norms", "products", "solving"]
