"""The safetensors container, written plainly and read strictly (https://github.com/huggingface/safetensors#format).

Eight bytes say how long the header is; the header is a JSON object of ``name: {dtype, shape, data_offsets}`` and an
optional ``__metadata__`` of strings; the rest is the tensors' bytes without gaps.  Nothing in a file is believed: every
size is checked against the file's before memory is taken, and what the format forbids (duplicate names, holes,
overlaps) is refused.  The library of that name accepts duplicate names, has neither bfloat16 for NumPy nor complex128,
and holds a file twice in memory while reading, which is why its files are read and written here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from .. import dtypes

__all__ = ["Entry", "LoadError", "is_size", "read_header", "read_raw", "strict_json", "write"]

MAX_HEADER = 100_000_000  # bytes; the format's own limit
MAX_DIMENSIONS = 64  # NumPy's
_ENTRY_KEYS = {"data_offsets", "dtype", "shape"}
# complex128 is not among the format's types: it is stored as pairs of F64, and whoever stores it notes that.
TO_NAME = {
    dtypes.bool_: "BOOL", dtypes.uint8: "U8", dtypes.int8: "I8", dtypes.int16: "I16", dtypes.int32: "I32",
    dtypes.int64: "I64", dtypes.uint16: "U16", dtypes.uint32: "U32", dtypes.uint64: "U64", dtypes.float16: "F16",
    dtypes.bfloat16: "BF16", dtypes.float32: "F32", dtypes.float64: "F64", dtypes.complex64: "C64",
    dtypes.float8_e4m3fn: "F8_E4M3", dtypes.float8_e5m2: "F8_E5M2", dtypes.float8_e4m3fnuz: "F8_E4M3FNUZ",
    dtypes.float8_e5m2fnuz: "F8_E5M2FNUZ", dtypes.float8_e8m0fnu: "F8_E8M0",
}  # fmt: skip
FROM_NAME = {name: dtype for dtype, name in TO_NAME.items()}


class LoadError(RuntimeError):
    """A file that cannot be loaded; the message names it and says what is wrong.

    >>> from distgrad import serialization
    >>> from pathlib import Path
    >>> size = Path("not.safetensors").write_bytes(b"nonsense")
    >>> try:
    ...     torch.load("not.safetensors")
    ... except serialization.LoadError as error:
    ...     print("refused")
    ...
    refused
    """


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: where its bytes lie, counted from the header's end, and what they mean."""

    name: str
    dtype: dtypes.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write(file: IO[bytes], tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write C-contiguous host arrays of a dtype in :data:`TO_NAME` to ``file``."""
    # Larger elements first, so that each tensor stays aligned behind the padded header.
    order = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, array in order:
        dtype = TO_NAME[dtypes.from_numpy_dtype(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the description of what is saved takes {len(text)} bytes; at most {MAX_HEADER} are possible")
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in order:
        if array.nbytes:
            file.write(array.reshape(-1).view(np.uint8).data)


def read_header(file: IO[bytes], size: int, name: str, *, exact: bool) -> tuple[dict[str, Entry], dict[str, str]]:
    """Read and check the header, leaving ``file`` at the first tensor's first byte.

    Args:
        file: at the start of the container.
        size: how many bytes there are from here to the file's end.
        name: what messages call the file.
        exact: whether anything after the last tensor is an error.
    """
    start = file.read(min(9, size))
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{":
        raise LoadError(f"cannot load {name}: {_what_else(start)}")
    if length > min(size - 8, MAX_HEADER):
        raise LoadError(
            f"cannot load {name}: its header would be {length} bytes long, with {size - 8} bytes left in the file "
            f"and at most {MAX_HEADER} allowed"
        )
    text = start[8:] + file.read(length - 1)
    if len(text) != length:
        raise LoadError(f"cannot load {name}: it ends inside the header")
    fields = strict_json(text, name, "its header")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise LoadError(f"cannot load {name}: its __metadata__ is not an object of strings")
    entries = {key: _entry(key, value, name) for key, value in fields.items()}
    _check_layout(entries.values(), size - 8 - length, name, exact)
    return entries, metadata


def read_raw(file: IO[bytes], entry: Entry, name: str) -> np.ndarray:
    """The bytes of the entry at which ``file`` stands, as a new uint8 array."""
    raw = np.empty(entry.end - entry.begin, np.uint8)
    view, at = raw.data, 0
    while at < raw.size:
        piece = file.read(min(raw.size - at, 1 << 24))
        if not piece:
            raise LoadError(f"cannot load {name}: it ends inside tensor {entry.name!r}")
        view[at : at + len(piece)] = piece
        at += len(piece)
    if entry.dtype is dtypes.bool_ and raw.size and raw.max() > 1:
        raise LoadError(f"cannot load {name}: tensor {entry.name!r} is of type bool but has other bytes than 0 and 1")
    return raw


def strict_json(text: bytes, name: str, what: str) -> dict[str, Any]:
    """The JSON object in ``text``: no duplicate keys, no NaN, nothing after it."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"key {twice!r} stands there twice")
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        found = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"cannot load {name}: {what} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise LoadError(f"cannot load {name}: {what} is no JSON object")
    return found


def is_size(value: object) -> bool:
    """Whether a value from JSON is a non-negative integer."""
    return type(value) is int and value >= 0


def _entry(key: str, value: Any, name: str) -> Entry:
    if not isinstance(value, dict) or value.keys() != _ENTRY_KEYS:
        raise LoadError(f"cannot load {name}: the header's entry {key!r} does not have exactly {sorted(_ENTRY_KEYS)}")
    dtype = FROM_NAME.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    if dtype is None:
        known = ", ".join(FROM_NAME)
        raise LoadError(f"cannot load {name}: tensor {key!r} is of type {value['dtype']!r}; supported are: {known}")
    shape, offsets = value["shape"], value["data_offsets"]
    sizes_good = isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS and all(is_size(n) for n in shape)
    if not sizes_good or not isinstance(offsets, list) or len(offsets) != 2 or not all(is_size(n) for n in offsets):
        raise LoadError(f"cannot load {name}: tensor {key!r} has shape {shape} and offsets {offsets}")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise LoadError(
            f"cannot load {name}: tensor {key!r} of shape {shape} and type {dtype.name} needs "
            f"{math.prod(shape) * dtype.itemsize} bytes and has {end - begin}"
        )
    return Entry(key, dtype, tuple(shape), begin, end)


def _check_layout(entries: Iterable[Entry], available: int, name: str, exact: bool) -> None:
    at = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != at:
            raise LoadError(f"cannot load {name}: tensor {entry.name!r} begins at byte {entry.begin} instead of {at}")
        at = entry.end
    if at > available:
        raise LoadError(f"cannot load {name}: it is cut short: its tensors take {at} bytes and {available} are there")
    if exact and at < available:
        raise LoadError(f"cannot load {name}: {available - at} bytes follow its last tensor")


def _what_else(start: bytes) -> str:
    """What a file that is no safetensors file probably is, and what to do with it."""
    convert = (
        "A pickle can run any code when it is read, so distgrad never reads one. Where you trust its origin, convert "
        "it once with PyTorch: torch.load(path, weights_only=True), then safetensors.torch.save_file(them, new_path)."
    )
    if not start:
        return "it is empty"
    if start.startswith(b"PK\x03\x04"):
        return f"it is a zip archive, as torch.save writes: a pickle with its data. {convert}"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"it is a pickle. {convert}"
    if len(start) < 9:
        return f"it is cut short: {len(start)} bytes are no safetensors file"
    return "it is no safetensors file: its ninth byte does not begin a JSON header"
