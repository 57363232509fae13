"""Activations in straight pieces: clipped, thresholded and hard forms."""

from __future__ import annotations

from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._choosing import chosen
from .._declare import in_float32, of_floats, raw, unknown
from .._limits import between
from .._numbers import fitting
from .._pieces import in_pieces
from ..elementwise import tanh
from ..selection import _where
from .activation import _into, _kept_from, _stepwise

__all__ = ["hardsigmoid", "hardswish", "hardtanh", "relu6", "softsign", "tanhshrink", "threshold"]


@checked
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` limited to [min_val, max_val]; no gradient at the limits.

    >>> F.hardtanh(torch.tensor([-4.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val, but they are {min_val} and {max_val}")
    return _into(input, _hardtanh(_kept_from(input, inplace), min_val, max_val), inplace)


@primitive(grad_name="HardtanhBackward0")
@in_float32
def _hardtanh(xp, x, low, high):
    if x.dtype.kind in "biuc":
        if x.dtype.kind in "bc":
            raise unknown("hardtanh", x)
        low, high = int(low), int(high)
        if x.dtype.kind == "u" and low < 0:
            raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return between(xp, x, low, high)


_hardtanh.defvjp(
    in_pieces(lambda g, ans, x, low, high: _stepwise(_where(0.0, g, raw((x <= low) | (x >= high))), x)), saves="x"
)


@checked
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``input`` limited to [0, 6].

    >>> F.relu6(torch.tensor([-1.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """
    return hardtanh(input, 0.0, 6.0, inplace)


@primitive(grad_name="HardsigmoidBackward0")
@of_floats
@in_pieces
def _hardsigmoid(xp, x, _):
    return between(xp, x + 3, 0, 6) / 6


_hardsigmoid.defvjp(
    in_pieces(lambda g, ans, x, _: _where(g / 6, 0.0, raw((x > -3) & (x < 3)))), saves="x"
)


@checked
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6.

    >>> F.hardsigmoid(torch.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    return _into(input, _hardsigmoid(_kept_from(input, inplace), None), inplace)


@primitive(grad_name="HardswishBackward0")
@of_floats
@in_pieces
def _hardswish(xp, x, _):
    return x * between(xp, x + 3, 0, 6) / 6


_hardswish.defvjp(
    in_pieces(lambda g, ans, x, _: _where(0.0, _where(g * (x / 3 + 0.5), g, raw(x < 3)), raw(x <= -3))), saves="x"
)


@checked
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x relu6(x + 3) / 6 (Howard et al. 2019, arXiv:1905.02244).

    >>> F.hardswish(torch.tensor([1.0, 3.0]))
    tensor([0.6667, 3.0000])
    """
    return _into(input, _hardswish(_kept_from(input, inplace), None), inplace)


@checked
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> F.softsign(torch.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5000,  0.0000,  0.7500])
    """
    return input / (1 + input.abs())


@checked
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    >>> F.tanhshrink(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2384,  0.0000,  0.2384])
    """
    return input - tanh(input)


@primitive(grad_name="ThresholdBackward0")
@in_pieces
def _threshold(xp, x, threshold, value):
    if x.dtype.kind in "bc":
        raise unknown("threshold", x)
    if x.dtype.kind == "u" and value < 0:
        raise RuntimeError(f"value cannot be converted to type {x.dtype} without overflow")
    return chosen(xp, x <= threshold, fitting(value, x.dtype), x)


_threshold.defvjp(
    in_pieces(lambda g, ans, x, threshold, value: _stepwise(_where(0.0, g, raw(x <= threshold)), x)), saves="x"
)


@checked
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``input`` where above ``threshold`` (or NaN), else ``value``.

    >>> torch.threshold(torch.tensor([0.0, 1.0]), 0.5, 9.0)
    tensor([9., 1.])
    """
    return _into(input, _threshold(_kept_from(input, inplace), threshold, value), inplace)
