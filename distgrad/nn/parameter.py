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


_UNKNOWN = (
    "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in `load_state_dict` "
    "when trying to load an uninitialized parameter into an initialized one. Call `forward` to initialize the "
    "parameters before accessing their attributes."
)


class _Uninitialized(Tensor):
    """What parameters and buffers without a shape share."""

    _becomes: Any

    @property
    def shape(self) -> Any:
        """RuntimeError: there is none yet."""
        raise RuntimeError(_UNKNOWN)

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Take a shape, with values that are not set, and become a usual one."""
        from ..ops.creation import empty

        made = empty(*shape, device=self.device if device is None else device, dtype=dtype or self.dtype)
        self.__class__ = self._becomes
        self.data = made

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Another one without a shape."""
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.requires_grad, str(self.device), self.dtype)


def _without_shape(cls: type, requires_grad: bool, device: Any, dtype: Any) -> Any:
    kind = dtypes.get_default_dtype() if dtype is None else dtype
    data = backend.module_for(backend.resolve(device)).empty(0, kind.np)
    return _sharing(cls, data, requires_grad)


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter without a shape: of a lazy module before its first call.

    Args:
        requires_grad, device, dtype: of the parameter that it becomes by :meth:`materialize`.

    >>> p = nn.UninitializedParameter()
    >>> p.materialize((2, 3))
    >>> p.shape, type(p).__name__
    (torch.Size([2, 3]), 'Parameter')
    """

    _becomes = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        return _without_shape(cls, requires_grad, device, dtype)


class UninitializedBuffer(_Uninitialized):
    """A buffer without a shape: of a lazy module before its first call.

    >>> b = nn.UninitializedBuffer()
    >>> b.materialize((2,))
    >>> b.shape
    torch.Size([2])
    """

    _becomes = Tensor

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None) -> Any:
        return _without_shape(cls, requires_grad, device, dtype)


def is_lazy(value: Any) -> bool:
    """Whether it is a parameter or buffer without a shape.

    >>> nn.parameter.is_lazy(nn.UninitializedBuffer()), nn.parameter.is_lazy(torch.ones(2))
    (True, False)
    """
    return isinstance(value, _Uninitialized)
