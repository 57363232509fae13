"""Signs and infinities: which numbers are infinite, and others in their place."""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..autograd import Tensor, primitive
from ..autograd.views import write
from ._choosing import chosen
from ._declare import in_float32, method, raw
from ._pieces import in_pieces
from .selection import _where, isfinite

__all__ = ["isneginf", "isposinf", "nan_to_num", "signbit"]


@primitive()
def _is_infinite(xp, x, sign):
    if x.dtype.kind == "c":
        raise RuntimeError(f"is{'pos' if sign > 0 else 'neg'}inf does not support complex inputs.")
    return x == sign * math.inf if x.dtype.kind in "fV" else xp.zeros(x.shape, np.bool_)


@method("isposinf")
def isposinf(input: Tensor) -> Tensor:
    """Whether each element is plus infinity, as bools; RuntimeError for complex numbers.

    >>> torch.isposinf(torch.tensor([float("inf"), float("-inf"), 1.0]))
    tensor([ True, False, False])
    """
    return _is_infinite(input, 1)


@method("isneginf")
def isneginf(input: Tensor) -> Tensor:
    """Whether each element is minus infinity, as bools; RuntimeError for complex numbers.

    >>> torch.isneginf(torch.tensor([float("inf"), float("-inf"), 1.0]))
    tensor([False,  True, False])
    """
    return _is_infinite(input, -1)


@primitive("signbit")
def signbit(xp, x):
    """``signbit(input)``: whether the sign of each element is minus, as bools: of -0.0, too.

    >>> torch.signbit(torch.tensor([-0.0, 0.0, -1.0]))
    tensor([ True, False,  True])
    """
    if x.dtype.kind == "c":
        raise NotImplementedError("signbit is not implemented for complex tensors.")
    if x.dtype.kind in "fV":
        return xp.signbit(x if x.dtype.itemsize > 2 else x.astype(np.float32))
    return x < 0 if x.dtype.kind == "i" else xp.zeros(x.shape, np.bool_)


@primitive(grad_name="NanToNumBackward0")
@in_float32
@in_pieces
def _nan_to_num(xp, x, nan, posinf, neginf):
    if x.dtype.kind == "c":
        out = xp.empty_like(x)
        out.real, out.imag = (_nan_to_num.primitive.forward(xp, part, nan, posinf, neginf) for part in (x.real, x.imag))
        return out
    if xp is np and np.isfinite(x).all():
        return x.copy()
    out = chosen(xp, x != x, nan, x)
    out = chosen(xp, x == math.inf, posinf, out)
    return chosen(xp, x == -math.inf, neginf, out)


_nan_to_num.defvjp(
    lambda g, ans, x, nan, posinf, neginf: _where(g, 0.0, raw(isfinite(x))),
    saves="x",
)


def _limits(input: Tensor, nan: float | None, posinf: float | None, neginf: float | None) -> tuple[float, float, float]:
    real = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}.get(input.dtype, input.dtype)
    most = float(dtypes.finfo(real).max)
    return 0.0 if nan is None else nan, most if posinf is None else posinf, -most if neginf is None else neginf


@method("nan_to_num")
def nan_to_num(
    input: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """``nan`` in the place of NaN, ``posinf`` and ``neginf`` (by default the largest and the smallest number of the
    type) in that of the infinities; of complex numbers in either part.

    >>> torch.nan_to_num(torch.tensor([float("nan"), 1.0]), nan=2.0)
    tensor([2., 1.])
    """
    if input.dtype.category < 2:
        return input.clone()
    return _nan_to_num(input, *_limits(input, nan, posinf, neginf))


@method("nan_to_num_")
def nan_to_num_(
    self: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """In place: :func:`nan_to_num`."""
    if self.dtype.category < 2:
        return self
    return write(_nan_to_num.primitive, self, _limits(self, nan, posinf, neginf), {})
