"""Element types and the rule by which they combine.

A :class:`dtype` is a named singleton over a NumPy dtype.  :func:`result_type` is PyTorch's rule, which differs from
NumPy's in two ways: a Python scalar or a zero-dimensional tensor raises only the *category* (bool < integer < float <
complex), and an integer that meets floating point becomes the default float type, never float64
(https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc).
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from . import _float8

__all__ = [
    "bfloat16", "bool_", "can_cast", "complex128", "complex64", "dtype", "finfo", "float16", "float32", "float64",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "from_numpy_dtype",
    "get_default_dtype", "iinfo", "int16", "int32", "int64", "int8", "promote_types", "set_default_dtype", "uint16",
    "uint32", "uint64", "uint8",
]  # fmt: skip


class dtype:  # noqa: N801 - PyTorch's name
    """An element type.

    Attributes:
        name: PyTorch's name, e.g. ``"float32"``.
        np: the NumPy dtype that stores it.
        itemsize: bytes an element.
        is_floating_point, is_complex, is_signed: as in PyTorch.
        category: 0 bool, 1 integer, 2 floating point, 3 complex.

    >>> torch.float32.is_floating_point, torch.int64.itemsize
    (True, 8)
    """

    __slots__ = ("category", "is_complex", "is_floating_point", "is_signed", "itemsize", "name", "np", "tensor_type")

    def __init__(self, name: str, np_dtype: object, category: int, tensor_type: str) -> None:
        self.name = name
        self.np = np.dtype(np_dtype)  # type: ignore[call-overload]
        self.category = category
        self.itemsize = np.dtype(np_dtype).itemsize  # type: ignore[call-overload]
        self.is_floating_point = category == 2
        self.is_complex = category == 3
        self.is_signed = (category > 1 and name != "float8_e8m0fnu") or (category == 1 and name[0] == "i")
        self.tensor_type = tensor_type  # the noun in PyTorch's messages: torch.FloatTensor

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name

    def to_complex(self) -> dtype:
        """The complex type whose parts have this precision; RuntimeError where there is none."""
        if self in FLOAT8:
            raise RuntimeError(f"Unknown Complex ScalarType for {self.tensor_type[:-6]}")
        return _COMPLEX_OF.get(self, self)

    def to_real(self) -> dtype:
        """The real type of this complex type's parts."""
        return _REAL_OF.get(self, self)


bool_ = dtype("bool", np.bool_, 0, "BoolTensor")
uint8 = dtype("uint8", np.uint8, 1, "ByteTensor")
int8 = dtype("int8", np.int8, 1, "CharTensor")
int16 = dtype("int16", np.int16, 1, "ShortTensor")
int32 = dtype("int32", np.int32, 1, "IntTensor")
int64 = dtype("int64", np.int64, 1, "LongTensor")
uint16 = dtype("uint16", np.uint16, 1, "UInt16Tensor")
uint32 = dtype("uint32", np.uint32, 1, "UInt32Tensor")
uint64 = dtype("uint64", np.uint64, 1, "UInt64Tensor")
float16 = dtype("float16", np.float16, 2, "HalfTensor")
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, 2, "BFloat16Tensor")
float32 = dtype("float32", np.float32, 2, "FloatTensor")
float64 = dtype("float64", np.float64, 2, "DoubleTensor")
complex64 = dtype("complex64", np.complex64, 3, "ComplexFloatTensor")
complex128 = dtype("complex128", np.complex128, 3, "ComplexDoubleTensor")

