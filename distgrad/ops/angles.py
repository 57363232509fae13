"""Angles, and complex numbers made of parts or of an angle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from .._arguments import checked
from ..autograd import Tensor, primitive
from ..autograd.views import write
from ._choosing import chosen
from ._declare import method, noun, unknown
from .arithmetic import mul
from .elementwise import atan2, cos, imag, real, sin

__all__ = ["angle", "complex", "deg2rad", "hypot", "isreal", "polar", "rad2deg"]


@primitive(promote="same", grad_name="ComplexBackward0")
def _complex(xp, x, y):
    out = xp.empty(np.broadcast_shapes(x.shape, y.shape), "F" if x.dtype.char == "f" else "D")
    out.real, out.imag = x, y
    return out


_complex.defvjp(lambda g, ans, x, y: real(g), lambda g, ans, x, y: imag(g), saves="")


def _check_parts(input: Tensor, other: Tensor) -> None:
    """RuntimeError for two tensors that cannot be the parts, or absolute values and angles, of complex numbers."""
    if {input.dtype, other.dtype} == {dtypes.float16}:
        raise NotImplementedError("complex numbers of half precision (complex32) are not supported; use .float()")
    for x in (input, other):
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise RuntimeError(
                f"Expected both inputs to be Half, Float or Double tensors but got {noun(input)} and {noun(other)}"
            )
    if input.dtype != other.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {noun(input)} but got scalar type {noun(other)} for second argument"
        )


@checked
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """The complex numbers of these real and imaginary parts, both float32 or both float64, with broadcasting.

    >>> torch.complex(torch.tensor([1.0]), torch.tensor([2.0]))
    tensor([1.+2.j])
    """
    _check_parts(real, imag)
    return _complex(real, imag)


@checked
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """The complex numbers of these absolute values and angles in radians, both float32 or both float64.

    >>> torch.polar(torch.tensor([2.0]), torch.tensor([0.0]))
    tensor([2.+0.j])
    """
    _check_parts(abs, angle)
    return _complex(abs * cos(angle), abs * sin(angle))


@primitive(promote="float", grad_name="AngleBackward0")
def _half_turn(xp, x):
    """The angle of real numbers: 0 or, below 0, half a turn; NaN of NaN."""
    return chosen(xp, x < 0, math.pi, chosen(xp, x == x, 0.0, x))


_half_turn.defvjp(lambda g, ans, x: g * 0, saves="")


@method("angle")
def angle(input: Tensor) -> Tensor:
    """The angle of each complex number in radians, in (-pi, pi]; of real numbers 0 or, below 0, pi, without slope.

    >>> torch.angle(torch.tensor([1j, -1 + 0j]))
    tensor([1.5708, 3.1416])
    """
    return atan2(imag(input), real(input)) if input.dtype.is_complex else _half_turn(input)


def _turned(name: str, factor: float, doc: str) -> Any:
    def convert(input: Tensor) -> Tensor:
        if input.dtype.is_complex:
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return mul(input, factor)

    def convert_(self: Tensor) -> Tensor:
        if self.dtype.is_complex:
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return write(mul.primitive, self, (factor,), {})

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = doc
    convert_.__name__ = convert_.__qualname__ = name + "_"
    convert_.__doc__ = f"In place: :func:`{name}`."
    method(name + "_")(convert_)
    return method(name)(convert)


deg2rad = _turned(
    "deg2rad",
    math.pi / 180,
    """Degrees as radians.

    >>> torch.deg2rad(torch.tensor([180.0]))
    tensor([3.1416])
    """,
)
rad2deg = _turned(
    "rad2deg",
    180 / math.pi,
    """Radians as degrees.

    >>> torch.rad2deg(torch.tensor([3.14159265]))
    tensor([180.])
    """,
)


@primitive("hypot", "hypot_", promote="same")
def hypot(xp, x, y):
    """``hypot(input, other)``: the root of the sum of the squares, without overflow; of floats alone.

    >>> torch.hypot(torch.tensor([3.0]), torch.tensor([4.0]))
    tensor([5.])
    """
    given = x if hasattr(x, "dtype") else y
    if given.dtype.kind in "biuc":
        raise unknown("hypot_cpu", given)
    return xp.hypot(x, y)


hypot.defvjp(
    lambda g, ans, x, y: g * (x / ans),
    lambda g, ans, x, y: g * (y / ans),
    saves=("ans x", "ans y"),
)


@method("isreal")
def isreal(input: Tensor) -> Tensor:
    """Whether each number is real, as bools: a complex one whose imaginary part is 0, or one of a real type.

    >>> torch.isreal(torch.tensor([1 + 0j, 1j]))
    tensor([ True, False])
    """
    return _isreal(input)


@primitive(grad_name="IsrealBackward0")
def _isreal(xp, x):
    return x.imag == 0 if x.dtype.kind == "c" else xp.ones(x.shape, np.bool_)
