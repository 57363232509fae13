"""oneDNN by its C interface: memory described by strides, and operations ("primitives") made once and run often.

Loaded by ``ctypes`` from the environment's ``lib`` folder, where the extra ``fast`` puts it, or from the system.
Everything here belongs to the thread that made it, as the library asks: a primitive runs where it was made.

Names, numbers and layouts are those of oneDNN 3's ``dnnl_types.h`` and ``dnnl.h``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import sys
import threading
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "Failure", "Primitive", "call", "described", "engine", "library", "sizes", "strides_of", "version", "where",
]  # fmt: skip

OLDEST = (3, 0)
F32 = 3
ANY = 1  # a layout that the primitive chooses
TRAINING, INFERENCE = 64, 96
SRC, DST, WEIGHTS, BIAS = 1, 17, 33, 41
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS = 129, 145, 161
_QUERY = {SRC: 129, DIFF_SRC: 130, WEIGHTS: 131, DIFF_WEIGHTS: 132, DST: 133, DIFF_DST: 134}


class Failure(RuntimeError):
    """What the library has no primitive for, or could not do."""


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", c_int), ("minor", c_int), ("patch", c_int), ("hash", c_char_p), ("cpu", ctypes.c_uint),
        ("gpu", ctypes.c_uint),
    )  # fmt: skip


class _Argument(ctypes.Structure):
    _fields_ = (("index", c_int), ("memory", c_void_p))


def _candidates() -> list[str]:
    given = os.environ.get("DISTGRAD_ONEDNN_LIBRARY")
    if given is not None:
        return [given] if given else []
    found = [Path(prefix) / "lib" / "libdnnl.so.3" for prefix in dict.fromkeys((sys.prefix, sys.base_prefix))]
    with contextlib.suppress(metadata.PackageNotFoundError):  # in whose environment it may be that is not this one
        files = metadata.files("onednn-cpu-gomp") or []
        found += [Path(str(file.locate())).resolve() for file in files if file.name == "libdnnl.so.3"]
    return [*map(str, filter(Path.exists, found)), "libdnnl.so.3"]


@functools.cache
def _loaded() -> tuple[Any, str, tuple[int, int, int]] | None:
    """The library, where it was found and its version; None where there is none that serves."""
    for name in _candidates():
        try:
            lib = ctypes.CDLL(name)
            lib.dnnl_version.restype = POINTER(_Version)
        except (OSError, AttributeError):
            continue
        told = lib.dnnl_version().contents
        found = told.major, told.minor, told.patch
        if found[:2] < OLDEST or found[0] != OLDEST[0]:
            _note(f"{name} is oneDNN {'.'.join(map(str, found))}; version 3 is needed, so that NumPy computes")
            continue
        lib.dnnl_memory_desc_get_size.restype = c_size_t
        lib.dnnl_primitive_desc_query_md.restype = c_void_p
        return lib, name, found
    return None


def _note(text: str) -> None:
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=2)


def library() -> Any:
    """The loaded library, or None."""
    found = _loaded()
    return None if found is None else found[0]


def version() -> tuple[int, int, int] | None:
    """The version of the library; None where there is none."""
    found = _loaded()
    return None if found is None else found[2]


def where() -> str | None:
    """The file or name it was loaded by."""
    found = _loaded()
    return None if found is None else found[1]


def call(name: str, *args: Any) -> None:
    """Call ``dnnl_<name>``; Failure where it returns another status than success."""
    status = getattr(library(), "dnnl_" + name)(*args)
    if status:
        raise Failure(f"dnnl_{name}: status {status}")


class _Here(threading.local):
    """The engine and the stream of this thread."""

    def __init__(self) -> None:
        self.engine, self.stream = c_void_p(), c_void_p()
        call("engine_create", byref(self.engine), 1, c_size_t(0))
        call("stream_create", byref(self.stream), self.engine, 1)


@functools.cache
def _everywhere() -> _Here:
    return _Here()


def engine() -> c_void_p:
    """This thread's engine."""
    return _everywhere().engine


def sizes(values: Sequence[int]) -> Any:
    """``values`` as the library's array of dimensions."""
    return (c_int64 * len(values))(*values)


def described(shape: Sequence[int], strides: Sequence[int] | None) -> c_void_p:
    """A description of float32 memory by its shape and its strides in elements; None: the primitive's own layout."""
    made = c_void_p()
    if strides is None:
        call("memory_desc_create_with_tag", byref(made), len(shape), sizes(shape), F32, ANY)
    else:
        call("memory_desc_create_with_strides", byref(made), len(shape), sizes(shape), F32, sizes(strides))
    return made


