"""Shuffled channels: the classes of ``torch.nn.modules.channelshuffle``, which are in files of other names here."""

from __future__ import annotations

from .channels import ChannelShuffle

__all__ = ["ChannelShuffle"]
