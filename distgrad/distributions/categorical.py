"""PyTorch's path to :class:`Categorical`."""

from __future__ import annotations

from .discrete import Categorical

__all__ = ["Categorical"]
