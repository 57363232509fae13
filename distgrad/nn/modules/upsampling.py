"""Upsampling: the classes of ``torch.nn.modules.upsampling``, which are in files of other names here."""

from __future__ import annotations

from .resizing import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]
