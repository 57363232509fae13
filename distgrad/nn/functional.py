"""Layers and losses as functions: what modules compute, without their parameters."""

from __future__ import annotations

import sys
from typing import Any as _Any

from .._arguments import checked
from .._names import absent as _absent
from ..autograd import Tensor
from ..autograd.tensor import TENSORS as _TENSORS
from ..dtypes import int64 as _int64
from ..ops.creation import zeros as _zeros
from ..ops.elementwise import sigmoid, tanh
from ..ops.nn.activation import (
    celu,
    elu,
    gelu,
    leaky_relu,
    logsigmoid,
    mish,
    prelu_of as _prelu,
    relu as _relu,
    selu,
    silu,
    softplus,
)
from ..ops.nn.attention import scaled_dot_product_attention
from ..ops.nn.bilinear import bilinear
from ..ops.nn.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    fold,
    unfold,
)
from ..ops.nn.dropout import dropout, dropout1d, dropout2d, dropout3d
from ..ops.nn.embedding import embedding
from ..ops.nn.embedding_bag import embedding_bag
from ..ops.nn.gates import glu, hardshrink, softshrink
from ..ops.nn.interpolation import interpolate
from ..ops.nn.layer_normalization import group_norm, instance_norm, layer_norm, rms_norm
from ..ops.nn.linear import linear
from ..ops.nn.local_response import channel_shuffle, local_response_norm
from ..ops.nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    ctc_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    linear_cross_entropy,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    pairwise_distance,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from ..ops.nn.max_pooling import (
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from ..ops.nn.multi_head import multi_head_attention_forward
from ..ops.nn.normalization import batch_norm
from ..ops.nn.other_pooling import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from ..ops.nn.overwriting import (
    celu_,
    elu_,
    hardtanh_,
    leaky_relu_,
    relu_,
    rrelu_,
    selu_,
    threshold_,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from ..ops.nn.padding import pad
from ..ops.nn.piecewise import hardsigmoid, hardswish, hardtanh, relu6, softsign, tanhshrink, threshold
from ..ops.nn.pixels import pixel_shuffle, pixel_unshuffle
from ..ops.nn.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from ..ops.nn.random_activation import alpha_dropout, feature_alpha_dropout, gumbel_softmax, rrelu
from ..ops.nn.sampling import affine_grid, grid_sample
from ..ops.nn.softmax import log_softmax, softmax, softmin
from ..ops.norms import norm

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "affine_grid", "alpha_dropout", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "batch_norm", "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "celu", "celu_", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "ctc_loss", "dropout",
    "dropout1d", "dropout2d", "dropout3d", "elu", "elu_", "embedding", "embedding_bag", "feature_alpha_dropout", "fold",
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices", "gaussian_nll_loss", "gelu", "glu", "grid_sample", "group_norm",
    "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "hinge_embedding_loss",
    "huber_loss", "instance_norm", "interpolate", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "leaky_relu_",
    "linear", "linear_cross_entropy", "local_response_norm", "log_softmax", "logsigmoid", "lp_pool1d", "lp_pool2d",
    "lp_pool3d", "margin_ranking_loss", "max_pool1d", "max_pool1d_with_indices", "max_pool2d",
    "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices", "max_unpool1d", "max_unpool2d", "max_unpool3d",
    "mish", "mse_loss", "multi_head_attention_forward", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "nll_loss", "normalize", "one_hot", "pad", "pairwise_distance", "pixel_shuffle",
    "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu", "relu6", "relu_", "rms_norm", "rrelu", "rrelu_",
    "scaled_dot_product_attention", "selu", "selu_", "sigmoid", "silu", "smooth_l1_loss", "soft_margin_loss", "softmax",
    "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_",
    "triplet_margin_loss", "triplet_margin_with_distance_loss", "unfold", "upsample", "upsample_bilinear",
    "upsample_nearest",
]  # fmt: skip


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0); the gradient at 0 is 0.

    >>> F.relu(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """
    return input.relu_() if inplace and input.__class__ in _TENSORS else _relu(input)


@checked
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """``input`` where positive, else ``weight * input``.

    Args:
        input: (N, C, *), or of any shape if there is one weight.
        weight: one element, or (C).

    Raises:
        RuntimeError: another number of weights, of another dtype, or not in a vector.

    >>> F.prelu(torch.tensor([-1.0, 2.0]), torch.tensor([0.5]))
    tensor([-0.5000,  2.0000])
    """
    n = weight.numel()
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if input.dtype != weight.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input.dtype} and {weight.dtype}")
    if n != 1:
        channels = input.shape[1] if input.ndim > 1 else 1  # a vector is a batch of one channel
        if n != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {n} and channel size "
                f"= {channels}."
            )
        weight = weight.reshape([n if i == 1 else 1 for i in range(input.ndim)])
    return _prelu(input, weight if input.ndim else weight.reshape(()))


@checked
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """``input`` divided along ``dim`` by its ``p``-norm, or by ``eps`` where that is larger.

    >>> F.normalize(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    return input / norm(input, p, dim, True).clamp_min(eps)


@checked
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class index, else 0: of shape (*, num_classes), int64.

    Args:
        tensor: class indices (*), int64.
        num_classes: by default one more than the largest index.

    Raises:
        RuntimeError: another dtype, an index that is negative or too large, or nothing to count the classes from.

    >>> F.one_hot(torch.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype.tensor_type != "LongTensor":
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if tensor.numel() * num_classes > sys.maxsize // 8:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={[*tensor.shape, num_classes]}")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    else:
        low, high = int(tensor.min()), int(tensor.max())
        if low < 0:
            raise RuntimeError(f"Class values must be non-negative, the smallest is {low}.")
        if num_classes == -1:
            num_classes = high + 1
        elif high >= num_classes:
            raise RuntimeError(f"Class values must be smaller than num_classes ({num_classes}), the largest is {high}.")
    return _zeros(*tensor.shape, num_classes, dtype=_int64, device=tensor.device).scatter_(-1, tensor.unsqueeze(-1), 1)


def __getattr__(name: str) -> _Any:
    if name.startswith("_"):  # probes of the interpreter and of tools
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise _absent(__name__, name, "function", __all__)
