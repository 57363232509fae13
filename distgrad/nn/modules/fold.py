"""Sliding blocks: the classes of ``torch.nn.modules.fold``, which are in files of other names here."""

from __future__ import annotations

from .resizing import Fold, Unfold

__all__ = ["Fold", "Unfold"]
