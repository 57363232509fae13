"""Sums, products and powers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd import Tensor, primitive
from ..autograd.tensor import TENSORS
from ._declare import Number, Operand, method


@primitive("__add__", "__radd__", "__iadd__", promote="same", grad_name="AddBackward0")
def _add(xp, x, y):
    return xp.add(x, y)


_add.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: g)


def _sub_name(node: Any) -> str:
    return "RsubBackward1" if isinstance(node.args[0], (int, float, complex)) else "SubBackward0"


@primitive("__sub__", "__rsub__", "__isub__", promote="same", grad_name=_sub_name)
def _sub(xp, x, y):
    return xp.subtract(x, y)


_sub.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g)


@primitive("__mul__", "__rmul__", "__imul__", "mul", "mul_", "multiply", "multiply_", promote="same")
def mul(xp, x, y):
    """``mul(input, other)``: elementwise product, with broadcasting."""
    return xp.multiply(x, y)


mul.defvjp(
    lambda g, ans, x, y: g * y.conjugate(),
    lambda g, ans, x, y: g * x.conjugate(),
)
multiply = mul


@primitive("__truediv__", "__itruediv__", promote="float", grad_name="DivBackward0")
def _div(xp, x, y):
    return xp.true_divide(x, y)


_div.defvjp(
    lambda g, ans, x, y: g / y.conjugate(),
    lambda g, ans, x, y: -g * (x / y / y).conjugate(),
)


@method("__rtruediv__")
def _divided(self: Tensor, other: Any) -> Tensor:
    """``other / self``: of a number, as in PyTorch, the reciprocal times it."""
    return reciprocal(self) * other if isinstance(other, (int, float, complex)) else _div(other, self)


@primitive("__neg__", "neg", "negative", "neg_")
def neg(xp, x):
    """``neg(input)``: ``-input``."""
    if x.dtype.kind == "b":
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. Use the `~` operator instead."
        )
    return xp.negative(x)


neg.defvjp(lambda g, ans, x: -g)
negative = neg


@method("__pos__", "positive")
def positive(input: Tensor) -> Tensor:
    """``positive(input)``: the input itself; RuntimeError for bools."""
    if input.__class__ in TENSORS and input._data.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@method("add")
def add(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``input + alpha * other``, elementwise with broadcasting."""
    return _add(input, other) if alpha == 1 else _add(input, mul(other, alpha))


@method("sub", "subtract")
def sub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``input - alpha * other``, elementwise with broadcasting."""
    return _sub(input, other) if alpha == 1 else _sub(input, mul(other, alpha))


subtract = sub


def rsub(input: Tensor, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``other - alpha * input``."""
    return sub(other, input, alpha=alpha)


@method("add_")
def add_(self: Tensor, other: Operand, *, alpha: Number = 1) -> Tensor:
    """In place: ``self += alpha * other``."""
    return self.__iadd__(other if alpha == 1 else mul(other, alpha))


@method("sub_", "subtract_")
def sub_(self: Tensor, other: Operand, *, alpha: Number = 1) -> Tensor:
    """In place: ``self -= alpha * other``."""
    return self.__isub__(other if alpha == 1 else mul(other, alpha))


