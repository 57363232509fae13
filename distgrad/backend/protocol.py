"""What an array library for a device has to offer, and a kernel for it to run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["Accelerator", "Array", "ArrayModule", "Kernel"]


Array = Any  # numpy.ndarray, cupy.ndarray or a double's array


ArrayModule = Any


class Kernel(NamedTuple):
    """An elementwise computation in CUDA's C, as CuPy's ``ElementwiseKernel`` takes it.

    Attributes:
        name: what profilers call it.
        inputs, outputs: declarations; inputs are arrays and then numbers.
        body: the statements; outputs are read there too, and written last.
        read, written: which of the arrays are inputs and outputs.
        replay: the same through functions of NumPy's names: (module, arrays, numbers) -> the outputs' new values.
    """

    name: str
    inputs: str
    outputs: str
    body: str
    read: tuple[int, ...]
    written: tuple[int, ...]
    replay: Callable[..., list[Any]]


class Accelerator(Protocol):
    """What an array library on a device must offer.  ``module`` has NumPy's API on arrays of type ``array_type``."""

    module: ArrayModule
    array_type: type

    def device_count(self) -> int: ...
    def device_name(self, index: int) -> str: ...
    def current(self) -> int: ...
    def set_current(self, index: int) -> None: ...
    def index_of(self, array: Array) -> int: ...
    def to_host(self, array: Array) -> np.ndarray: ...
    def to_device(self, array: Array, index: int) -> Array: ...
    def on(self, index: int) -> contextlib.AbstractContextManager[Any]: ...
    def synchronize(self) -> None: ...
    def capability(self, index: int) -> tuple[int, int]: ...
    def memory(self, index: int) -> tuple[int, int]: ...  # bytes in use, and held by the pool
    def memory_info(self, index: int) -> tuple[int, int]: ...  # bytes free, and all
    def empty_cache(self) -> None: ...
    def special_module(self) -> ArrayModule: ...
    def run_kernel(self, kernel: Kernel, arrays: Sequence[Array], numbers: Sequence[float]) -> None: ...
    def carve(self, buffer: Array, lo: int, shape: tuple[int, ...]) -> Array: ...
