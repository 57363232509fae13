"""To another dtype or device."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import checked, is_number, kind_of
from ..autograd import Tensor, primitive
from ..autograd.memory_format import preserve_format
from ..autograd.primitive import copy as _copy
from ..autograd.tensor import TENSORS
from ..autograd.views import write
from ._declare import Device, DType, Operand, method

__all__ = ["is_nonzero", "result_type"]


@primitive(meta="x", grad_name="ToCopyBackward0")
def _to(xp, x, kind, where):
    if kind is not None and x.dtype != kind:
        x = dtypes.cast(x.real if x.dtype.kind == "c" and kind.kind != "c" else x, kind)
    return x if where is None else backend.to_device(x, where)


def _back(g: Any, ans: Any, x: Any, kind: Any, where: Any) -> Any:
    """To the input's dtype; to its device, which the edge of a leaf or the saved placement tells."""
    return _to(g, x.dtype, None)


_to.defvjp(_back, saves="x")


@primitive()
def _to_integers(xp, x, kind):
    """To an integer type or bool: constant between steps, so that it is never recorded."""
    return (x.real if x.dtype.kind == "c" and kind.kind != "b" else x).astype(kind)  # bool: whether it is not 0


@primitive(grad_name="ToCopyBackward0")
def _move(xp, x, source, target):
    return backend.to_device(x, target)


_move.defvjp(lambda g, ans, x, source, target: _move(g, target, source), saves="")


@method("to", check=False)
def to(
    self: Tensor,
    *args: Any,
    device: Device = None,
    dtype: DType = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """With another dtype, on another device, or like another tensor; itself where nothing changes (unless ``copy``).

    ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``.  RuntimeError for a device that isn't here.
    """
    flags = [a for i, a in enumerate(args) if i and isinstance(a, bool)]  # non_blocking and copy
    copy = copy or flags[1:] == [True]
    for a in args[: len(args) - len(flags)]:
        if a is None:
            continue
        if a.__class__ in TENSORS:
            device, dtype = a.device, a.dtype
        elif isinstance(a, dtypes.dtype | type):
            dtype = a
        elif isinstance(a, (str, int, backend.device)) and not isinstance(a, bool):
            device = a
        else:
            raise TypeError(f"to() takes a dtype, a device or a tensor, got {type(a).__name__}")
    out = self
    if dtype is not None:
        kind = dtypes.as_dtype(dtype)
        if kind.np != self._data.dtype:
            out = _to(out, kind.np, None) if kind.category > 1 else _to_integers(out, kind.np)
    if device is not None:
        here, there = out.device, backend.resolve(device)
        if here != there:
            out = _move(out, here, there)
    if memory_format is not None and memory_format is not preserve_format and not out.is_contiguous(memory_format):
        return out.contiguous(memory_format)
    return out.clone() if copy and out is self else out


@method("copy_", check=False)
def copy_(self: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """In place: the values of ``source``, broadcast, of any dtype and from any device."""
    given: Any = source
    if given.__class__ not in TENSORS and not is_number(given) and not isinstance(given, complex):
        raise TypeError(f"copy_(): argument 'src' (position 1) must be Tensor, not {kind_of(given)}")
    if source.__class__ in TENSORS and not self._data.__class__ is source._data.__class__ is np.ndarray:
        source = source.to(self.device)
    return write(_copy.primitive, self, (source,), {})


def _shorthand(name: str, kind: dtypes.dtype) -> None:
    def cast(self, memory_format=None):
        return to(self, dtype=kind, memory_format=memory_format)

    cast.__name__ = cast.__qualname__ = name
    cast.__doc__ = f"As {kind.name}."
    setattr(Tensor, name, cast)


for _name, _kind in (
    ("bool", dtypes.bool_), ("byte", dtypes.uint8), ("char", dtypes.int8), ("short", dtypes.int16),
    ("int", dtypes.int32), ("long", dtypes.int64), ("half", dtypes.float16), ("bfloat16", dtypes.bfloat16),
    ("float", dtypes.float32), ("double", dtypes.float64),
    ("cfloat", dtypes.complex64), ("cdouble", dtypes.complex128),
):  # fmt: skip
    _shorthand(_name, _kind)


@method("type_as")
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """In the dtype of ``other``."""
    return to(self, dtype=other.dtype)


@method("cpu")
def cpu(self: Tensor) -> Tensor:
    """On the CPU."""
    return to(self, device="cpu")


@method("cuda")
def cuda(self: Tensor, device: Device = None, non_blocking: bool = False) -> Tensor:
    """On a GPU, by default the current one."""
    return to(self, device="cuda" if device is None else device)


@method("is_nonzero")
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element of ``input`` is not 0; RuntimeError for more or none.

    >>> torch.is_nonzero(torch.tensor([0.0]))
    False
    """
    return bool(input)


@checked
def result_type(tensor1: Operand, tensor2: Operand) -> dtypes.dtype:
    """The dtype in which an operation on both computes (tensors or numbers).

    >>> torch.result_type(torch.tensor([1], dtype=torch.int32), 1.5)
    torch.float32
    """
    return dtypes.result_type([_kind_and_rank(tensor1), _kind_and_rank(tensor2)])


def _kind_and_rank(x: Any) -> tuple[dtypes.dtype, int]:
    """The dtype of ``x`` and how much it weighs: 0 a number, 1 a zero-dimensional tensor, 2 another."""
    return (x.dtype, 2 if x._data.ndim else 1) if x.__class__ in TENSORS else (dtypes.scalar_dtype(x), 0)
