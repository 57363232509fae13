"""Bessel functions and Airy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import primitive
from ._declare import of_floats, raw, unknown
from .rounding import sgn
from .selection import _where

__all__ = ["i0"]  # the others are in distgrad.special


@primitive("i0", "i0_", promote="float")
@of_floats
def i0(xp, x):
    """``i0(input)``: the modified Bessel function of the first kind of order 0.

    >>> torch.special.i0(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 1.2661])
    """
    return backend.special_module(xp).i0(x)


@primitive(promote="float", grad_name="SpecialI0EBackward0")
@of_floats
def i0e(xp, x):
    """``i0e(input)``: exp(-\\|input\\|) i0(input).

    >>> torch.special.i0e(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.4658])
    """
    return backend.special_module(xp).i0e(x)


@primitive(promote="float", grad_name="SpecialI1Backward0")
@of_floats
def i1(xp, x):
    """``i1(input)``: the modified Bessel function of the first kind of order 1.

    >>> torch.special.i1(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.5652])
    """
    return backend.special_module(xp).i1(x)


@primitive(promote="float", grad_name="SpecialI1EBackward0")
@of_floats
def i1e(xp, x):
    """``i1e(input)``: exp(-\\|input\\|) i1(input).

    >>> torch.special.i1e(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2079])
    """
    return backend.special_module(xp).i1e(x)


def _over(ans: Any, x: Any) -> Any:
    """``ans / x``, its limit 1/2 at 0."""
    nought = raw(x) == 0
    return _where(0.5, ans / _where(1.0, x, nought), nought)


i0.defvjp(lambda g, ans, x: g * i1(x), saves="x")
i0e.defvjp(lambda g, ans, x: g * (i1e(x) - sgn(x) * ans), saves="x ans")
i1.defvjp(lambda g, ans, x: g * (i0(x) - _over(ans, x)), saves="x ans")
i1e.defvjp(lambda g, ans, x: g * (i0e(x) - sgn(x) * ans - _over(ans, x)), saves="x ans")


# --- of these PyTorch has no derivatives: what is made of them does not require grad ---


def _constant(name: str, words: str, example: str, compute: Any) -> Any:
    """The function ``name`` of float32 and float64 that ``compute(special functions, xp, x)`` makes."""

    def forward(xp, x):
        if x.dtype.char not in "fd":
            raise unknown(f"{name}_cpu", x)
        return compute(backend.special_module(xp), xp, x)

    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"""``{name}(input)``: {words}; not differentiated, as in PyTorch.

    >>> torch.special.{name}(torch.tensor([1.0]))
    tensor([{example}])
    """
    return primitive(promote="float")(forward)


def _spherical(special: Any, xp: Any, x: Any) -> Any:
    """sin(x) / x, 1 at 0 and 0 at the infinities."""
    usual = (x != 0) & xp.isfinite(x)
    angle = xp.where(usual, x, x.dtype.type(1))
    there = xp.where(x == 0, x.dtype.type(1), xp.where(xp.isnan(x), x, x.dtype.type(0)))
    return xp.where(usual, xp.sin(angle) / angle, there)


def _airy(special: Any, xp: Any, x: Any) -> Any:
    if xp is not np:
        raise NotImplementedError("airy_ai is computed on the CPU only; call it on input.cpu()")
    return special.airy(x)[0].astype(x.dtype, copy=False)


_FIRST, _SECOND = "Bessel function of the first kind", "Bessel function of the second kind"
airy_ai = _constant("airy_ai", "Airy's function Ai", "0.1353", _airy)
bessel_j0 = _constant("bessel_j0", f"{_FIRST} of order 0", "0.7652", lambda s, xp, x: s.j0(x))
bessel_j1 = _constant("bessel_j1", f"{_FIRST} of order 1", "0.4401", lambda s, xp, x: s.j1(x))
bessel_y0 = _constant("bessel_y0", f"{_SECOND} of order 0", "0.0883", lambda s, xp, x: s.y0(x))
bessel_y1 = _constant("bessel_y1", f"{_SECOND} of order 1", "-0.7812", lambda s, xp, x: s.y1(x))
modified_bessel_i0 = _constant("modified_bessel_i0", "i0 under another name", "1.2661", lambda s, xp, x: s.i0(x))
modified_bessel_i1 = _constant("modified_bessel_i1", "i1 under another name", "0.5652", lambda s, xp, x: s.i1(x))
modified_bessel_k0 = _constant(
    "modified_bessel_k0", f"modified {_SECOND} of order 0", "0.4210", lambda s, xp, x: s.k0(x)
)
modified_bessel_k1 = _constant(
    "modified_bessel_k1", f"modified {_SECOND} of order 1", "0.6019", lambda s, xp, x: s.k1(x)
)
scaled_modified_bessel_k0 = _constant(
    "scaled_modified_bessel_k0", "exp(input) modified_bessel_k0(input)", "1.1445", lambda s, xp, x: s.k0e(x)
)
scaled_modified_bessel_k1 = _constant(
    "scaled_modified_bessel_k1", "exp(input) modified_bessel_k1(input)", "1.6362", lambda s, xp, x: s.k1e(x)
)
spherical_bessel_j0 = _constant(
    "spherical_bessel_j0", "spherical Bessel function of the first kind of order 0", "0.8415", _spherical
)
