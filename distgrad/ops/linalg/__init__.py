"""Linear algebra: products."""

from __future__ import annotations

from distgrad.ops.linalg.affine import linear
from distgrad.ops.linalg.products import (
    addmm,
    addmv,
    baddbmm,
    bmm,
    diag,
    diagonal,
    dot,
    inner,
    matmul,
    mm,
    mv,
    outer,
    tensordot,
    trace,
    vdot,
)

__all__ = [
    "addmm",
    "addmv",
    "baddbmm",
    "bmm",
    "diag",
    "diagonal",
    "dot",
    "inner",
    "linear",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "trace",
    "vdot",
]
