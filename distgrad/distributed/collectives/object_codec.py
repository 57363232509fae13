"""Python objects as bytes and back, for ranks that trust each other no further than data: nothing is ever executed.

The bytes are: the length of a JSON text (8 bytes, little-endian), the text, then the raw bytes that it refers to.  In
the text None, bool, float, str and int stand for themselves; everything else is a list that starts with a word.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from distgrad import backend, dtypes
from distgrad.autograd import Size, Tensor

__all__ = ["decode", "encode"]

_POSSIBLE = (
    "None, bool, int, float, complex, str, bytes, list, tuple, Size, dict, OrderedDict, set, frozenset, dtypes "
    "and devices, NumPy arrays and numbers, and Tensors, nested as you like"
)
_PLAIN_INT = 1 << 64  # longer ones are written in hexadecimal, which Python does not limit


def encode(value: Any) -> bytes:
    """``value`` as bytes; tensors are sent from wherever they lie, and arrive on the host.

    Raises:
        TypeError: a part of ``value`` is of a type that is not sent; the message names the part.
        ValueError: it contains itself, or is nested too deep.
    """
    raw: list[bytes] = []
    try:
        text = json.dumps(_plain(value, raw, "the object")).encode("ascii")
    except RecursionError:
        raise ValueError("the object contains itself, or is nested too deep, and is not sent between ranks") from None
    return b"".join([len(text).to_bytes(8, "little"), text, *raw])


def decode(data: bytes) -> Any:
    """What :func:`encode` was given.

    Raises:
        ValueError: the bytes are not what :func:`encode` writes.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise ValueError(f"an object's text should have {length} bytes, but only {max(0, len(data) - 8)} came")
    reader = _Reader(memoryview(data)[8 + length :])
    try:
        value = reader.value(json.loads(data[8 : 8 + length].decode("ascii")))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"bytes that are no encoded object: {error!r}") from error
    if reader.position != len(reader.raw):
        raise ValueError(f"{len(reader.raw) - reader.position} bytes follow an object that refers to none of them")
    return value


def _plain(value: Any, raw: list[bytes], where: str) -> Any:
    kind = type(value)
    if value is None or kind in (bool, float, str):
        return value
    if kind is int:
        return value if -_PLAIN_INT < value < _PLAIN_INT else ["int", hex(value)]
    if kind is complex:
        return ["complex", value.real, value.imag]
    if kind in (bytes, bytearray):
        raw.append(bytes(value))
        return [kind.__name__, len(value)]
    if kind in (list, tuple, Size, set, frozenset):
        return [kind.__name__, *(_plain(item, raw, f"{where}[{i}]") for i, item in enumerate(value))]
    if kind in (dict, OrderedDict):
        pairs: list[Any] = []
        for key, item in value.items():
            pairs += [_plain(key, raw, f"the key {key!r} of {where}"), _plain(item, raw, f"{where}[{key!r}]")]
        return [kind.__name__, *pairs]
    if isinstance(value, dtypes.dtype):
        return ["dtype", value.name]
    if isinstance(value, backend.device):
        return ["device", str(value)]
    if isinstance(value, Tensor):
        return ["tensor", *_array(backend.to_host(value._data), raw, where), bool(value.requires_grad)]
    if kind is np.ndarray:
        return ["ndarray", *_array(value, raw, where)]
    if isinstance(value, np.generic):
        return ["number", *_array(np.asarray(value), raw, where)]
    raise TypeError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which is not sent between ranks: {_POSSIBLE}")


def _array(array: np.ndarray, raw: list[bytes], where: str) -> list[Any]:
    found = dtypes.FROM_NUMPY.get(array.dtype.newbyteorder("="))
    if found is None:
        raise TypeError(f"{where} is an array of dtype {array.dtype}, which is not sent between ranks: {_POSSIBLE}")
    raw.append(array.astype(found.np, copy=False).tobytes())  # of another byte order, too
    return [found.name, list(array.shape)]


class _Reader:
    """Makes values of plain JSON and the raw bytes that it refers to, in order."""

    def __init__(self, raw: memoryview) -> None:
        self.raw, self.position = raw, 0

    def value(self, plain: Any) -> Any:
        if not isinstance(plain, list):
            return plain
        return _MAKE[plain[0]](self, plain[1:])

    def take(self, count: int) -> memoryview:
        if type(count) is not int or not 0 <= count <= len(self.raw) - self.position:
            raise ValueError(f"an object refers to {count} bytes, where {len(self.raw) - self.position} are left")
        self.position += count
        return self.raw[self.position - count : self.position]

    def array(self, name: str, shape: list[int]) -> np.ndarray:
        kind = dtypes.as_dtype(name).np
        if any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f"an array of shape {shape}")
        data = self.take(math.prod(shape) * kind.itemsize)
        return np.frombuffer(bytearray(data), np.uint8).view(kind).reshape(shape)  # a copy of its own, writable

    def tensor(self, name: str, shape: list[int], requires_grad: bool) -> Tensor:
        made = Tensor._wrap(self.array(name, shape), None)
        made.requires_grad = requires_grad is True
        return made


_MAKE: dict[str, Callable[[_Reader, list[Any]], Any]] = {
    "int": lambda r, x: int(x[0], 16),
    "complex": lambda r, x: complex(x[0], x[1]),
    "bytes": lambda r, x: bytes(r.take(x[0])),
    "bytearray": lambda r, x: bytearray(r.take(x[0])),
    "list": lambda r, x: [r.value(item) for item in x],
    "tuple": lambda r, x: tuple(r.value(item) for item in x),
    "set": lambda r, x: {r.value(item) for item in x},
    "frozenset": lambda r, x: frozenset(r.value(item) for item in x),
    "dict": lambda r, x: {r.value(x[i]): r.value(x[i + 1]) for i in range(0, len(x), 2)},
    "OrderedDict": lambda r, x: OrderedDict((r.value(x[i]), r.value(x[i + 1])) for i in range(0, len(x), 2)),
    "Size": lambda r, x: Size(r.value(item) for item in x),
    "dtype": lambda r, x: dtypes.as_dtype(x[0]),
    "device": lambda r, x: backend.device(x[0]),
    "ndarray": lambda r, x: r.array(*x),
    "number": lambda r, x: r.array(*x)[()],
    "tensor": lambda r, x: r.tensor(*x),
}
