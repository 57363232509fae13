"""Rows of linear algebra, and of the functions of numbers that came with it."""

from __future__ import annotations

from typing import Any

from tests.ops.case import A, P, R, Row, S, U, V, row

inf, nan = float("inf"), float("nan")


def _function(name: str, make: Any, **flags: Any) -> Row:
    return row(name, lambda t, x: getattr(t, name)(x), make(2, 3), make(), make(0), make(2, 0, 3), **flags)


def _pair(name: str, *cases: Any, **flags: Any) -> Row:
    return row(name, lambda t, x, y: getattr(t, name)(x, y), *cases, **flags)


NUMBERS: list[Row] = [
    row("complex", lambda t, x, y: t.complex(x, y), (R(2, 3), R(3)), (R(), R(2)), half=False),
    row("polar", lambda t, x, y: t.polar(x, y), (P(2, 3), R(3)), (P(), R(2)), half=False),
    row("angle", lambda t, x: t.angle(x) * x, A(2, 3), A()),
    row("angle complex", lambda t, x: t.angle(t.exp(x) * (1 + 2j)) + t.angle(t.complex(x, x * x)), R(2, 3), half=False),
    row("degrees", lambda t, x: t.deg2rad(x) + t.rad2deg(x), R(2, 3), R(0), half=False),
    _pair("hypot", (P(2, 3), P(3)), (P(), P(2)), half=False),
    _pair("fmax", (A(2, 3), R(2, 3)), (A(2, 3), R(3))),
    _pair("fmin", (A(2, 3), R(2, 3)), (A(2, 3), R(3))),
    row(
        "fmax, fmin, ties",
        lambda t, x, y: t.fmax(x, y) * 2 + t.fmin(x, y),
        (V(1.0, 2.0, nan, 3.0, nan), V(1.0, 3.0, 1.0, nan, nan)),
        smooth=False,
    ),
    _pair("logaddexp", (R(2, 3), R(3)), (R(), R(2)), complex=True, half=False),
    _pair("logaddexp2", (R(2, 3), R(3)), (R(), R(2)), half=False),
    row(
        "logaddexp far out",
        lambda t, x, y: t.logaddexp(x, y),
        (V(1e3, -1e3, inf, -inf, 1.0), V(1e3, -1e3, 0.0, 1.0, 2.0)),
        smooth=False,
        half=False,
    ),
    row(
        "heaviside", lambda t, x, v: t.heaviside(x.detach(), v.detach()), (V(-1.0, 0.0, -0.0, 2.0), R(4)), second=False
    ),
    row(
        "infinities",
        lambda t, x: (t.isposinf(x), t.isneginf(x), t.signbit(x), t.isreal(x)),
        V(inf, -inf, 0.0, -0.0, 1.0, -1.0),
        exact=True,
        second=False,
    ),
    row(
        "nan_to_num",
        lambda t, x: t.nan_to_num(x, 2.0, 3.0) * x + x.nan_to_num(neginf=-1.0),
        V(1.0, -2.0, 0.0),
        R(2, 3),
        half=False,
    ),
    row("nan_to_num there", lambda t, x: t.nan_to_num(x), V(nan, inf, -inf, 1.0), smooth=False, second=False),
    _function("sinc", A, complex=True, half=False),
    row("sinc at 0", lambda t, x: t.sinc(x), V(0.0), half=False),
    _function("erfinv", U, half=False),
    _function("lgamma", P, half=False),
    row("lgamma below 0", lambda t, x: t.lgamma(x), V(-0.5, -1.7, -2.3), half=False),
    _function("digamma", P, half=False, tolerance=1e-8),
    row("polygamma", lambda t, x: t.polygamma(1, x) + x.polygamma(2), P(2, 3), half=False, tolerance=1e-7),
    _function("logit", S, half=False),
    row("logit eps", lambda t, x: t.logit(x, 0.3), S(2, 3), half=False),
    row("__rdiv__", lambda t, x: x.__rdiv__(2.0), P(3), complex=True),
]


def _spd(t: Any, x: Any) -> Any:
    """A positive-definite matrix made of ``x``."""
    return x @ x.mH + 3 * t.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def _free(t: Any, u: Any) -> Any:
    """What of complex singular or eigenvectors does not depend on their phase."""
    return (u * u.conj()).real if u.dtype.is_complex else u * u


def _la(name: str, call: Any, *cases: Any, **flags: Any) -> Row:
    return row(name, call, *cases, **{"complex": True, "half": False, **flags})


