"""Whether a Python number is one of a dtype: what does not fit is refused, not wrapped round or cut off unseen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes

_C_TYPES = {
    "int8": "int8_t", "int16": "short", "int32": "int", "int64": "int64_t", "uint8": "uint8_t", "uint16": "uint16_t",
    "uint32": "uint32_t", "uint64": "uint64_t", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
    "float32": "float", "float64": "double",
}  # fmt: skip


def _overflow(name: str) -> RuntimeError:
    return RuntimeError(f"value cannot be converted to type {name} without overflow")


def fitting(value: Any, kind: np.dtype[Any]) -> Any:
    """``value``, a number, as one of the NumPy dtype ``kind``; RuntimeError where that cannot hold it.

    As in PyTorch fractions are cut, bools are whether it is 0, infinities are numbers of floating-point types, and an
    unsigned type takes a negative number, wrapped round, whose magnitude it holds.
    """
    if kind.kind == "b":
        return bool(value)
    if kind.kind == "c" or dtypes.is_float8(kind):  # whose casts say what becomes of those beyond
        return value
    name = _C_TYPES[kind.name]
    if isinstance(value, complex):
        if value.imag:
            raise _overflow(name)
        value = value.real
    if kind.kind not in "iu":
        if isinstance(value, float | int) and (value > 3e4 or value < -3e4) and not _held(value, kind):
            raise _overflow(name)
        return value
    low, high = _limits(kind)
    if not (math.isfinite(value) and low <= int(value) <= high):
        raise _overflow(name)
    return int(value) & high if kind.kind == "u" else int(value)


def _held(value: float, kind: np.dtype[Any]) -> bool:
    most = dtypes.finfo(dtypes.from_numpy_dtype(kind)).max
    return abs(value) <= most or math.isinf(value)


def _limits(kind: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest number an integer type takes."""
    bits = 8 * kind.itemsize
    return (-(1 << bits) + 1, (1 << bits) - 1) if kind.kind == "u" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def converted(array: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """``array``, made of Python numbers, in the NumPy dtype ``kind``.

    Raises:
        RuntimeError: a number that an integer type cannot hold.
        TypeError: a complex number for a real type.
    """
    if array.dtype.kind == "c" and kind.kind not in "cb":
        raise TypeError(f"must be real number, not complex: {kind.name} cannot hold it")
    if kind.kind in "iu" and array.size and array.dtype != kind:
        low, high = _limits(kind)
        least, most = array.min(), array.max()
        if array.dtype.kind == "f":  # a float that lies beyond the largest integer by a fraction counts as beyond
            beyond = float(high) if high < 2**53 else math.nextafter(float(high), 0)  # 2**63 is none of int64
            fits = (0.0 if kind.kind == "u" else float(low)) <= least <= most <= beyond
        else:
            fits = low <= int(least) <= int(most) <= high
        if not fits:
            if array.dtype.kind == "u" and array.max() > 2**63 - 1 and kind.itemsize + (kind.kind == "u") <= 8:
                raise ValueError("Overflow when unpacking long long")
            raise _overflow(kind.name)
    return dtypes.cast(array, kind)
