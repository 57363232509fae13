"""Adaptive softmax: the classes of ``torch.nn.modules.adaptive``, which are in files of other names here."""

from __future__ import annotations

from .class_losses import AdaptiveLogSoftmaxWithLoss

__all__ = ["AdaptiveLogSoftmaxWithLoss"]
