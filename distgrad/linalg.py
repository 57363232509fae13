"""Linear algebra, of batches of matrices in the last two dimensions: PyTorch's ``torch.linalg``."""

from __future__ import annotations

from typing import Any

from ._names import absent as _absent
from .ops.linalg._checks import LinAlgError
from .ops.linalg.building import linalg_cross as cross, linalg_diagonal as diagonal, vecdot
from .ops.linalg.decompositions import (
    eigh,
    eigvalsh,
    linalg_cholesky as cholesky,
    linalg_qr as qr,
    linalg_svd as svd,
    svdvals,
)
from .ops.linalg.determinants import linalg_det as det, linalg_slogdet as slogdet
from .ops.linalg.norms import linalg_norm as norm, matrix_norm, matrix_rank, vector_norm
from .ops.linalg.solving import (
    inv,
    linalg_matrix_power as matrix_power,
    pinv,
    solve,
    solve_triangular,
)

__all__ = [
    "LinAlgError", "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matrix_norm", "matrix_power",
    "matrix_rank", "norm", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "vecdot",
    "vector_norm",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise _absent("distgrad.linalg", name, "function", __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
