"""Functions of float32 by those that NumPy computes many at a time: exp, log and tanh.

NumPy takes one element after the other for expm1, log1p, sinh, cosh, arctanh and logaddexp.  On CPU arrays of float32
the identities below are three to six times as fast, with errors of at most six units in the last place (of log, exp and
tanh: three); other types, and devices, have the array library's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._choosing import chosen
from ._limits import at_least
from ._pieces import in_pieces


def _quick(xp: Any, x: Any) -> bool:
    return xp is np and x.__class__ is np.ndarray and x.dtype == np.float32 and x.ndim > 0


def _log_of_one_and(share: Any) -> Any:
    """log(1 + share) where that is from 0 to 1, or NaN: log(u) of the rounded sum u, and what was lost, over u."""
    u = share + np.float32(1)
    lost = u - np.float32(1)
    np.subtract(share, lost, out=lost)
    lost /= u
    np.log(u, out=u)
    u += lost
    return u


@in_pieces
def softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x))."""
    if not _quick(xp, x):
        return xp.logaddexp(x, x.dtype.type(0))
    out = np.abs(x)
    np.negative(out, out=out)
    out = _log_of_one_and(np.exp(out, out=out))
    out += at_least(np, x, 0)
    return out


@in_pieces
def log1p_of_exp_below(xp: Any, x: Any) -> Any:
    """log(1 + exp(-|x|))."""
    if not _quick(xp, x):
        return xp.log1p(xp.exp(-xp.abs(x)))
    out = np.abs(x)
    np.negative(out, out=out)
    return _log_of_one_and(np.exp(out, out=out))


@in_pieces
def log1p(xp: Any, x: Any) -> Any:
    """log(1 + x), exact near 0."""
    if not _quick(xp, x):
        return xp.log1p(x)
    u = x + np.float32(1)
    lost = u - np.float32(1)
    np.subtract(x, lost, out=lost)
    lost /= u
    np.log(u, out=u)
    u += chosen(np, np.isfinite(lost), lost, 0.0)  # at -1 and at infinity nothing was lost
    return np.copysign(u, x)


@in_pieces
def expm1(xp: Any, x: Any) -> Any:
    """exp(x) - 1 as tanh(x / 2) (exp(x) + 1), which cancels nowhere."""
    if not _quick(xp, x):
        return xp.expm1(x)
    half = x * np.float32(0.5)
    np.tanh(half, out=half)
    out = np.exp(x)
    out += 1
    out *= half
    return out


@in_pieces
def sinh(xp: Any, x: Any) -> Any:
    """tanh(x / 2) (h + 1 / h)² / 2, where h = exp(x / 2) overflows no sooner than sinh."""
    if not _quick(xp, x):
        return xp.sinh(x)
    half = x * np.float32(0.5)
    rise = np.tanh(half)
    out = _cosh_doubled(half)
    rise *= out
    out *= np.float32(0.5)
    out *= rise
    return out


@in_pieces
def cosh(xp: Any, x: Any) -> Any:
    """(h² + 1 / h²) / 2, of h = exp(|x| / 2)."""
    if not _quick(xp, x):
        return xp.cosh(x)
    h = np.abs(x)
    h *= np.float32(0.5)
    np.exp(h, out=h)
    out = h * np.float32(0.5)
    out *= h
    h *= h
    np.divide(np.float32(0.5), h, out=h)
    out += h
    return out


def _cosh_doubled(half: Any) -> Any:
    np.abs(half, out=half)
    np.exp(half, out=half)
    half += 1 / half
    return half


@in_pieces
def arctanh(xp: Any, x: Any) -> Any:
    """log((1 + |x|) / (1 - |x|)) / 2 as that of 1 + 2 |x| / (1 - |x|), with the sign of x."""
    if not _quick(xp, x):
        return xp.arctanh(x)
    size = np.abs(x)
    rest = np.float32(1) - size
    size += size
    size /= rest
    out = log1p(np, size)
    out *= np.float32(0.5)
    return np.copysign(out, x)


@in_pieces
def logaddexp(xp: Any, x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), from the larger."""
    if not (_quick(xp, x) and _quick(xp, y) and x.shape == y.shape):
        return xp.logaddexp(x, y)
    out = log1p_of_exp_below(np, x - y)
    return chosen(np, x == y, x + np.float32(np.log(2)), np.maximum(x, y) + out)  # two infinities have no difference


@in_pieces
def logaddexp2(xp: Any, x: Any, y: Any) -> Any:
    """log2(2^x + 2^y), from the larger."""
    if not (_quick(xp, x) and _quick(xp, y) and x.shape == y.shape):
        return xp.logaddexp2(x, y)
    out = log1p_of_exp_below(np, (x - y) * np.float32(np.log(2)))
    return chosen(np, x == y, x + np.float32(1), np.maximum(x, y) + out * np.float32(1 / np.log(2)))


_WHOLE = 2.0**22  # quotients below have exact remainders in double precision, and exact neighbours in single


def _quotient(xp: Any, x: Any, y: Any, rounding: Any) -> Any:
    """``rounding(x / y)`` and both operands in double precision; None where a remainder would not be exact there."""
    if not (_quick(xp, x) and (y.__class__ in (int, float) or (_quick(xp, y) and y.shape == x.shape))):
        return None
    wide = x.astype(np.float64)
    below = y.astype(np.float64) if y.__class__ is np.ndarray else float(np.float32(y))
    quotient = wide / below
    rounding(quotient, out=quotient)
    if not (np.abs(quotient).max(initial=0) < _WHOLE and np.isfinite(below).all()):  # a NaN is not below either
        return None
    return quotient, wide, below


@in_pieces
def fmod(xp: Any, x: Any, y: Any) -> Any:
    """x - trunc(x / y) y, with the sign of x."""
    found = _quotient(xp, x, y, np.trunc)
    if found is None:
        return xp.fmod(x, y)
    quotient, wide, below = found
    quotient *= below
    wide -= quotient
    return np.copysign(wide.astype(np.float32), x)


@in_pieces
def remainder(xp: Any, x: Any, y: Any) -> Any:
    """x - floor(x / y) y, with the sign of y."""
    found = _quotient(xp, x, y, np.floor)
    if found is None:
        return xp.remainder(x, y)
    quotient, wide, below = found
    quotient *= below
    wide -= quotient
    return np.copysign(wide.astype(np.float32), np.float32(y) if below.__class__ is float else y)


@in_pieces
def floor_divide(xp: Any, x: Any, y: Any) -> Any:
    """floor(x / y)."""
    found = _quotient(xp, x, y, np.floor)
    return xp.floor_divide(x, y) if found is None else found[0].astype(np.float32)
