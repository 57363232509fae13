"""Distributions of real numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes, ops
from ..autograd import Tensor
from . import constraints
from .distribution import Distribution

__all__ = ["Exponential", "Laplace", "LogNormal", "Normal", "Uniform"]

_FloatOrTensor = float | Tensor


def _uniform(shape: Any, like: Tensor, low: float = 0.0) -> Tensor:
    """Uniform numbers in [0, 1), or in [low, 1), of the dtype and on the device of ``like``."""
    drawn = ops.drawing.rand(shape, dtype=like.dtype, device=like.device)
    return drawn if low == 0.0 else drawn * (1.0 - low) + low


class Normal(Distribution):
    """The normal distribution of mean ``loc`` and standard deviation ``scale``, numbers or tensors that broadcast.

    >>> torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support: Any = constraints.real
    has_rsample = True
    loc: Any
    scale: Any

    def __init__(self, loc: _FloatOrTensor, scale: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, loc=loc, scale=scale)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def stddev(self) -> Any:
        return self.scale

    @property
    def variance(self) -> Any:
        return self.scale**2

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        drawn = ops.drawing.randn(self._extended(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + drawn * self.scale

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        return -((value - self.loc) ** 2) / (2 * self.scale**2) - self.scale.log() - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value: Tensor) -> Any:
        self._check(value)
        return 0.5 * (1 + ops.nn.activation.erf((value - self.loc) / self.scale / math.sqrt(2)))

    def icdf(self, value: Tensor) -> Any:
        return self.loc + self.scale * ops.special.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Any:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


class LogNormal(Normal):
    """The distribution of e to the power of a normal number of mean ``loc`` and standard deviation ``scale``.

    >>> torch.distributions.LogNormal(0.0, 1.0).log_prob(torch.tensor(1.0))
    tensor(-0.9189)
    """

    support: Any = constraints.positive

    @property
    def mean(self) -> Any:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Any:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Any:
        return ops.elementwise.expm1(self.scale**2) * (2 * self.loc + self.scale**2).exp()

    @property
    def stddev(self) -> Any:
        return self.variance.sqrt()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return super().rsample(sample_shape).exp()

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        return Normal(self.loc, self.scale, validate_args=False).log_prob(value.log()) - value.log()

    def cdf(self, value: Tensor) -> Any:
        return Normal(self.loc, self.scale, validate_args=self._validate_args).cdf(value.log())

    def icdf(self, value: Tensor) -> Any:
        return super().icdf(value).exp()

    def entropy(self) -> Any:
        return super().entropy() + self.loc

    def __repr__(self) -> str:
        return "LogNormal()"


class Uniform(Distribution):
    """The uniform distribution in [``low``, ``high``).  ValueError where ``low`` is not less than ``high``.

    >>> torch.distributions.Uniform(0.0, 2.0).entropy()
    tensor(0.6931)
    """

    arg_constraints = {"low": constraints.real, "high": constraints.real}
    has_rsample = True
    low: Any
    high: Any

    def __init__(self, low: _FloatOrTensor, high: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, low=low, high=high)
        if self._validate_args and not bool((self.low < self.high).all()):
            raise ValueError("Uniform is not defined when low>= high")

    @property
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Any:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Any:
        return self.high * float("nan")  # all values are alike

    @property
    def variance(self) -> Any:
        return (self.high - self.low) ** 2 / 12

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self.low + _uniform(self._extended(sample_shape), self.low) * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        inside = (self.low <= value) & (self.high > value)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Any:
        self._check(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Any:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Any:
        return (self.high - self.low).log()


class Exponential(Distribution):
    """The exponential distribution of ``rate``.

    >>> torch.distributions.Exponential(2.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    rate: Any

    def __init__(self, rate: _FloatOrTensor, validate_args: bool | None = None) -> None:
        self._take(validate_args, rate=rate)

    @property
    def mean(self) -> Any:
        return self.rate.reciprocal()

    @property
    def mode(self) -> Any:
        return self.rate * 0

    @property
    def stddev(self) -> Any:
        return self.rate.reciprocal()

    @property
    def variance(self) -> Any:
        return self.rate ** (-2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return -ops.elementwise.log1p(-_uniform(self._extended(sample_shape), self.rate)) / self.rate

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Any:
        self._check(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Tensor) -> Any:
        return -ops.elementwise.log1p(-value) / self.rate

    def entropy(self) -> Any:
        return 1.0 - self.rate.log()


class Laplace(Distribution):
    """The Laplace distribution about ``loc``, of mean deviation ``scale``.

    >>> torch.distributions.Laplace(0.0, 1.0).variance
    tensor(2.)
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
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return 2 * self.scale**2

    @property
    def stddev(self) -> Any:
        return 2**0.5 * self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        low = dtypes.finfo(self.loc.dtype).eps / 2  # so that the logarithm below is finite
        u = _uniform(self._extended(sample_shape), self.loc, low) * 2 - 1
        return self.loc - self.scale * u.sign() * ops.elementwise.log1p(-u.abs())

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value: Tensor) -> Any:
        self._check(value)
        off = value - self.loc
        return 0.5 - 0.5 * off.sign() * ops.elementwise.expm1(-off.abs() / self.scale)

    def icdf(self, value: Tensor) -> Any:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * ops.elementwise.log1p(-2 * term.abs())

    def entropy(self) -> Any:
        return 1 + (2 * self.scale).log()
