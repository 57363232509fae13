"""A convolution or a linear layer and the batch normalization behind it as one layer, for evaluation."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from ...autograd import Tensor
from ...ops.creation import ones_like, zeros_like
from ...ops.elementwise import rsqrt
from ..base.module import Module
from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

M = TypeVar("M", bound=Module)


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None, transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of a convolution that computes what ``conv_w`` and ``conv_b`` and then a normalization compute.

    Args:
        conv_w, conv_b: (O, C, *) and (O), or None.
        bn_rm, bn_rv, bn_w, bn_b: (O) each: running mean and variance, weight and bias, of which the last two may be
            None.
        bn_eps: added to the variance.
        transpose: whether it is a transposed convolution, whose weight is (C, O, *).

    >>> one = torch.ones(1)
    >>> w, b = nn.utils.fuse_conv_bn_weights(torch.ones(1, 1, 1), None, one, one, 0.0, 2 * one, one)
    >>> w.item(), b.item()
    (2.0, -1.0)
    """
    bias = zeros_like(bn_rm) if conv_b is None else conv_b
    scale, shift = ones_like(bn_rm) if bn_w is None else bn_w, zeros_like(bn_rm) if bn_b is None else bn_b
    scale = scale * rsqrt(bn_rv + bn_eps)
    shape = [1] * conv_w.ndim
    shape[1 if transpose else 0] = -1
    weight = (conv_w * scale.reshape(shape)).to(conv_w.dtype)
    moved = ((bias - bn_rm) * scale + shift).to(bias.dtype)
    wanted = [conv_w.requires_grad, conv_w.requires_grad if conv_b is None else conv_b.requires_grad]
    return Parameter(weight.detach(), wanted[0]), Parameter(moved.detach(), wanted[1])


def _ready(layer: Module, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError("Only support fusion for batch norm with running mean and running variance")


def fuse_conv_bn_eval(conv: M, bn: Any, transpose: bool = False) -> M:
    """A copy of ``conv`` that computes what it and then ``bn`` compute, both in evaluation.

    Raises:
        AssertionError: one of them is in training.  ValueError: ``bn`` has no running statistics.

    >>> conv, bn = nn.Conv1d(1, 2, 1).eval(), nn.BatchNorm1d(2).eval()
    >>> x = torch.ones(1, 1, 3)
    >>> torch.allclose(nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)))
    True
    """
    _ready(conv, bn)
    fused: Any = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor, bn_b: Tensor
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer that computes what ``linear_w`` (O, I) and ``linear_b`` (O) and then a
    normalization compute; see :func:`fuse_conv_bn_weights`.

    >>> one = torch.ones(1)
    >>> w, b = nn.utils.fuse_linear_bn_weights(torch.ones(1, 1), None, one, one, 0.0, 2 * one, one)
    >>> w.item(), b.item()
    (2.0, -1.0)
    """
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear: M, bn: Any) -> M:
    """A copy of ``linear`` that computes what it and then ``bn`` compute, both in evaluation.

    Raises:
        AssertionError: one of them is in training, or the features are of another number.  ValueError: ``bn`` has no
            running statistics.

    >>> linear, bn = nn.Linear(1, 2).eval(), nn.BatchNorm1d(2).eval()
    >>> x = torch.ones(3, 1)
    >>> torch.allclose(nn.utils.fuse_linear_bn_eval(linear, bn)(x), bn(linear(x)))
    True
    """
    _ready(linear, bn)
    fused: Any = copy.deepcopy(linear)
    if bn.num_features not in (fused.out_features, 1):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got linear.out_features="
            f"{fused.out_features} and bn.num_features={bn.num_features}"
        )
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
