"""Cross entropy of a linear map, in one call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ...._arguments import checked
from ....autograd import Tensor
from ..linear import linear
from .classification import cross_entropy

__all__ = ["LinearCrossEntropyOptions", "linear_cross_entropy"]


@dataclass
class LinearCrossEntropyOptions:
    """PyTorch's options of how :func:`linear_cross_entropy` saves memory; the values are the same with all of them.

    >>> nn.LinearCrossEntropyOptions().chunking_method
    'auto'
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None


@checked
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """:func:`cross_entropy` of the logits that a linear map of ``input`` gives.

    Args:
        input: (N, I) or (I).
        linear_weight, linear_bias: (C, I) and (C), or (C, d1, …, I) and (C, d1, …).
        target: classes (N), () or (N, d1, …), or probabilities in the shape of the logits.
        weight, reduction, ignore_index, label_smoothing: as of cross entropy.
        options: taken, and without effect on the values.

    >>> F.linear_cross_entropy(torch.ones(2, 3), torch.zeros(4, 3), torch.tensor([0, 3]))
    tensor(1.3863)
    """
    shape = linear_weight.shape[:-1]
    flat = linear_weight if linear_weight.ndim <= 2 else linear_weight.reshape(math.prod(shape), -1)
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, flat, bias)
    if linear_weight.ndim > 2:
        logits = logits.reshape(*input.shape[:-1], *shape)
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )
