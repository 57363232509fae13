"""Activations and dropout that draw at random, and keep mean and variance."""

from __future__ import annotations

from typing import Any

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor
from .._declare import raw
from ..elementwise import log
from ..selection import where
from .activation import _into, leaky_relu
from .dropout import _channels, _check
from .softmax import softmax

__all__ = ["alpha_dropout", "feature_alpha_dropout", "gumbel_softmax", "rrelu"]

_FLOOR = -1.7580993408473766  # what SELU tends to at -inf


def _placed(array: Any, x: Tensor) -> Tensor:
    device = backend.device_of(raw(x))
    return Tensor._wrap(array if device.type == "cpu" else backend.to_device(array, device), None)


def _alpha(x: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool) -> Tensor:
    """Dropped to SELU's least value, then scaled and shifted to mean 0 and variance 1 again (Klambauer et al. 2017,
    arXiv:1706.02515)."""
    _check(p)
    if not training or p == 0.0 or x.numel() == 0:
        return x
    if p == 1.0:
        return _into(x, x * 0.0, inplace)
    from ...random import default_generator

    keep = _placed(default_generator.keep_mask(shape, p), x).to(x.dtype)
    scale = ((_FLOOR**2 * p + 1) * (1 - p)) ** -0.5
    shift = (1 - keep) * (_FLOOR * scale) - scale * _FLOOR * p
    return _into(x, x * (keep * scale) + shift, inplace)


@checked
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for networks of SELU (Klambauer et al. 2017, arXiv:1706.02515).

    >>> F.alpha_dropout(torch.ones(2), 0.5, training=False)
    tensor([1., 1.])
    """
    return _alpha(input, tuple(input.shape), p, training, inplace)


@checked
def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """:func:`alpha_dropout` of whole channels of (N, C, *).

    >>> F.feature_alpha_dropout(torch.ones(1, 2, 1), 0.5, training=False)
    tensor([[[1.],
             [1.]]])
    """
    if training and 0 < p < 1 and input.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return _alpha(input, _channels(input, 2), p, training, inplace)


@checked
def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """``input`` where positive, else a factor times it: drawn for each element between ``lower`` and ``upper`` in
    training, else their mean (Xu et al. 2015, arXiv:1505.00853).

    RuntimeError: ``lower`` above ``upper``.

    >>> F.rrelu(torch.tensor([-2.0, 1.0]), 0.5, 0.5)
    tensor([-1.,  1.])
    """
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    from ...random import default_generator

    factor = _placed(default_generator.uniform(tuple(input.shape), input.dtype, lower, upper), input)
    return _into(input, where(input > 0, input, input * factor), inplace)


@checked
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of classes that has a gradient (Jang et al. 2016, arXiv:1611.01144): softmax of the logits plus noise of
    Gumbel's distribution, divided by ``tau``.

    Args:
        logits: unnormalised log-probabilities along ``dim``.
        hard: give 1 for the largest and 0 for the others, with the gradient of the soft sample.
        eps: without effect, as in PyTorch.

    >>> F.gumbel_softmax(torch.zeros(3), hard=True).sum()
    tensor(1.)
    """
    from ...random import default_generator

    drawn = _placed(default_generator.exponential(tuple(logits.shape), logits.dtype), logits)
    soft = softmax((logits - log(drawn)) / tau, dim)
    if not hard:
        return soft
    chosen = soft.argmax(dim, True)
    return soft.detach().new_zeros(soft.shape).scatter(dim, chosen, 1.0) - soft.detach() + soft
