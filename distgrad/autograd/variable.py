"""The name that tensors with gradients once had."""

from __future__ import annotations

import warnings
from typing import Any

from .._arguments import kind_of
from .tensor import TENSORS, Tensor

__all__ = ["Variable"]


class _IsTensor(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return instance.__class__ in TENSORS


class Variable(metaclass=_IsTensor):
    """``Variable(t, requires_grad)``: a tensor over the memory of ``t``, a leaf where gradients are asked for.

    Of old programs, whose tensors had no gradients; ``isinstance(t, Variable)`` is true of every tensor.

    Raises:
        TypeError: ``data`` is no tensor.  ValueError: ``volatile`` and ``requires_grad``.

    >>> torch.autograd.Variable(torch.ones(2), requires_grad=True)
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool = False) -> Any:
        if data.__class__ not in TENSORS:
            raise TypeError(f"Variable data has to be a tensor, but got {kind_of(data)}")
        if volatile:
            if requires_grad:
                raise ValueError("Variable can't be volatile and require_grad at the same time!")
            warnings.warn(
                "volatile was removed and now has no effect. Use `with torch.no_grad():` instead.", stacklevel=2
            )
        made: Tensor = data.detach()
        return made.requires_grad_() if requires_grad else made