ALL = (
    bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64,
    float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
# Not empty once a type of eight bits may be in use: until then no operation asks whether it was given such.
float8_used: set[dtype] = set()
_held_np: Any = dtype.__dict__["np"]


class _Float8(dtype):
    """A type that holds numbers and moves them, but in which nothing is computed."""

    __slots__ = ()

    @property
    def np(self) -> np.dtype[Any]:
        float8_used.add(self)
        return _held_np.__get__(self)

    @np.setter
    def np(self, value: Any) -> None:
        _held_np.__set__(self, value)


FLOAT8 = tuple(_Float8(name, getattr(ml_dtypes, name), 2, name.capitalize() + "Tensor") for name in _float8.NAMES)
float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu = FLOAT8
STORED = ALL + FLOAT8  # all that there are
FROM_NUMPY: dict[np.dtype, dtype] = {_held_np.__get__(d): d for d in STORED}
float8_used.clear()
_COMPLEX_OF = {float16: complex64, bfloat16: complex64, float32: complex64, float64: complex128}
_REAL_OF = {complex64: float32, complex128: float64}
_BY_NAME = {d.name: d for d in STORED} | {
    "half": float16, "float": float32, "double": float64, "short": int16, "int": int32, "long": int64,
}  # fmt: skip


def from_numpy_dtype(np_dtype: object) -> dtype:
    """The :class:`dtype` of a NumPy dtype (or anything ``numpy.dtype`` accepts); TypeError where there is none."""
    found = FROM_NUMPY.get(np.dtype(np_dtype).newbyteorder("="))  # type: ignore[call-overload]
    if found is None:
        raise TypeError(
            f"can't convert an array of type {np_dtype}; the supported types are: {', '.join(d.name for d in ALL)}"
        )
    return found


def as_dtype(value: object) -> dtype:
    """``value`` as a :class:`dtype`: itself, a name, a NumPy dtype or a Python number type, as wide as Python's."""
    if isinstance(value, dtype):
        return value
    if value is bool:
        return bool_
    if value is int:
        return int64
    if value is float:
        return float64
    if value is complex:
        return complex128
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    if isinstance(value, np.dtype | type):
        return from_numpy_dtype(value)
    if isinstance(value, str):
        raise TypeError(f"there is no dtype {value!r}; there are {', '.join(_BY_NAME)}")
    raise TypeError(f"dtype must be torch.dtype, not {type(value).__name__}")


def is_float8(np_dtype: Any) -> bool:
    """Whether the NumPy dtype is one of eight bits with an exponent."""
    return np_dtype.itemsize == 1 and np_dtype.kind in "fV"


def computed_in(kind: dtype, name: str) -> dtype:
    """``kind``, in which the operation ``name`` makes numbers; NotImplementedError for those only stored."""
    if kind in FLOAT8:
        raise NotImplementedError(f"\"{name}\" not implemented for '{kind.tensor_type[:-6]}'")
    return kind


def cast(array: Any, np_dtype: Any) -> Any:
    """``array`` in the dtype ``np_dtype``, rounded as PyTorch does; complex numbers must be real for a real one.

    NotImplementedError for an array of the accelerator and eight bits, which its library does not have.
    """
    if np_dtype.itemsize > 1 or np_dtype.kind not in "fV":
        return array.astype(np_dtype)
    if not isinstance(array, (np.ndarray, np.generic)):
        raise NotImplementedError(f"device arrays have no {FROM_NUMPY[np_dtype].name}; convert .cpu() instead")
    return _float8.encoded(np.asarray(array), np_dtype)


_default = float32


def get_default_dtype() -> dtype:
    """The floating-point type that Python floats become; float32 at the start.

    >>> torch.get_default_dtype()
    torch.float32
    """
    return _default


def set_default_dtype(d: dtype) -> None:
    """Make ``d``, a floating-point type, the one that Python floats become.

    >>> torch.set_default_dtype(torch.float64)
    >>> torch.ones(1).dtype
    torch.float64
    >>> torch.set_default_dtype(torch.float32)
    """
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d!r}")
    if d in FLOAT8:
        raise TypeError(f"couldn't find storage object {d.tensor_type[:-6]}Storage: nothing is computed in {d!r}")
    _default = d


