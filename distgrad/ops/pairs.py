"""Functions of two numbers: sums under the logarithm, and the larger and smaller of what is no NaN."""

from __future__ import annotations

from typing import Any

from ..autograd import primitive
from . import _float32
from ._choosing import chosen
from ._declare import raw, unknown, wide
from ._pieces import in_pieces
from .elementwise import exp, exp2
from .selection import _where

__all__ = ["fmax", "fmin", "heaviside", "logaddexp", "logaddexp2"]


@primitive("fmax", promote="same")
def fmax(xp, x, y):
    """``fmax(input, other)``: the larger of each pair, of a pair with NaN the other; the first gets a tie's gradient.

    >>> torch.fmax(torch.tensor([1.0, float("nan")]), torch.tensor([3.0, 2.0]))
    tensor([3., 2.])
    """
    if x.dtype.kind == "c":
        raise RuntimeError("fmax not implemented for complex tensors.")
    return xp.fmax(x, y)


fmax.defvjp(
    lambda g, ans, x, y: _where(g, 0.0, raw((x >= y) | (y != y))),
    lambda g, ans, x, y: _where(0.0, g, raw((x >= y) | (y != y))),
    saves="x y",
)


@primitive("fmin", promote="same")
def fmin(xp, x, y):
    """``fmin(input, other)``: the smaller of each pair, of a pair with NaN the other; the first gets a tie's gradient.

    >>> torch.fmin(torch.tensor([1.0, float("nan")]), torch.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    if x.dtype.kind == "c":
        raise RuntimeError("fmin not implemented for complex tensors.")
    return xp.fmin(x, y)


fmin.defvjp(
    lambda g, ans, x, y: _where(g, 0.0, raw((x <= y) | (y != y))),
    lambda g, ans, x, y: _where(0.0, g, raw((x <= y) | (y != y))),
    saves="x y",
)


def _log_sum(xp: Any, x: Any, y: Any) -> Any:
    """The logarithm of a sum of complex exponentials: from the one whose real part is larger."""
    first = (x.real >= y.real) | (y.real != y.real)
    high, low = xp.where(first, x, y), xp.where(first, y, x)
    sum_ = high + xp.log1p(xp.exp(low - high))
    same = (high == low) & xp.isinf(high.real)  # their difference would be NaN
    return xp.where(same, high, sum_)


@primitive("logaddexp", promote="same")
def logaddexp(xp, x, y):
    """``logaddexp(input, other)``: log(exp(input) + exp(other)), without overflow; of floats and complex numbers.

    >>> torch.logaddexp(torch.tensor([0.0, -1000.0]), torch.tensor([0.0, -1000.0]))
    tensor([ 6.9315e-01, -9.9931e+02])
    """
    if x.dtype.kind in "biu":
        raise unknown("logaddexp_cpu", x)
    if x.dtype.kind == "c":
        return _log_sum(xp, x, y)
    return _float32.logaddexp(xp, wide(x), wide(y)).astype(x.dtype, copy=False)


logaddexp.defvjp(
    in_pieces(lambda g, ans, x, y: g / (exp(y - x) + 1).conj()),
    in_pieces(lambda g, ans, x, y: g / (exp(x - y) + 1).conj()),
    saves="x y",
)


@primitive("logaddexp2", promote="same")
def logaddexp2(xp, x, y):
    """``logaddexp2(input, other)``: the logarithm to base 2 of 2^input + 2^other, without overflow; of floats.

    >>> torch.logaddexp2(torch.tensor([3.0]), torch.tensor([3.0]))
    tensor([4.])
    """
    if x.dtype.kind in "biuc":
        raise unknown("logaddexp2_cpu", x)
    return _float32.logaddexp2(xp, wide(x), wide(y)).astype(x.dtype, copy=False)


logaddexp2.defvjp(
    in_pieces(lambda g, ans, x, y: g / (exp2(y - x) + 1)),
    in_pieces(lambda g, ans, x, y: g / (exp2(x - y) + 1)),
    saves="x y",
)


def _of_one_type(operands: Any) -> None:
    """RuntimeError for operands of :func:`heaviside` that PyTorch does not take."""
    kinds = [a.dtype for a in operands if hasattr(a, "dtype")]
    if any(k.kind == "c" for k in kinds):
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if len(set(kinds)) > 1:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")


@primitive("heaviside", "heaviside_", promote="same")
def heaviside(xp, x, values):
    """``heaviside(input, values)``: 0 below 0, 1 above and ``values`` at 0, of the same type; without a gradient.

    >>> torch.heaviside(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.5]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    _of_one_type((x, values))
    return chosen(xp, x == 0, values, (x > 0).astype(x.dtype))


def _no_gradient(g, ans, x, values):
    raise RuntimeError("derivative for heaviside is not implemented")


heaviside.primitive.refuse = _of_one_type
heaviside.defvjp(_no_gradient, _no_gradient, saves="")
