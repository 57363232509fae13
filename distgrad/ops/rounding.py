"""Signs, parts and roundings of each element."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .._arguments import kind_of
from ..autograd import primitive
from ._choosing import chosen
from ._declare import unknown
from .elementwise import raw_dtype
from .selection import where

_FEW = 512  # elements, above which two comparisons are quicker than NumPy's sign

__all__ = ["abs", "absolute", "ceil", "floor", "frac", "round", "sgn", "sign", "trunc"]


@primitive("abs", "__abs__", "absolute", "abs_")
def abs(xp, x):
    """``abs(input)``: absolute value; of complex numbers the modulus.

    >>> torch.abs(torch.tensor([-1.5, 2.0]))
    tensor([1.5000, 2.0000])
    """
    if x.dtype.kind == "b":
        raise unknown("abs", x)
    return xp.absolute(x)


absolute = abs


@primitive("sgn")
def sgn(xp, x):
    """``sgn(input)``: input / abs(input), 0 at 0.

    >>> torch.sgn(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """
    if x.dtype.kind != "c":
        return _sign(xp, x)
    size = xp.absolute(x)
    return xp.where(size == 0, 0, x / xp.where(size == 0, 1, size))


def _sgn_vjp(g, ans, x):
    if raw_dtype(x).kind != "c":
        return g * 0
    size = abs(x)
    return where(size == 0, 0.0, (g - ans * (g.conj() * ans).real) / where(size == 0, 1.0, size))


abs.defvjp(lambda g, ans, x: g * sgn(x), saves="x")


sgn.defvjp(_sgn_vjp, saves="ans x")


@primitive("sign")
def sign(xp, x):
    """``sign(input)``: -1, 0 or 1; of NaN 0.

    >>> torch.sign(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """
    if x.dtype.kind == "c":
        raise unknown("sign", x)
    return _sign(xp, x)


def _sign(xp: Any, x: Any) -> Any:
    """The sign of real numbers, 0 for NaN as in PyTorch."""
    if x.dtype.kind in "biu":
        return xp.sign(x) if x.dtype.kind != "b" else x.copy()
    if xp is np and x.dtype.char in "fd" and x.size > _FEW:  # as NumPy's sign takes one after the other
        return np.subtract((x > 0).view(np.int8), (x < 0).view(np.int8)).astype(x.dtype)
    number = x == x if x.dtype.kind != "V" else (x < 0) | (x > 0)  # ml_dtypes gives -0 a sign
    return chosen(xp, number, xp.sign(x), 0.0)


sign.defvjp(lambda g, ans, x: g * 0, saves="")


def _whole(x: Any, name: str) -> Any:
    """What rounding does to integers: nothing; NotImplementedError for bools and complex numbers."""
    if x.dtype.kind not in "iu":
        raise unknown(name, x)
    return x.copy()


@primitive("floor", "floor_")
def floor(xp, x):
    """``floor(input)``: the largest integer not above.

    >>> torch.floor(torch.tensor([1.2, -1.2]))
    tensor([ 1., -2.])
    """
    return xp.floor(x) if x.dtype.kind in "fV" else _whole(x, "floor")


floor.defvjp(lambda g, ans, x: g * 0, saves="")


@primitive("ceil", "ceil_")
def ceil(xp, x):
    """``ceil(input)``: the smallest integer not below.

    >>> torch.ceil(torch.tensor([1.2, -1.2]))
    tensor([ 2., -1.])
    """
    return xp.ceil(x) if x.dtype.kind in "fV" else _whole(x, "ceil")


ceil.defvjp(lambda g, ans, x: g * 0, saves="")


@primitive("trunc", "fix", "trunc_")
def trunc(xp, x):
    """``trunc(input)``: rounded towards 0.

    >>> torch.trunc(torch.tensor([1.7, -1.7]))
    tensor([ 1., -1.])
    """
    return xp.trunc(x) if x.dtype.kind in "fV" else _whole(x, "trunc")


trunc.defvjp(lambda g, ans, x: g * 0, saves="")


def _decimals(given: Any) -> int:
    """``given`` as the number of decimals: an integer; TypeError for anything else."""
    if isinstance(given, bool | np.bool_) or not isinstance(given, int | np.integer):
        raise TypeError(f"round(): argument 'decimals' must be int, not {kind_of(given)}")
    return int(given)


@primitive("round", "round_")
def round(xp, x, *, decimals=0):
    """``round(input, *, decimals=0)``: to the nearest, halves to even; half precisions by way of float32.

    >>> torch.round(torch.tensor([0.5, 1.5, 2.4]))
    tensor([0., 2., 2.])
    """
    if decimals.__class__ is not int:
        decimals = _decimals(decimals)
    if x.dtype.kind in "iu" and decimals == 0:
        return x.copy()
    if x.dtype.kind not in "fV":
        raise unknown("round", x)
    if decimals == 0:
        return xp.rint(x)
    scale = 10.0 ** builtins.abs(decimals)
    if x.dtype.itemsize == 2:
        wide = x.astype(np.float32)
        return (xp.rint(wide * scale) / scale if decimals > 0 else xp.rint(wide / scale) * scale).astype(x.dtype)
    return xp.rint(x * scale) / scale if decimals > 0 else xp.rint(x / scale) * scale


round.defvjp(lambda g, ans, x, decimals=0: g * 0, saves="")


@primitive("frac")
def frac(xp, x):
    """``frac(input)``: input - trunc(input).

    >>> torch.frac(torch.tensor([1.25, -1.25]))
    tensor([ 0.2500, -0.2500])
    """
    if x.dtype.kind not in "fV":
        raise unknown("frac", x)
    return x - xp.trunc(x)


frac.defvjp(lambda g, ans, x: g, saves="")
