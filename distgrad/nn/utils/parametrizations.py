"""Parametrizations of weights: with a norm of their own, of spectral norm 1, orthogonal."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor, no_grad
from ...ops.creation import zeros_like
from ...ops.drawing import randn
from ...ops.joining import cat
from ...ops.linalg.products import matmul, mv, vdot
from ...ops.linalg.solving import solve
from ...ops.ranges import eye
from ..base.module import Module
from ..functional import normalize
from ..modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ._matrix_maps import (
    as_matrix as _as_matrix,
    householder_factors as _householder_factors,
    householder_product as _householder_product,
    is_orthogonal as _is_orthogonal,
    made_orthogonal as _made_orthogonal,
    matrix_exp as _matrix_exp,
    norm_except as _norm_except,
)
from .parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")


class _WeightNorm(Module):
    """v g / ‖v‖, the norm taken of all but ``dim``."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / _norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The norm, and what has it."""
        return _norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split a weight in its norm and its direction: w = g v / ‖v‖ (Salimans and Kingma 2016, arXiv:1602.07868).

    ``module.parametrizations.<name>.original0`` is g and ``original1`` is v; a state of the older
    :func:`distgrad.nn.utils.weight_norm` can be loaded.

    Args:
        dim: that along which the slices have their own norms; None: the whole has one.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(20, 40))
    >>> layer.parametrizations.weight.original0.shape, layer.parametrizations.weight.original1.shape
    (torch.Size([40, 1]), torch.Size([40, 20]))
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(_: Any, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module.register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """A weight over its greatest singular value, which some steps of the power method a call estimate."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = _as_matrix(weight.detach(), self.dim)
            rows, columns = matrix.shape
            for name, n in (("_u", rows), ("_v", columns)):
                self.register_buffer(name, normalize(randn(n, dtype=matrix.dtype, device=matrix.device), 2.0, 0, eps))
            self._power_method(matrix, 15)

    def _power_method(self, matrix: Tensor, times: int) -> None:
        with no_grad():
            for _ in range(times):
                self._u.copy_(normalize(mv(matrix, self._v), 2.0, 0, self.eps))
                self._v.copy_(normalize(mv(matrix.mH, self._u), 2.0, 0, self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, 2.0, 0, self.eps)
        matrix = _as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next call writes to them
        return weight / vdot(u, mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The weight itself, which need not have spectral norm 1."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its greatest singular value (Miyato et al. 2018, arXiv:1802.05957).

    Args:
        n_power_iterations: steps of the power method in each call in training.
        eps: below which no norm is divided by.
        dim: which dimension is the rows of the matrix; by default 0, of transposed convolutions 1.

    Raises:
        ValueError: there is no such tensor, or no step.  IndexError: no such dimension.

    >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(20, 40))
    >>> abs(torch.linalg.matrix_norm(layer.weight, 2).item() - 1) < 0.2
    True
    """
    weight = _tensor_of(module, name)
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


class _Orthogonal(Module):
    """An orthogonal matrix as a function of any of its shape."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            a = x.tril(-1)
            q = _householder_product(a, 2 / (1 + (a * a).sum(-2)))
            q = q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            x = x.tril()
            if n != k:
                x = cat([x, x.new_zeros((*x.shape[:-2], n, n - k))], -1)
            a = x - x.mH
            if self.orthogonal_map == "matrix_exp":
                q = _matrix_exp(a)
            else:
                one = eye(n, dtype=a.dtype, device=a.device)
                q = solve(one - a * 0.5, one + a * 0.5)
            q = q[..., :k] if n != k else q
        base = self._buffers.get("base")
        if base is not None:
            q = matmul(base, q)
        return q.mT if wide else q

    def right_inverse(self, q: Tensor) -> Tensor:
        """What becomes ``q``, or where that is not orthogonal, what lies near it; no gradient."""
        if q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}."
            )
        given = q
        wide = q.shape[-2] < q.shape[-1]
        q = q.mT if wide else q
        n, k = q.shape[-2:]
        if "base" not in self._buffers:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            made = _householder_factors(q.detach())
            return made.mT if wide else made
        with no_grad():
            if n == k:
                self.base = q.detach().clone() if _is_orthogonal(q) else _made_orthogonal(q.detach())
            else:
                more = randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
                self.base = _made_orthogonal(cat([q.detach(), more], -1))
            start = zeros_like(given)
            start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a weight orthogonal: its columns orthonormal, or its rows where it has fewer rows than columns.

    Args:
        orthogonal_map: how it is made of a free matrix: ``"matrix_exp"`` exp(A), ``"cayley"``
            (1 - A/2)⁻¹ (1 + A/2), both of A = X - Xᴴ, or ``"householder"`` reflections; by default the exponential for
            square and complex matrices and reflections for others.
        use_trivialization: times a fixed orthogonal matrix, the nearest to the weight as it was (Lezcano-Casado 2019,
            arXiv:1909.09501).

    Raises:
        ValueError: no such tensor or map; fewer than two dimensions; reflections of complex matrices.

    >>> layer = nn.utils.parametrizations.orthogonal(nn.Linear(20, 40))
    >>> torch.allclose(layer.weight.T @ layer.weight, torch.eye(20), atol=1e-5)
    True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
