"""New tensors: from data, constant, ranges."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import checked
from ..autograd import Size, Tensor
from ..autograd.graph import pin
from ..autograd.memory_format import laid, lies_last, preserve_format
from ..autograd.tensor import TENSORS, taken
from ._declare import Device, DType, Number, aside, raw, sized, sizes
from ._numbers import converted, fitting

__all__ = [
    "as_tensor", "asarray", "empty", "empty_like", "from_numpy", "full", "full_like", "numel", "ones", "ones_like",
    "scalar_tensor", "tensor", "zeros", "zeros_like",
]  # fmt: skip


def _made(array: Any, device: Any, requires_grad: bool) -> Tensor:
    where = backend.resolve(device)
    t = Tensor._wrap(array if where.type == "cpu" else backend.to_device(array, where), None)
    if requires_grad:
        t.requires_grad = True
    return t


_PLAIN = frozenset((bool, int, float, complex))


def _numbers_of(x: Any, found: dict[dtypes.dtype, None]) -> Any:
    """``x`` with its tensors as numbers; the types of what is in it go into ``found``."""
    if isinstance(x, (list, tuple)):
        kinds = set(map(type, x))
        if kinds <= _PLAIN:
            for kind in kinds:
                found.setdefault(dtypes.scalar_dtype(kind()))
            return x
        return [_numbers_of(y, found) for y in x]
    if x.__class__ in TENSORS:
        if x._data.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        found.setdefault(x.dtype)
        return x.item()
    if isinstance(x, (np.ndarray, np.generic)):
        if x.dtype.kind in "SUMmO":
            return x
        if isinstance(x, np.ndarray):
            taken(x)
        found.setdefault(dtypes.from_numpy_dtype(x.dtype))
        return x.astype(np.float32) if x.dtype.kind == "V" else x
    if isinstance(x, (bool, int, float, complex)):
        found.setdefault(dtypes.scalar_dtype(x))
    return x


def _array(data: Any, dtype: Any) -> Any:
    """``data`` as a new array: its own type for arrays, PyTorch's default types for Python numbers."""
    if data.__class__ in TENSORS:
        data = data._data
    if backend.is_array(data) or isinstance(data, np.generic):
        if backend.is_array(data):
            taken(data)
        own = dtypes.from_numpy_dtype(data.dtype).np if dtype is None else dtypes.as_dtype(dtype).np
        xp = backend.array_module(data)
        return dtypes.cast(data, own) if dtypes.is_float8(own) else xp.array(data, dtype=own)
    kinds: dict[dtypes.dtype, None] = {}
    if isinstance(data, (list, tuple)):
        data = _numbers_of(data, kinds)
    try:
        array = np.array(data)
    except ValueError as e:
        raise ValueError(f"expected sequences of equal length at every level: {e}") from None
    if array.dtype == object or array.dtype.kind in "SUMm":
        raise _no_numbers(data, array)
    if dtype is not None:
        return converted(array, dtypes.as_dtype(dtype).np)
    if array.size == 0 and array.dtype == np.float64:
        return array.astype(dtypes.get_default_dtype().np)
    if kinds:
        own = functools.reduce(dtypes.promote_types, kinds)
        if own is dtypes.int64 and array.dtype.kind in "uf":  # what NumPy makes of integers beyond int64
            raise ValueError("Overflow when unpacking long long")
        return converted(array, own.np)
    if array.dtype.kind == "f":
        return array.astype(dtypes.get_default_dtype().np)
    if array.dtype.kind == "c":
        return array.astype(dtypes.get_default_dtype().to_complex().np)
    if array.dtype.kind == "u":
        raise ValueError("Overflow when unpacking long long")
    return array


def _no_numbers(data: Any, array: np.ndarray) -> Exception:
    """PyTorch's error for ``data``, of which NumPy made ``array``."""
    inside = isinstance(data, (list, tuple))
    found = array.flat[0] if array.size and array.dtype == object else data
    while isinstance(found, (list, tuple)) and found:
        found = found[0]
    if array.dtype == object:  # the first that is no number
        found = next((x for x in array.flat if not isinstance(x, (bool, int, float, complex))), found)
    kind = type(found).__name__
    if isinstance(found, int):
        return ValueError("Overflow when unpacking long long")
    if isinstance(found, (str, bytes)):
        if inside:
            return ValueError(f"too many dimensions '{kind}'")
        return TypeError(f"new(): invalid data type '{kind}'")
    return RuntimeError(f"Could not infer dtype of {kind}; what there can be: numbers, bools, arrays and tensors")