def scalar_dtype(value: object) -> dtype:
    """The type a Python number takes as a tensor of its own."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default
    if isinstance(value, (complex, np.complexfloating)):
        return _default.to_complex()
    raise TypeError(f"expected a number, got {type(value).__name__}")


def _lattice(a: np.dtype, b: np.dtype) -> dtype:
    da, db = FROM_NUMPY[a], FROM_NUMPY[b]
    if da is db:
        return da
    if da in FLOAT8 or db in FLOAT8:
        raise RuntimeError(
            "Promotion for Float8 Types is not supported, attempted to promote "
            f"{da.tensor_type[:-6]} and {db.tensor_type[:-6]}; convert with .to() first"
        )
    if da.category != db.category:
        low, high = (da, db) if da.category < db.category else (db, da)
        if high.is_complex and low.is_floating_point:
            return complex128 if low is float64 else high
        return high  # an integer that meets a float takes the float's width, float16 included
    if {da, db} == {float16, bfloat16}:
        return float32
    if da.is_complex or da.is_floating_point:
        return da if da.itemsize >= db.itemsize else db
    found = from_numpy_dtype(np.promote_types(a, b))  # integers: NumPy's lattice
    if found.category != 1:
        raise RuntimeError(f"{da} and {db} have no common integer type; convert one of them with .to()")
    return found


_PROMOTED: dict[tuple[np.dtype, np.dtype], dtype] = {}


def _no_dtype(name: str, value: object) -> TypeError:
    return TypeError(f"{name}(): argument 'type' must be torch.dtype, not {type(value).__name__}")


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest type that holds both, by PyTorch's lattice: ``promote_types(int64, float16) is float16``.

    >>> torch.promote_types(torch.int64, torch.float32)
    torch.float32
    """
    try:
        key = (a.np, b.np)
    except AttributeError:
        raise _no_dtype("promote_types", a if not isinstance(a, dtype) else b) from None
    found = _PROMOTED.get(key)
    if found is None:
        found = _PROMOTED[key] = _lattice(a.np, b.np)
    return found


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether numbers of type ``from_`` may be written where ``to`` is: to a wider category, such as float after int.

    >>> torch.can_cast(torch.float64, torch.float32), torch.can_cast(torch.float32, torch.int64)
    (True, False)
    """
    return from_.category <= to.category


def result_type(operands: list[tuple[dtype, int]]) -> dtype:
    """The type an operation on ``operands`` computes in.

    Args:
        operands: for each operand its dtype and its rank: 2 a tensor with dimensions, 1 a zero-dimensional tensor,
            0 a Python number.  A lower rank counts only where its category is higher.
    """
    best: list[dtype | None] = [None, None, None]
    for d, rank in operands:
        so_far = best[rank]
        best[rank] = d if so_far is None else promote_types(so_far, d)
    result = best[2]
    for lower in (best[1], best[0]):
        if lower is None:
            continue
        if result is None:
            result = lower
        elif lower.category > result.category:
            result = lower if result.category < 2 or not lower.is_complex else result.to_complex()
    if result is None:
        raise ValueError("result_type() needs at least one operand")
    return result


class finfo:  # noqa: N801 - PyTorch's name
    """``bits, eps, max, min, tiny, smallest_normal, resolution`` of a floating-point type or a complex one's parts.

    >>> torch.finfo(torch.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: dtype | None = None) -> None:
        if type is not None and not isinstance(type, dtype):
            raise _no_dtype("finfo", type)
        d = (type or _default).to_real()
        if not d.is_floating_point:
            raise TypeError(f"finfo() takes a floating-point type, got {d!r}; use iinfo for integers")
        make: Any = ml_dtypes.finfo if d is bfloat16 or d in FLOAT8 else np.finfo
        info = make(d.np)
        self.bits = d.itemsize * 8
        self.dtype = d.name
        for name in ("eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            setattr(self, name, float(getattr(info, name)))
        if d in FLOAT8:
            self.resolution = 1.0  # ml_dtypes rounds 0.1 to its own type
        if d is float8_e5m2fnuz:
            self.eps = 0.125  # as PyTorch has it; two numbers next to 1 are 0.25 apart

    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    resolution: float

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:  # noqa: N801 - PyTorch's name
    """Limits of an integer type: ``bits, max, min``.

    >>> torch.iinfo(torch.int8).max
    127
    """

    def __init__(self, type: dtype) -> None:
        if not isinstance(type, dtype):
            raise _no_dtype("iinfo", type)
        if type.category != 1:
            raise TypeError(f"iinfo() takes an integer type, got {type!r}; use finfo for floating point")
        info = np.iinfo(type.np)
        self.bits, self.max, self.min, self.dtype = info.bits, int(info.max), int(info.min), type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
