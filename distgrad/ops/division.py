"""Division and its kin: true, floored and truncated quotients, and remainders."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, primitive
from ..autograd.views import write
from . import _float32
from ._declare import Operand, method, unknown
from .powers import reciprocal

__all__ = ["div", "divide", "floor_divide", "fmod", "remainder", "true_divide"]


@primitive("__truediv__", "__itruediv__", promote="float", grad_name="DivBackward0")
def _div(xp, x, y):
    return xp.true_divide(x, y)


_div.defvjp(
    lambda g, ans, x, y: g / y.conjugate(),
    lambda g, ans, x, y: -g * (x / y / y).conjugate(),
    saves=("y", "x y"),
)


_div.primitive.ufunc = np.true_divide
_div.primitive.wide_number = True


@method("__rtruediv__", "__rdiv__", check=False)
def _divided(self: Tensor, other: Any) -> Tensor:
    """``other / self``: of a number, as in PyTorch, the reciprocal times it."""
    return reciprocal(self) * other if isinstance(other, (int, float, complex)) else _div.operator(other, self)


@method("div", "divide", "true_divide", check=False)
def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``; ``rounding_mode``: None (true division), ``"trunc"`` or ``"floor"`` (without a gradient).

    >>> torch.div(torch.tensor([7.0, -7.0]), 2, rounding_mode="floor")
    tensor([ 3., -4.])
    """
    return _div(input, other) if rounding_mode is None else _rounding(rounding_mode)(input, other)


def _rounding(mode: str) -> Any:
    """The division that rounds so."""
    if mode == "floor":
        return _floor_divide
    if mode == "trunc":
        return _trunc_divide
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'")


divide = true_divide = div


@method("div_", "divide_", "true_divide_", check=False)
def div_(self: Tensor, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """In place: :func:`div`."""
    if rounding_mode is None:
        return self.__itruediv__(other)
    return write(_rounding(rounding_mode).primitive, self, (other,), {})


def _not_by_zero(xp: Any, x: Any, y: Any, name: str) -> None:
    """RuntimeError where integers are divided by 0 (on a device, where asking would wait, they are not looked at);
    NotImplementedError for complex numbers, which have no such quotient, and for bools."""
    arrays = [a for a in (x, y) if hasattr(a, "dtype")]
    for a in arrays:
        if a.dtype.kind == "c":
            raise unknown(f"{name}_cpu", a)
    if _integral(x, y):
        if all(a.dtype.kind == "b" for a in arrays):
            raise unknown(f"{name}_cpu", arrays[0])
        if xp is np and getattr(x, "size", True) and not np.all(y):
            raise RuntimeError("ZeroDivisionError")


def _integral(*operands: Any) -> bool:
    """Whether all of the arrays or numbers are integers or bools."""
    return all(a.dtype.kind in "biu" if hasattr(a, "dtype") else isinstance(a, int) for a in operands)


@primitive("__floordiv__", "__rfloordiv__", "__ifloordiv__", "floor_divide", promote="same")
def floor_divide(xp, x, y):
    """``floor(input / other)``; integers stay integers, and by 0 give RuntimeError.  Without a gradient, as in PyTorch:
    ``div(..., rounding_mode="floor")`` has one, 0.

    >>> torch.floor_divide(torch.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """
    _not_by_zero(xp, x, y, "div_floor")
    return _float32.floor_divide(xp, x, y)


def _no_gradient(g, ans, x, y):
    raise RuntimeError("derivative for floor_divide is not implemented; div(..., rounding_mode='floor') has one")


floor_divide.defvjp(_no_gradient, _no_gradient, saves="")


floor_divide.primitive.wide_number = True


@primitive(promote="same", grad_name="DivBackward1")
def _floor_divide(xp, x, y):
    _not_by_zero(xp, x, y, "div_floor")
    return _float32.floor_divide(xp, x, y)


_floor_divide.defvjp(lambda g, ans, x, y: g * 0, lambda g, ans, x, y: g * 0, saves="")


_floor_divide.primitive.wide_number = True


@primitive(promote="same", grad_name="DivBackward1")
def _trunc_divide(xp, x, y):
    _not_by_zero(xp, x, y, "div_trunc")
    if _integral(x, y):
        down = xp.floor_divide(x, y)
        return down + ((down < 0) & (down * y != x))
    return xp.trunc(xp.true_divide(x, y))


_trunc_divide.defvjp(lambda g, ans, x, y: g * 0, lambda g, ans, x, y: g * 0, saves="")


_trunc_divide.primitive.wide_number = True


@primitive("__mod__", "__rmod__", "__imod__", "remainder", "remainder_", promote="same")
def remainder(xp, x, y):
    """``input - floor(input / other) * other``: has the sign of ``other``; of integers by 0 RuntimeError.

    >>> torch.remainder(torch.tensor([7.0, -7.0]), 4.0)
    tensor([3., 1.])
    """
    _not_by_zero(xp, x, y, "remainder")
    return _float32.remainder(xp, x, y)


remainder.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g * _floor_divide(x, y), saves=("", "x y"))


@primitive("fmod", "fmod_", promote="same")
def fmod(xp, x, y):
    """``input - trunc(input / other) * other``: has the sign of ``input``; of integers by 0 RuntimeError.

    >>> torch.fmod(torch.tensor([7.0, -7.0]), 4.0)
    tensor([ 3., -3.])
    """
    _not_by_zero(xp, x, y, "fmod")
    return _float32.fmod(xp, x, y)


fmod.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g * _trunc_divide(x, y), saves=("", "x y"))
