"""Embeddings: the classes of ``torch.nn.modules.sparse``, which are in files of other names here."""

from __future__ import annotations

from .embedding import Embedding
from .embedding_bag import EmbeddingBag

__all__ = ["Embedding", "EmbeddingBag"]
