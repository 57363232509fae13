"""How tensors are copied (``copy.copy``, ``copy.deepcopy``) and pickled, as multiprocessing, joblib and users do it.

Pickling goes out only: nothing here or elsewhere in distgrad loads a pickle unasked.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .. import backend
from ..backend.protocol import Array
from .coo import Coo
from .gradient_slots import bases, references
from .graph import Leaf
from .tensor import Tensor
from .views import overlaps

__all__ = ["memory_copied"]

# What the engine keeps in an instance's dict.
_NOT_KEPT = frozenset(("_grad", "_retains", "_leaf", "_flat", "_when_replaced"))


def _attributes(t: Tensor) -> dict[str, Any]:
    """What users set on ``t``."""
    return {name: value for name, value in t.__dict__.items() if name not in _NOT_KEPT}


def memory_copied(t: Tensor, memo: dict[Any, Any]) -> Array:
    """A copy of the array of ``t``; with one ``memo``, those that share memory share it in their copies too."""
    data = t._data
    if isinstance(data, Coo):
        return data.copy()
    # PyTorch's parameters get a copy of their own, without gaps
    if t._is_parameter and not (data.flags.c_contiguous or data.flags.f_contiguous):
        return data.copy() if overlaps(data) else data.copy("K")
    alone = references(t) == 2 and (data.base is None or (backend.is_array(data.base) and bases(data) == 1))
    if alone or not isinstance(data, np.ndarray) or not data.size:
        return data.copy()
    root = data
    while isinstance(root.base, np.ndarray):
        root = root.base
    key = "memory", id(root)
    if key not in memo:
        memo[key] = root.copy("K"), root  # the second, so that its id stays its own
    copied = memo[key][0]
    if copied.strides != root.strides:
        return data.copy()
    start = data.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return np.ndarray(data.shape, data.dtype, buffer=_bytes(copied), offset=start, strides=data.strides)


def _bytes(array: np.ndarray) -> np.ndarray:
    """The memory of ``array``, which has no gaps, in order."""
    return np.ravel(array, "K").view(np.uint8)


def _deepcopy(self: Tensor, memo: dict[Any, Any]) -> Any:
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
            "moment. If you were attempting to deepcopy a module, this may be because of a "
            "torch.nn.utils.weight_norm usage."
        )
    t = object.__new__(type(self))
    t._data = memory_copied(self, memo)
    t._node = t._vc = t._view = None
    memo[id(self)] = t
    if self._node is not None:
        t._node = Leaf(t)
    if (grad := self.grad) is not None:
        t._grad = copy.deepcopy(grad, memo)
    for name, value in _attributes(self).items():
        t.__dict__[name] = copy.deepcopy(value, memo)
    return t


def _copy(self: Tensor) -> Any:
    t = object.__new__(type(self))
    t._data = self._data
    t._vc = t._view = None
    t._node = Leaf(t) if type(self._node) is Leaf else self._node
    t.__dict__.update(_attributes(self))
    return t


def _reduce(self: Tensor, protocol: Any) -> Any:
    """As in PyTorch: values, device, whether a gradient is required, a user's attributes; no gradient and no hooks."""
    data, where = self._data, self.device
    if not isinstance(data, Coo):
        data = backend.to_host(data)
    return _rebuilt, (type(self), data, str(where), self.requires_grad, _attributes(self))


def _rebuilt(cls: type[Tensor], data: Any, where: str, requires_grad: bool, attributes: dict[str, Any]) -> Tensor:
    t = object.__new__(cls)
    t._data = data if isinstance(data, Coo) or where == "cpu" else backend.to_device(data, backend.resolve(where))
    t._node = t._vc = t._view = None
    t.__dict__.update(attributes)
    if requires_grad:
        t._node = Leaf(t)
    return t


Tensor.__deepcopy__ = _deepcopy  # type: ignore[attr-defined]
Tensor.__copy__ = _copy  # type: ignore[attr-defined]
Tensor.__reduce_ex__ = _reduce  # type: ignore[method-assign,assignment]
