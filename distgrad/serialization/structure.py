"""Nested Python structures with arrays in them, as JSON beside the arrays, and back.

What JSON has stands for itself; the rest is an object whose ``"is"`` says what.  An array is replaced by the name of
the tensor it is read from; of arrays that share memory, all are read from one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd import Size, Tensor
from . import container
from .container import LoadError

__all__ = ["Decoder", "Encoder"]

_SAVABLE = (
    "tensors, NumPy arrays and scalars, dict, OrderedDict, list, tuple, Size, str, bool, int, float, complex, None, "
    "dtype and device"
)


class Encoder:
    """Turns a structure into JSON and collects its arrays, those that share memory together."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self._tensors = tensors
        self._found: list[tuple[dict[str, Any], np.ndarray, str]] = []  # (JSON node, host array, name)
        self._hosts: dict[tuple[Any, ...], np.ndarray] = {}
        self._open: set[int] = set()  # containers being encoded, to notice one that holds itself

    def encode(self, x: Any, path: tuple[Any, ...]) -> Any:
        """The JSON of ``x``, which stands at ``path`` in what is saved."""
        kind: type = type(x)
        if x is None or kind in (bool, int, str):
            return x
        if kind is float:
            return x if math.isfinite(x) else {"is": "float", "of": repr(x)}
        if kind is complex:
            return {"is": "complex", "of": [self.encode(x.real, path), self.encode(x.imag, path)]}
        if kind in (list, tuple, Size, dict, OrderedDict):
            if id(x) in self._open:
                raise ValueError(f"cannot save {_spelled(path)}: it contains itself")
            self._open.add(id(x))
            try:
                return self._container(x, path)
            finally:
                self._open.discard(id(x))
        if isinstance(x, Tensor):
            node = {"is": _tensor_kind(x), "at": str(x.device), "requires_grad": x.requires_grad}
            return self._array(node, x._data, path)
        if isinstance(x, (np.ndarray, np.generic)):
            return self._array({"is": "array" if isinstance(x, np.ndarray) else "scalar"}, np.asarray(x), path)
        if isinstance(x, dtypes.dtype):
            return {"is": "dtype", "of": x.name}
        if isinstance(x, backend.device):
            return {"is": "device", "of": str(x)}
        raise TypeError(f"cannot save {_spelled(path)} of type {kind.__name__}; what can be saved: {_SAVABLE}")

    def _container(self, x: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(x, dict):
            pairs = []
            for key, value in x.items():
                if not isinstance(key, (str, int, float, tuple, type(None))):
                    where = f"the key {key!r} of {_spelled(path)}"
                    raise TypeError(f"cannot save {where}: a key may be a str, number, tuple of them or None")
                pairs.append([self.encode(key, (*path, key)), self.encode(value, (*path, key))])
            return {"is": "dict" if type(x) is dict else "ordered", "of": pairs}
        items = [self.encode(value, (*path, i)) for i, value in enumerate(x)]
        return items if type(x) is list else {"is": "tuple" if type(x) is tuple else "size", "of": items}

    def _array(self, node: dict[str, Any], array: Any, path: tuple[Any, ...]) -> dict[str, Any]:
        try:
            dtypes.from_numpy_dtype(array.dtype)
        except TypeError as error:
            raise TypeError(f"cannot save {_spelled(path)}: {error}") from None
        if isinstance(array, np.ndarray):
            host = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        else:  # fetched once however often it occurs
            key = (array.data.ptr, array.shape, array.strides, array.dtype)
            if not array.size or key not in self._hosts:
                self._hosts[key] = backend.to_host(array)
            host = self._hosts[key]
        self._found.append((node, host, ".".join(map(str, path)) or "value"))
        return node

    def place_arrays(self) -> None:
        """Decide what is stored under which name: one entry for each stretch of memory that arrays share.

        Names and order follow from where arrays stand in the structure, never from their addresses: the same content
        makes the same file.
        """
        spans = [_Span(i, *found) for i, found in enumerate(self._found)]
        groups = [[span] for span in spans if span.host.size == 0]
        end = 0
        for span in sorted((s for s in spans if s.host.size), key=lambda span: (span.low, span.high)):
            if span.low >= end:
                groups.append([])
            groups[-1].append(span)
            end = max(end, span.high)
        for group in groups:
            group.sort(key=lambda span: span.index)
        for group in sorted(groups, key=lambda group: group[0].index):
            self._store_group(group)

    def _store_group(self, group: list[_Span]) -> None:
        """Arrays whose stretches of memory overlap: usually one, or one under several names.

        Each gets an entry of its own, for any reader.  Ours makes them all views of one of these, the one over all of
        their memory; where there is none, of one more entry.
        """
        low, high = min(span.low for span in group), max(span.high for span in group)
        keys = [self._store(span.name, np.ascontiguousarray(span.host).reshape(span.host.shape)) for span in group]
        first = group[0]
        if all(_same_view(first.host, span.host) for span in group):
            for span in group:
                span.node["in"] = keys[0]
            return
        covers = [span.host.flags.c_contiguous and (span.low, span.high) == (low, high) for span in group]
        if True in covers:
            whole = keys[covers.index(True)]
        else:
            raw = np.frombuffer(memoryview((ctypes.c_ubyte * (high - low)).from_address(low)), np.uint8)
            whole = self._store(f"{first.name}#memory", raw)
        for span, key in zip(group, keys, strict=True):
            span.node["in"] = whole
            if key != whole:
                span.node["view"] = {
                    "offset": _address(span.host) - low,
                    "dtype": _dtype(span.host).name,
                    "shape": list(span.host.shape),
                    "strides": list(span.host.strides),
                }

    def _store(self, name: str, array: np.ndarray) -> str:
        unique, n = name, 2
        while unique in self._tensors or unique == "__metadata__":
            unique, n = f"{name}#{n}", n + 1
        self._tensors[unique] = array
        return unique


class _Span:
    """The ``index``-th array found, its place in the JSON, and the addresses between which it lies."""

    def __init__(self, index: int, node: dict[str, Any], host: np.ndarray, name: str) -> None:
        self.index, self.node, self.host, self.name = index, node, host, name
        self.low, self.high = np.lib.array_utils.byte_bounds(host)


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _same_view(a: np.ndarray, b: np.ndarray) -> bool:
    return (_address(a), a.shape, a.strides, a.dtype) == (_address(b), b.shape, b.strides, b.dtype)


def _tensor_kind(x: Tensor) -> str:
    if type(x) is Tensor:
        return "tensor"
    from ..nn import Parameter

    return "parameter" if isinstance(x, Parameter) else "tensor"


def _spelled(path: tuple[Any, ...]) -> str:
    return "obj" + "".join(f"[{key!r}]" for key in path)


def _dtype(array: np.ndarray) -> dtypes.dtype:
    return dtypes.from_numpy_dtype(array.dtype)


class Decoder:
    """Turns the JSON of :class:`Encoder` back into what it was."""

    def __init__(
        self,
        entries: dict[str, container.Entry],
        raws: dict[str, np.ndarray],
        described: dict[str, Any],
        where: Callable[[str], backend.device],
        name: str,
    ) -> None:
        self._entries, self._raws, self._described = entries, raws, described
        self._where, self._name = where, name
        self._moved: dict[tuple[str, backend.device], Any] = {}

    def decode(self, x: Any) -> Any:
        """What the JSON ``x`` stands for."""
        if isinstance(x, list):
            return [self.decode(item) for item in x]
        if not isinstance(x, dict):
            return x
        kind = x.get("is")
        if kind in ("tensor", "parameter", "array", "scalar"):
            return self._array(x, str(kind))
        of = x.get("of")
        if kind in ("tuple", "size", "dict", "ordered", "complex") and isinstance(of, list):
            return self._container(str(kind), of)
        if kind == "float" and of in ("nan", "inf", "-inf"):
            return float(of)
        if kind == "dtype" and isinstance(of, str) and any(of == d.name for d in dtypes.STORED):
            return dtypes.as_dtype(of)
        if kind == "device" and isinstance(of, str):
            with contextlib.suppress(RuntimeError):
                return backend.device(of)
        raise self._bad(x)

    def _bad(self, x: Any) -> LoadError:
        text = json.dumps(x)
        return LoadError(f"cannot load {self._name}: its structure holds what save() does not write: {text[:200]}")

    def _container(self, kind: str, of: list[Any]) -> Any:
        if kind == "tuple":
            return tuple(self.decode(item) for item in of)
        if kind == "size":
            if not all(container.is_size(n) for n in of):
                raise self._bad(of)
            return Size(of)
        if kind == "complex":
            parts = [self.decode(item) for item in of]
            if len(parts) != 2 or not all(isinstance(part, float) for part in parts):
                raise self._bad(of)
            return complex(*parts)
        found: dict[Any, Any] = {} if kind == "dict" else OrderedDict()
        for pair in of:
            if not isinstance(pair, list) or len(pair) != 2:
                raise self._bad(pair)
            key = self.decode(pair[0])
            try:
                if key in found:
                    raise LoadError(f"cannot load {self._name}: the key {key!r} stands twice in a dict")
            except TypeError:
                raise self._bad(pair[0]) from None
            found[key] = self.decode(pair[1])
        return found

    def _array(self, x: dict[str, Any], kind: str) -> Any:
        key = x.get("in")
        entry = self._entries.get(key) if isinstance(key, str) else None
        if entry is None:
            raise LoadError(f"cannot load {self._name}: tensor {key!r} is missing")
        at = x.get("at", "cpu")
        if not isinstance(at, str):
            raise self._bad(x)
        here = self._where(at) if kind in ("tensor", "parameter") else backend.CPU
        raw = self._moved.get((entry.name, here))
        if raw is None:  # moved once, so that what shared memory shares it again
            raw = self._moved[entry.name, here] = backend.to_device(self._raws[entry.name], here)
        array = self._viewed(raw, entry, x) if "view" in x else self._whole(raw, entry)
        if kind == "array":
            return array
        if kind == "scalar":
            if array.shape != ():
                raise self._bad(x)
            return array[()]
        if kind == "tensor":
            result = Tensor._wrap(array, None)
        else:
            from ..nn import Parameter

            result = Parameter(Tensor._wrap(array, None), requires_grad=False)
        if x.get("requires_grad") is True:
            if result.dtype.category < 2:
                raise self._bad(x)
            result.requires_grad = True
        return result

    def _whole(self, raw: Any, entry: container.Entry) -> Any:
        if self._described[entry.name]["dtype"] == "complex128":
            return raw.view(np.complex128).reshape(entry.shape[:-1])
        return raw.view(entry.dtype.np).reshape(entry.shape)

    def _viewed(self, raw: Any, entry: container.Entry, x: dict[str, Any]) -> Any:
        """One of several arrays that lie over each other in one entry."""
        view = x["view"]
        if not isinstance(view, dict) or view.keys() != {"offset", "dtype", "shape", "strides"}:
            raise self._bad(x)
        offset, shape, strides = view["offset"], view["shape"], view["strides"]
        dtype = next((d for d in dtypes.STORED if d.name == view["dtype"]), None)
        if dtype is None or not container.is_size(offset) or not isinstance(shape, list):
            raise self._bad(x)
        counts = isinstance(strides, list) and len(strides) == len(shape) <= container.MAX_DIMENSIONS
        if not counts or not all(type(s) is int for s in strides) or not all(type(n) is int and n > 0 for n in shape):
            raise self._bad(x)
        reach = [s * (n - 1) for s, n in zip(strides, shape, strict=True)]
        low = offset + sum(r for r in reach if r < 0)
        high = offset + sum(r for r in reach if r > 0) + dtype.itemsize
        if low < 0 or high > raw.size:
            raise LoadError(f"cannot load {self._name}: a view reaches outside tensor {entry.name!r}")
        if dtype is dtypes.bool_ and raw.size and int(raw.max()) > 1:
            raise self._bad(x)
        first = raw[offset : offset + dtype.itemsize]
        tricks = backend.array_module(raw).lib.stride_tricks
        if dtype.itemsize == 1:  # NumPy finds some of the types of one byte by no name
            return tricks.as_strided(first, tuple(shape), tuple(strides)).view(dtype.np)
        return tricks.as_strided(first.view(dtype.np), tuple(shape), tuple(strides))
