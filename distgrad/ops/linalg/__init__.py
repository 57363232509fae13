"""Linear algebra, by family."""

from __future__ import annotations

from . import affine, products

__all__ = ["affine", "products"]
