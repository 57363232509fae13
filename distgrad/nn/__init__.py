"""Layers, and what they are made of."""

from __future__ import annotations

from . import init
from .containers import ModuleDict, ModuleList, Sequential
from .linear import Identity, Linear
from .module import Module
from .parameter import Buffer, Parameter

__all__ = [
    "Buffer", "Identity", "Linear", "Module", "ModuleDict", "ModuleList", "Parameter", "Sequential", "init",
]  # fmt: skip
