"""``torch.special``: known values, limits, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

import distgrad as dg

inf, nan = math.inf, math.nan
S = dg.special


def test_known_values() -> None:
    """From tables (Abramowitz and Stegun), to ten digits."""
    known = {
        "airy_ai": (1.0, 0.1352924163), "bessel_j0": (1.0, 0.7651976866), "bessel_j1": (7.0, -0.0046828235),
        "bessel_y0": (1.0, 0.0882569642), "bessel_y1": (1.0, -0.7812128213), "i0": (1.0, 1.2660658778),
        "i0e": (1.0, 0.4657596076), "i1": (1.0, 0.5651591040), "i1e": (1.0, 0.2079104154),
        "modified_bessel_k0": (1.0, 0.4210244382), "modified_bessel_k1": (1.0, 0.6019072302),
        "spherical_bessel_j0": (1.0, 0.8414709848), "ndtr": (1.0, 0.8413447461), "ndtri": (0.975, 1.9599639845),
        "log_ndtr": (-20.0, -203.9171553711), "erfcx": (10.0, 0.0561409927), "entr": (0.5, 0.3465735903),
    }  # fmt: skip
    for name, (x, wanted) in known.items():
        assert getattr(S, name)(dg.tensor(x, dtype=dg.float64)).item() == pytest.approx(wanted, rel=1e-7), name
    two = dg.tensor(2.0, dtype=dg.float64)
    assert S.zeta(two, 1.0).item() == pytest.approx(math.pi**2 / 6, rel=1e-12)
    assert S.gammainc(two, two).item() == pytest.approx(1 - 3 * math.exp(-2), rel=1e-12)
    assert S.gammaincc(two, two).item() == pytest.approx(3 * math.exp(-2), rel=1e-12)
    assert S.xlog1py(two, two).item() == pytest.approx(2 * math.log(3), rel=1e-12)
    assert S.multigammaln(two, 2).item() == pytest.approx(math.log(math.pi / 2), rel=1e-12)


def test_polynomials_by_hand() -> None:
    x = dg.tensor(0.5, dtype=dg.float64)
    known = {
        "chebyshev_polynomial_t": -1.0, "chebyshev_polynomial_u": -1.0, "chebyshev_polynomial_v": -1.0,
        "chebyshev_polynomial_w": -1.0, "hermite_polynomial_h": 8 / 8 - 12 / 2, "hermite_polynomial_he": 1 / 8 - 3 / 2,
        "laguerre_polynomial_l": (-1 / 8 + 9 / 4 - 18 / 2 + 6) / 6, "legendre_polynomial_p": (5 / 8 - 3 / 2) / 2,
        "shifted_chebyshev_polynomial_t": 0.0, "shifted_chebyshev_polynomial_u": 0.0,
        "shifted_chebyshev_polynomial_v": 1.0, "shifted_chebyshev_polynomial_w": -1.0,
    }  # fmt: skip
    for name, third in known.items():
        assert getattr(S, name)(x, 3).item() == pytest.approx(third, rel=1e-12), name
        assert getattr(S, name)(0.5, dg.tensor([-2.0, 0.0, 3.9])).tolist() == pytest.approx([0.0, 1.0, third]), name


@pytest.mark.torch
def test_limits_are_pytorchs() -> None:
    import torch

    values = [0.0, -0.0, 1.0, -1.0, inf, -inf, nan, 1e-30, 30.0]
    for name in (
        "entr", "erfcx", "i0", "i0e", "i1", "i1e", "log_ndtr", "ndtr", "ndtri", "spherical_bessel_j0", "bessel_j0",
        "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0", "bessel_y0",
    ):  # fmt: skip
        ours = getattr(S, name)(dg.tensor(values, dtype=dg.float64)).tolist()
        theirs = getattr(torch.special, name)(torch.tensor(values, dtype=torch.float64)).tolist()
        assert ours == pytest.approx(theirs, rel=1e-6, nan_ok=True, abs=1e-12), name
    assert all(math.isnan(v) for v in S.gammainc(dg.tensor([nan, 1.0, nan]), dg.tensor([1.0, nan, 0.0])).tolist())
    pairs = [(a, b) for a in values for b in values]
    first, second = (list(v) for v in zip(*pairs, strict=True))
    for name in ("gammainc", "gammaincc", "xlog1py", "zeta"):
        ours = getattr(S, name)(dg.tensor(first, dtype=dg.float64), dg.tensor(second, dtype=dg.float64)).tolist()
        theirs = getattr(torch.special, name)(
            torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
        ).tolist()
        wrong = [
            (a, b, x, y)
            for a, b, x, y in zip(first, second, ours, theirs, strict=True)
            if not (math.isnan(a) or math.isnan(b) or (name == "zeta" and b == inf))
            and x != pytest.approx(y, rel=1e-6, nan_ok=True, abs=1e-12)
        ]
        assert not wrong, (name, wrong)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: S.multigammaln(dg.ones(2), 0), RuntimeError, "p has to be greater than or equal to 1"),
        (lambda: S.gammainc(dg.tensor([1]), dg.tensor([1])), NotImplementedError, "not implemented for 'Long'"),
        (lambda: S.airy_ai(dg.ones(2).half()), NotImplementedError, "not implemented for 'Half'"),
        (lambda: S.legendre_polynomial_p(dg.ones(2).half(), 2), NotImplementedError, "not implemented for 'Half'"),
        (lambda: S.i0(dg.tensor([1j])), NotImplementedError, "not implemented for 'ComplexFloat'"),
        (lambda: S.no_such_name, AttributeError, "no function has that name"),
    ],
)
def test_refused(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_derivatives_that_nobody_has_are_refused() -> None:
    x = dg.tensor([1.0, 2.0], requires_grad=True)
    for name in ("gammainc", "gammaincc", "zeta"):
        with pytest.raises(NotImplementedError, match="the derivative for"):
            getattr(S, name)(x, x).sum().backward()
    assert not S.bessel_j0(x).requires_grad
    assert not S.airy_ai(x).requires_grad


def test_integers_become_floats() -> None:
    one = dg.tensor([1])
    assert S.i0(one).dtype is S.airy_ai(one).dtype is S.legendre_polynomial_p(one, 2).dtype is dg.float32
    assert S.zeta(dg.tensor([2]), one).dtype is dg.float32
    assert S.psi(one).item() == dg.digamma(one).item()
    assert S.expit(one).item() == dg.sigmoid(one).item()


@pytest.mark.torch
def test_every_name_is_there() -> None:
    import torch

    assert set(torch.special.__all__) <= set(S.__all__)
