"""The arrays of CuPy's double; see ``double.py`` for what is mirrored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Protocol

import ml_dtypes
import numpy as np

SUPPORTED = {np.dtype(c) for c in "?bhilqBHILQefdFD"} | {np.dtype(ml_dtypes.bfloat16)}
IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


def unsupported(x: object) -> TypeError:
    """CuPy's error for an operand that is neither a device array nor a number."""
    return TypeError(f"Unsupported type {type(x)}")


class Home(Protocol):
    """What arrays and functions share: the accelerator."""

    module: Any
    transfers: int

    def new(self, host: np.ndarray) -> DeviceArray: ...
    def wrap(self, result: Any, sources: list[Any]) -> Any: ...
    def check(self, arguments: Any) -> None: ...
    def host(self, x: Any) -> Any: ...
    def uploaded(self, x: Any) -> Any: ...
    def index(self, key: Any) -> tuple[tuple[Any, ...], bool]: ...
    def scalar_or_array(self, x: Any) -> Any: ...
    def to_host(self, array: DeviceArray) -> np.ndarray: ...


class DeviceArray:
    """What the double's ``module.ndarray`` is: an array that lies on device ``device.id``."""

    __slots__ = ("__weakref__", "_host", "_index", "base", "home")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, home: Home, host: np.ndarray, index: int, base: DeviceArray | None = None) -> None:
        if host.dtype not in SUPPORTED:
            raise ValueError(f"Unsupported dtype {host.dtype}")
        self.home, self._host, self._index, self.base = home, host, index, base

    # ---------------------------------------------------------------------- refusing to be taken for a host array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(IMPLICIT)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{func.__name__} was called on a device array; use the array's own module")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        # NumPy's operators come here too: a NumPy scalar on the left is good, as in CuPy; an array is not.
        if method == "__call__" and len(inputs) == 2 and isinstance(inputs[0], np.generic) and not kwargs:
            return getattr(self.home.module, ufunc.__name__)(*inputs)
        if any(isinstance(x, np.ndarray) for x in (*inputs, *kwargs.get("out", ()))):
            raise unsupported(np.empty(0))
        raise TypeError(f"numpy.{ufunc.__name__} was called on a device array; use the array's own module")

    # ------------------------------------------------------------------------------------ to the host, on request

    def get(self, stream: Any = None, order: str = "C", out: np.ndarray | None = None, blocking: bool = True) -> Any:
        self.home.transfers += 1
        if out is None:
            return self._host.copy(order)  # type: ignore[arg-type]
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if (arr.dtype, arr.shape) != (self.dtype, self.shape):
            raise ValueError(f"Shape or dtype mismatch: {arr.shape} {arr.dtype} into {self.shape} {self.dtype}")
        self._host[...] = arr

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    # ------------------------------------------------------------------------------------------------- attributes

    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: SimpleNamespace(id=self._index))
    data = property(lambda self: SimpleNamespace(ptr=self._host.ctypes.data, device_id=self._index))
    T = property(lambda self: self.transpose() if self.ndim > 1 else self)
    mT = property(lambda self: self.swapaxes(-1, -2))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @shape.setter
    def shape(self, new: tuple[int, ...]) -> None:
        view = self._host.view()
        view.shape = new  # raises where that needs a copy
        self._host = view

    @property
    def flags(self) -> SimpleNamespace:
        of = self._host.flags
        return SimpleNamespace(c_contiguous=of.c_contiguous, f_contiguous=of.f_contiguous, owndata=self.base is None)

    @property
    def real(self) -> DeviceArray:
        return self.home.wrap(self._host.real, [self]) if self.dtype.kind == "c" else self

    @real.setter
    def real(self, value: Any) -> None:
        self._host.real = self.home.host(value)

    @property
    def imag(self) -> DeviceArray:
        return self.home.wrap(self._host.imag if self.dtype.kind == "c" else np.zeros_like(self._host), [self])

    @imag.setter
    def imag(self, value: Any) -> None:
        self._host.imag = self.home.host(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[DeviceArray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --------------------------------------------------------------------------------------------------- indexing

    def __getitem__(self, key: Any) -> DeviceArray:
        index, advanced = self.home.index(key)
        if advanced:
            self.home.check(self)
        elif not any(k is Ellipsis for k in index):
            index = (*index, Ellipsis)  # a full index is a view without dimensions, not a scalar
        return self.home.wrap(np.asarray(self._host[index]), [self])

    def __setitem__(self, key: Any, value: Any) -> None:
        index, advanced = self.home.index(key)
        self.home.check(self)
        if isinstance(value, DeviceArray):
            self._host[index] = self.home.host(value)
        elif advanced:
            self._host[index] = self.home.uploaded(value)
        else:
            self[key].fill(value)

    def fill(self, value: Any) -> None:
        if isinstance(value, np.ndarray):
            if value.shape != ():
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value.item()
        self.home.check(self)
        self._host[...] = self.home.host(value)

    # ---------------------------------------------------------------------------------------------------- methods

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> DeviceArray:
        return self.home.wrap(self._host.reshape(*shape, order=order), [self])  # type: ignore[call-overload]

    def transpose(self, *axes: Any) -> DeviceArray:
        return self.home.wrap(self._host.transpose(*axes), [self])

    def view(self, dtype: Any = None, type: Any = None) -> DeviceArray:
        return self.home.wrap(self._host.view() if dtype is None else self._host.view(dtype), [self])

    def copy(self, order: str = "C") -> DeviceArray:
        return self.home.new(self._host.copy(order))  # type: ignore[arg-type]

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> DeviceArray:
        return DeviceArray(self.home, self._host.copy(), self._index)


def _method(name: str, parameters: list[str], takes_host: bool, makes_view: bool) -> Callable[..., Any]:
    def call(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        wrong = [key for key in kwargs if key not in parameters]
        if wrong or len(args) > len(parameters):
            raise TypeError(f"ndarray.{name}() takes {parameters}, got {len(args)} arguments and {sorted(kwargs)}")
        if not makes_view:
            self.home.check(self)
        take = self.home.uploaded if takes_host else self.home.host
        given = [take(x) for x in args]
        named = {key: take(x) for key, x in kwargs.items() if not (key == "keepdims" and x is None)}
        result = getattr(self._host, name)(*given, **named)
        if name == "diagonal":
            result.flags.writeable = True  # CuPy's view can be written to
        return self.home.wrap(result, [self, *args, *kwargs.values()])

    call.__name__ = name
    return call


_METHODS = {
    "all": "axis out keepdims", "any": "axis out keepdims", "argmax": "axis out dtype keepdims",
    "argmin": "axis out dtype keepdims", "argsort": "axis kind", "astype": "dtype order casting subok copy",
    "clip": "min max out", "conj": "", "conjugate": "", "cumprod": "axis dtype out", "cumsum": "axis dtype out",
    "diagonal": "offset axis1 axis2", "dot": "b out", "flatten": "order", "max": "axis out keepdims",
    "mean": "axis dtype out keepdims", "min": "axis out keepdims", "nonzero": "", "prod": "axis dtype out keepdims",
    "put": "indices values mode", "ravel": "order", "repeat": "repeats axis", "round": "decimals out",
    "searchsorted": "v side sorter", "sort": "axis kind", "squeeze": "axis", "std": "axis dtype out ddof keepdims",
    "sum": "axis dtype out keepdims", "swapaxes": "axis1 axis2", "take": "indices axis out",
    "trace": "offset axis1 axis2 dtype out", "var": "axis dtype out ddof keepdims",
}  # fmt: skip
for _name, _parameters in _METHODS.items():
    _method_of = _method(
        _name, _parameters.split(), _name in ("put", "take"), _name in ("diagonal", "ravel", "squeeze", "swapaxes")
    )
    setattr(DeviceArray, _name, _method_of)


def _operator(ufunc: str, reflected: bool, in_place: bool, comparison: bool) -> Callable[..., Any]:
    def apply(self: DeviceArray, other: Any, _modulo: None = None) -> Any:
        if not isinstance(other, DeviceArray):
            # CuPy's rule for who answers: a stranger that opts out of ufuncs, or else has a higher priority.
            if getattr(other, "__array_ufunc__", Ellipsis) is None:
                return NotImplemented
            if not hasattr(other, "__array_ufunc__") and getattr(other, "__array_priority__", 0) > 100:
                return NotImplemented
            if comparison and isinstance(other, np.ndarray) and other.ndim == 0:
                other = other.item()
            if other is None and ufunc in ("equal", "not_equal"):
                return self.home.new(np.full(self.shape, ufunc == "not_equal"))
        operands = (other, self) if reflected else (self, other)
        return getattr(self.home.module, ufunc)(*operands, **({"out": self} if in_place else {}))

    return apply


_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
for _symbol, _ufunc in _OPERATORS.items():
    setattr(DeviceArray, f"__{_symbol}__", _operator(_ufunc, False, False, False))
    setattr(DeviceArray, f"__r{_symbol}__", _operator(_ufunc, True, False, False))
    if _symbol != "matmul":  # CuPy has no __imatmul__: `x @= y` makes a new array
        setattr(DeviceArray, f"__i{_symbol}__", _operator(_ufunc, False, True, False))
for _symbol, _ufunc in {
    "lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(DeviceArray, f"__{_symbol}__", _operator(_ufunc, False, False, True))
for _symbol, _ufunc in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
    setattr(DeviceArray, f"__{_symbol}__", lambda self, _ufunc=_ufunc: getattr(self.home.module, _ufunc)(self))
