"""PyTorch's old names of tensors by what they hold: ``FloatTensor``, ``LongTensor``, ``type()``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import kind_of
from ..autograd import Tensor
from ..autograd.tensor import TENSORS
from ._declare import DType, method
from .conversion import to
from .creation import empty, tensor

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor", "set_default_tensor_type",
]  # fmt: skip


class TensorType(type):
    """The class of :data:`FloatTensor` and its like: a dtype and a kind of device, which make tensors when called.

    ``T(*sizes)`` is a tensor that is not initialized, ``T(data)`` holds a sequence's or an array's values, ``T(t)`` of
    a tensor of that type shares its memory.  ``isinstance(t, T)`` asks for the dtype and the kind of device.
    """

    dtype: dtypes.dtype
    is_cuda: bool

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        if cls.is_cuda and not backend.device_count():
            raise TypeError(f"type {cls._title()} not available. There is no CUDA device here.")
        where: Any = backend.resolve(device if device is not None else "cuda" if cls.is_cuda else "cpu")
        if (where.type == "cuda") != cls.is_cuda:
            raise RuntimeError(f"legacy constructor expects device type: {'cuda' if cls.is_cuda else 'cpu'}")
        data: Any = args[0] if len(args) == 1 else None
        if data.__class__ in TENSORS:
            if data.dtype is not cls.dtype or data.is_cuda != cls.is_cuda:
                raise TypeError(f"expected a tensor of type {cls._title()}, got one of {data.type()}")
            return data.detach()
        if all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in args):
            return empty(tuple(int(a) for a in args) if args else (0,), dtype=cls.dtype, device=where)
        if type(data).__name__ == "Size":
            return empty(data, dtype=cls.dtype, device=where)
        if len(args) > 1:
            raise TypeError(f"new() takes one sequence, array or tensor, or the sizes; got {len(args)} arguments")
        if not isinstance(data, Iterable) or isinstance(data, (str, bytes, dict, set)):
            raise TypeError(f"new(): data must be a sequence (got {kind_of(data)})")
        whole = data if backend.is_array(data) or isinstance(data, (list, tuple)) else list(data)
        return tensor(whole, dtype=cls.dtype, device=where)

    def __instancecheck__(cls, instance: Any) -> bool:
        return instance.__class__ in TENSORS and instance.dtype is cls.dtype and instance.is_cuda == cls.is_cuda

    def _title(cls) -> str:
        return f"torch.{'cuda.' if cls.is_cuda else ''}{cls.__name__}"

    def __repr__(cls) -> str:
        return f"<class '{cls._title()}'>"


def _named(kind: dtypes.dtype, is_cuda: bool) -> TensorType:
    words = f"""The type of {kind.name} tensors on {"a GPU" if is_cuda else "the CPU"}: an old name that makes them.

    Called with sizes it makes a tensor that is not initialized, with a sequence or an array one of these values, with
    a tensor of this type one over the same memory.  ``isinstance`` asks for the dtype and the kind of device.
    TypeError for anything else.

    >>> torch.{kind.tensor_type}([1, 0]).dtype
    torch.{kind.name}
    """
    return TensorType(kind.tensor_type, (), {"dtype": kind, "is_cuda": is_cuda, "__doc__": words})


_KINDS = (
    dtypes.bfloat16, dtypes.bool_, dtypes.uint8, dtypes.int8, dtypes.float64, dtypes.float32, dtypes.float16,
    dtypes.int32, dtypes.int64, dtypes.int16,
)  # fmt: skip
BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor, LongTensor, \
    ShortTensor = (_named(kind, False) for kind in _KINDS)  # fmt: skip
ON_CUDA = {kind.tensor_type: _named(kind, True) for kind in _KINDS}

_BY_TITLE: dict[str, TensorType] = {
    t._title(): t
    for t in (
        BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor,
        LongTensor, ShortTensor, *ON_CUDA.values(),
    )
}  # fmt: skip


def _found(given: Any) -> Any:
    """The tensor type that ``given`` names, otherwise ``given``.  ValueError for a name like one that is none."""
    if isinstance(given, str) and "." in given:
        if given not in _BY_TITLE:
            raise ValueError(f"invalid type: '{given}'")
        return _BY_TITLE[given]
    return given


@method("type")
def type_(self: Tensor, dtype: DType = None, non_blocking: bool = False) -> Any:
    """PyTorch's name of the tensor's type, or the tensor in another dtype, or of another type and so on its device.

    >>> torch.ones(1).type("torch.LongTensor").type()
    'torch.LongTensor'
    """
    if dtype is None:
        return f"torch.{'cuda.' if self.is_cuda else ''}{self.dtype.tensor_type}"
    kind = _found(dtype)
    if not isinstance(kind, TensorType):
        return to(self, dtype=kind)
    same = self.is_cuda == kind.is_cuda
    return to(self, dtype=kind.dtype) if same else to(self, device="cuda" if kind.is_cuda else "cpu", dtype=kind.dtype)


def set_default_tensor_type(t: TensorType | str) -> None:
    """Make the dtype of ``t``, a CPU type of floating-point tensors, the default one.

    TypeError for a type of other tensors, or for one of GPU tensors, as there is no default device here.

    >>> torch.set_default_tensor_type(torch.FloatTensor)
    >>> torch.get_default_dtype()
    torch.float32
    """
    kind: Any = _found(t)
    if not isinstance(kind, TensorType):
        raise TypeError("invalid type object: only floating-point types are supported as the default type")
    if not kind.dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    if kind.is_cuda:
        raise TypeError(f"{kind._title()} cannot be the default: give device='cuda' where tensors are made")
    dtypes.set_default_dtype(kind.dtype)
