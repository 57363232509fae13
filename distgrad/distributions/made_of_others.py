"""Distributions made of others: transformed ones, and mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import Size, no_grad
from .discrete import Categorical
from .distribution import Distribution
from .several import Independent
from .transforms import ComposeTransform, Transform, _summed

__all__ = ["MixtureSameFamily", "TransformedDistribution"]


class TransformedDistribution(Distribution):
    """What ``base_distribution`` draws, after the ``transforms``, one or several, the first one first.

    ValueError: what is given as transforms is none.

    >>> base = torch.distributions.Normal(0.0, 1.0)
    >>> log_normal = torch.distributions.TransformedDistribution(base, torch.distributions.ExpTransform())
    >>> log_normal.log_prob(torch.tensor(1.0))
    tensor(-0.9189)
    """

    arg_constraints = {}

    def __init__(
        self, base_distribution: Distribution, transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        if not all(isinstance(t, Transform) for t in self.transforms):
            raise ValueError(f"transforms must be a Transform or list, but was {transforms}")
        joined = ComposeTransform(self.transforms)
        dims = max(joined._dims, len(base_distribution.event_shape))
        more = dims - len(base_distribution.event_shape)
        self.base_dist = Independent(base_distribution, more, validate_args=False) if more else base_distribution
        shape = self.base_dist.batch_shape + self.base_dist.event_shape
        self._dims = dims
        super().__init__(shape[: len(shape) - dims], shape[len(shape) - dims :], validate_args)

    def expand(self, batch_shape: Sequence[int]) -> Any:
        return type(self)(self.base_dist.expand(batch_shape), self.transforms, self._validate_args)

    @property
    def has_rsample(self) -> Any:  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def support(self) -> Any:
        return self.transforms[-1].codomain if self.transforms else self.base_dist.support

    def _after(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return self._after(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        return self._after(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        y, total = value, 0.0
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            stretched = transform.log_abs_det_jacobian(x, y)
            total = total - _summed(stretched, self._dims - transform.domain.event_dim)
            y = x
        found = self.base_dist.log_prob(y)
        return total + _summed(found, self._dims - len(self.base_dist.event_shape))

    def _share(self, value: Any) -> Any:
        """``value``, a part of the probability, counted from the other end where the transforms fall."""
        sign: Any = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return sign * (value - 0.5) + 0.5

    def cdf(self, value: Any) -> Any:
        self._check(value)
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        return self._share(self.base_dist.cdf(value))

    def icdf(self, value: Any) -> Any:
        return self._after(self.base_dist.icdf(self._share(value)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class MixtureSameFamily(Distribution):
    """A draw of one of the distributions along the last batch dimension of ``component_distribution`` (\\*, K), which
    of them drawn from ``mixture_distribution``, a :class:`Categorical` of K classes.

    ValueError: ``mixture_distribution`` is no Categorical, or their shapes do not fit.

    >>> which = torch.distributions.Categorical(torch.tensor([0.5, 0.5]))
    >>> each = torch.distributions.Normal(torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 1.0]))
    >>> torch.distributions.MixtureSameFamily(which, each).variance
    tensor(2.)
    """

    arg_constraints = {}

    def __init__(
        self, mixture_distribution: Categorical, component_distribution: Distribution, validate_args: bool | None = None
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of torch.distributions.Distribution"
            )
        batch = component_distribution.batch_shape[:-1]
        for size1, size2 in zip(reversed(mixture_distribution.batch_shape), reversed(batch), strict=False):
            if size1 != 1 and size2 != 1 and size1 != size2:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixture_distribution.batch_shape}) is not compatible with "
                    f"`component_distribution.batch_shape`({batch})"
                )
        classes = int(mixture_distribution.logits.shape[-1])
        if classes != component_distribution.batch_shape[-1]:
            raise ValueError(
                f"`mixture_distribution component` ({classes}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({component_distribution.batch_shape[-1]})"
            )
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        self._num_component, self._event_ndims = classes, len(component_distribution.event_shape)
        super().__init__(batch, component_distribution.event_shape, validate_args)

    @property
    def mixture_distribution(self) -> Categorical:
        """Of which component is drawn."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._component_distribution

    @property
    def support(self) -> Any:
        return self._component_distribution.support

    def _probs(self) -> Any:
        probs = self._mixture_distribution.probs
        return probs.reshape((*probs.shape, *(1,) * self._event_ndims))

    @property
    def mean(self) -> Any:
        return (self._probs() * self._component_distribution.mean).sum(-1 - self._event_ndims)

    @property
    def variance(self) -> Any:
        probs, axis = self._probs(), -1 - self._event_ndims
        within = (probs * self._component_distribution.variance).sum(axis)
        off = self._component_distribution.mean - self.mean.unsqueeze(axis)
        return within + (probs * off.pow(2)).sum(axis)

    def cdf(self, value: Any) -> Any:
        self._check(value)
        found = self._component_distribution.cdf(value.unsqueeze(-1))
        return (found * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        logs = self._component_distribution.log_prob(value.unsqueeze(-1 - self._event_ndims))
        return (logs + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            shape = Size(sample_shape)
            axis = len(shape) + len(self._batch_shape)
            which = self._mixture_distribution.expand(self._batch_shape).sample(shape)
            drawn = self._component_distribution.sample(shape)
            index = which.reshape((*which.shape, *(1,) * (self._event_ndims + 1)))
            index = index.expand((*which.shape, 1, *self._event_shape))
            return drawn.gather(axis, index).squeeze(axis)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"


