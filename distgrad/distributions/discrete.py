"""Distributions of classes and of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes, ops
from ..autograd import Size, Tensor, no_grad
from . import constraints
from .distribution import Distribution

__all__ = ["Bernoulli", "Categorical", "Geometric"]

_Parameter = Tensor | float | None


def _one_of_two(probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


def _inside(probs: Tensor) -> Any:
    """``probs`` so far from 0 and 1 that the logarithms of both sides are finite."""
    eps = dtypes.finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


def _binary_logits(probs: Tensor) -> Any:
    p = _inside(probs)
    return p.log() - ops.elementwise.log1p(-p)


class _OfTwoParameters(Distribution):
    """A distribution given by ``probs`` or by ``logits``: the other one is found when it is first asked for."""

    def __init__(
        self, probs: _Parameter = None, logits: _Parameter = None, validate_args: bool | None = None
    ) -> None:
        self._take_one(validate_args, probs, logits)

    def _take_one(self, validate_args: bool | None, probs: _Parameter, logits: _Parameter, **others: Any) -> None:
        """Be a distribution of ``probs`` or ``logits`` and ``others``, which are broadcast with it."""
        _one_of_two(probs, logits)
        one: dict[str, Any] = {"logits": logits} if probs is None else {"probs": probs}
        self._take(validate_args, **one, **others)

    def __getattr__(self, name: str) -> Any:
        if name not in ("probs", "logits") or not {"probs", "logits"} & set(self.__dict__):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = self._probs() if name == "probs" else self._logits()
        self.__dict__["_" + name + "_found"] = found
        return found

    def _probs(self) -> Any:
        return self.__dict__["logits"].sigmoid()

    def _logits(self) -> Any:
        return _binary_logits(self.__dict__["probs"])

    @property
    def param_shape(self) -> Any:
        """The shape of ``probs``."""
        return self._given.shape

    @property
    def _given(self) -> Any:
        return self.__dict__.get("probs", self.__dict__.get("logits"))


class Bernoulli(_OfTwoParameters):
    """1 with probability ``probs``, else 0; or, in place of it, its ``logits``.

    ValueError: both are given, or neither; a probability that is none.

    >>> torch.distributions.Bernoulli(torch.tensor(0.5)).entropy()
    tensor(0.6931)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        likelier = (self.probs >= 0.5).to(self.probs.dtype)
        return ops.selection.where(self.probs == 0.5, float("nan"), likelier)

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            return ops.drawing.bernoulli(self.probs.expand(self._extended(sample_shape)))

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        logits = self.logits
        return value * logits - ops.nn.activation.softplus(logits)

    def entropy(self) -> Any:
        logits = self.logits
        return ops.nn.activation.softplus(logits) - self.probs * logits

    def enumerate_support(self, expand: bool = True) -> Any:
        values = ops.ranges.arange(2, dtype=self._given.dtype, device=self._given.device)
        values = values.view((-1, *(1,) * len(self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values


class Geometric(_OfTwoParameters):
    """How often a draw of probability ``probs`` fails before it succeeds: 0, 1, …; or, in place of it, its ``logits``.

    ValueError: both are given, or neither; a probability that is none, or 0.

    >>> torch.distributions.Geometric(torch.tensor(0.25)).mean
    tensor(3.)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(
        self, probs: _Parameter = None, logits: _Parameter = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(probs, logits, validate_args)
        if self._validate_args and probs is not None and not bool((self.probs > 0).all()):
            raise ValueError(
                f"Expected parameter probs (Tensor of shape {tuple(self.probs.shape)}) of distribution {self!r} to be "
                f"positive but found invalid values:\n{self.probs[self.probs <= 0]}"
            )

    @property
    def mean(self) -> Any:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Any:
        return self.probs * 0

    @property
    def variance(self) -> Any:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            probs = self.probs
            drawn = ops.drawing.rand(self._extended(sample_shape), dtype=probs.dtype, device=probs.device)
            return (ops.elementwise.log1p(-drawn) / ops.elementwise.log1p(-probs)).floor()

    def log_prob(self, value: Any) -> Any:
        self._check(value)
        probs: Any
        value, probs = ops.shape.broadcast_tensors(value, self.probs)
        failed = ops.selection.where((probs == 1) & (value == 0), 0.0, 1 - probs)
        failing = value * ops.selection.where((probs == 1) & (value == 0), 1.0, failed).log()
        return failing + self.probs.log()

    def entropy(self) -> Any:
        p = _inside(self.probs)
        return -(p * p.log() + (1 - p) * ops.elementwise.log1p(-p)) / self.probs


class Categorical(_OfTwoParameters):
    """A class out of 0 … K - 1, with ``probs`` (\\*, K), which are divided by their sum, or ``logits`` (\\*, K).

    ValueError: both are given, or neither; numbers instead of a tensor; a probability that is none.

    >>> torch.distributions.Categorical(torch.tensor([1.0, 3.0])).log_prob(torch.tensor(1)).exp()
    tensor(0.7500)
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        _one_of_two(probs, logits)
        given: Any = logits if probs is None else probs
        if given.dim() < 1:
            name = "logits" if probs is None else "probs"
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if probs is None:
            self.__dict__["logits"] = given - given.logsumexp(-1, keepdim=True)
        else:
            self.__dict__["probs"] = given / given.sum(-1, keepdim=True)
        self._num_events = int(given.shape[-1])
        Distribution.__init__(self, given.shape[:-1], validate_args=validate_args)

    def _probs(self) -> Any:
        return self.__dict__["logits"].softmax(-1)

    def _logits(self) -> Any:
        return _inside(self.__dict__["probs"]).log()

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Any:
        return ops.creation.full(self._batch_shape, float("nan"), dtype=self._given.dtype, device=self._given.device)

    @property
    def variance(self) -> Any:
        return self.mean

    @property
    def mode(self) -> Any:
        return self.probs.argmax(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        with no_grad():
            shape = Size(sample_shape)
            rows = self.probs.reshape(-1, self._num_events)
            drawn = ops.drawing.multinomial(rows, shape.numel(), True).T
            return drawn.reshape(self._extended(shape))

    def log_prob(self, value: Tensor) -> Any:
        self._check(value)
        at, logits = ops.shape.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, at[..., :1]).squeeze(-1)

    def entropy(self) -> Any:
        logits = self.logits.clamp(min=dtypes.finfo(self._given.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        """All classes, as draws for each of the batch."""
        classes = ops.ranges.arange(self._num_events, device=self._given.device)
        classes = classes.view((-1, *(1,) * len(self._batch_shape)))
        return classes.expand((-1, *self._batch_shape)) if expand else classes
