"""Writing to all of a tensor, to where a mask is true, or to what an index names."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import checked
from ..autograd import Tensor, primitive
from ..autograd.errors import mismatched, overlapping, read_only
from ..autograd.grad_mode import recording
from ..autograd.primitive import copy as _copy, zeros_as
from ..autograd.recording import tensors_in, watched
from ..autograd.tensor import TENSORS
from ..autograd.views import _writable, overlaps, wants_grad, write
from ._choosing import chosen
from ._declare import Operand, method
from ._index import Steps, clean, explain, is_basic
from ._numbers import fitting
from .creation import full
from .indexing import _check_indices, _getitem, _put, _read, _setitem
from .selection import _where
from .shape import _expanded

__all__ = ["fill", "masked_fill"]

_f32, _f64 = np.dtype(np.float32), np.dtype(np.float64)
_LARGEST = float(np.finfo(np.float32).max)


def _everywhere(xp: Any, x: Any, value: Any) -> Any:
    """``value``, a number or of no dimensions, in the shape and dtype of ``x``."""
    return xp.broadcast_to(dtypes.cast(xp.asarray(value), x.dtype), x.shape)


_everywhere.__name__ = "fill"
_fill = primitive(grad_name=lambda node: "FillBackward0" if node.edges[1] is None else "FillBackward1")(_everywhere)
_fill.defvjp(lambda g, ans, x, value: zeros_as(g), lambda g, ans, x, value: g, saves="")


@primitive(grad_name="ZeroBackward0")
def zero(xp, x):
    """Zeros in the shape and dtype of ``x``."""
    return xp.zeros(x.shape, x.dtype)


zero.defvjp(lambda g, ans, x: zeros_as(g), saves="")


def _no_combination(name: str, given: str, expected: str) -> TypeError:
    return TypeError(
        f"{name}() received an invalid combination of arguments - got ({given}), but expected one of: {expected}"
    )


def _filling(self: Tensor, value: Any) -> Any:
    """``value`` as it is to be written; RuntimeError or TypeError for what cannot be."""
    if value.__class__ in TENSORS:
        if value._data.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value._data.ndim} dimensions."
            )
    elif isinstance(value, (bool, int, float, complex, np.generic)):
        value = fitting(value.item() if isinstance(value, np.generic) else value, self._data.dtype)
    else:
        raise _no_combination("fill_", type(value).__name__, "(Tensor value), (Number value)")
    return value


@method("fill_", check=False)
def fill_(self: Tensor, value: Any) -> Tensor:
    """In place: ``value``, a number or a tensor of no dimensions, everywhere."""
    return write(_fill.primitive, self, (_filling(self, value),), {})


@checked
def fill(input: Tensor, value: Operand) -> Tensor:
    """``value``, a number or a tensor of no dimensions, in the shape and dtype of ``input``.

    >>> torch.fill(torch.zeros(2), 3.0)
    tensor([3., 3.])
    """
    return _fill(input, _filling(input, value)).contiguous()


@method("zero_", check=False)
def zero_(self: Tensor) -> Tensor:
    """In place: zeros."""
    return write(zero.primitive, self, (), {})


@primitive(grad_name="MaskedFillBackward0")
def _masked_fill(xp, x, value, mask):
    return chosen(xp, mask, xp.asarray(value).astype(x.dtype), x)


_masked_fill.defvjp(
    lambda g, ans, x, value, mask: _where(0.0, g, mask),
    lambda g, ans, x, value, mask: _where(g, 0.0, mask),
    saves="",
)


def _mask_and_value(name: str, input: Any, mask: Any, value: Any) -> tuple[Any, Any]:
    """The mask's array and what is to be written, checked."""
    number = isinstance(value, (bool, int, float, complex, np.generic))
    if mask.__class__ not in TENSORS or not (number or value.__class__ in TENSORS):
        given = f"{type(mask).__name__}, {type(value).__name__}"
        raise _no_combination(name, given, "(Tensor mask, Tensor value), (Tensor mask, Number value)")
    if mask._data.dtype != np.bool_:
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    error = mismatched(name, (input._data, mask._data))
    if error is not None:
        raise error
    if number:
        return mask._data, fitting(value.item() if isinstance(value, np.generic) else value, input._data.dtype)
    if value._data.ndim:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value._data.ndim} "
            "dimension(s)."
        )
    return mask._data, value


