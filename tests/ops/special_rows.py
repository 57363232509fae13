"""Rows of ``torch.special``."""

from __future__ import annotations

from typing import Any

from tests.ops.case import I, K, P, R, Row, S, V, row

nan, inf = float("nan"), float("inf")


def _function(name: str, *cases: Any, **flags: Any) -> Row:
    return row(name, lambda t, *x: getattr(t.special, name)(*x), *cases, **{"half": False, **flags})


def _constant(name: str, *cases: Any) -> Row:
    """A function that has no derivative; PyTorch's J and Y are right to 7 digits from 5 on."""
    return row(name, lambda t, *x: getattr(t.special, name)(*[a.detach() for a in x]), *cases, second=False, half=False,
               tolerance=1e-7)  # fmt: skip


DEGREES = I(0, 1, 2, 3, 5, 8, -1)
POLYNOMIALS: list[Row] = [
    row(
        f"{name}",
        lambda t, x, n, name=name: getattr(t.special, name)(x.detach(), n) + getattr(t.special, name)(x.detach(), 4),
        (V(0.3, -0.7, 0.9, -1.0, 1.0, 1.7, 2.0), DEGREES),
        (R(2, 1), I(0, 1, 3)),
        second=False,
        half=False,
    )
    for name in (
        "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
        "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
        "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
        "shifted_chebyshev_polynomial_w",
    )
]  # fmt: skip
STATISTICS: list[Row] = [
    _function("entr", P(2, 3), P()),
    row("entr there", lambda t, x: t.special.entr(x.detach()), V(0.0, -1.0, nan, inf, 1.0), smooth=False, second=False),
    _function("erfcx", R(2, 3), V(-3.0, 10.0, 0.0)),
    _function("ndtr", R(2, 3), V(-3.0, 4.0, 0.0)),
    _function("log_ndtr", R(2, 3), V(-3.0, 2.0, 0.0)),
    _function("ndtri", S(2, 3)),
    row("xlog1py", lambda t, x, y: t.special.xlog1py(x, y) + t.special.xlog1py(x, 2.5) + t.special.xlog1py(2, y),
        (R(2, 3), P(2, 3)), (R(2, 3), P(3)), half=False),
    row("xlog1py at 0", lambda t, x, y: t.special.xlog1py(x, y), (V(0.0, 0.0, 2.0), V(-1.0, 1.0, 0.5)), smooth=False,
        half=False),
    row("zeta", lambda t, x, y: t.special.zeta(x + 1.5, y), (K(2, 3), P(2, 3)), half=False, tolerance=1e-6),
    row("gammainc", lambda t, x, y: t.special.gammainc(x, y) + t.igamma(x, y) + x.igamma(y),
        (K(2, 3), P(2, 3)), (K(3), P(2, 1)), half=False, tolerance=1e-7),
    row("gammaincc", lambda t, x, y: t.special.gammaincc(x, y) + t.igammac(x, y) + x.igammac(y),
        (K(2, 3), P(2, 3)), (K(3), P(2, 1)), half=False, tolerance=1e-7),
    row("multigammaln", lambda t, x: t.special.multigammaln(x + 2, 2) + t.mvlgamma(x + 2, 3) + (x + 2).mvlgamma(1),
        P(2, 3), half=False),
]  # fmt: skip
BESSEL: list[Row] = [
    *[_function(name, R(2, 3), V(-3.0, 2.0, 9.0)) for name in ("i0", "i0e", "i1", "i1e")],
    row("i1, i1e at 0", lambda t, x: t.special.i1(x) + t.special.i1e(x) + x.i0(), V(0.0), half=False, smooth=False),
    *[
        _constant(name, P(2, 3), V(0.3, 4.0, 7.0, 12.0))
        for name in (
            "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0",
            "scaled_modified_bessel_k1",
        )
    ],
    *[
        _constant(name, R(2, 3), V(0.0, -4.0, 7.0, 12.0))
        for name in ("bessel_j0", "bessel_j1", "modified_bessel_i0", "modified_bessel_i1", "spherical_bessel_j0")
    ],
]  # fmt: skip
ROWS: list[Row] = [*POLYNOMIALS, *STATISTICS, *BESSEL]
