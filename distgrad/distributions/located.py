"""Distributions of real numbers that are uniform or normal ones, transformed: by location and scale, or by a tail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes, ops
from ..autograd import Tensor
from . import constraints
from .continuous import Normal, _uniform
from .distribution import Distribution

__all__ = ["Cauchy", "Gumbel", "HalfCauchy", "HalfNormal", "Pareto", "Weibull"]

_FloatOrTensor = float | Tensor
_EULER = 0.57721566490153286060  # Euler's constant


def _open(shape: Any, like: Any) -> Any:
    """Uniform numbers of (0, 1), neither end among them."""
    info = dtypes.finfo(like.dtype)
    return _uniform(shape, like).clamp(info.tiny, 1 - info.eps / 2)


class Cauchy(Distribution):
    """The Cauchy distribution about ``loc``, with half its width ``scale``; it has no mean.

    >>> torch.distributions.Cauchy(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-1.1447)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    loc: Any
    scale: Any

    def __init__(self, loc: _FloatOrTensor, scale: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, loc=loc, scale=scale)

    @property
    def mean(self) -> Any:
        return self.loc.detach() * math.nan

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return self.scale.detach() * math.inf

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        u = _open(self._extended(sample_shape), self.loc)
        return self.loc + ((u - 0.5) * math.pi).tan() * self.scale

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        off = (value - self.loc) / self.scale
        return -math.log(math.pi) - self.scale.log() - ops.elementwise.log1p(off**2)

    def cdf(self, value: Any) -> Any:
        self._check(value)
        return ops.elementwise.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: Any) -> Any:
        return ((value - 0.5) * math.pi).tan() * self.scale + self.loc

    def entropy(self) -> Any:
        return math.log(4 * math.pi) + self.scale.log()


class _Half(Distribution):
    """The magnitudes of a distribution that is symmetric about 0, of ``scale``."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    scale: Any

    def __init__(self, scale: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, scale=scale)

    def _whole(self) -> Any:
        raise NotImplementedError

    @property
    def mode(self) -> Any:
        return self.scale * 0

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self._whole().rsample(sample_shape).abs()

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        found = self._whole().log_prob(value) + math.log(2)
        return ops.selection.where(value >= 0, found, -math.inf)

    def cdf(self, value: Any) -> Any:
        self._check(value)
        return 2 * self._whole().cdf(value) - 1

    def icdf(self, value: Any) -> Any:
        return self._whole().icdf((value + 1) / 2)

    def entropy(self) -> Any:
        return self._whole().entropy() - math.log(2)


class HalfNormal(_Half):
    """The magnitudes of normal numbers of mean 0 and standard deviation ``scale``.

    >>> torch.distributions.HalfNormal(1.0).mean
    tensor(0.7979)
    """

    def _whole(self) -> Any:
        return Normal(self.scale * 0, self.scale, validate_args=False)

    @property
    def mean(self) -> Any:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Any:
        return self.scale.pow(2) * (1 - 2 / math.pi)


class HalfCauchy(_Half):
    """The magnitudes of Cauchy numbers about 0 of ``scale``.

    >>> torch.distributions.HalfCauchy(1.0).entropy()
    tensor(1.8379)
    """

    def _whole(self) -> Any:
        return Cauchy(self.scale * 0, self.scale, validate_args=False)

    @property
    def mean(self) -> Any:
        return self.scale.detach() * math.inf

    @property
    def variance(self) -> Any:
        return self.mean


class Gumbel(Distribution):
    """Gumbel's distribution of the largest of many, about ``loc``, stretched by ``scale``.

    >>> torch.distributions.Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    loc: Any
    scale: Any

    def __init__(self, loc: _FloatOrTensor, scale: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, loc=loc, scale=scale)

    @property
    def mean(self) -> Any:
        return self.loc + self.scale * _EULER

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def stddev(self) -> Any:
        return (math.pi / math.sqrt(6)) * self.scale

    @property
    def variance(self) -> Any:
        return self.stddev.pow(2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.icdf(_open(self._extended(sample_shape), self.loc))

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def cdf(self, value: Any) -> Any:
        self._check(value)
        return (-((self.loc - value) / self.scale).exp()).exp()

    def icdf(self, value: Any) -> Any:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Any:
        return self.scale.log() + (1 + _EULER)


class Weibull(Distribution):
    """Weibull's distribution of ``scale`` and ``concentration`` (its shape).

    >>> torch.distributions.Weibull(2.0, 1.0).mean
    tensor(2.)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive
    has_rsample = True
    scale: Any
    concentration: Any

    def __init__(
        self, scale: _FloatOrTensor, concentration: _FloatOrTensor, validate_args: bool | None = None
    ) -> None:
        self._take(validate_args, scale=scale, concentration=concentration)

    def _moment(self, n: int) -> Any:
        """Γ(1 + n / concentration)."""
        return ops.special.lgamma(1 + n * self.concentration.reciprocal()).exp()

    @property
    def mean(self) -> Any:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Any:
        k = self.concentration
        return self.scale * ((k - 1) / k).clamp(min=0) ** k.reciprocal()

    @property
    def variance(self) -> Any:
        return self.scale.pow(2) * (self._moment(2) - self._moment(1).pow(2))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        u = _open(self._extended(sample_shape), self.scale)
        return self.scale * (-u.log()) ** self.concentration.reciprocal()

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        k, ratio = self.concentration, value / self.scale
        return k.log() - self.scale.log() + (k - 1) * ratio.log() - ratio**k

    def cdf(self, value: Any) -> Any:
        self._check(value)
        return -ops.elementwise.expm1(-((value / self.scale) ** self.concentration))

    def icdf(self, value: Any) -> Any:
        return self.scale * (-ops.elementwise.log1p(-value)) ** self.concentration.reciprocal()

    def entropy(self) -> Any:
        inverse = self.concentration.reciprocal()
        return _EULER * (1 - inverse) + (self.scale * inverse).log() + 1


class Pareto(Distribution):
    """Pareto's distribution: above ``scale``, with a tail of the power ``alpha``.

    >>> torch.distributions.Pareto(1.0, 3.0).mean
    tensor(1.5000)
    """

    arg_constraints = {"alpha": constraints.positive, "scale": constraints.positive}
    has_rsample = True
    scale: Any
    alpha: Any

    def __init__(self, scale: _FloatOrTensor, alpha: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, scale=scale, alpha=alpha)

    @property
    def support(self) -> Any:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Any:
        a = self.alpha.clamp(min=1)  # infinite below
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Any:
        return self.scale

    @property
    def variance(self) -> Any:
        a = self.alpha.clamp(min=2)
        return self.scale.pow(2) * a / ((a - 1).pow(2) * (a - 2))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        u = _open(self._extended(sample_shape), self.scale)
        return self.scale * (-u.log() / self.alpha).exp()

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        return self.alpha.log() + self.alpha * self.scale.log() - (self.alpha + 1) * value.log()

    def cdf(self, value: Any) -> Any:
        self._check(value)
        return 1 - (self.scale / value) ** self.alpha

    def icdf(self, value: Any) -> Any:
        return self.scale * (1 - value) ** -self.alpha.reciprocal()

    def entropy(self) -> Any:
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())
