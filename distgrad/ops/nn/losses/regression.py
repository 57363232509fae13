"""Losses of a difference: squared, absolute, and the two that are squared near 0 and absolute far out."""

from __future__ import annotations

from typing import Any

from ...._arguments import checked
from ....autograd import Tensor, fused, primitive
from ....autograd.tensor import TENSORS
from ..._limits import at_most, between
from ..._pieces import in_pieces
from ...arithmetic import _not_of_bools
from ...rounding import _sign
from ..piecewise import _hardtanh
from .common import (
    OPS,
    REDUCTIONS,
    averaged,
    compared,
    known,
    legacy_reduction,
    needs_floats,
    of_difference,
    reduced,
    weighted,
    wide,
)


def _reference_mse(input: Any, target: Any, reduction: str) -> Any:
    off = input - target
    return reduced(off * off, reduction)


@fused(reference=_reference_mse, inputs=2, grad_name="MseLossBackward0")
def _mse(xp, x, y, reduction):
    if x.dtype.itemsize == 2:
        off = wide(x) - wide(y)
        return averaged(xp, off * off, reduction, x.dtype), off
    off = x - y
    if reduction == "none":
        return off * off, off
    flat = off.reshape(-1)
    total = flat.dot(flat)
    return total / off.size if reduction == "mean" else total, off


@_mse.defbackward
def _mse_backward(xp, g, ans, off, wanted, x, y, reduction):
    scale = g * (2 / off.size if reduction == "mean" and off.size else 2)
    gx = off * scale
    return gx if wanted[0] is not None else None, -gx if wanted[1] is not None else None


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared difference, averaged, added up or elementwise by ``reduction``.

    Args:
        input, target: floating-point tensors of one shape (*); others are broadcast, with a warning.
        reduction: ``"mean"`` and ``"sum"`` give a number, ``"none"`` the shape (*).
        weight: of the input's shape, or None; a weighted mean divides by the weights' sum.

    >>> F.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.__class__ in TENSORS and target.__class__ in TENSORS and weight is None:
        x, y = input._data, target._data
        same = x.shape == y.shape and x.dtype == y.dtype and x.dtype.kind in "fV"
        if same and reduction.__class__ is str and reduction in REDUCTIONS:
            return _mse(input, target, reduction)
    x, y = compared(input, target, "mse_loss", weight)
    needs_floats("mse_loss", x)
    if weight is not None:
        return weighted(_mse(x, y, "none"), weight, reduction)
    return _mse(x, y, known(reduction))


_l1 = of_difference("_l1", lambda ops, off: ops.abs(off), _sign, "L1LossBackward0", kept="x y")


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute difference; arguments as of :func:`mse_loss`, complex tensors too.

    >>> F.l1_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
    tensor(1.5000)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    x, y = compared(input, target, "l1_loss", weight)
    _not_of_bools((input._data, target._data))
    fusible = x.dtype.is_floating_point
    if weight is not None:
        return weighted(_l1(x, y, "none") if fusible else (x - y).abs(), weight, reduction)
    return _l1(x, y, known(reduction)) if fusible else reduced((x - y).abs(), reduction)


@primitive()
@in_pieces
def _smooth_values(xp, off, beta):
    size = xp.abs(off)
    near = at_most(xp, size, beta)
    return (size - near * 0.5) * (near / beta)


def _smooth(ops: Any, off: Any, beta: float) -> Any:
    return _smooth_values(off, beta) if ops is OPS else _smooth_values.primitive.forward(ops, off, beta)


_smooth_values.defvjp(
    lambda g, ans, off, beta: g * _hardtanh(off / beta, -1.0, 1.0), saves="off"
)  # no infinity times 0, nor again


_smooth_l1 = of_difference(
    "_smooth_l1", _smooth, lambda xp, off, beta: between(xp, off / beta, -1, 1), "SmoothL1LossBackward0"
)


@checked
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d² / (2 beta) where the difference d is smaller than ``beta``, else |d| - beta / 2 (Girshick 2015,
    arXiv:1504.08083); :func:`l1_loss` for ``beta`` 0.  RuntimeError for a negative ``beta``.

    >>> F.smooth_l1_loss(torch.tensor([0.5, 3.0]), torch.zeros(2), reduction="none")
    tensor([0.1250, 2.5000])
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    x, y = compared(input, target, "smooth_l1_loss")
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    if beta == 0.0:
        return _l1(x, y, known(reduction))
    needs_floats("smooth_l1_loss", x)
    return _smooth_l1(x, y, known(reduction), beta)


@primitive()
@in_pieces
def _huber_of_difference(xp, off, delta):
    size = xp.abs(off)
    near = at_most(xp, size, delta)
    return (size - near * 0.5) * near


def _huber_values(ops: Any, off: Any, delta: float) -> Any:
    return _huber_of_difference(off, delta) if ops is OPS else _huber_of_difference.primitive.forward(ops, off, delta)


_huber_of_difference.defvjp(lambda g, ans, off, delta: g * _hardtanh(off, -delta, delta), saves="off")


_huber = of_difference(
    "_huber", _huber_values, lambda xp, off, delta: between(xp, off, -delta, delta), "HuberLossBackward0"
)


@checked
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """d² / 2 where the difference d is at most ``delta``, else delta (|d| - delta / 2) (Huber 1964,
    doi:10.1214/aoms/1177703732).

    Arguments as of :func:`mse_loss`, but a weighted mean divides by the number of elements, as PyTorch's does.
    RuntimeError for a ``delta`` that is not positive.

    >>> F.huber_loss(torch.tensor([0.5, 3.0]), torch.zeros(2), reduction="none")
    tensor([0.1250, 2.5000])
    """
    x, y = compared(input, target, "huber_loss", weight)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    needs_floats("huber_loss", x)
    if not input.is_floating_point():  # the result is of the input's type
        made, own = x.dtype.tensor_type[:-6], input.dtype.tensor_type[:-6]
        raise RuntimeError(f"result type {made} can't be cast to the desired output type {own}")
    if weight is not None:
        return reduced(_huber(x, y, "none", delta) * weight, reduction)
    out = _huber(x, y, known(reduction), delta)
    return out if out._data.dtype == input._data.dtype else out.to(input.dtype)