def strides_of(array: np.ndarray) -> tuple[int, ...]:
    """The strides of ``array`` in elements."""
    return tuple([s // array.itemsize for s in array.strides])


def _memory(description: Any, address: int | None) -> c_void_p:
    made = c_void_p()
    call("memory_create", byref(made), c_void_p(description), engine(), c_void_p(address))
    return made


class _Reorder:
    """A copy from one layout to another, of which one is the primitive's own and held here."""

    def __init__(self, source: Any, target: Any, own: Any) -> None:
        described_by = c_void_p()
        call(
            "reorder_primitive_desc_create", byref(described_by), c_void_p(source), engine(), c_void_p(target),
            engine(), None,
        )  # fmt: skip
        self.primitive = c_void_p()
        call("primitive_create", byref(self.primitive), described_by)
        call("primitive_desc_destroy", described_by)
        self.room = np.empty(library().dnnl_memory_desc_get_size(c_void_p(own)), np.uint8)


class Primitive:
    """An operation of fixed shapes and strides, made by ``make(descriptions)``, which returns its description.

    Args:
        make: given a description for each argument, in order, it returns the primitive's.
        arguments: for each argument its index, its shape and its strides in elements; strides of None leave the layout
            to the primitive, and the array, which is row by row, is copied to it and from it.
    """

    def __init__(self, make: Any, arguments: Sequence[tuple[int, Sequence[int], Sequence[int] | None]]) -> None:
        self.primitive = c_void_p()
        self.memories: list[c_void_p] = []
        self.before: list[tuple[c_void_p, Any]] = []
        self.after: list[tuple[c_void_p, Any]] = []
        self.kept: list[Any] = []
        given = [described(shape, strides) for _, shape, strides in arguments]
        what = make(*given)
        call("primitive_create", byref(self.primitive), what)
        lib = library()
        table = (_Argument * len(arguments))()
        for k, (index, shape, strides) in enumerate(arguments):
            own = given[k].value
            if strides is None:
                own = lib.dnnl_primitive_desc_query_md(what, _QUERY[index], 0)
                rows = described(shape, [math.prod(shape[i + 1 :]) for i in range(len(shape))])
                through = not lib.dnnl_memory_desc_equal(rows, c_void_p(own))
                if through:
                    self._through(own, rows, index, table, k)
                call("memory_desc_destroy", rows)
                if through:
                    continue
            memory = _memory(own, None)
            self.memories.append(memory)
            table[k].index, table[k].memory = index, memory.value
        for description in given:
            call("memory_desc_destroy", description)
        call("primitive_desc_destroy", what)
        self.table, self.count = table, len(arguments)
        self.run = lib.dnnl_primitive_execute
        self.set_handle = lib.dnnl_memory_set_data_handle

    def _through(self, own: Any, rows: c_void_p, index: int, table: Any, k: int) -> None:
        """Let argument ``k``, given row by row, go through memory of the primitive's layout ``own``."""
        outward = index in (DST, DIFF_SRC, DIFF_WEIGHTS)
        copied = _Reorder(own, rows.value, own) if outward else _Reorder(rows.value, own, own)
        inside, outside = _memory(own, copied.room.ctypes.data), _memory(rows.value, None)
        pair = (_Argument * 2)()
        pair[0].index, pair[0].memory = SRC, (inside if outward else outside).value
        pair[1].index, pair[1].memory = DST, (outside if outward else inside).value
        (self.after if outward else self.before).append((copied.primitive, pair))
        self.kept.append((copied, inside))
        self.memories.append(outside)
        table[k].index, table[k].memory = index, inside.value

    def __del__(self) -> None:
        lib = library()
        for memory in [*self.memories, *[inside for _, inside in self.kept]]:
            lib.dnnl_memory_destroy(memory)
        for primitive in [self.primitive, *[p for p, _ in (*self.before, *self.after)]]:
            lib.dnnl_primitive_destroy(primitive)

    def __call__(self, *arrays: np.ndarray) -> None:
        """Run on ``arrays``, of the shapes and strides it was made for, results among them."""
        stream = _everywhere().stream
        for memory, array in zip(self.memories, arrays, strict=True):
            self.set_handle(memory, c_void_p(array.ctypes.data))
        for primitive, pair in self.before:
            self.run(primitive, stream, 2, pair)
        status = self.run(self.primitive, stream, self.count, self.table)
        if status:
            raise Failure(f"dnnl_primitive_execute: status {status}")
        for primitive, pair in self.after:
            self.run(primitive, stream, 2, pair)
        call("stream_wait", stream)
