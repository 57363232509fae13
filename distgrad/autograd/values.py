"""A tensor's values as Python's numbers, NumPy's arrays and text."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes, printing
from .grad_mode import recording
from .graph import settle


class Valued:
    """What :class:`Tensor` inherits: conversions, which copy from a device and refuse what PyTorch refuses."""

    __slots__ = ()
    _data: Any
    _node: Any
    _is_parameter: Any
    dtype: Any
    device: Any
    requires_grad: Any
    grad_fn: Any

    def item(self) -> Any:
        """The one element, as a Python number."""
        if self._data.size != 1:
            raise RuntimeError(f"a Tensor with {self._data.size} elements cannot be converted to Scalar")
        value = self._data.item()
        return value if isinstance(value, (bool, int, float, complex)) else float(value)

    def tolist(self) -> Any:
        """Nested lists of Python numbers; a number for a zero-dimensional tensor."""
        host = backend.to_host(self._data)
        if host.dtype.kind == "V" or dtypes.is_float8(host.dtype):  # what ml_dtypes has
            host = host.astype(np.float32)
        return host.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The data as a NumPy array that shares memory; ``force=True`` detaches and copies from a device if it must."""
        settle(self)
        if force:
            return backend.to_host(self._data)
        if recording.enabled and self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.device.type != "cpu":
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )
        return self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __bool__(self) -> bool:
        if self._data.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        if self._data.size > 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self._data.item())

    def __float__(self) -> float:
        return float(self._number("double"))

    def __int__(self) -> int:
        return int(self._number("int64_t"))

    def __complex__(self) -> complex:
        return complex(self._number(""))

    def _number(self, name: str) -> Any:
        """The one element, for a conversion to ``name``: real, where a name is given."""
        if self._data.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        value = self.item()
        if value.__class__ is complex and name:
            if value.imag:
                raise RuntimeError(f"value cannot be converted to type {name} without overflow")
            return value.real
        return value

    def __index__(self) -> int:
        if self.dtype.category > 1 or self._data.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._data.item())

    def __len__(self) -> int:
        if self._data.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self._data)

    def __repr__(self) -> str:
        device = self.device
        fn = self.grad_fn
        return printing.format_tensor(
            None if device.type == "meta" else backend.to_host(self._data),
            self.dtype,
            shape=self._data.shape,
            device=None if device.type == "cpu" else str(device),
            requires_grad=self._node is not None,
            grad_fn=None if fn is None else fn.name(),
        )

    def __format__(self, spec: str) -> str:
        if self._data.ndim == 0 and not self.__class__._is_parameter:
            return self.item().__format__(spec)
        return object.__format__(self, spec)
