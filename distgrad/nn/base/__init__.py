"""What every layer stands on: :class:`Module`, its hooks, state dicts and conversions."""

from __future__ import annotations

from distgrad.nn.base.module import Module

__all__ = [
    "Module",
]
