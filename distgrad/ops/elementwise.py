"""Functions of one real or complex number: exponentials, logarithms, roots, trigonometry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arguments import checked
from ..autograd import Tensor, primitive
from . import _float32
from ._declare import attach, in_type_of, unknown
from ._pieces import in_pieces
from .selection import where

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "conj", "conj_physical", "cos", "cosh", "exp",
    "exp2", "expm1", "imag", "log", "log10", "log1p", "log2", "real", "rsqrt", "sigmoid", "sin", "sinh", "sqrt",
    "tan", "tanh",
]  # fmt: skip

pi = math.pi


@primitive("exp", "exp_", promote="float")
def exp(xp, x):
    """``exp(input)``: e to the power of each element.

    >>> torch.exp(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return xp.exp(x)


exp.defvjp(lambda g, ans, x: g * ans.conj(), saves="ans")


@primitive("exp2", promote="float")
def exp2(xp, x):
    """``exp2(input)``: 2 to the power of each element.

    >>> torch.exp2(torch.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """
    return xp.exp2(x)


exp2.defvjp(in_pieces(lambda g, ans, x: g * ans.conj() * math.log(2)), saves="ans")


@primitive("expm1", promote="float")
def expm1(xp, x):
    """``expm1(input)``: exp(input) - 1, exact near 0.

    >>> torch.expm1(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    return _float32.expm1(xp, x)


expm1.defvjp(in_pieces(lambda g, ans, x: g * (ans + 1).conj()), saves="ans")


@primitive("log", "log_", promote="float")
def log(xp, x):
    """``log(input)``: natural logarithm.

    >>> torch.log(torch.tensor([1.0, 2.0]))
    tensor([0.0000, 0.6931])
    """
    return xp.log(x)


log.defvjp(lambda g, ans, x: g / x.conj(), saves="x")


@primitive("log2", promote="float")
def log2(xp, x):
    """``log2(input)``: logarithm to base 2.

    >>> torch.log2(torch.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return xp.log2(x)


log2.defvjp(in_pieces(lambda g, ans, x: g / (x.conj() * math.log(2))), saves="x")


@primitive("log10", promote="float")
def log10(xp, x):
    """``log10(input)``: logarithm to base 10.

    >>> torch.log10(torch.tensor([1.0, 100.0]))
    tensor([0., 2.])
    """
    return xp.log10(x)


log10.defvjp(in_pieces(lambda g, ans, x: g / (x.conj() * math.log(10))), saves="x")


@primitive("log1p", promote="float")
def log1p(xp, x):
    """``log1p(input)``: log(1 + input), exact near 0.

    >>> torch.log1p(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    return _float32.log1p(xp, x)


log1p.defvjp(in_pieces(lambda g, ans, x: g / (x + 1).conj()), saves="x")


@primitive("sqrt", "sqrt_", promote="float")
def sqrt(xp, x):
    """``sqrt(input)``: square root.

    >>> torch.sqrt(torch.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return xp.sqrt(x)


sqrt.defvjp(in_pieces(lambda g, ans, x: g / (ans * 2).conj()), saves="ans")


@primitive("rsqrt", promote="float")
def rsqrt(xp, x):
    """``rsqrt(input)``: 1 / sqrt(input).

    >>> torch.rsqrt(torch.tensor([4.0, 16.0]))
    tensor([0.5000, 0.2500])
    """
    out = xp.sqrt(x)
    return _reciprocal(xp, out)


def _reciprocal(xp: Any, x: Any) -> Any:
    """One over ``x``; of a complex 0, as in PyTorch, infinite in its real part."""
    out = 1 / x if x.dtype.kind != "c" else xp.reciprocal(x)
    return out if x.dtype.kind != "c" else xp.where(x == 0, x.dtype.type(complex(math.inf, math.nan)), out)


rsqrt.defvjp(in_pieces(lambda g, ans, x: g * (ans * ans * ans * -0.5).conj()), saves="ans")


@primitive("sin", promote="float")
def sin(xp, x):
    """``sin(input)``: sine, of radians.

    >>> torch.sin(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return xp.sin(x)


@primitive("cos", promote="float")
def cos(xp, x):
    """``cos(input)``: cosine, of radians.

    >>> torch.cos(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return xp.cos(x)


sin.defvjp(lambda g, ans, x: g * cos(x).conj(), saves="x")
cos.defvjp(lambda g, ans, x: g * -sin(x).conj(), saves="x")


@primitive("tan", promote="float")
def tan(xp, x):
    """``tan(input)``: tangent, of radians.

    >>> torch.tan(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """
    return xp.tan(x)


tan.defvjp(in_pieces(lambda g, ans, x: g * (ans * ans + 1).conj()), saves="ans")


@primitive("asin", "arcsin", promote="float")
def asin(xp, x):
    """``asin(input)``: inverse sine, in radians.

    >>> torch.asin(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """
    return xp.arcsin(x)


asin.defvjp(in_pieces(lambda g, ans, x: g * rsqrt(1 - x * x).conj()), saves="x")


@primitive("acos", "arccos", promote="float")
def acos(xp, x):
    """``acos(input)``: inverse cosine, in radians.

    >>> torch.acos(torch.tensor([0.0, 1.0]))
    tensor([1.5708, 0.0000])
    """
    return xp.arccos(x)


acos.defvjp(in_pieces(lambda g, ans, x: -g * rsqrt(1 - x * x).conj()), saves="x")


@primitive("atan", "arctan", promote="float")
def atan(xp, x):
    """``atan(input)``: inverse tangent, in radians.

    >>> torch.atan(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """
    return xp.arctan(x)


atan.defvjp(in_pieces(lambda g, ans, x: g / (x * x + 1).conj()), saves="x")


@primitive("atan2", "arctan2", promote="float")
def atan2(xp, x, y):
    """``atan2(input, other)``: the angle of the point (other, input), in radians.

    >>> torch.atan2(torch.tensor([1.0]), torch.tensor([-1.0]))
    tensor([2.3562])
    """
    given = x if hasattr(x, "dtype") else y
    if given.dtype.kind == "c":
        raise unknown("atan2", given)
    return xp.arctan2(x, y)


def _inverse_square(g: Any, x: Any, y: Any) -> Any:
    """One over the squared distance from the origin; 0 there, where PyTorch lets the angle have the gradient 0."""
    x, y = (in_type_of(g, a) for a in (x, y))
    square = x * x + y * y
    return where(square == 0, 0.0, 1 / where(square == 0, 1.0, square))


atan2.defvjp(
    lambda g, ans, x, y: g * y * _inverse_square(g, x, y),
    lambda g, ans, x, y: g * -x * _inverse_square(g, x, y),
    saves="x y",
)


@primitive("sinh", promote="float")
def sinh(xp, x):
    """``sinh(input)``: hyperbolic sine.

    >>> torch.sinh(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """
    return _float32.sinh(xp, x)


@primitive("cosh", promote="float")
def cosh(xp, x):
    """``cosh(input)``: hyperbolic cosine.

    >>> torch.cosh(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """
    return _float32.cosh(xp, x)


sinh.defvjp(lambda g, ans, x: g * cosh(x).conj(), saves="x")
cosh.defvjp(lambda g, ans, x: g * sinh(x).conj(), saves="x")


@primitive("tanh", "tanh_", promote="float")
def tanh(xp, x):
    """``tanh(input)``: hyperbolic tangent.

    >>> torch.tanh(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return xp.tanh(x)


tanh.defvjp(in_pieces(lambda g, ans, x: g * (1 - ans * ans).conj()), saves="ans")


@primitive("asinh", "arcsinh", promote="float")
def asinh(xp, x):
    """``asinh(input)``: inverse hyperbolic sine.

    >>> torch.asinh(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """
    return xp.arcsinh(x)


asinh.defvjp(in_pieces(lambda g, ans, x: g * rsqrt(x * x + 1).conj()), saves="x")


@primitive("acosh", "arccosh", promote="float")
def acosh(xp, x):
    """``acosh(input)``: inverse hyperbolic cosine.

    >>> torch.acosh(torch.tensor([1.0, 2.0]))
    tensor([0.0000, 1.3170])
    """
    return xp.arccosh(x)


acosh.defvjp(
    lambda g, ans, x: g / (sqrt(x - 1) * sqrt(x + 1)).conj() if raw_dtype(x).kind == "c" else g * rsqrt(x * x - 1),
    saves="x",
)


@primitive("atanh", "arctanh", promote="float")
def atanh(xp, x):
    """``atanh(input)``: inverse hyperbolic tangent.

    >>> torch.atanh(torch.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """
    return _float32.arctanh(xp, x)


atanh.defvjp(in_pieces(lambda g, ans, x: g / (1 - x * x).conj()), saves="x")


@primitive("sigmoid", "sigmoid_", promote="float")
def sigmoid(xp, x):
    """``sigmoid(input)``: 1 / (1 + exp(-input)), exact to the last digits far below 0, too.

    >>> torch.sigmoid(torch.tensor([0.0, 1.0]))
    tensor([0.5000, 0.7311])
    """
    out = xp.exp(xp.negative(x))
    out += 1
    return xp.divide(1, out, out=out if out.ndim else None)


sigmoid.defvjp(in_pieces(lambda g, ans, x: g * (ans * (1 - ans)).conj()), saves="ans")


@primitive("conj_physical", "_conj")
def conj_physical(xp, x):
    """``conj_physical(input)``: complex conjugate.

    >>> torch.conj_physical(torch.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return xp.conjugate(x) if x.dtype.kind == "c" else x.copy()


conj_physical.defvjp(lambda g, ans, x: g.conj(), saves="")


@primitive("_real_part", view=True, grad_name="RealBackward0")
def _real(xp, x):
    return x.real


_real.defvjp(lambda g, ans, x: g, saves="")


@checked
def real(input: Tensor) -> Tensor:
    """``real(input)``: the real part, a view; of a real tensor the tensor itself.

    >>> torch.real(torch.tensor([1 + 2j]))
    tensor([1.])
    """
    return _real(input) if raw_dtype(input).kind == "c" else input


@primitive("_imag_part", view=True, grad_name="ImagBackward0")
def imag(xp, x):
    """``imag(input)``: the imaginary part of a complex tensor, a view.

    >>> torch.imag(torch.tensor([1 + 2j]))
    tensor([2.])
    """
    if x.dtype.kind != "c":
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes. (got {x.dtype})")
    return x.imag


imag.defvjp(lambda g, ans, x: g * 1j, saves="")


@checked
def conj(input: Tensor) -> Tensor:
    """``conj(input)``: complex conjugate; of a real tensor the tensor itself.

    >>> torch.conj(torch.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return conj_physical(input) if raw_dtype(input).kind == "c" else input


def raw_dtype(x: Any) -> np.dtype:
    """The NumPy dtype of a tensor or array."""
    return x._data.dtype if isinstance(x, Tensor) else x.dtype


attach("conj", conj)
attach("conjugate", conj)  # as Python numbers and arrays call it, so that a rule need not ask which it has
attach("real", property(real, lambda self, value: real(self).copy_(value)))
attach("imag", property(imag, lambda self, value: imag(self).copy_(value)))
