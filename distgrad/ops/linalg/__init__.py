"""Linear algebra, by family."""

from __future__ import annotations

from . import products

__all__ = ["products"]
