"""Sums, products and powers."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd import Tensor, primitive
from ..autograd.tensor import TENSORS
from ._declare import Number, Operand, in_type_of, method, noun, raw, unknown
from ._numbers import fitting


@primitive("__add__", "__radd__", "__iadd__", promote="same", grad_name="AddBackward0")
def _add(xp, x, y):
    return xp.add(x, y)


_add.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: g)


def _sub_name(node: Any) -> str:
    return "RsubBackward1" if isinstance(node.args[0], (int, float, complex)) else "SubBackward0"


@primitive("__sub__", "__rsub__", "__isub__", promote="same", grad_name=_sub_name)
def _sub(xp, x, y):
    try:
        return xp.subtract(x, y)
    except TypeError:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        ) from None


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
        return _floor_divide(input, other)
    if rounding_mode == "trunc":
        return _trunc_divide(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


divide = true_divide = div


@method("div_", "divide_", "true_divide_")
def div_(self: Tensor, other: Operand) -> Tensor:
    """In place: ``self /= other``."""
    return self.__itruediv__(other)


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
    ``div(..., rounding_mode="floor")`` has one, 0."""
    _not_by_zero(xp, x, y, "div_floor")
    return xp.floor_divide(x, y)


def _no_gradient(g, ans, x, y):
    raise RuntimeError("derivative for floor_divide is not implemented; div(..., rounding_mode='floor') has one")


floor_divide.defvjp(_no_gradient, _no_gradient)


@primitive(promote="same", grad_name="DivBackward1")
def _floor_divide(xp, x, y):
    _not_by_zero(xp, x, y, "div_floor")
    return xp.floor_divide(x, y)


_floor_divide.defvjp(lambda g, ans, x, y: g * 0, lambda g, ans, x, y: g * 0)


@primitive(promote="same", grad_name="DivBackward1")
def _trunc_divide(xp, x, y):
    _not_by_zero(xp, x, y, "div_trunc")
    if _integral(x, y):
        down = xp.floor_divide(x, y)
        return down + ((down < 0) & (down * y != x))
    return xp.trunc(xp.true_divide(x, y))


_trunc_divide.defvjp(lambda g, ans, x, y: g * 0, lambda g, ans, x, y: g * 0)


@primitive("__mod__", "__rmod__", "__imod__", "remainder", "remainder_", promote="same")
def remainder(xp, x, y):
    """``input - floor(input / other) * other``: has the sign of ``other``; of integers by 0 RuntimeError."""
    _not_by_zero(xp, x, y, "remainder")
    return xp.remainder(x, y)


remainder.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g * _floor_divide(x, y))


@primitive("fmod", "fmod_", promote="same")
def fmod(xp, x, y):
    """``input - trunc(input / other) * other``: has the sign of ``input``; of integers by 0 RuntimeError."""
    _not_by_zero(xp, x, y, "fmod")
    return xp.fmod(x, y)


fmod.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g * _trunc_divide(x, y))


def _pow_name(node: Any) -> str:
    number = node.args is None or not hasattr(node.args[1], "shape")  # a freed node does not know any more
    return "PowBackward0" if number and node.edges[1] is None else "PowBackward1"


@primitive("__pow__", "__rpow__", "pow", "pow_", "__ipow__", promote="power", grad_name=_pow_name)
def pow(xp, x, y):
    """``pow(input, exponent)``: elementwise power; either may be a number.

    Integers to negative powers: RuntimeError for a number, for a tensor of exponents 0 but where the base is 1 or -1.
    """
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
    return xp.where(below, xp.where(x * x == 1, sign, 0), x ** xp.where(below, 0, y))


def _kind(x: Any) -> str:
    """The kind of numbers in a tensor or array: ``"f"``, ``"c"``, …"""
    return raw(x).dtype.kind


def _pow_base(g, ans, x, y):
    y = in_type_of(g, y)
    if y.__class__ is int or y.__class__ is float:
        if y == 2:
            return (g + g) * x.conjugate()
        if y == 0:
            return g * 0
        return g * ((pow(x, -0.5) if y == 0.5 else x ** (y - 1)) * y).conj()
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


pow.defvjp(_pow_base, _pow_exponent)


@primitive("square", grad_name="PowBackward0")
def square(xp, x):
    """``input ** 2``; of bools int64."""
    return xp.square(x) if x.dtype.kind != "b" else x.astype(np.int64)


square.defvjp(lambda g, ans, x: (g + g) * x.conjugate())


@primitive("reciprocal", "reciprocal_", promote="float")
def reciprocal(xp, x):
    """``1 / input``."""
    return _reciprocal(xp, x)


reciprocal.defvjp(lambda g, ans, x: -g * (ans * ans).conj())


@primitive("maximum", promote="same")
def maximum(xp, x, y):
    """The larger of each pair; NaN wins; a tie shares its gradient evenly, beside NaN both get it."""
    if hasattr(x, "dtype") and x.dtype.kind == "c":
        raise unknown("maximum", x)
    return xp.maximum(x, y)


maximum.defvjp(
    lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g / 2, g)),
    lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g / 2, g)),
)


@primitive("minimum", promote="same")
def minimum(xp, x, y):
    """The smaller of each pair; NaN wins; a tie shares its gradient evenly, beside NaN both get it."""
    if hasattr(x, "dtype") and x.dtype.kind == "c":
        raise unknown("minimum", x)
    return xp.minimum(x, y)


minimum.defvjp(
    lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g / 2, g)),
    lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g / 2, g)),
)


@method("lerp")
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """``input + weight * (end - input)``, from the nearer end: weight 1 gives ``end``; not of integers."""
    if raw(input).dtype.kind in "biu":
        raise unknown("lerp", input)
    if end.dtype != input.dtype:
        raise RuntimeError(f"expected dtype {noun(input)} for `end` but got dtype {noun(end)}")
    off = end - input
    if weight.__class__ in TENSORS:
        return where(raw(weight).real < 0.5, input + weight * off, end - (1 - weight) * off)
    return input + off * weight if abs(weight) < 0.5 else end - off * (1 - weight)


@method("addcmul")
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    return input + tensor1 * tensor2 * value


@primitive("xlogy", promote="float")
def xlogy(xp, x, y):
    """``xlogy(input, other)``: input * log(other), 0 where input is 0 (unless other is NaN)."""
    given = x if hasattr(x, "dtype") else y
    if given.dtype.kind == "c":
        raise unknown("xlogy", given)
    logs = xp.log(y) if backend.is_array(y) else float(np.log(y))
    return xp.where((x == 0) & (y == y), 0.0, x * logs)


def _xlogy_first(g: Any, x: Any, y: Any) -> Any:
    slope = math.log(y) if y > 0 else -math.inf if y == 0 else math.nan
    return g * slope if y > 0 else where(x == 0, 0.0, g * slope)


xlogy.defvjp(
    lambda g, ans, x, y: (
        where((x == 0) & (y <= 0), 0.0, g * log(in_type_of(g, y))) if hasattr(y, "dtype") else _xlogy_first(g, x, y)
    ),
    lambda g, ans, x, y: g * x / y,
)


@method("addcdiv")
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``; RuntimeError where both are integers."""
    if raw(tensor1).dtype.kind in "biu" and raw(tensor2).dtype.kind in "biu":
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future release addcdiv will perform a true "
            "division of tensor1 and tensor2."
        )
    return input + tensor1 / tensor2 * value


@method("addcmul_")
def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """In place: ``self += value * tensor1 * tensor2``."""
    return self.__iadd__(tensor1 * tensor2 * value)


@method("addcdiv_")
def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """In place: ``self += value * tensor1 / tensor2``."""
    return self.__iadd__(addcdiv(0.0, tensor1, tensor2, value=value))  # type: ignore[arg-type]


@method("lerp_")
def lerp_(self: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """In place: ``self += weight * (end - self)``."""
    return self.__iadd__(weight * (end - self))


from .elementwise import _reciprocal, log  # noqa: E402 - rules of the two files use each other
from .selection import where  # noqa: E402
