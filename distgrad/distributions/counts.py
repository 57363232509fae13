"""Distributions of counts: Poisson, binomial, negative binomial, multinomial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..autograd import Size, Tensor, no_grad
from . import constraints
from .discrete import Categorical, _OfTwoParameters
from .distribution import Distribution

__all__ = ["Binomial", "Multinomial", "NegativeBinomial", "Poisson"]

_Parameter = Tensor | float | None
_lgamma, _xlogy = ops.special.lgamma, ops.arithmetic.xlogy


class Poisson(Distribution):
    """The Poisson distribution of ``rate``: how often happens what happens ``rate`` times on average.

    >>> torch.distributions.Poisson(2.0).log_prob(torch.tensor(0.0))
    tensor(-2.)
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    rate: Any

    def __init__(self, rate: Tensor | float, validate_args: bool | None = None) -> None:
        self._take(validate_args, rate=rate)

    @property
    def mean(self) -> Any:
        return self.rate

    @property
    def mode(self) -> Any:
        return self.rate.floor()

    @property
    def variance(self) -> Any:
        return self.rate

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return ops.sampling.poisson(self.rate.expand(self._extended(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        return _xlogy(value, self.rate) - self.rate - _lgamma(value + 1)


class Binomial(_OfTwoParameters):
    """How many of ``total_count`` trials succeed, each with probability ``probs``, or with its ``logits``.

    ValueError: both are given, or neither; a probability that is none; counts that are none.

    >>> torch.distributions.Binomial(10, torch.tensor(0.5)).mean
    tensor(5.)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    total_count: Any

    def __init__(
        self, total_count: Tensor | int = 1, probs: _Parameter = None, logits: _Parameter = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._take_one(validate_args, probs, logits, total_count=total_count)
        self.total_count = self.total_count.to(self._given.dtype)

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Any:
        return self.total_count * self.probs

    @property
    def mode(self) -> Any:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = self._extended(sample_shape)
        with no_grad():
            return ops.sampling.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        n, logits = self.total_count, self.logits
        choices = _lgamma(n + 1) - _lgamma(value + 1) - _lgamma(n - value + 1)
        return choices + value * logits - n * ops.nn.activation.softplus(logits)

    def enumerate_support(self, expand: bool = True) -> Any:
        total = int(self.total_count.max())
        if not int(self.total_count.min()) == total:
            raise NotImplementedError("Inhomogeneous total count not supported by `enumerate_support`.")
        values = ops.ranges.arange(1 + total, dtype=self._given.dtype, device=self._given.device)
        values = values.view((-1, *(1,) * len(self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values

    def entropy(self) -> Any:
        logs = self.log_prob(self.enumerate_support(False))
        return -(logs.exp() * logs).sum(0)


class NegativeBinomial(_OfTwoParameters):
    """How many trials succeed, each with probability ``probs`` (or with its ``logits``), before ``total_count`` failed.

    ValueError: both are given, or neither; a probability that is none, or 1.

    >>> torch.distributions.NegativeBinomial(3, torch.tensor(0.5)).mean
    tensor(3.)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative, "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }  # fmt: skip
    support = constraints.nonnegative_integer
    total_count: Any

    def __init__(
        self, total_count: Tensor | float, probs: _Parameter = None, logits: _Parameter = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._take_one(validate_args, probs, logits, total_count=total_count)
        self.total_count = self.total_count.to(self._given.dtype)

    @property
    def mean(self) -> Any:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Any:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Any:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        """A Poisson number of a gamma number's rate."""
        shape = self._extended(sample_shape)
        with no_grad():
            rate = ops.sampling._standard_gamma(self.total_count.expand(shape)) * self.logits.exp()
            return ops.sampling.poisson(rate)

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        n, logits = self.total_count, self.logits
        softplus = ops.nn.activation.softplus
        unnormalized = -n * softplus(logits) - value * softplus(-logits)
        found = _lgamma(n + value) - _lgamma(1.0 + value) - _lgamma(n)
        return unnormalized + ops.selection.where(n + value == 0.0, 0.0, found)


class Multinomial(Distribution):
    """How often each of K classes is drawn in ``total_count`` draws, of ``probs`` (\\*, K) or ``logits`` (\\*, K).

    ValueError: both are given, or neither; a probability that is none; a ``total_count`` that is no int.

    >>> torch.distributions.Multinomial(4, torch.tensor([1.0, 3.0])).mean
    tensor([1., 3.])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self, total_count: int = 1, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._classes = Categorical(probs=probs, logits=logits, validate_args=validate_args)
        super().__init__(self._classes.batch_shape, self._classes.param_shape[-1:], validate_args)

    @property
    def probs(self) -> Any:
        """How probable each class is."""
        return self._classes.probs

    @property
    def logits(self) -> Any:
        """The logarithms of :attr:`probs`."""
        return self._classes.logits

    @property
    def param_shape(self) -> Any:
        """The shape of :attr:`probs`."""
        return self._classes.param_shape

    @property
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Any:
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        shape = Size(sample_shape)
        with no_grad():
            drawn = self._classes.sample((self.total_count, *shape))
            k = int(self._event_shape[0])
            classes = ops.ranges.arange(k, device=drawn.device)
            return (drawn.unsqueeze(-1) == classes).sum(0).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        logits, value = ops.shape.broadcast_tensors(self.logits, value)
        none = (value == 0) & (logits == -float("inf"))
        logits = ops.selection.where(none, 0.0, logits)
        return _lgamma(value.sum(-1) + 1) - _lgamma(value + 1).sum(-1) + (logits * value).sum(-1)

    def entropy(self) -> Any:
        total = self._classes.probs.new_tensor(float(self.total_count))
        counts = Binomial(self.total_count, self.probs, validate_args=False)
        support = counts.enumerate_support(False)[1:]
        weights = counts.log_prob(support).exp()
        spread = (weights * _lgamma(support + 1)).sum((0, -1))
        return total * self._classes.entropy() - _lgamma(total + 1) + spread

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
