"""Classes under the paths at which PyTorch has them, where distgrad's files are others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["elsewhere"]


def elsewhere(file: str, name: str, names: Sequence[str]) -> Any:
    """``distgrad.nn.<name>``, if it is among ``names``, those of PyTorch's module ``file``; else AttributeError."""
    if name not in names:
        raise AttributeError(f"module {file!r} has no attribute {name!r}")
    return getattr(sys.modules[__package__.rpartition(".")[0]], name)
