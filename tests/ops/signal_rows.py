"""Rows of the Fourier transforms."""

from __future__ import annotations

from typing import Any

from tests.ops.case import R, Row, row


def _transform(name: str, *cases: Any, **flags: Any) -> Row:
    return row(f"fft.{name}", lambda t, x: getattr(t.fft, name)(x), *cases, **{"half": False, **flags})


def _with(name: str, options: dict[str, Any], *cases: Any, **flags: Any) -> Row:
    title = f"fft.{name} {options}"
    return row(title, lambda t, x: getattr(t.fft, name)(x, **options), *cases, **{"half": False, **flags})


ONE = (R(5), R(2, 4), R(1))
SEVERAL = (R(3, 4), R(2, 2, 3))
ROWS: list[Row] = [
    *[_transform(name, *ONE, complex=True) for name in ("fft", "ifft")],
    *[_transform(name, *SEVERAL, complex=True) for name in ("fft2", "ifft2", "fftn", "ifftn")],
    *[_transform(name, *ONE) for name in ("rfft", "ihfft")],
    *[_transform(name, *SEVERAL) for name in ("rfft2", "rfftn", "ihfft2", "ihfftn")],
    *[_transform(name, R(5), R(2, 4), complex=True) for name in ("irfft", "hfft")],
    *[_transform(name, *SEVERAL, complex=True) for name in ("irfft2", "irfftn", "hfft2", "hfftn")],
    *[_transform(name, R(5), R(2, 3), complex=True, exact=True) for name in ("fftshift", "ifftshift")],
    *[
        _with("fft", {"n": n, "dim": 0, "norm": norm}, R(4, 2), complex=True)
        for n, norm in ((3, "ortho"), (6, "forward"))
    ],
    *[_with("rfft", {"n": n, "norm": norm}, R(2, 4)) for n, norm in ((3, "ortho"), (6, "forward"), (1, None))],
    *[
        _with("irfft", {"n": n, "norm": norm}, R(2, 4), complex=True)
        for n, norm in ((3, "ortho"), (8, "forward"), (1, None))
    ],
    _with("fftn", {"s": (3, 5), "dim": (0, 2), "norm": "ortho"}, R(2, 2, 4), complex=True),
    _with("rfftn", {"s": (3, -1), "dim": (2, 0)}, R(2, 2, 4)),
    _with("irfftn", {"s": (3, 5), "norm": "forward"}, R(2, 2, 4), complex=True),
    _with("fftshift", {"dim": 0}, R(5, 2), exact=True),
]