SQUARES = (R(3, 3), R(2, 3, 3), R(1, 1))
MATRICES: list[Row] = [
    _la("inv", lambda t, x: t.linalg.inv(x) + x.inverse(), *SQUARES),
    _la("det", lambda t, x: t.linalg.det(x) * x.det(), *SQUARES, R(0, 0)),
    _la("slogdet", lambda t, x: tuple(t.linalg.slogdet(x)) + tuple(x.slogdet()), *SQUARES),
    _la("logdet", lambda t, x: t.logdet(_spd(t, x)), *SQUARES),
    _la("cholesky", lambda t, x: t.linalg.cholesky(_spd(t, x)), *SQUARES),
    _la("cholesky upper", lambda t, x: _spd(t, x).cholesky(upper=True), *SQUARES),
    _la("qr", lambda t, x: tuple(t.linalg.qr(x)), R(3, 3), R(4, 2), R(2, 4), R(2, 3, 2)),
    _la("qr complete", lambda t, x: tuple(t.qr(x, some=False)), R(3, 3), R(2, 4)),
    _la(
        "qr r",
        lambda t, x: t.linalg.qr(x.detach(), mode="r").R,
        R(3, 2),
        second=False,
    ),
    _la(
        "eigh",
        lambda t, x: (lambda e: (e[0], _free(t, e[1])))(t.linalg.eigh(x + x.mH)),
        R(3, 3),
        R(2, 3, 3),
    ),
    _la("eigvalsh", lambda t, x: t.linalg.eigvalsh(x + x.mH, UPLO="U"), *SQUARES),
    _la(
        "svd",
        lambda t, x: (lambda u, s, v: (_free(t, u), s, _free(t, v), u @ v))(*t.linalg.svd(x, full_matrices=False)),
        R(3, 3),
        R(4, 2),
        R(2, 2, 3),
    ),
    _la(
        "svd full",
        lambda t, x: (lambda u, s, v: (_free(t, u[..., :2]), s, _free(t, v)))(*t.svd(x, some=False)),
        R(3, 2),
    ),
    _la("svdvals", lambda t, x: t.linalg.svdvals(x), R(3, 2), R(2, 2, 3)),
    _la(
        "solve", lambda t, a, b: t.linalg.solve(a, b), (R(3, 3), R(3, 2)), (R(2, 3, 3), R(2, 3)), (R(3, 3), R(2, 3, 1))
    ),
    _la("solve left", lambda t, a, b: t.linalg.solve(a, b, left=False), (R(3, 3), R(2, 3)), (R(2, 3, 3), R(4, 3))),
    _la(
        "solve_triangular",
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=True),
        (R(3, 3), R(3, 2)),
        (R(2, 2, 2), R(2, 1)),
    ),
    _la(
        "solve_triangular lower",
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
        (R(3, 3), R(2, 3)),
    ),
    _la("matrix_power", lambda t, x: t.linalg.matrix_power(x, 3) + x.matrix_power(-2) + t.matrix_power(x, 0), *SQUARES),
    _la("pinv", lambda t, x: t.linalg.pinv(x) + x.pinverse(), R(3, 2), R(2, 3), R(3, 3)),
    _la("matrix_rank", lambda t, x: t.linalg.matrix_rank(x), R(3, 2), R(2, 3, 3), exact=True, second=False),
    _la("vector_norm", lambda t, x: t.linalg.vector_norm(x, 3) + t.linalg.vector_norm(x), R(4), R(2, 3)),
    _la("vector_norm dim", lambda t, x: t.linalg.vector_norm(x, 1.5, dim=(0, -1), keepdim=True), R(2, 3), R(2, 3, 2)),
    *[
        _la(f"matrix_norm {p}", lambda t, x, p=p: t.linalg.matrix_norm(x, p), R(3, 2), R(2, 2, 3))
        for p in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)
    ],
    _la("matrix_norm dims", lambda t, x: t.linalg.matrix_norm(x, 1, dim=(2, 0), keepdim=True), R(2, 3, 2)),
    _la("linalg.norm", lambda t, x: t.linalg.norm(x, 2) + t.linalg.norm(x) + t.norm(x, "nuc"), R(3, 2)),
    _la("linalg.norm dim", lambda t, x: t.linalg.norm(x, ord=3, dim=1), R(3, 2)),
    _la("dist", lambda t, x, y: t.dist(x, y) + x.dist(y, 3), (R(2, 3), R(3)), complex=False),
    *[
        _la(
            f"cdist {p}",
            lambda t, x, y, p=p: t.cdist(x, y, p),
            (R(3, 2), R(4, 2)),
            (R(2, 3, 2), R(1, 2, 2)),
            complex=False,
        )
        for p in (1.0, 1.5, 2.0, 3.0, inf)
    ],
    _la(
        "cdist of equals",
        lambda t, x: t.cdist(x, x),
        V([1.0, 2.0], [1.0, 2.0], [3.0, 4.0]),
        complex=False,
        smooth=False,
    ),
]

COMBINED: list[Row] = [
    row("cross", lambda t, x, y: t.cross(x, y) + t.linalg.cross(x, y, dim=0), (R(3, 2), R(3, 2)), complex=True),
    row("cross broadcast", lambda t, x, y: t.linalg.cross(x, y), (R(2, 1, 3), R(1, 4, 3)), complex=True),
    row("vecdot", lambda t, x, y: t.linalg.vecdot(x, y), (R(2, 3), R(2, 3)), (R(2, 3), R(3)), complex=True),
    row("linalg.diagonal", lambda t, x: t.linalg.diagonal(x, offset=1), R(3, 3), R(2, 2, 3), complex=True, exact=True),
    row("kron", lambda t, x, y: t.kron(x, y), (R(2, 3), R(2, 2)), (R(3), R(2, 2)), (R(), R(2)), complex=True),
    row("block_diag", lambda t, x, y, z: t.block_diag(x, y, z), (R(2, 3), R(2), R()), complex=True, exact=True),
    row("cartesian_prod", lambda t, x, y: t.cartesian_prod(x, y), (R(2), R(3)), complex=True, exact=True),
    row("diagflat", lambda t, x: t.diagflat(x, 1) + t.diagflat(x, -1), R(2, 2), R(), complex=True),
    row("mH", lambda t, x: x.mH @ x + x.adjoint() @ x, R(2, 3), R(2, 2, 3), complex=True),
    row(
        "addbmm",
        lambda t, m, a, b: t.addbmm(m, a, b, beta=0.5, alpha=2),
        (R(2, 3), R(4, 2, 2), R(4, 2, 3)),
        complex=True,
        half=False,
    ),
    row("addr", lambda t, m, a, b: t.addr(m, a, b, beta=0.5, alpha=2), (R(2, 3), R(2), R(3)), complex=True, half=False),
]

ROWS = [*NUMBERS, *MATRICES, *COMBINED]
