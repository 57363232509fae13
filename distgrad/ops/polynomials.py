"""Orthogonal polynomials of each element's degree, by the recurrence of three terms that each family has.

The recurrences are those of Abramowitz and Stegun, "Handbook of Mathematical Functions", table 22.7.  PyTorch has no
derivatives of these, so that what is made of them does not require grad.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.primitive import primitive
from ._declare import unknown

__all__: list[str] = []  # they are in distgrad.special

Step = Callable[[Any, Any, Any, int], Any]  # x, the last one, the one before, its degree -> the next


def _polynomial(name: str, first: Callable[[Any], Any], step: Step, words: str, example: str) -> Any:
    """The polynomials of degrees 0, 1, 2, …: 1, ``first(x)``, and what ``step`` makes of the last two."""

    def forward(xp, x, n):
        given = x if hasattr(x, "dtype") else n
        if given.dtype.char not in "fd":
            raise unknown(f"{name}_cpu", given)
        x, n = xp.broadcast_arrays(xp.asarray(x, given.dtype), xp.trunc(xp.asarray(n, given.dtype)))
        before, last = xp.ones_like(x), first(x)
        found = xp.where(n == 0, before, xp.where(n == 1, last, x.dtype.type(0)))
        for k in range(1, int(n.max()) if n.size and bool(xp.isfinite(n).all()) else 1):
            before, last = last, step(x, last, before, k)
            found = xp.where(n == k + 1, last, found)
        return found.astype(given.dtype, copy=False)

    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"""``{name}(input, n)``: {words} of degree ``n`` (cut to an integer) at ``input``; 0 for ``n``
    below 0.

    >>> torch.special.{name}(torch.tensor([0.5]), torch.tensor([3]))
    tensor([{example}])
    """
    return primitive(promote="float")(forward)


def _chebyshev(x: Any, last: Any, before: Any, k: int) -> Any:
    return 2 * x * last - before


def _shifted(x: Any, last: Any, before: Any, k: int) -> Any:
    return 2 * (2 * x - 1) * last - before


_C, _S = "Chebyshev's polynomial of the {} kind", "Chebyshev's polynomial, shifted to [0, 1], of the {} kind"
chebyshev_polynomial_t = _polynomial(
    "chebyshev_polynomial_t", lambda x: x, _chebyshev, _C.format("first"), "-1."
)
chebyshev_polynomial_u = _polynomial(
    "chebyshev_polynomial_u", lambda x: 2 * x, _chebyshev, _C.format("second"), "-1."
)
chebyshev_polynomial_v = _polynomial(
    "chebyshev_polynomial_v", lambda x: 2 * x - 1, _chebyshev, _C.format("third"), "-1."
)
chebyshev_polynomial_w = _polynomial(
    "chebyshev_polynomial_w", lambda x: 2 * x + 1, _chebyshev, _C.format("fourth"), "-1."
)
shifted_chebyshev_polynomial_t = _polynomial(
    "shifted_chebyshev_polynomial_t", lambda x: 2 * x - 1, _shifted, _S.format("first"), "-0."
)
shifted_chebyshev_polynomial_u = _polynomial(
    "shifted_chebyshev_polynomial_u", lambda x: 2 * (2 * x - 1), _shifted, _S.format("second"), "-0."
)
shifted_chebyshev_polynomial_v = _polynomial(
    "shifted_chebyshev_polynomial_v", lambda x: 2 * (2 * x - 1) - 1, _shifted, _S.format("third"), "1."
)
shifted_chebyshev_polynomial_w = _polynomial(
    "shifted_chebyshev_polynomial_w", lambda x: 2 * (2 * x - 1) + 1, _shifted, _S.format("fourth"), "-1."
)
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h", lambda x: 2 * x, lambda x, last, before, k: 2 * x * last - 2 * k * before,
    "Hermite's polynomial H of physics", "-5.",
)  # fmt: skip
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he", lambda x: x, lambda x, last, before, k: x * last - k * before,
    "Hermite's polynomial He of probability theory", "-1.3750",
)  # fmt: skip
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l", lambda x: 1 - x,
    lambda x, last, before, k: ((2 * k + 1 - x) * last - k * before) / (k + 1), "Laguerre's polynomial", "-0.1458",
)  # fmt: skip
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p", lambda x: x,
    lambda x, last, before, k: ((2 * k + 1) * x * last - k * before) / (k + 1), "Legendre's polynomial", "-0.4375",
)  # fmt: skip
