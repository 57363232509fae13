"""Tensors that a module owns: parameters, which are trained, and buffers, which are not."""

from __future__ import annotations

from typing import Any

from .. import backend, dtypes
from ..autograd import Tensor
from ..autograd.graph import Cell, Leaf


def _sharing(cls: type, data: Any, requires_grad: bool) -> Any:
    """A leaf of class ``cls`` over the memory of ``data``: a Tensor, an array, or None for no elements."""
    self: Any = object.__new__(cls)
    self._view = self._vc = None
    if data is None:
        self._data = backend.module_for(backend.resolve(None)).empty(0, dtypes.get_default_dtype().np)
    elif isinstance(data, Tensor):
        if data._vc is None:
            data._vc = Cell()
        self._data, self._vc = data._data, data._vc  # a write through either is a write to both
    elif backend.is_array(data):
        self._data = data
    else:
        raise TypeError(f"{cls.__name__}() takes a Tensor, an array or None, got {type(data).__name__}")
    self._node = None
    if not isinstance(requires_grad, bool):
        raise TypeError(f"{cls.__name__}(): argument 'requires_grad' must be bool, not {type(requires_grad).__name__}")
    if requires_grad:
        kind = dtypes.from_numpy_dtype(self._data.dtype)
        if kind.category < 2:
            raise RuntimeError(
                f"Only Tensors of floating point and complex dtype can require gradients, not {kind}; "
                f"use {cls.__name__}(data, requires_grad=False)"
            )
        self._node = Leaf(self)
    return self


class Parameter(Tensor):
    """A tensor that, assigned to an attribute of a :class:`Module`, is one of its parameters.

    Args:
        data: a Tensor or array, whose memory it shares; None for a parameter without elements.
        requires_grad: whether it is trained.

    Raises:
        TypeError: ``data`` is something else.
        RuntimeError: integers or bools that should require grad.

    >>> nn.Parameter(torch.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    _is_parameter = True

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        return _sharing(cls, data, requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A parameter with a copy of the values, and as in PyTorch without the gradient."""
        if id(self) not in memo:
            memo[id(self)] = type(self)(self._data.copy("K"), self.requires_grad)
        return memo[id(self)]


class Buffer(Tensor):
    """A tensor that, assigned to an attribute of a :class:`Module`, is one of its buffers.

    Args:
        data: a Tensor or array, whose memory it shares; None for one without elements.
        persistent: whether it belongs to the module's ``state_dict``.

    >>> class Counter(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.count = nn.Buffer(torch.tensor(0))
    ...
    >>> list(Counter().state_dict()), list(Counter().parameters())
    (['count'], [])
    """

    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        self = _sharing(cls, data, False)
        self.persistent = persistent
        return self
