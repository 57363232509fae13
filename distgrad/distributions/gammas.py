"""The gamma distribution and what is made of gamma numbers: chi-squared, beta, Dirichlet, Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes, ops
from ..autograd import Tensor
from . import constraints
from .distribution import Distribution

__all__ = ["Beta", "Chi2", "Dirichlet", "Gamma", "StudentT"]

_FloatOrTensor = float | Tensor
_lgamma, _digamma, _xlogy = ops.special.lgamma, ops.special.digamma, ops.arithmetic.xlogy


def _standard(concentration: Any, shape: Any) -> Any:
    """Numbers of the gamma distribution of rate 1."""
    return ops.sampling._standard_gamma(concentration.expand(shape))


class Gamma(Distribution):
    """The gamma distribution of ``concentration`` (its shape) and ``rate`` (1 / its scale).

    >>> torch.distributions.Gamma(2.0, 4.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    concentration: Any
    rate: Any

    def __init__(
        self, concentration: _FloatOrTensor, rate: _FloatOrTensor, validate_args: bool | None = None
    ) -> None:
        self._take(validate_args, concentration=concentration, rate=rate)

    @property
    def mean(self) -> Any:
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Any:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended(sample_shape)
        tiny = dtypes.finfo(self.rate.dtype).tiny
        return (_standard(self.concentration, shape) / self.rate.expand(shape)).clamp(min=tiny)

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        a, rate = self.concentration, self.rate
        return _xlogy(a, rate) + _xlogy(a - 1, value) - rate * value - _lgamma(a)

    def entropy(self) -> Any:
        a = self.concentration
        return a - self.rate.log() + _lgamma(a) + (1.0 - a) * _digamma(a)

    def cdf(self, value: Tensor) -> Any:
        self._check(value)
        return ops.statistical_functions.gammainc(self.concentration, self.rate * value)


class Chi2(Gamma):
    """The distribution of a sum of ``df`` squares of standard normal numbers.

    >>> torch.distributions.Chi2(3.0).mean
    tensor(3.)
    """

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, df=df)
        Gamma.__init__(self, 0.5 * self.df, 0.5, validate_args=False)
        if validate_args is not None:
            self._validate_args = validate_args
        else:
            del self._validate_args

    df: Any


class Dirichlet(Distribution):
    """The Dirichlet distribution of vectors (\\*, K) that add up to 1, of ``concentration`` (\\*, K).

    ValueError: it has no dimension, or is not positive.

    >>> torch.distributions.Dirichlet(torch.tensor([1.0, 3.0])).mean
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Any:
        less = (self.concentration - 1).clamp(min=0.0)
        found = less / less.sum(-1, keepdim=True)
        all_below = (self.concentration < 1).all(dim=-1, keepdim=True)
        places = ops.ranges.arange(int(self.concentration.shape[-1]), device=found.device)
        corner = (places == found.argmax(-1, keepdim=True)).to(found.dtype)
        return ops.selection.where(all_below, corner, found)

    @property
    def variance(self) -> Any:
        a = self.concentration
        total = a.sum(-1, keepdim=True)
        return a * (total - a) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        found = _standard(self.concentration, self._extended(sample_shape))
        return found / found.sum(-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        a = self.concentration
        return _xlogy(a - 1.0, value).sum(-1) + _lgamma(a.sum(-1)) - _lgamma(a).sum(-1)

    def entropy(self) -> Any:
        a = self.concentration
        k, total = a.shape[-1], a.sum(-1)
        return (
            _lgamma(a).sum(-1) - _lgamma(total) - (k - total) * _digamma(total) - ((a - 1.0) * _digamma(a)).sum(-1)
        )


class Beta(Distribution):
    """The beta distribution on [0, 1] of ``concentration1`` (for 1) and ``concentration0`` (for 0).

    >>> torch.distributions.Beta(1.0, 3.0).mean
    tensor(0.2500)
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True
    concentration1: Any
    concentration0: Any

    def __init__(
        self, concentration1: _FloatOrTensor, concentration0: _FloatOrTensor, validate_args: bool | None = None
    ) -> None:
        self._take(validate_args, concentration1=concentration1, concentration0=concentration0)

    @property
    def mean(self) -> Any:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Any:
        return self._dirichlet().mode[..., 0]

    @property
    def variance(self) -> Any:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def _dirichlet(self) -> Dirichlet:
        both = ops.joining.stack([self.concentration1, self.concentration0], -1)
        return Dirichlet(both, validate_args=False)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self._dirichlet().rsample(sample_shape)[..., 0]

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        return self._dirichlet().log_prob(ops.joining.stack([value, 1.0 - value], -1))

    def entropy(self) -> Any:
        return self._dirichlet().entropy()


class StudentT(Distribution):
    """Student's t distribution of ``df`` degrees of freedom, about ``loc`` and stretched by ``scale``.

    >>> torch.distributions.StudentT(3.0).variance
    tensor(3.)
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    df: Any
    loc: Any
    scale: Any

    def __init__(
        self, df: _FloatOrTensor, loc: _FloatOrTensor = 0.0, scale: _FloatOrTensor = 1.0,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._take(validate_args, df=df, loc=loc, scale=scale)

    @property
    def mean(self) -> Any:
        return ops.selection.where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        more = self.df > 2
        finite = self.scale.pow(2) * self.df / ops.selection.where(more, self.df - 2, 1.0)
        none = ops.selection.where(self.df > 1, math.inf, self.df.detach() * math.nan)
        return ops.selection.where(more, finite, none)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended(sample_shape)
        drawn = ops.drawing.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        squares = Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * drawn * (squares / self.df).rsqrt()

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        y, df = (value - self.loc) / self.scale, self.df
        norm = self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi) + _lgamma(0.5 * df)
        norm = norm - _lgamma(0.5 * (df + 1.0))
        return -0.5 * (df + 1.0) * ops.elementwise.log1p(y**2.0 / df) - norm

    def entropy(self) -> Any:
        half, more = 0.5 * self.df, 0.5 * (self.df + 1)
        beta = _lgamma(half) + math.lgamma(0.5) - _lgamma(more)
        return self.scale.log() + more * (_digamma(more) - _digamma(half)) + 0.5 * self.df.log() + beta