def tensor(
    data: Any, *, dtype: DType = None, device: Device = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A tensor that copies ``data``: a number, nested sequences of numbers, an array or a tensor.

    Python floats become the default dtype (float32), integers int64, bools bool; arrays keep theirs.  ``device``
    defaults to the CPU (for arrays and tensors on a device: theirs).  A sequence that holds several types becomes the
    type that holds them all, NumPy's scalars and tensors counting as what they are.

    Raises:
        ValueError: ragged sequences, text in one, an integer beyond int64, a tensor of several elements in a sequence.
        TypeError, RuntimeError: no numbers.

    >>> torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    >>> torch.tensor([1, 2], dtype=torch.float64)
    tensor([1., 2.], dtype=torch.float64)
    """
    array = _array(data, dtype)
    if device is None and not isinstance(array, np.ndarray):
        t = Tensor._wrap(array, None)
        if requires_grad:
            t.requires_grad = True
        return t
    return _made(array, device, requires_grad)


def as_tensor(data: Any, dtype: DType = None, device: Device = None) -> Tensor:
    """``data`` as a tensor, sharing memory where dtype and device allow.

    TypeError, ValueError: an array of elements that no tensor has, of foreign byte order, or with strides that are
    negative or no multiple of the element.

    >>> torch.as_tensor([1.0, 2.0])
    tensor([1., 2.])
    """
    if data.__class__ in TENSORS:
        return data if dtype is None and device is None else data.to(device=device, dtype=dtype)
    if backend.is_array(data):
        if dtype is None:
            _note_read_only(data)
        t = from_array(data)
        return t if dtype is None and device is None else t.to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


def asarray(obj: Any, *, dtype: DType = None, device: Device = None, copy: bool | None = None) -> Tensor:
    """:func:`as_tensor`, that copies where ``copy`` is true and must not where it is false.

    ValueError where it must not, and cannot but.

    >>> torch.asarray([1, 2], copy=True)
    tensor([1, 2])
    """
    made = as_tensor(obj, dtype, device)
    shares = made is obj or (backend.is_array(obj) and raw(made) is obj)
    if copy is False and not shares:
        raise ValueError("can't alias the given object: its dtype or device is another, or it is no array")
    return made.clone() if copy and shares else made


def from_array(array: Any) -> Tensor:
    """A tensor that shares the memory of a NumPy or CuPy array.

    TypeError for elements of a type that no tensor has; ValueError for NumPy arrays of foreign byte order or with
    strides that are negative or no multiple of the element.
    """
    t = Tensor._wrap(taken(array), None)
    if lies_last(array):
        pin(t)
    return t


@checked
def _note_read_only(array: Any) -> None:
    """Warn, as PyTorch does, of a tensor over memory that cannot be written to."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and writing to the tensor made over it is an error. You may want "
            "to copy the array to protect its data or make it writable before converting it to a tensor.",
            stacklevel=3,
        )


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a NumPy array; errors as of :func:`as_tensor`.

    >>> import numpy as np
    >>> torch.from_numpy(np.array([1.0, 2.0]))
    tensor([1., 2.], dtype=torch.float64)
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    _note_read_only(ndarray)
    return from_array(ndarray)


@checked
def scalar_tensor(s: Number, *, dtype: DType = None, device: Device = None) -> Tensor:
    """A zero-dimensional tensor.

    >>> torch.scalar_tensor(2.5)
    tensor(2.5000)
    """
    return full((), s, dtype=dtype or dtypes.get_default_dtype(), device=device)


