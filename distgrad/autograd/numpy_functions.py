"""NumPy's functions of tensors: ``np.sqrt(tensor)`` gives a tensor, as in PyTorch.

An operator with an array on its left, ``array * tensor``, is such a function, too; it is the tensor's own operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .tensor import TENSORS, Tensor

__all__: list[str] = []

_OPERATORS: dict[Any, tuple[str, str]] = {
    np.add: ("__add__", "__radd__"), np.subtract: ("__sub__", "__rsub__"), np.multiply: ("__mul__", "__rmul__"),
    np.true_divide: ("__truediv__", "__rtruediv__"), np.floor_divide: ("__floordiv__", "__rfloordiv__"),
    np.remainder: ("__mod__", "__rmod__"), np.power: ("__pow__", "__rpow__"), np.matmul: ("__matmul__", "__rmatmul__"),
    np.equal: ("__eq__", "__eq__"), np.not_equal: ("__ne__", "__ne__"), np.less: ("__lt__", "__gt__"),
    np.less_equal: ("__le__", "__ge__"), np.greater: ("__gt__", "__lt__"), np.greater_equal: ("__ge__", "__le__"),
    np.bitwise_and: ("__and__", "__rand__"), np.bitwise_or: ("__or__", "__ror__"),
    np.bitwise_xor: ("__xor__", "__rxor__"),
}  # fmt: skip


def _array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``ufunc`` of ``inputs``, among which are tensors: an operator is that of the tensor and may be recorded; any
    other function is computed by NumPy on the CPU, and its results become tensors (RuntimeError for one that requires
    a gradient, as of ``numpy()``)."""
    if ufunc in _OPERATORS and method == "__call__" and not kwargs and len(inputs) == 2:
        forth, back = _OPERATORS[ufunc]
        x, y = inputs
        return getattr(x, forth)(y) if x.__class__ in TENSORS else getattr(y, back)(x)
    out = kwargs.get("out", ())
    if any(o.__class__ in TENSORS for o in out):
        return NotImplemented
    found = getattr(ufunc, method)(*[a.numpy() if a.__class__ in TENSORS else a for a in inputs], **kwargs)
    if out or found is None:
        return found
    return tuple(map(_as_tensor, found)) if found.__class__ is tuple else _as_tensor(found)


def _as_tensor(found: Any) -> Tensor:
    """A result as a tensor, of bools one of uint8, as in PyTorch."""
    array = np.asarray(found)
    return Tensor._wrap(array.astype(np.uint8) if array.dtype == np.bool_ else array, None)


class _OfTheClass:
    """What NumPy finds, which asks the class; CuPy asks the tensor, and finding None lets that decide."""

    def __get__(self, tensor: Any, owner: type) -> Any:
        return _array_ufunc if tensor is None else None


Tensor.__array_ufunc__ = _OfTheClass()  # type: ignore[attr-defined]
