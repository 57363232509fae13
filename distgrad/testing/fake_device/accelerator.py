"""A double of CuPy that runs on the host and refuses what CuPy refuses.

:class:`StrictAccelerator` fulfils ``distgrad.backend.protocol.Accelerator``.  Its arrays wrap a private NumPy array and
let nobody have it but by an explicit ``get``: code that passes here mixes no host and device arrays on a GPU either.
What is mirrored, as of CuPy 14.2 (https://docs.cupy.dev/en/stable/user_guide/difference.html and CuPy's source):

- Implicit conversion to NumPy raises TypeError.  A ufunc takes arrays of the device, Python numbers and NumPy scalars,
  never a ``numpy.ndarray``, not even of no dimension, nor a list; its keywords are ``out``, ``dtype`` and ``casting``
  (no ``where``); ``.reduce`` and ``.accumulate`` exist for add and multiply alone, ``.at`` for a few.
- Functions are those CuPy has, with CuPy's parameters (``cupy_namespace.json``, recorded from CuPy).
- A reduction or an index that leaves no dimension gives an array of no dimension, not a scalar.
- As index, and as the value at an advanced index, a NumPy array is copied over in silence; assigned to a slice it is a
  ValueError (a 0-d one fills).
- Work on an array that lies on another device than the current one is a ValueError, as on machines without peer access.

Where it is stricter on purpose: NumPy's functions on device arrays (which CuPy dispatches) are refused, since distgrad
takes the module from the array; writing to a broadcast view and indices out of bounds raise as in NumPy.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import backend
from .arrays import DeviceArray, unsupported
from .module import Module, Special

__all__ = ["NUMBERS", "StrictAccelerator", "device_double"]

NUMBERS = (bool, int, float, complex, np.generic)


class StrictAccelerator:
    """The double, with ``devices`` devices.

    Attributes:
        transfers: how many times something was fetched from a device, by ``get``, ``item``, ``bool``, ``print`` …
        uploads: how many times a host array was copied to a device, asked for or (as an index) in silence.
        synchronizations: how many times :meth:`synchronize` was called.
        kernels: how many times :meth:`run_kernel` was.
    """

    array_type: type = DeviceArray

    def __init__(self, devices: int = 2) -> None:
        self.module: Any = Module(self)
        self._special = Special(self)
        self.transfers = self.uploads = self.synchronizations = self.kernels = 0
        self._devices = devices
        self._thread = threading.local()  # as in CUDA, each thread has a current device

    # ------------------------------------------------------------------------------------ backend.Accelerator

    def device_count(self) -> int:
        return self._devices

    def device_name(self, index: int) -> str:
        return f"double {index}"

    def current(self) -> int:
        return getattr(self._thread, "device", 0)

    def set_current(self, index: int) -> None:
        if not 0 <= index < self._devices:
            raise RuntimeError(f"cudaErrorInvalidDevice: invalid device ordinal {index} of {self._devices}")
        self._thread.device = index

    def index_of(self, array: DeviceArray) -> int:
        return array._index

    def to_host(self, array: DeviceArray) -> np.ndarray:
        return array.get()

    def to_device(self, array: Any, index: int) -> DeviceArray:
        with self.on(index):
            return self.module.array(array, copy=True)

    @contextlib.contextmanager
    def on(self, index: int) -> Iterator[None]:
        before = self.current()
        self.set_current(index)
        try:
            yield
        finally:
            self.set_current(before)

    def synchronize(self) -> None:
        self.synchronizations += 1

    def capability(self, index: int) -> tuple[int, int]:
        return 9, 0

    def memory(self, index: int) -> tuple[int, int]:
        return 0, 0  # its arrays lie in the host's memory

    def memory_info(self, index: int) -> tuple[int, int]:
        return 1 << 34, 1 << 34

    def empty_cache(self) -> None:
        pass

    def special_module(self) -> Any:
        return self._special

    def run_kernel(self, kernel: backend.Kernel, arrays: Any, numbers: Any) -> None:
        """Not compiled but replayed, operation by operation."""
        self.check(list(arrays))
        self.kernels += 1
        number = arrays[0].dtype.type  # a kernel's numbers are of its arrays' type
        new = kernel.replay(self.module, list(arrays), [number(c) for c in numbers])
        for i, values in zip(kernel.written, new, strict=True):
            arrays[i][...] = values

    def carve(self, buffer: DeviceArray, lo: int, shape: tuple[int, ...]) -> DeviceArray:
        return DeviceArray(self, buffer._host[lo : lo + math.prod(shape)].reshape(shape), buffer._index)

    # ------------------------------------------------------------------------- what arrays and functions share

    def new(self, host: np.ndarray) -> DeviceArray:
        """``host``, which nobody else may hold, as an array on the current device."""
        return DeviceArray(self, host, self.current())

    def wrap(self, result: Any, sources: list[Any]) -> Any:
        """What NumPy returned, as CuPy would: an array of ``sources`` itself, a view of one, or a new one."""
        if isinstance(result, (tuple, list)):
            kind = list if isinstance(result, list) else tuple  # NumPy names the parts of some, CuPy does not
            return kind([self.wrap(x, sources) for x in result])
        if isinstance(result, np.generic):
            result = np.asarray(result)
        if not isinstance(result, np.ndarray):
            return result
        arrays = list(_arrays_in(sources))
        for x in arrays:
            if result is x._host:
                return x
        for x in arrays:
            if result.size and np.may_share_memory(result, x._host):
                return DeviceArray(self, result, x._index, x if x.base is None else x.base)
        return self.new(result)

    def check(self, arguments: Any) -> None:
        """Raise where an array lies on another device than the current one."""
        for x in _arrays_in([arguments]):
            if x._index != self.current():
                raise ValueError(
                    f"The device where the array resides ({x._index}) is different from the current device "
                    f"({self.current()}). Peer access is unavailable between these devices."
                )

    def scalar_or_array(self, x: Any) -> Any:
        """A ufunc's operand."""
        if isinstance(x, DeviceArray):
            self.check(x)
            return x._host
        if isinstance(x, NUMBERS):
            return x
        raise unsupported(x)

    def host(self, x: Any) -> Any:
        """``x`` for NumPy's eyes; host arrays are refused."""
        if isinstance(x, DeviceArray):
            return x._host
        if isinstance(x, np.ndarray):
            raise unsupported(x)
        if type(x) in (list, tuple):
            return type(x)(self.host(item) for item in x)
        return x

    def uploaded(self, x: Any) -> Any:
        """As :meth:`host`, where CuPy copies a host array to the device by itself."""
        if type(x) in (list, tuple):
            return type(x)(self.uploaded(item) for item in x)
        if isinstance(x, np.ndarray):
            self.uploads += 1
            return x.copy()
        return self.host(x)

    def index(self, key: Any) -> tuple[tuple[Any, ...], bool]:
        """An index as a tuple for NumPy, and whether it has an array or a mask in it."""
        parts = key if isinstance(key, tuple) else (key,)
        self.check(list(parts))
        advanced = any(
            isinstance(p, (DeviceArray, np.ndarray, list, tuple, bool, np.bool_)) for p in parts
        )  # CuPy takes an array without dimensions for an array, not for a number
        return tuple(self.uploaded(p) for p in parts), advanced


def _arrays_in(values: Any) -> Iterator[DeviceArray]:
    for x in values:
        if isinstance(x, DeviceArray):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _arrays_in(x)


@contextlib.contextmanager
def device_double(devices: int = 2) -> Iterator[StrictAccelerator]:
    """Inside the block ``"cuda:0"``, ``"cuda:1"``, … exist and are strict doubles of CuPy devices.

    >>> from distgrad import testing
    >>> with testing.device_double():
    ...     x = torch.ones(2, device="cuda")
    ...     print(x.device, (2 * x).sum().item())
    ...
    cuda:0 4.0
    """
    accelerator = StrictAccelerator(devices)
    with backend.accelerator_as(accelerator):
        yield accelerator
