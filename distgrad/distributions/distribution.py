"""What all distributions share: their shapes, how their arguments are checked, and how they print."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..autograd import Size, Tensor, no_grad
from .constraints import Constraint

__all__ = ["Distribution", "tensors"]


class Distribution:
    """A probability distribution over tensors.

    Samples have the shape ``sample_shape + batch_shape + event_shape``: the batch holds distributions that are
    independent and not alike, the event is one draw of one of them.

    Args:
        batch_shape, event_shape: as above.
        validate_args: whether parameters and values are checked; None is the default, which they are.

    Raises:
        ValueError: a parameter is not what the distribution takes.

    >>> normal = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    >>> normal.batch_shape, normal.sample((2,)).shape
    (torch.Size([3]), torch.Size([2, 3]))
    """

    has_rsample = False
    _validate_args = True
    arg_constraints: dict[str, Constraint] = {}
    support: Any = None

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Check arguments, or do not, where ``validate_args`` is not given.

        >>> torch.distributions.Distribution.set_default_validate_args(True)
        """
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(
        self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for name, constraint in self.arg_constraints.items():
            if name not in self.__dict__:  # found from another one
                continue
            value = getattr(self, name)
            valid = constraint.check(value)
            if not bool(valid.all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    def _take(self, validate_args: bool | None, **parameters: Any) -> None:
        """Be a distribution of these parameters, numbers and tensors, which are broadcast with each other."""
        made = tensors(*parameters.values())
        for name, value in zip(parameters, made, strict=True):
            setattr(self, name, value)
        Distribution.__init__(self, made[0].shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int]) -> Any:
        """The same distributions, repeated to the batch ``batch_shape``; nothing is copied."""
        batch = Size(batch_shape)
        new = copy.copy(self)
        n = len(self._batch_shape)
        for name in self.arg_constraints:
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                new.__dict__[name] = value.expand((*batch, *value.shape[n:]))
        new._batch_shape = batch
        return new

    @property
    def batch_shape(self) -> Any:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Any:
        """The shape of one draw."""
        return self._event_shape

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The likeliest value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Values drawn, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Values drawn, through which gradients flow to the parameters (Kingma & Welling 2013, arXiv:1312.6114)."""
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability (density) at ``value``."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most ``value``."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The value that has :meth:`cdf` ``value``."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values that can be drawn, where they are few: for each of the batch, or once."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy, in nats."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """e to the power of the entropy."""
        return self.entropy().exp()

    def _extended(self, sample_shape: Sequence[int] = ()) -> Any:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _check(self, value: Any) -> None:
        """ValueError where ``value`` cannot have been drawn from this distribution."""
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = len(value.shape) - len(self._event_shape)
        if tuple(value.shape[start:]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            )
        shape = self._batch_shape + self._event_shape
        for i, j in zip(reversed(value.shape), reversed(shape), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {shape}.")
        if self.support is not None and not bool(self.support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({self.support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        given = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        told = [f"{k}: {v if v.numel() == 1 else v.size()}" for k, v in given.items()]
        return f"{type(self).__name__}({', '.join(told)})"


def tensors(*values: Any) -> list[Any]:
    """``values``, tensors and numbers, as tensors of one shape, their dtype and device those of the tensors among them.

    ValueError for anything else.
    """
    for v in values:
        if not isinstance(v, (Tensor, int, float)):
            raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing "
                             "__torch_function__.")  # fmt: skip
    like = next((v for v in values if isinstance(v, Tensor)), None)
    kind = {} if like is None else {"dtype": like.dtype, "device": like.device}
    made = [v if isinstance(v, Tensor) else ops.creation.tensor(float(v), **kind) for v in values]
    return list(ops.shape.broadcast_tensors(*made))
