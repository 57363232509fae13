"""The operations that layers are made of, by family."""

from __future__ import annotations

from . import activation, dropout, embedding, linear, losses, normalization, piecewise, softmax

__all__ = ["activation", "dropout", "embedding", "linear", "losses", "normalization", "piecewise", "softmax"]
