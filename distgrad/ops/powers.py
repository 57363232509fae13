"""Powers, with integers and kinks as PyTorch has them."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import primitive
from ..autograd.tensor import TENSORS
from ._declare import in_type_of, raw
from ._numbers import fitting
from .elementwise import _reciprocal, log
from .selection import where

__all__ = ["pow", "reciprocal", "square"]


def _pow_name(node: Any) -> str:
    number = node.args is None or not hasattr(node.args[1], "shape")  # a freed node does not know any more
    return "PowBackward0" if number and node.edges[1] is None else "PowBackward1"


@primitive("__pow__", "__rpow__", "pow", "pow_", "__ipow__", promote="power", grad_name=_pow_name)
def pow(xp, x, y):
    """``pow(input, exponent)``: elementwise power; either may be a number.

    Integers to negative powers: RuntimeError for a number, for a tensor of exponents 0 but where the base is 1 or -1.

    >>> torch.pow(torch.tensor([2.0, 3.0]), 2)
    tensor([4., 9.])
    """
    if y.__class__ is int and y >= 0 and x.dtype.kind in "fcV":  # the commonest first
        return x**y
    if hasattr(x, "dtype"):
        if x.dtype.kind in "fcV":
            if y.__class__ in (int, float) and y < 0 and (y == -0.5 or x.dtype.kind == "c"):
                return _to_negative(xp, x, y)
            return x**y
    elif y.dtype.kind in "fcV":
        return xp.power(y.dtype.type(x), y)  # Python would refuse a negative base
    return _whole_power(xp, x, y)


def _to_negative(xp: Any, x: Any, y: Any) -> Any:
    """``x ** y`` as PyTorch's differs from NumPy's: one over a root, so that -0 gives minus infinity (not of float16),
    and of a complex 0 infinite in its real part."""
    if y == -0.5 and x.dtype != np.float16:
        return _reciprocal(xp, xp.sqrt(x))
    return x**y if x.dtype.kind != "c" else xp.where(x == 0, x.dtype.type(complex(math.inf, math.nan)), x**y)


def _whole_power(xp: Any, x: Any, y: Any) -> Any:
    if not hasattr(y, "dtype"):
        if y < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if x.dtype.kind == "b":
            return x | (not y)
        return x ** fitting(y, x.dtype)
    if not hasattr(x, "dtype"):
        x = xp.asarray(x & ((1 << 8 * y.dtype.itemsize) - 1), np.uint64).astype(y.dtype)
    if y.dtype.kind == "b":
        return x | ~y
    if y.dtype.kind == "u":
        return x**y
    below = y < 0
    sign = xp.where(y & 1 == 1, x, x * x)  # of 1 and -1
    return xp.where(below, xp.where((x == 1) | (x == -1), sign, 0), x ** xp.where(below, 0, y))


def _kind(x: Any) -> str:
    """The kind of numbers in a tensor or array: ``"f"``, ``"c"``, …"""
    return raw(x).dtype.kind


def _pow_base(g, ans, x, y):
    if y.__class__ is int or y.__class__ is float:
        if y == 2:
            return (g + g) * x.conjugate()
        if y == 0:
            return g * 0
        return g * ((pow(x, -0.5) if y == 0.5 else x ** (y - 1)) * y).conj()
    y = in_type_of(g, y)
    return g * where(y == 0, 0.0, y * pow(x, y - 1)).conj()


def _pow_exponent(g, ans, x, y):
    x = in_type_of(g, x)
    if not hasattr(x, "shape"):
        if x == 0:
            return g * where((y.real >= 0) & (y.imag == 0) if _kind(y) == "c" else y >= 0, 0.0, ans * -math.inf).conj()
        if x.__class__ is complex or _kind(y) == "c":
            return g * (ans * cmath.log(x)).conj()
        return g * (ans * (math.log(x) if x > 0 else math.nan))
    if _kind(g) == "c" and _kind(x) != "c":  # a negative number, too, has a complex logarithm
        x = x.to(dtypes.from_numpy_dtype(raw(g).dtype)) if x.__class__ in TENSORS else x.astype(g.dtype)
    return g * where((x == 0) & (y.real >= 0), 0.0, ans * log(x)).conj()


pow.defvjp(_pow_base, _pow_exponent, saves=("x y", "ans x y"))


pow.primitive.fitting_number = True


@primitive("square", grad_name="PowBackward0")
def square(xp, x):
    """``input ** 2``; of bools int64.

    >>> torch.square(torch.tensor([2.0, 3.0]))
    tensor([4., 9.])
    """
    return xp.square(x) if x.dtype.kind != "b" else x.astype(np.int64)


square.defvjp(lambda g, ans, x: (g + g) * x.conjugate(), saves="x")


@primitive("reciprocal", "reciprocal_", promote="float")
def reciprocal(xp, x):
    """``1 / input``.

    >>> torch.reciprocal(torch.tensor([2.0, 4.0]))
    tensor([0.5000, 0.2500])
    """
    return _reciprocal(xp, x)


reciprocal.defvjp(lambda g, ans, x: -g * (ans * ans).conj(), saves="ans")