@method("masked_fill")
def masked_fill(input: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """``value``, a number or a tensor of no dimensions, where ``mask`` (bool) is true, else ``input``, in its dtype.

    >>> torch.masked_fill(torch.tensor([1.0, 2.0]), torch.tensor([True, False]), 0.0)
    tensor([0., 2.])
    """
    where, value = _mask_and_value("masked_fill", input, mask, value)
    return watched(_masked_fill(input, value, where), mask)


@method("masked_fill_")
def masked_fill_(self: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """In place: ``value``, a number or a tensor of no dimensions, where ``mask`` (bool) is true."""
    where, value = _mask_and_value("masked_fill_", self, mask, value)
    return write(_masked_fill.primitive, self, (value, where), {}, (mask,))


# --- self[index] = value ---


def _assignable(self: Tensor, value: Any) -> Any:
    """``value`` as a tensor or a number that fits; TypeError for anything else, lists and arrays included."""
    if value.__class__ in TENSORS:
        return value.to(self.dtype) if dtypes.is_float8(self._data.dtype) else value
    if dtypes.is_float8(self._data.dtype):
        return full((), value, dtype=self.dtype)
    if value.__class__ in (float, int, bool, complex):
        return fitting(value, self._data.dtype)
    if isinstance(value, np.integer) or value.__class__ is np.float64:  # a Python float, too
        return fitting(value.item(), self._data.dtype)
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    raise TypeError(f"can't assign a {name} to a torch.{self.dtype.tensor_type}")


def _leading(value: Tensor) -> Tensor:
    """``value`` without the dimensions of size 1 that its shape begins with."""
    shape = value._data.shape
    n = 0
    while n < len(shape) and shape[n] == 1:
        n += 1
    return value.reshape(shape[n:]) if n else value


def _is_whole(index: Any, ndim: int) -> bool:
    """Whether the basic ``index`` names all of a tensor, as it is."""
    return index == () or index == (Ellipsis,) or (ndim > 0 and index == (slice(None),))


def _misfit(target: Any, shape: Any, basic: bool) -> None:
    """RuntimeError where a value of ``shape`` cannot be written to ``target``, of a basic or another index."""
    if basic:
        _expanded(target.shape, tuple(shape))
        return
    try:
        fits = np.broadcast_shapes(target.shape, shape) == target.shape  # of shapes, not of arrays
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(shape)} cannot be broadcast to indexing result of shape "
            f"{list(target.shape)}"
        )


def _of_its_type(self: Tensor, value: Tensor, index: Any) -> Tensor:
    """``value``, to be written where index tensors say, in the dtype of ``self``.  As in PyTorch RuntimeError where it
    has another: but one element, under one mask, is converted, if it fits."""
    kind = self._data.dtype
    if value._data.dtype == kind:
        return value
    picks = [i for i in (index.picks if index.__class__ is Steps else index) if backend.is_array(i)]
    if value._data.size == 1 and len(picks) == 1 and picks[0].dtype == np.bool_ and value.device.type == "cpu":
        fitting(value.item(), kind)
        return value.reshape(()).to(self.dtype)
    ours, theirs = (t.dtype.tensor_type.removesuffix("Tensor") for t in (self, value))
    raise RuntimeError(
        f"Index put requires the source and destination dtypes match, got {ours} for the destination and {theirs} for "
        "the source."
    )


@method("__setitem__", check=False)
def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``self[index] = value``, in place, recorded where a gradient is wanted.

    Raises:
        TypeError: ``value`` is neither a tensor nor a number.
        RuntimeError: it cannot be broadcast to what ``index`` names, or a number does not fit the dtype.
        IndexError: ``index`` is out of bounds, or none.
    """
    data = self._data
    if index.__class__ is bool:  # one dimension more, of all or of none
        if not index:
            return
        index = None
    given, index = index, clean(index, data.shape)
    usual = value.__class__ is float and (data.dtype is _f64 or (data.dtype is _f32 and -_LARGEST < value < _LARGEST))
    if not usual:
        value = _assignable(self, value)
    basic = is_basic(index)
    shape: tuple[int, ...] = ()
    if value.__class__ in TENSORS:
        if value.device != self.device and value._data.ndim:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {self.device} and "
                f"{value.device}!"
            )
        if not basic:
            value = _of_its_type(self, value, index)
        shape = value._data.shape
        if shape and shape[0] == 1:
            value = _leading(value)
            shape = value._data.shape
        array = value._data
        if not isinstance(data, np.ndarray):
            array = backend.to_device(array, self.device)
    else:
        array = value
    if (
        recording.enabled
        and (wants_grad(self) or (value.__class__ in TENSORS and wants_grad(value)))
        and data.dtype.kind not in "biu"
    ):
        _recorded(self, index, value, shape, () if basic else tuple(tensors_in(given)))
        return
    try:
        if data.__class__ is np.ndarray:
            _put(data, index, array)
        else:
            with backend.where_it_lies(data):
                _put(data, index, array)
    except IndexError as e:
        raise explain(index, data.shape, e) from None
    except (TypeError, ValueError):
        _check_indices(data, index)
        target = _read(data, index)
        _misfit(target, shape, basic)
        if not isinstance(data, np.ndarray) or data.flags.writeable:
            raise
        if not overlaps(data):
            raise read_only() from None
        if basic and overlaps(target):
            raise overlapping() from None
        _put(_writable(data), index, array)
    self._bump()


def _recorded(self: Tensor, index: Any, value: Any, shape: tuple[int, ...], watch: tuple[Any, ...]) -> None:
    """What a basic index names is a view, which is overwritten; what index tensors name is written in the whole."""
    if not is_basic(index):
        with backend.where_it_lies(self._data):
            _misfit(_read(self._data, index), shape, False)
        write(_setitem.primitive, self, (value, index), {}, watch)
        return
    target = self if _is_whole(index, self._data.ndim) else _getitem(self, index)
    _misfit(target._data, shape, True)
    if value.__class__ not in TENSORS:
        xp = backend.array_module(self._data)
        with backend.where_it_lies(self._data):
            value = Tensor._wrap(xp.full((), value, self._data.dtype), None)
    elif value.device != self.device:
        value = value.to(self.device)
    write(_copy.primitive, target, (value,), {})


@method("__delitem__")
def _delete(self: Tensor, index: Any) -> None:
    raise TypeError("Tensor does not support deleting items")
