"""Channels as pixels: the classes of ``torch.nn.modules.pixelshuffle``, which are in files of other names here."""

from __future__ import annotations

from .resizing import PixelShuffle, PixelUnshuffle

__all__ = ["PixelShuffle", "PixelUnshuffle"]
