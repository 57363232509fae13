"""CuPy, and the only place where it is imported."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from distgrad.backend.protocol import Array, ArrayModule, Kernel


class _CuPy:
    """The built-in accelerator."""

    def __init__(self) -> None:
        import cupy

        self.module = cupy
        self.array_type = cupy.ndarray
        self._kernels: dict[tuple[str, str, str], Any] = {}

    def device_count(self) -> int:
        return int(self.module.cuda.runtime.getDeviceCount()) if self.module.cuda.is_available() else 0

    def device_name(self, index: int) -> str:
        return str(self.module.cuda.runtime.getDeviceProperties(index)["name"].decode())

    def current(self) -> int:
        return int(self.module.cuda.runtime.getDevice())

    def set_current(self, index: int) -> None:
        self.module.cuda.Device(index).use()

    def index_of(self, array: Array) -> int:
        return int(array.device.id)

    def to_host(self, array: Array) -> np.ndarray:
        return self.module.asnumpy(array)

    def to_device(self, array: Array, index: int) -> Array:
        with self.on(index):
            return self.module.array(array, copy=True)

    def on(self, index: int) -> contextlib.AbstractContextManager[Any]:
        return self.module.cuda.Device(index)

    def synchronize(self) -> None:
        self.module.cuda.Device().synchronize()

    def capability(self, index: int) -> tuple[int, int]:
        text = str(self.module.cuda.Device(index).compute_capability)  # "90", "121"
        return int(text[:-1]), int(text[-1])

    def memory(self, index: int) -> tuple[int, int]:
        with self.on(index):
            pool = self.module.get_default_memory_pool()
            return int(pool.used_bytes()), int(pool.total_bytes())

    def memory_info(self, index: int) -> tuple[int, int]:
        with self.on(index):
            free, total = self.module.cuda.runtime.memGetInfo()
        return int(free), int(total)

    def empty_cache(self) -> None:
        for index in range(self.device_count()):
            with self.on(index):
                self.module.get_default_memory_pool().free_all_blocks()

    def special_module(self) -> ArrayModule:
        from cupyx.scipy import special

        return special

    def run_kernel(self, kernel: Kernel, arrays: Sequence[Array], numbers: Sequence[float]) -> None:
        key = kernel.inputs, kernel.outputs, kernel.body
        made = self._kernels.get(key)
        if made is None:  # CuPy compiles it, and keeps it on disk
            made = self.module.ElementwiseKernel(kernel.inputs, kernel.outputs, kernel.body, kernel.name)
            self._kernels[key] = made
        made(*[arrays[i] for i in kernel.read], *numbers, *[arrays[i] for i in kernel.written])

    def carve(self, buffer: Array, lo: int, shape: tuple[int, ...]) -> Array:
        return self.module.ndarray(shape, buffer.dtype, memptr=buffer.data + lo * buffer.itemsize)
