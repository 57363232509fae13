"""Losses as functions; the fused ones have one pass forward, one backward, and a reference in simple operations."""

from __future__ import annotations

from .binary import binary_cross_entropy, binary_cross_entropy_with_logits, soft_margin_loss
from .classification import cross_entropy
from .common import legacy_reduction
from .ctc import ctc_loss
from .distances import (
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    margin_ranking_loss,
    pairwise_distance,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from .likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from .linear_cross_entropy import LinearCrossEntropyOptions, linear_cross_entropy
from .margins import multi_margin_loss, multilabel_margin_loss
from .multilabel import multilabel_soft_margin_loss
from .nll import nll_loss
from .regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = [
    "LinearCrossEntropyOptions", "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss",
    "cosine_similarity", "cross_entropy", "ctc_loss", "gaussian_nll_loss", "hinge_embedding_loss", "huber_loss",
    "kl_div", "l1_loss", "legacy_reduction", "linear_cross_entropy", "margin_ranking_loss", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss", "nll_loss", "pairwise_distance",
    "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip
