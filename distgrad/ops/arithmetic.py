"""Sums, products and powers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from .._arguments import checked, is_number, misfit
from ..autograd import Tensor, primitive
from ..autograd.tensor import TENSORS
from ..autograd.views import write
from ._choosing import chosen
from ._declare import Number, Operand, in_type_of, method, noun, numbers_first, raw, unknown, wide
from ._numbers import fitting
from ._pieces import in_pieces
from .elementwise import log
from .selection import where

__all__ = [
    "add", "addcdiv", "addcmul", "lerp", "maximum", "minimum", "mul", "multiply", "neg", "negative", "positive",
    "rsub", "sub", "subtract", "xlogy",
]  # fmt: skip


@primitive("__add__", "__radd__", "__iadd__", promote="same", grad_name="AddBackward0")
def _add(xp, x, y):
    return xp.add(x, y)


_add.primitive.ufunc = np.add
_add.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: g, saves="")


def _sub_name(node: Any) -> str:
    return "RsubBackward1" if isinstance(node.args[0], (int, float, complex)) else "SubBackward0"


@primitive("__sub__", "__rsub__", "__isub__", promote="same", grad_name=_sub_name)
def _sub(xp, x, y):
    try:
        return xp.subtract(x, y)
    except TypeError:
        raise _no_difference("two bool tensors") from None


def _no_difference(what: str) -> RuntimeError:
    instead = "Use the `^` or `logical_xor()` operator instead."
    if what == "a bool tensor":
        instead = "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
    return RuntimeError(f"Subtraction, the `-` operator, with {what} is not supported. {instead}")


def _not_of_bools(operands: Any) -> None:
    """RuntimeError where bools are among the operands of a difference, which would count as 0 and 1."""
    bools = [getattr(a, "dtype", None) == np.bool_ or a.__class__ is bool for a in operands]
    if any(bools):
        raise _no_difference("two bool tensors" if all(bools) else "a bool tensor")


_sub.primitive.refuse = _not_of_bools
_sub.primitive.ufunc = np.subtract
_sub.defvjp(lambda g, ans, x, y: g, lambda g, ans, x, y: -g, saves="")


@primitive("__mul__", "__rmul__", "__imul__", "mul", "mul_", "multiply", "multiply_", promote="same")
def mul(xp, x, y):
    """``mul(input, other)``: elementwise product, with broadcasting.

    >>> torch.mul(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor([3., 8.])
    """
    return xp.multiply(x, y)


mul.primitive.ufunc = np.multiply
mul.defvjp(
    lambda g, ans, x, y: g * y.conjugate(),
    lambda g, ans, x, y: g * x.conjugate(),
    saves=("y", "x"),
)
mul.primitive.wide_number = True
multiply = mul


@primitive("__neg__", "neg", "negative", "neg_")
def neg(xp, x):
    """``neg(input)``: ``-input``.

    >>> torch.neg(torch.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    if x.dtype.kind == "b":
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    return xp.negative(x)


neg.defvjp(lambda g, ans, x: -g, saves="")
negative = neg


@method("__pos__", "positive")
def positive(input: Tensor) -> Tensor:
    """``positive(input)``: the input itself; RuntimeError for bools.

    >>> torch.positive(torch.tensor([-1.0]))
    tensor([-1.])
    """
    if input.__class__ in TENSORS and input._data.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def _factor(alpha: Number, kind: Any) -> Number:
    """``alpha``, which scales numbers of the NumPy dtype ``kind``, as one of them; RuntimeError where it is none."""
    if not (is_number(alpha) or isinstance(alpha, complex)):
        raise misfit(alpha, "Number")
    if alpha.__class__ is bool and kind.kind != "b":
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if kind.kind in "biu" and not isinstance(alpha, (int, np.integer)):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if isinstance(alpha, complex) and kind.kind != "c":
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")
    return fitting(alpha, kind)


@primitive(promote="same", grad_name="AddBackward0")
def _add_scaled(xp, x, y, alpha):
    """``x + alpha * y``, scaled in the common type."""
    return x + _times(xp, x, y, alpha)


def _times(xp: Any, x: Any, y: Any, alpha: Number) -> Any:
    """``alpha * y`` in the type of ``x`` and ``y``, of which one may be a number."""
    kind = x.dtype if hasattr(x, "dtype") else y.dtype
    return (y if hasattr(y, "dtype") else xp.asarray(y).astype(kind)) * xp.asarray(_factor(alpha, kind), kind)


_add_scaled.defvjp(lambda g, ans, x, y, alpha: g, lambda g, ans, x, y, alpha: mul(g, alpha.conjugate()), saves="")


@primitive(promote="same", grad_name="SubBackward0")
def _sub_scaled(xp, x, y, alpha):
    """``x - alpha * y``, likewise."""
    return x - _times(xp, x, y, alpha)


_sub_scaled.defvjp(lambda g, ans, x, y, alpha: g, lambda g, ans, x, y, alpha: -mul(g, alpha.conjugate()), saves="")
_sub_scaled.primitive.refuse = lambda operands: _not_of_bools(operands[:2])


def _alpha_first(name: str, alpha: Any, rest: tuple[Any, ...]) -> tuple[Any, Any]:
    """Of PyTorch's old order ``add(input, alpha, other)`` the last two, in the new one; TypeError for anything else."""
    if len(rest) != 1 or alpha.__class__ in TENSORS or rest[0].__class__ not in TENSORS:
        raise TypeError(f"{name}() takes 2 positional arguments but {2 + len(rest)} were given")
    return rest[0], alpha


@method("add", check=False)
def add(input: Operand, other: Operand, *old: Operand, alpha: Number = 1) -> Tensor:
    """``input + alpha * other``, elementwise with broadcasting.

    >>> torch.add(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]), alpha=2)
    tensor([21., 42.])
    """
    if old:
        other, alpha = _alpha_first("add", other, old)
    return _add(input, other) if alpha.__class__ is int and alpha == 1 else _add_scaled(input, other, alpha)


@method("sub", "subtract", check=False)
def sub(input: Operand, other: Operand, *old: Operand, alpha: Number = 1) -> Tensor:
    """``input - alpha * other``, elementwise with broadcasting.

    >>> torch.sub(torch.tensor([10.0, 20.0]), torch.tensor([1.0, 2.0]), alpha=2)
    tensor([ 8., 16.])
    """
    if old:
        other, alpha = _alpha_first("sub", other, old)
    return _sub(input, other) if alpha.__class__ is int and alpha == 1 else _sub_scaled(input, other, alpha)


subtract = sub


@checked
def rsub(input: Tensor, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``other - alpha * input``.

    >>> torch.rsub(torch.tensor([1.0, 2.0]), 10)
    tensor([9., 8.])
    """
    return sub(other, input, alpha=alpha)


@method("add_", check=False)
def add_(self: Tensor, other: Operand, *old: Operand, alpha: Number = 1) -> Tensor:
    """In place: ``self += alpha * other``."""
    if old:
        other, alpha = _alpha_first("add_", other, old)
    if alpha.__class__ is int and alpha == 1:
        return self.__iadd__(other)
    return write(_add_scaled.primitive, self, (other, alpha), {})


@method("sub_", "subtract_", check=False)
def sub_(self: Tensor, other: Operand, *old: Operand, alpha: Number = 1) -> Tensor:
    """In place: ``self -= alpha * other``."""
    if old:
        other, alpha = _alpha_first("sub_", other, old)
    if alpha.__class__ is int and alpha == 1:
        return self.__isub__(other)
    return write(_sub_scaled.primitive, self, (other, alpha), {})


@primitive("maximum", promote="same")
def maximum(xp, x, y):
    """The larger of each pair; NaN wins; a tie shares its gradient evenly, beside NaN both get it.

    >>> torch.maximum(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0]))
    tensor([3., 5.])
    """
    if hasattr(x, "dtype") and x.dtype.kind == "c":
        raise unknown("maximum", x)
    return xp.maximum(x, y)


maximum.defvjp(
    lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g / 2, g)),
    lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g / 2, g)),
    saves="x y",
)


@primitive("minimum", promote="same")
def minimum(xp, x, y):
    """The smaller of each pair; NaN wins; a tie shares its gradient evenly, beside NaN both get it.

    >>> torch.minimum(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    if hasattr(x, "dtype") and x.dtype.kind == "c":
        raise unknown("minimum", x)
    return xp.minimum(x, y)


minimum.defvjp(
    lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g / 2, g)),
    lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g / 2, g)),
    saves="x y",
)


def _check_ends(input: Tensor, end: Tensor, weight: Any) -> None:
    if raw(input).dtype.kind in "biu":
        raise unknown("lerp", input)
    x: Any
    for role, x in (("end", end), ("weight", weight)):
        if x.__class__ in TENSORS and x._data.dtype != input._data.dtype and (role == "end" or x._data.ndim):
            raise RuntimeError(f"expected dtype {noun(input)} for `{role}` but got dtype {noun(x)}")


@method("lerp")
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """``input + weight * (end - input)``, from the nearer end: weight 1 gives ``end``; not of integers.

    >>> torch.lerp(torch.tensor([0.0]), torch.tensor([10.0]), 0.25)
    tensor([2.5000])
    """
    _check_ends(input, end, weight)
    return _lerp(input, end, weight)


@primitive(promote="same", grad_name=lambda node: f"LerpBackward{int(hasattr(node.args[2], 'shape'))}")
@in_pieces
def _lerp(xp, x, end, weight):
    kind = x.dtype
    x, end, weight = wide(x), wide(end), wide(weight)
    off = end - x
    if hasattr(weight, "dtype"):
        ans = xp.where(weight.real < 0.5, x + weight * off, end - (1 - weight) * off)
    else:
        ans = x + off * weight if abs(weight) < 0.5 else end - off * (1 - weight)
    return ans.astype(kind, copy=False)


_lerp.defvjp(
    lambda g, ans, x, end, weight: g * (1 - weight).conjugate(),
    lambda g, ans, x, end, weight: g * weight.conjugate(),
    lambda g, ans, x, end, weight: g * (end - x).conj(),
    saves=("weight", "weight", "x end"),
)
_lerp.primitive.wide_number = True


def _by(x: Any, value: Any) -> Any:
    """``value * x``, an array of half precision in float32, where the number is not rounded."""
    return mul(x, value if x.__class__ in TENSORS or x.dtype.itemsize != 2 else np.float32(value))


@primitive(promote="same", grad_name="AddcmulBackward0")
@in_pieces
def _addcmul(xp, x, a, b, value):
    kind = x.dtype if hasattr(x, "dtype") else a.dtype
    if kind.kind in "biu":
        if kind.kind == "b":
            raise unknown("addcmul_cpu_out", a)
        value = fitting(value, kind)
    return (wide(x) + wide(a) * value * wide(b)).astype(kind, copy=False)


_addcmul.defvjp(
    lambda g, ans, x, a, b, value: g,
    lambda g, ans, x, a, b, value: mul(g, _by(in_type_of(g, b), value).conj()),
    lambda g, ans, x, a, b, value: mul(g, _by(in_type_of(g, a), value).conj()),
    saves=("", "b", "a"),
)


@numbers_first("value", methods=("addcmul",))
@checked
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``, in their common type.

    >>> torch.addcmul(torch.tensor([1.0]), torch.tensor([6.0]), torch.tensor([3.0]), value=0.5)
    tensor([10.])
    """
    return _addcmul(input, tensor1, tensor2, value)


@primitive("xlogy", promote="float")
def xlogy(xp, x, y):
    """``xlogy(input, other)``: input * log(other), 0 where input is 0 (unless other is NaN).

    >>> torch.xlogy(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    given = x if hasattr(x, "dtype") else y
    if given.dtype.kind == "c":
        raise unknown("xlogy", given)
    logs = xp.log(y) if backend.is_array(y) else xp.asarray(np.log(y)).astype(x.dtype)
    return chosen(xp, (x == 0) & (y == y), 0.0, x * logs)


def _xlogy_first(g: Any, x: Any, y: Any) -> Any:
    slope = math.log(y) if y > 0 else -math.inf if y == 0 else math.nan
    return g * slope if y > 0 else where(x == 0, 0.0, g * slope)


xlogy.defvjp(
    lambda g, ans, x, y: (
        where((x == 0) & (y <= 0), 0.0, g * log(in_type_of(g, y))) if hasattr(y, "dtype") else _xlogy_first(g, x, y)
    ),
    lambda g, ans, x, y: g * x / y,
    saves="x y",
)


@primitive(promote="same", grad_name="AddcdivBackward0")
@in_pieces
def _addcdiv(xp, x, a, b, value):
    kind = x.dtype if hasattr(x, "dtype") else a.dtype
    return (wide(x) + wide(a) * value / wide(b)).astype(kind, copy=False)


_addcdiv.defvjp(
    lambda g, ans, x, a, b, value: g,
    lambda g, ans, x, a, b, value: mul(g, (value / in_type_of(g, b)).conj()),
    lambda g, ans, x, a, b, value: mul(-g, _addcdiv_slope(in_type_of(g, a), in_type_of(g, b), value).conj()),
    saves=("", "b", "a b"),
)


def _addcdiv_slope(a: Any, b: Any, value: Number) -> Any:
    return _by(a, value) / (b * b)


def _no_integers(tensor1: Tensor, tensor2: Tensor) -> None:
    if raw(tensor1).dtype.kind in "biu" and raw(tensor2).dtype.kind in "biu":
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future release addcdiv will perform a true "
            "division of tensor1 and tensor2."
        )


@numbers_first("value", methods=("addcdiv",))
@checked
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``, in their common type; RuntimeError where both are integers.

    >>> torch.addcdiv(torch.tensor([1.0]), torch.tensor([6.0]), torch.tensor([3.0]), value=0.5)
    tensor([2.])
    """
    _no_integers(tensor1, tensor2)
    return _addcdiv(input, tensor1, tensor2, value)


@numbers_first("value", methods=("addcmul_",))
@checked
def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """In place: ``self += value * tensor1 * tensor2``."""
    return write(_addcmul.primitive, self, (tensor1, tensor2, value), {})


@numbers_first("value", methods=("addcdiv_",))
@checked
def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """In place: ``self += value * tensor1 / tensor2``."""
    _no_integers(tensor1, tensor2)
    return write(_addcdiv.primitive, self, (tensor1, tensor2, value), {})


@method("lerp_")
def lerp_(self: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """In place: :func:`lerp`."""
    _check_ends(self, end, weight)
    return write(_lerp.primitive, self, (end, weight), {})
