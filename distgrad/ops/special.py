"""Functions of mathematical physics: the gamma function's logarithm and its derivatives, erfinv, logit, sinc."""

from __future__ import annotations

import math

from .. import backend, dtypes
from .._arguments import checked
from ..autograd import Tensor, primitive
from ..autograd.views import write
from ._choosing import chosen
from ._declare import in_float32, method, noun, of_floats, raw
from ._limits import between
from ._pieces import in_pieces
from .elementwise import cos, exp, sin
from .selection import _where

__all__ = ["digamma", "erfinv", "lgamma", "logit", "polygamma", "sinc"]


@primitive("lgamma", "lgamma_", promote="float")
@of_floats
def lgamma(xp, x):
    """``lgamma(input)``: the logarithm of the absolute value of the gamma function.

    >>> torch.lgamma(torch.tensor([1.0, 4.0]))
    tensor([0.0000, 1.7918])
    """
    return xp.where(x == -math.inf, x.dtype.type(math.inf), backend.special_module(xp).gammaln(x))


@primitive("digamma", "digamma_", promote="float")
@of_floats
def digamma(xp, x):
    """``digamma(input)``: the derivative of :func:`lgamma`.

    >>> torch.digamma(torch.tensor([1.0, 0.5]))
    tensor([-0.5772, -1.9635])
    """
    return backend.special_module(xp).digamma(x)


def _floats(input: Tensor) -> Tensor:
    """``input``, integers and bools in the default type."""
    return input if input.dtype.category >= 2 else input.to(dtypes.get_default_dtype())


@primitive(grad_name="PolygammaBackward0")
@of_floats
def _polygamma(xp, x, n):
    sign = 1.0 if n % 2 else -1.0
    if n == 1:  # reflected, where the zeta function of negative numbers loses digits
        zeta = backend.special_module(xp).zeta
        left = x < 0.5
        below = (math.pi / xp.sin(math.pi * xp.where(left, x, 0.5))) ** 2
        return xp.where(left, below - zeta(2.0, xp.where(left, 1 - x, 1.0)), zeta(2.0, xp.where(left, 1.0, x))).astype(
            x.dtype
        )
    return (sign * math.gamma(n + 1) * backend.special_module(xp).zeta(float(n + 1), x)).astype(x.dtype)


lgamma.defvjp(lambda g, ans, x: g * digamma(x), saves="x")
digamma.defvjp(lambda g, ans, x: g * _polygamma(x, 1), saves="x")
_polygamma.defvjp(lambda g, ans, x, n: g * _polygamma(x, n + 1), saves="x")


@checked
def polygamma(n: int, input: Tensor) -> Tensor:
    """The ``n``-th derivative of :func:`digamma`: (-1)^(n + 1) n! zeta(n + 1, input).  RuntimeError for ``n`` below 0.

    >>> torch.polygamma(1, torch.tensor([1.0, 0.5]))
    tensor([1.6449, 4.9348])
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return digamma(input) if n == 0 else _polygamma(_floats(input), n)


@method("polygamma")
def _polygamma_of(self: Tensor, n: int) -> Tensor:
    """:func:`polygamma`."""
    return polygamma(n, self)


@method("polygamma_")
def polygamma_(self: Tensor, n: int) -> Tensor:
    """In place: :func:`polygamma`."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return write(_polygamma.primitive, self, (n,), {}) if n else self.digamma_()


@primitive("erfinv", "erfinv_", promote="float")
@of_floats
def erfinv(xp, x):
    """``erfinv(input)``: the inverse of the error function, on (-1, 1).

    >>> torch.erfinv(torch.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """
    return backend.special_module(xp).erfinv(x)


erfinv.defvjp(lambda g, ans, x: g * exp(ans * ans) * (math.sqrt(math.pi) / 2), saves="ans")


@primitive(grad_name="LogitBackward0")
@of_floats
@in_pieces
def _logit(xp, x, eps):
    if eps >= 0:
        x = between(xp, x, eps, 1 - eps)
    return xp.log(x / (1 - x))


def _logit_vjp(g, ans, x, eps):
    low = max(eps, 0.0)
    inside = raw((x >= low) & (x <= 1 - low))
    kept = _where(x, 0.5, inside)
    return _where(g / (kept * (1 - kept)), math.nan if eps < 0 else 0.0, inside)


_logit.defvjp(in_pieces(_logit_vjp), saves="x")


@method("logit")
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(input / (1 - input)), the inverse of the sigmoid; NaN outside of [0, 1], but with ``eps`` the input is first
    clamped to [eps, 1 - eps].

    >>> torch.logit(torch.tensor([0.5, 0.75]))
    tensor([0.0000, 1.0986])
    """
    return _logit(_floats(input), -1.0 if eps is None else float(eps))


@method("logit_")
def logit_(self: Tensor, eps: float | None = None) -> Tensor:
    """In place: :func:`logit`."""
    if self.dtype.category < 2:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {noun(self)}")
    return write(_logit.primitive, self, (-1.0 if eps is None else float(eps),), {})


@primitive("sinc", "sinc_", promote="float")
@in_float32
def sinc(xp, x):
    """``sinc(input)``: sin(pi input) / (pi input), 1 at 0.

    >>> torch.sinc(torch.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    nought = x == 0
    angle = chosen(xp, nought, 1.0, x * math.pi)
    return chosen(xp, nought, 1.0, xp.sin(angle) / angle)


def _sinc_vjp(g, ans, x):
    """(cos(pi x) - sinc(x)) / x, at 0 the first term of its series, -pi^2 x / 3."""
    angle, square = x * math.pi, x * x * math.pi
    nought = raw(square) == 0
    return (
        g
        * _where(
            x * (-math.pi * math.pi / 3), (angle * cos(angle) - sin(angle)) / _where(1.0, square, nought), nought
        ).conj()
    )


sinc.defvjp(_sinc_vjp, saves="x")
