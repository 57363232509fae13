"""Distributions whose draws are vectors: multivariate normal, and a batch that is read as one draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..autograd import Tensor
from . import constraints
from .distribution import Distribution

__all__ = ["Independent", "MultivariateNormal"]


class MultivariateNormal(Distribution):
    """The normal distribution of vectors of mean ``loc`` (\\*, n), its shape given by one of three (\\*, n, n).

    Args:
        loc: the mean.
        covariance_matrix: the covariance Σ, positive definite.
        precision_matrix: Σ⁻¹, positive definite.
        scale_tril: L of Σ = L Lᵀ, lower triangular with a positive diagonal.

    Raises:
        ValueError: not just one of the three, or it is not as said; no vector.

    >>> torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        three = {
            "covariance_matrix": covariance_matrix, "scale_tril": scale_tril, "precision_matrix": precision_matrix,
        }  # fmt: skip
        given = [(name, matrix) for name, matrix in three.items() if matrix is not None]
        if len(given) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        name, matrix = given[0]
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = ops.shape.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.__dict__[name] = matrix.expand((*batch, -1, -1))
        self.loc = loc.expand((*batch, -1))
        super().__init__(batch, self.loc.shape[-1:], validate_args)
        if name == "scale_tril":
            self._lower: Any = matrix
        elif name == "covariance_matrix":
            self._lower = ops.linalg.decompositions.cholesky(matrix)
        else:  # Σ⁻¹ = L Lᵀ, so that Σ = L⁻ᵀ L⁻¹, of which the factor is found from the rows and columns turned round
            turned = ops.linalg.decompositions.cholesky(matrix.flip(-2, -1)).flip(-2, -1).mT
            eye = ops.ranges.eye(self.loc.shape[-1], dtype=loc.dtype, device=loc.device)
            self._lower = ops.linalg.solving.solve_triangular(turned, eye, upper=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.arg_constraints:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        lower = self._lower.expand((*self._batch_shape, -1, -1))
        if name == "scale_tril":
            return lower
        covariance = lower @ lower.mT
        return covariance if name == "covariance_matrix" else ops.linalg.solving.inverse(covariance)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return self._lower.pow(2).sum(-1).expand(self._extended())

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended(sample_shape)
        drawn = ops.drawing.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self._lower @ drawn.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        off = (value - self.loc).unsqueeze(-1)
        lower = self._lower.expand((*off.shape[:-2], -1, -1))
        solved = ops.linalg.solving.solve_triangular(lower, off, upper=False)
        squares = solved.squeeze(-1).pow(2).sum(-1)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + squares) - self._half_logdet()

    def entropy(self) -> Any:
        found = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_logdet()
        return found.expand(self._batch_shape) if self._batch_shape else found

    def _half_logdet(self) -> Any:
        return self._lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class Independent(Distribution):
    """``base_distribution``, whose last ``reinterpreted_batch_ndims`` batch dimensions are one draw's.

    ValueError: it has fewer dimensions.

    >>> normal = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    >>> torch.distributions.Independent(normal, 1).log_prob(torch.zeros(3))
    tensor(-2.7568)
    """

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ) -> None:
        n, batch = reinterpreted_batch_ndims, base_distribution.batch_shape
        if n > len(batch):
            raise ValueError(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), "
                f"actual {n} vs {len(batch)}"
            )
        shape = batch + base_distribution.event_shape
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, n
        super().__init__(batch[: len(batch) - n], shape[len(batch) - n :], validate_args)

    @property
    def has_rsample(self) -> Any:  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def support(self) -> Any:
        return self.base_dist.support

    @property
    def mean(self) -> Any:
        return self.base_dist.mean

    @property
    def mode(self) -> Any:
        return self.base_dist.mode

    @property
    def variance(self) -> Any:
        return self.base_dist.variance

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.base_dist.rsample(sample_shape)

    def _summed(self, value: Any) -> Any:
        n = self.reinterpreted_batch_ndims
        return value.sum(tuple(range(-n, 0))) if n else value

    def log_prob(self, value: Tensor) -> Any:
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Any:
        return self._summed(self.base_dist.entropy())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist}, {self.reinterpreted_batch_ndims})"
