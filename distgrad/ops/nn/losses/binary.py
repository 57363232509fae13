"""Losses of two classes: cross-entropy of probabilities and of logits, and the soft margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...._arguments import checked
from ....autograd import Tensor, fused, primitive
from ... import _float32
from ..._limits import at_least, at_most
from ..._pieces import in_pieces
from ...elementwise import log, log1p
from ..activation import logsigmoid, softplus
from .common import REDUCTIONS, averaged, fits, known, legacy_reduction, needs_floats, promoted, reduced, tensors, wide

_LEAST = 1e-12  # PyTorch's, where a probability is 0 or 1


@primitive()
def _bce_values(xp, p, y):
    """The loss of each element; its gradients are those of the logarithms without their limit."""
    return -(y * at_least(xp, xp.log(p), -100) + (1 - y) * at_least(xp, _float32.log1p(xp, -p), -100))


@primitive()
def _bce_slope(xp, upper, p, y):
    """``upper``, a gradient, times that of the loss of each element, finite at 0 and 1."""
    return upper * (p - y) / at_least(xp, (1 - p) * p, p.dtype.type(_LEAST))


def _spread(p: Any) -> Any:
    return (p + _LEAST) * (1 - p + _LEAST)


_bce_values.defvjp(
    lambda g, ans, p, y: _bce_slope(g, p, y),
    lambda g, ans, p, y: g * (log1p(-p) - log(p)),
    saves=("p y", "p"),
)
_bce_slope.defvjp(
    lambda g, ans, upper, p, y: g * (p - y) / _spread(p),
    lambda g, ans, upper, p, y: g * upper * (p * p - 2 * p * y + y) / _spread(p) ** 2,
    lambda g, ans, upper, p, y: -g * upper / _spread(p),
    saves=("p y", "upper p y", "upper p"),
)


def _reference_bce(input: Any, target: Any, reduction: str) -> Any:
    return reduced(_bce_values(input, target), reduction)


def _outside(p: Any, role: str) -> RuntimeError:
    return RuntimeError(
        f"all elements of {role} should be between 0 and 1; they are between {float(p.min())} and {float(p.max())}"
    )


@fused(reference=_reference_bce, inputs=2, grad_name="BinaryCrossEntropyBackward0")
def _bce(xp, p, y, reduction):
    """On a device no value is looked at: a probability that is none gives NaN there."""
    dtype = p.dtype
    p, y = wide(p), wide(y)
    if xp is np and y.size and not (np.minimum.reduce(y, None) >= 0 and np.maximum.reduce(y, None) <= 1):
        raise _outside(y, "target")
    yes, no = at_least(xp, xp.log(p), -100), at_least(xp, _float32.log1p(xp, -p), -100)
    values = -(y * yes + (1 - y) * no)
    ans = averaged(xp, values, reduction, dtype)
    if xp is np and p.size and np.isnan(ans if reduction != "none" else np.add.reduce(values, None)):
        raise _outside(p, "input")
    return ans, (yes, no)


@_bce.defbackward
def _bce_backward(xp, g, ans, logs, wanted, p, y, reduction):
    p, y, g = wide(p), wide(y), wide(g)
    if reduction == "mean":
        g = g / p.size
    gx = g * (p - y) / at_least(xp, (1 - p) * p, p.dtype.type(_LEAST)) if wanted[0] is not None else None
    return gx, g * (xp.log1p(-p) - xp.log(p)) if wanted[1] is not None else None


def _factors(weight: Any, input: Any, name: str) -> Any:
    """``weight``, if it can be broadcast to the input; else RuntimeError."""
    if weight is not None:
        tensors(name, weight=weight)
        shape, own = fits(input._data.shape, weight._data.shape, name), input._data.shape
        if shape != own:
            raise RuntimeError(
                f"output with shape {list(own)} doesn't match the broadcast shape {list(shape)} ({name}'s weight has "
                f"size {list(weight._data.shape)})"
            )
    return weight


@checked
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y log p + (1 - y) log(1 - p)), the logarithms not below -100.

    Args:
        input: probabilities p in [0, 1], of any shape.
        target: y in [0, 1], of the same shape and dtype; ValueError for another shape.
        weight: factors of the elements, broadcast, or None.

    Raises:
        RuntimeError: a value outside [0, 1] (on a device, where looking would wait for all work before, p then gives
            NaN), or two dtypes.

    >>> F.binary_cross_entropy(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("binary_cross_entropy", input=input, target=target)
    if reduction not in REDUCTIONS:
        reduction = known(reduction)
    x, y = input._data, target._data
    if x.shape != y.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if x.dtype != y.dtype or x.dtype.kind not in "fV":
        needs_floats("binary_cross_entropy", input)
        raise RuntimeError(f"Found dtype {target.dtype.tensor_type[:-6]} but expected {input.dtype.tensor_type[:-6]}")
    if weight is not None:
        return reduced(_bce(input, target, "none") * _factors(weight, input, "binary_cross_entropy"), reduction)
    return _bce(input, target, reduction)


def _reference_bce_logits(input: Any, target: Any, reduction: str) -> Any:
    return reduced(softplus(input, 1.0, 1e30) - input * target, reduction)


@in_pieces
def _logits_values(xp, x, y):
    return (1 - y) * x - at_most(xp, x, 0) + _float32.log1p_of_exp_below(xp, x)


@in_pieces
def _logits_slope(xp, x, y, g):
    """``g`` times the slope, sigmoid(x) - y."""
    out = xp.exp(xp.negative(x))
    out += 1
    out = xp.divide(1, out, out=out if out.ndim else None)  # of no dimensions: a scalar, not an array
    out -= y
    out *= g
    return out


@fused(reference=_reference_bce_logits, inputs=2, grad_name="BinaryCrossEntropyWithLogitsBackward0")
def _bce_logits(xp, x, y, reduction):
    dtype, x, y = x.dtype, wide(x), wide(y)
    return averaged(xp, _logits_values(xp, x, y), reduction, dtype), None


@_bce_logits.defbackward
def _bce_logits_backward(xp, g, ans, kept, wanted, x, y, reduction):
    if x.dtype.itemsize == 2:
        x, y, g = wide(x), wide(y), wide(g)
    if reduction == "mean":
        g = g / x.size
    return _logits_slope(xp, x, y, g) if wanted[0] is not None else None, -x * g if wanted[1] is not None else None


@checked
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """:func:`binary_cross_entropy` of sigmoid(input), without overflow.

    Args:
        input: logits of any shape.  target: of the same shape, in [0, 1]; ValueError for another shape.
        weight: factors of the elements, broadcast.  pos_weight: factors of the positive part, broadcast.

    Returns:
        In the target's dtype, as in PyTorch.

    >>> F.binary_cross_entropy_with_logits(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("binary_cross_entropy_with_logits", input=input, target=target)
    if reduction not in REDUCTIONS:
        reduction = known(reduction)
    x, y, kind = input._data, target._data, None
    if x.shape != y.shape:
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    if x.dtype != y.dtype or x.dtype.kind not in "fV":
        needs_floats("binary_cross_entropy_with_logits", input)
        if not target.dtype.is_floating_point:
            raise RuntimeError(
                f"binary_cross_entropy_with_logits: the target must be of a floating-point type, got {target.dtype}"
            )
        kind = target.dtype
        input, target = promoted(input, target)
    if weight is None and pos_weight is None:
        if kind is None:
            return _bce_logits(input, target, reduction)
        return reduced(_bce_logits(input, target, "none").to(kind), reduction)
    weight = _factors(weight, input, "binary_cross_entropy_with_logits")
    if pos_weight is None:
        values = _bce_logits(input, target, "none")
    else:
        _factors(pos_weight, input, "binary_cross_entropy_with_logits")
        values = (1 - target) * input - ((pos_weight - 1) * target + 1) * logsigmoid(input)
    return reduced((values if weight is None else values * weight).to(kind or target.dtype), reduction)


def _reference_soft_margin(input: Any, target: Any, reduction: str) -> Any:
    return reduced(softplus(-(input * target), 1.0, 1e30), reduction)


@fused(reference=_reference_soft_margin, inputs=2, grad_name="SoftMarginLossBackward0")
def _soft_margin(xp, x, y, reduction):
    z = wide(x) * -wide(y)
    return averaged(xp, _float32.softplus(xp, z), reduction, x.dtype), z


@in_pieces
def _soft_margin_slope(xp, g, y, z):
    """``g`` times the slope, -y sigmoid(z)."""
    return g * y * (-1 / (1 + xp.exp(-z)))


@_soft_margin.defbackward
def _soft_margin_backward(xp, g, ans, z, wanted, x, y, reduction):
    if reduction == "mean":
        g = wide(g) / max(z.size, 1)
    return _soft_margin_slope(xp, g, wide(y), z), None


@checked
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-y x)), finite for any x.

    Args:
        input: x, of any shape.
        target: y, 1 or -1, broadcast; RuntimeError where it requires a gradient: PyTorch defines none.

    >>> F.soft_margin_loss(torch.tensor([0.0]), torch.tensor([1]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("soft_margin_loss", input=input, target=target)
    reduction = known(reduction)
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"soft_margin_loss: the input must be of a floating-point type, got {input.dtype}")
    if target.requires_grad:
        raise RuntimeError("soft_margin_loss is not differentiable with respect to its target; detach() it")
    fits(input._data.shape, target._data.shape, "soft_margin_loss")
    return _soft_margin(input, target.to(input.dtype), reduction)