def _filled(shape: Any, value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    if any(d < 0 for d in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    where = backend.resolve(device)
    xp = backend.module_for(where)
    with backend.on(where):
        kind = dtypes.as_dtype(dtype).np
        try:
            if value is None:
                array = xp.empty(shape, kind)
            elif value == 0:
                array = xp.zeros(shape, kind)
            elif dtypes.is_float8(kind):
                array = xp.full(shape, dtypes.cast(xp.asarray(value), kind), kind)
            else:
                array = xp.full(shape, fitting(value, kind), kind)
        except (MemoryError, OverflowError, ValueError) as e:
            raise _too_large(shape, e) from None
    t = Tensor._wrap(array, None)
    if requires_grad:
        t.requires_grad = True
    return t


def _too_large(shape: Any, error: Exception) -> RuntimeError:
    """PyTorch's class of error for a tensor that no memory holds."""
    return RuntimeError(f"cannot make a tensor of size {list(shape)}: {error}")


@checked
def zeros(
    *size: int | Sequence[int], dtype: DType = None, device: Device = None, requires_grad: bool = False, **names: Any
) -> Tensor:
    """Zeros of the shape ``size``.

    >>> torch.zeros(2)
    tensor([0., 0.])
    """
    if names:
        size = sized("zeros", size, names)
    return _filled(sizes(size), 0, dtype or dtypes.get_default_dtype(), device, requires_grad)


@checked
def ones(
    *size: int | Sequence[int], dtype: DType = None, device: Device = None, requires_grad: bool = False, **names: Any
) -> Tensor:
    """Ones of the shape ``size``.

    >>> torch.ones(2)
    tensor([1., 1.])
    """
    if names:
        size = sized("ones", size, names)
    return _filled(sizes(size), 1, dtype or dtypes.get_default_dtype(), device, requires_grad)


@checked
def empty(
    *size: int | Sequence[int], dtype: DType = None, device: Device = None, requires_grad: bool = False, **names: Any
) -> Tensor:
    """Uninitialised values of the shape ``size``.

    >>> torch.empty(2, 3).shape
    torch.Size([2, 3])
    """
    if names:
        size = sized("empty", size, names)
    return _filled(sizes(size), None, dtype or dtypes.get_default_dtype(), device, requires_grad)


@checked
def full(
    size: int | Sequence[int],
    fill_value: Number,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
    **names: Any,
) -> Tensor:
    """``fill_value`` everywhere, in its own dtype unless one is given; RuntimeError where that cannot hold it.

    >>> torch.full((2,), 3.5)
    tensor([3.5000, 3.5000])
    """
    aside("full", names)
    fill_value = _number(fill_value)
    return _filled(
        sizes((size,)),
        fill_value,
        dtype or dtypes.scalar_dtype(fill_value),
        device,
        requires_grad,
    )


def _strided_as(x: Any, made: Any) -> Any:
    """``made`` with its elements in the order in which those of ``x`` lie."""
    with backend.where_it_lies(made):
        out = backend.array_module(made).empty_like(x if x.__class__ is made.__class__ else made, made.dtype, order="K")
        out[...] = made
        return out


def _like(name: str, make: Any, doc: str) -> Callable[..., Tensor]:
    def like(
        input: Tensor, *args: Any, dtype: DType = None, layout: Any = None, device: Device = None,
        requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None, **names: Any,
    ) -> Tensor:  # fmt: skip
        aside(name, {"layout": layout})
        made = make(
            tuple(raw(input).shape), *args, dtype=dtype or input.dtype,
            device=device if device is not None else input.device, requires_grad=requires_grad, **names,
        )  # fmt: skip
        if memory_format is not None and memory_format is not preserve_format:
            if memory_format.rank:
                made._data = laid(None, made._data, memory_format)
                pin(made)
        elif not raw(input).flags.c_contiguous:
            made._data = _strided_as(raw(input), made._data)
        return made

    like.__name__ = like.__qualname__ = name
    like.__doc__ = doc
    return checked(like)


zeros_like = _like("zeros_like", zeros, """Zeros in the shape, dtype and device of ``input``.

    >>> torch.zeros_like(torch.ones(2))
    tensor([0., 0.])
    """)
ones_like = _like("ones_like", ones, """Ones in the shape, dtype and device of ``input``.

    >>> torch.ones_like(torch.zeros(2))
    tensor([1., 1.])
    """)
empty_like = _like("empty_like", empty, """Uninitialised values in the shape, dtype and device of ``input``.

    >>> torch.empty_like(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """)
full_like = _like("full_like", full, """``fill_value`` in the shape, dtype and device of ``input``.

    >>> torch.full_like(torch.ones(2), 3.5)
    tensor([3.5000, 3.5000])
    """)


def _new(name: str, make: Any) -> None:
    def new(
        self: Tensor, *args: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False, **names: Any
    ) -> Tensor:
        return make(
            *args,
            dtype=dtype or self.dtype,
            device=device if device is not None else self.device,
            requires_grad=requires_grad,
            **names,
        )

    new.__name__ = new.__qualname__ = "new_" + name
    new.__doc__ = f":func:`{name}` with this tensor's dtype and device."
    setattr(Tensor, "new_" + name, new)


for _name, _make in (("zeros", zeros), ("ones", ones), ("empty", empty), ("full", full), ("tensor", tensor)):
    _new(_name, _make)


def _legacy_new(self: Tensor, *args: Any, device: Device = None) -> Tensor:
    """PyTorch's old constructor: a tensor of this one's dtype and device, of the sizes, sequence or array given."""
    where = self.device if device is None else device
    if len(args) == 1 and not isinstance(args[0], int | np.integer):
        data = args[0].detach() if args[0].__class__ in TENSORS else args[0]
        return tensor(data, dtype=self.dtype, device=where) if not isinstance(data, Size) else self.new_empty(data)
    return self.new_empty(args or (0,), device=where)


setattr(Tensor, "new", _legacy_new)  # noqa: B010 - which the type checker knows nothing of


@checked
def numel(input: Tensor) -> int:
    """The number of elements.

    >>> torch.numel(torch.ones(2, 3))
    6
    """
    return input.numel()


def _number(value: Any) -> Any:
    return value.item() if value.__class__ in TENSORS else value