@method("div", "divide", "true_divide")
def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``; ``rounding_mode``: None (true division), ``"trunc"`` or ``"floor"`` (without a gradient)."""
    if rounding_mode is None:
        return _div(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return _trunc_divide(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


divide = true_divide = div


@method("div_", "divide_", "true_divide_")
def div_(self: Tensor, other: Operand) -> Tensor:
    """In place: ``self /= other``."""
    return self.__itruediv__(other)


def _ordered(x: Any, y: Any, kernel: str) -> None:
    """NotImplementedError, as in PyTorch, for bools and complex numbers."""
    kind = (x if hasattr(x, "dtype") else y).dtype
    if kind.kind in "bc":
        name = dtypes.from_numpy_dtype(kind).tensor_type.removesuffix("Tensor")
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{name}'")


@primitive("__floordiv__", "__rfloordiv__", "__ifloordiv__", "floor_divide", "floor_divide_", promote="same")
def floor_divide(xp, x, y):
    """``floor(input / other)``; integers stay integers.  Constant between steps: its gradient is 0."""
    _ordered(x, y, "div_floor_cpu")
    return xp.floor_divide(x, y)


floor_divide.defvjp(lambda g, ans, x, y: g * 0, lambda g, ans, x, y: g * 0)


@primitive(promote="same", grad_name="DivBackward1")
def _trunc_divide(xp, x, y):
    if x.dtype.kind in "iu":
        return (xp.abs(x) // xp.abs(y)) * (xp.sign(x) * xp.sign(y))
    return xp.trunc(xp.true_divide(x, y))


_trunc_divide.defvjp(lambda g, ans, x, y: g * 0, lambda g, ans, x, y: g * 0)


@primitive("__mod__", "__rmod__", "__imod__", "remainder", "remainder_", promote="same")
def remainder(xp, x, y):
    """``input - floor(input / other) * other``: has the sign of ``other``."""
    _ordered(x, y, "remainder_cpu")
    return xp.remainder(x, y)


remainder.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g * floor_divide(x, y))


@primitive("fmod", "fmod_", promote="same")
def fmod(xp, x, y):
    """``input - trunc(input / other) * other``: has the sign of ``input``."""
    return xp.fmod(x, y)


fmod.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g * _trunc_divide(x, y))


def _pow_name(node: Any) -> str:
    number = node.args is None or not hasattr(node.args[1], "shape")  # a freed node does not know any more
    return "PowBackward0" if number and node.edges[1] is None else "PowBackward1"


@primitive("__pow__", "__rpow__", "pow", "pow_", "__ipow__", promote="same", grad_name=_pow_name)
def pow(xp, x, y):
    """``pow(input, exponent)``: elementwise power; either may be a number."""
    if getattr(y, "dtype", None) == np.bool_ and getattr(x, "dtype", None) == np.bool_:
        raise NotImplementedError("\"pow\" not implemented for 'Bool'")
    if y.__class__ is int and y < 0 and x.dtype.kind in "iu":
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    if y.__class__ is bool and x.dtype.kind == "b":
        return x | (not y)
    return x**y


def _pow_base(g, ans, x, y):
    if y.__class__ is int or y.__class__ is float:
        if y == 2:
            return (g + g) * x.conjugate()
        if y == 0:
            return g * 0
        return g * (x ** (y - 1) * y).conj()
    return g * where(y == 0, 0.0, y * pow(x, y - 1)).conj()


def _pow_exponent(g, ans, x, y):
    if not hasattr(x, "shape"):
        return g * (ans * math.log(x)).conj() if x else where(y >= 0, 0.0, g * -math.inf)
    return g * where((x == 0) * (y.real >= 0), 0.0, ans * log(x)).conj()


pow.defvjp(_pow_base, _pow_exponent)


@primitive("square", grad_name="PowBackward0")
def square(xp, x):
    """``input ** 2``; of bools int64."""
    return xp.square(x) if x.dtype.kind != "b" else x.astype(np.int64)


square.defvjp(lambda g, ans, x: (g + g) * x.conjugate())


@primitive("reciprocal", "reciprocal_", promote="float")
def reciprocal(xp, x):
    """``1 / input``."""
    return xp.reciprocal(x)


reciprocal.defvjp(lambda g, ans, x: -g * (ans * ans).conj())


@primitive("maximum", promote="same")
def maximum(xp, x, y):
    """The larger of each pair; NaN wins; a tie shares its gradient evenly, beside NaN both get it."""
    return xp.maximum(x, y)


maximum.defvjp(
    lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g / 2, g)),
    lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g / 2, g)),
)


@primitive("minimum", promote="same")
def minimum(xp, x, y):
    """The smaller of each pair; NaN wins; a tie shares its gradient evenly, beside NaN both get it."""
    return xp.minimum(x, y)


minimum.defvjp(
    lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g / 2, g)),
    lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g / 2, g)),
)


@method("lerp")
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """``input + weight * (end - input)``."""
    return input + weight * (end - input)


@method("addcmul")
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    return input + tensor1 * tensor2 * value


@primitive("xlogy", promote="float")
def xlogy(xp, x, y):
    """``xlogy(input, other)``: input * log(other), 0 where input is 0 (unless other is NaN)."""
    logs = xp.log(y) if backend.is_array(y) else float(np.log(y))
    return xp.where((x == 0) & (y == y), 0.0, x * logs)


xlogy.defvjp(
    lambda g, ans, x, y: where((x == 0) & (y <= 0), 0.0, g * log(y)),
    lambda g, ans, x, y: g * x / y,
)


@method("addcdiv")
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    return input + tensor1 / tensor2 * value


@method("addcmul_")
def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """In place: ``self += value * tensor1 * tensor2``."""
    return self.__iadd__(tensor1 * tensor2 * value)


@method("addcdiv_")
def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """In place: ``self += value * tensor1 / tensor2``."""
    return self.__iadd__(tensor1 / tensor2 * value)


@method("lerp_")
def lerp_(self: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """In place: ``self += weight * (end - self)``."""
    return self.__iadd__(weight * (end - self))


from .elementwise import log  # noqa: E402 - rules of the two files use each other
from .selection import where  # noqa: E402
