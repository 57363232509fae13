"""PyTorch's path to :class:`Normal`."""

from __future__ import annotations

from .continuous import Normal

__all__ = ["Normal"]
