"""What stands beside training: feeding data, computing again what was not kept."""

from __future__ import annotations

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
