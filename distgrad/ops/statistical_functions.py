"""Functions of statistics: of the normal distribution, the gamma function's integrals, entropy, the zeta function."""

from __future__ import annotations

import math
from typing import Any

from .. import backend, dtypes
from ..autograd import Tensor, primitive
from ._declare import in_type_of, method, of_floats, raw, unknown, wide
from .arithmetic import xlogy
from .elementwise import exp, log, log1p
from .selection import _where
from .special import lgamma

__all__ = ["igamma", "igammac", "mvlgamma"]  # the others are in distgrad.special


def _of_two(name: str, xp: Any, x: Any, y: Any) -> Any:
    """The function ``name`` of SciPy of two floats; half precisions are computed in float32."""
    given = x if hasattr(x, "dtype") else y
    if given.dtype.kind in "biuc":
        raise unknown(name, given)
    found = getattr(backend.special_module(xp), name)(wide(x), wide(y))
    return found.astype(given.dtype, copy=False)


def _no_derivative(of: str) -> Any:
    """A rule for an argument by which nobody has a derivative."""

    def rule(g: Any, ans: Any, x: Any, y: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{of}' is not implemented.")

    return rule


@primitive(promote="float", grad_name="SpecialEntrBackward0")
@of_floats
def entr(xp, x):
    """``entr(input)``: -input * log(input), an entropy's summand; 0 at 0, -inf below.

    >>> torch.special.entr(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.3466, -0.0000])
    """
    inside = x > 0
    logs = xp.log(xp.where(inside, x, x.dtype.type(1)))
    beyond = xp.where(x == 0, x.dtype.type(0), xp.where(x < 0, x.dtype.type(-math.inf), x))
    return xp.where(inside, -x * logs, beyond)


entr.defvjp(lambda g, ans, x: g * (-1 - log(x)), saves="x")


@primitive(promote="float", grad_name="SpecialErfcxBackward0")
@of_floats
def erfcx(xp, x):
    """``erfcx(input)``: exp(input²) erfc(input), without the overflow of either.

    >>> torch.special.erfcx(torch.tensor([0.0, 10.0]))
    tensor([1.0000, 0.0561])
    """
    return backend.special_module(xp).erfcx(x)


erfcx.defvjp(lambda g, ans, x: g * (2 * x * ans - 2 / math.sqrt(math.pi)), saves="x ans")


@primitive(promote="float", grad_name="SpecialNdtrBackward0")
@of_floats
def ndtr(xp, x):
    """``ndtr(input)``: how probable a standard normal number is to lie below ``input``.

    >>> torch.special.ndtr(torch.tensor([0.0, 1.0]))
    tensor([0.5000, 0.8413])
    """
    return backend.special_module(xp).ndtr(x)


ndtr.defvjp(lambda g, ans, x: g * exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)), saves="x")


@primitive(promote="float", grad_name="SpecialLogNdtrBackward0")
@of_floats
def log_ndtr(xp, x):
    """``log_ndtr(input)``: the logarithm of :func:`ndtr`, exact far below 0 too.

    >>> torch.special.log_ndtr(torch.tensor([0.0, -20.0]))
    tensor([  -0.6931, -203.9172])
    """
    return backend.special_module(xp).log_ndtr(x)


log_ndtr.defvjp(lambda g, ans, x: g * (math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5))), saves="x")


@primitive(promote="float", grad_name="SpecialNdtriBackward0")
@of_floats
def ndtri(xp, x):
    """``ndtri(input)``: the inverse of :func:`ndtr`; NaN outside of [0, 1].

    >>> torch.special.ndtri(torch.tensor([0.5, 0.975]))
    tensor([0.0000, 1.9600])
    """
    return backend.special_module(xp).ndtri(x)


ndtri.defvjp(lambda g, ans, x: g * exp(ans * ans * 0.5) * math.sqrt(2 * math.pi), saves="ans")


@primitive(promote="float", grad_name="SpecialXlog1PyBackward0")
def xlog1py(xp, x, y):
    """``xlog1py(input, other)``: input * log1p(other), 0 where input is 0 (unless other is NaN).

    >>> torch.special.xlog1py(torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 1.0]))
    tensor([0.0000, 1.3863])
    """
    return _of_two("xlog1py", xp, x, y)


def _xlog1py_first(g: Any, ans: Any, x: Any, y: Any) -> Any:
    if not hasattr(y, "dtype"):
        return g * math.log1p(y) if y > -1 else g * (-math.inf if y == -1 else math.nan)
    return _where(0.0, g * log1p(in_type_of(g, y)), raw((x == 0) & (y <= -1)) if hasattr(x, "dtype") else False)


xlog1py.defvjp(_xlog1py_first, lambda g, ans, x, y: g * x / (y + 1), saves="x y")


@primitive(promote="float", grad_name="SpecialZetaBackward0")
def zeta(xp, x, y):
    """``zeta(input, other)``: the Hurwitz zeta function, the sum over k = 0, 1, … of (k + other)^-input.

    There is no derivative by ``input``: NotImplementedError in the backward pass.

    >>> torch.special.zeta(torch.tensor([2.0]), torch.tensor([1.0]))
    tensor([1.6449])
    """
    return _of_two("zeta", xp, x, y)


zeta.defvjp(_no_derivative("zeta"), lambda g, ans, x, y: -g * x * zeta(x + 1, y), saves=("", "x y"))


@primitive("igamma", "igamma_", promote="same", grad_name="IgammaBackward0")
def gammainc(xp, x, y):
    """``gammainc(input, other)``: the lower incomplete gamma function of ``input`` at ``other``, as a part of the
    whole; it rises from 0 to 1.  Floats only, and no derivative by ``input``: NotImplementedError.

    >>> torch.special.gammainc(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.6321])
    """
    return _of_two("gammainc", xp, x, y)


@primitive("igammac", "igammac_", promote="same", grad_name="IgammacBackward0")
def gammaincc(xp, x, y):
    """``gammaincc(input, other)``: 1 - :func:`gammainc`, exact where that is near 1.

    >>> torch.special.gammaincc(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.3679])
    """
    return _of_two("gammaincc", xp, x, y)


def _density(a: Any, x: Any) -> Any:
    """x^(a - 1) e^-x / Γ(a), the derivative of the incomplete gamma function by its limit ``x``."""
    return exp(xlogy(a - 1, x) - x - lgamma(a))


gammainc.defvjp(_no_derivative("igamma: input"), lambda g, ans, x, y: g * _density(x, y), saves=("", "x y"))
gammaincc.defvjp(_no_derivative("igammac: input"), lambda g, ans, x, y: -g * _density(x, y), saves=("", "x y"))
igamma, igammac = gammainc, gammaincc


@method("mvlgamma")
def multigammaln(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``:
    p (p - 1) / 4 log π + the sum over i < p of lgamma(input - i / 2).

    RuntimeError for ``p`` below 1.

    >>> torch.special.multigammaln(torch.tensor([3.0]), 2)
    tensor([1.5502])
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = input if input.dtype.category >= 2 else input.to(dtypes.get_default_dtype())
    total = lgamma(x) + p * (p - 1) / 4 * math.log(math.pi)
    for i in range(1, p):
        total = total + lgamma(x - i / 2)
    return total


mvlgamma = multigammaln


@method("mvlgamma_")
def mvlgamma_(self: Tensor, p: int) -> Tensor:
    """In place: :func:`multigammaln`."""
    return self.copy_(multigammaln(self, p))
