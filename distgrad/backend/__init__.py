"""Array libraries and devices: which module an array belongs to, where it lies, and how it moves.

Host arrays are NumPy's.  Device arrays belong to one *accelerator*, an object with the few methods of
:class:`Accelerator`; CuPy is the built-in one, which :mod:`distgrad.backend.cupy` alone imports.  A test can put a
double in its place with :func:`accelerator_as`.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence
from pickle import PickleBuffer
from typing import Any

import numpy as np

from distgrad.backend.cupy import _CuPy
from distgrad.backend.devices import CPU, META, default_device, device
from distgrad.backend.meta import MetaArray, MetaModule, meta_array
from distgrad.backend.protocol import Accelerator, Array, ArrayModule, Kernel

__all__ = [
    "Accelerator", "Array", "ArrayModule", "CPU", "Kernel", "META", "MetaArray", "MetaModule", "NOWHERE",
    "NoDeviceError", "accelerator", "accelerator_as", "array_module", "carve", "choose_device", "chosen",
    "claim_device", "default_device", "device", "device_count", "device_of", "is_array", "meta_array", "module_for",
    "on", "release_device", "resolve", "run_kernel", "several_devices", "special_module", "switched",
    "synchronize", "to_device", "to_host", "where_it_lies",
]  # fmt: skip


_meta = MetaModule()
_accelerator: Accelerator | None = None
_tried = False
_count: int | None = None  # of the accelerator's devices, once asked for


def accelerator() -> Accelerator | None:
    """The installed accelerator, or None where no device array library can be imported."""
    global _accelerator, _tried
    if not _tried:
        _tried = True
        with contextlib.suppress(ImportError):
            _accelerator = _CuPy()
    return _accelerator


def device_count() -> int:
    """How many accelerator devices can be used now; 0 without CuPy or without a GPU."""
    found = accelerator()
    return 0 if found is None else found.device_count()


def several_devices() -> bool:
    """Whether there is more than one accelerator device, so that an array may lie on another than the current one.

    The accelerator is asked once, when the first of its arrays is worked on: a process that works on the CPU alone pays
    nothing, and False is the answer until then.
    """
    return _count is not None and _count > 1


def run_kernel(kernel: Kernel, arrays: Sequence[Array], numbers: Sequence[float]) -> None:
    """Run ``kernel`` on arrays of the accelerator, in place."""
    found = accelerator()
    assert found is not None
    found.run_kernel(kernel, arrays, numbers)


def carve(buffer: Array, lo: int, shape: tuple[int, ...]) -> Array:
    """The elements of the one-dimensional ``buffer`` from ``lo`` on, in ``shape``: an array that views refer to.

    A slice would do, but for one thing: a view of a slice refers to the whole buffer, and so nobody could tell whether
    there are views of this part of it.
    """
    if not isinstance(buffer, np.ndarray):
        found = accelerator()
        assert found is not None
        return found.carve(buffer, lo, shape)
    octets: Any = buffer.view(np.uint8)
    start = lo * buffer.itemsize
    part = memoryview(octets)[start : start + math.prod(shape) * buffer.itemsize]
    own: Any = PickleBuffer(part)  # which is no array, so that NumPy looks no further; nothing is pickled
    return np.ndarray(shape, buffer.dtype, buffer=own)


def is_array(x: object) -> bool:
    """Whether ``x`` is an array of NumPy or of the accelerator."""
    if isinstance(x, (np.ndarray, MetaArray)):
        return True
    return _accelerator is not None and isinstance(x, _accelerator.array_type)


def array_module(x: Array) -> ArrayModule:
    """The module, with NumPy's API, of the array (or NumPy scalar) ``x``."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    if _accelerator is not None and isinstance(x, _accelerator.array_type):
        return _accelerator.module
    if isinstance(x, MetaArray):
        return _meta
    raise TypeError(f"expected an array of numpy or cupy, got {type(x).__name__}")


def special_module(xp: ArrayModule) -> ArrayModule:
    """The special functions (SciPy's names) for arrays of the module ``xp``."""
    if xp is np:
        from scipy import special

        return special
    found = accelerator()
    assert found is not None
    return found.special_module()


def device_of(x: Array) -> device:
    """Where the array ``x`` lies."""
    if isinstance(x, (np.ndarray, np.generic)):
        return CPU
    if isinstance(x, MetaArray):
        return META
    found = accelerator()
    if found is not None and isinstance(x, found.array_type):
        return device("cuda", found.index_of(x))
    raise TypeError(f"expected an array of numpy or cupy, got {type(x).__name__}")


class NoDeviceError(RuntimeError, AssertionError):
    """A GPU was asked for where there is none; PyTorch's class for it is AssertionError."""


def resolve(where: str | int | device | None) -> device:
    """``where`` with its index filled in, checked to exist: ``None`` is the CPU, ``"cuda"`` the current GPU."""
    if where is None:
        where = default_device()
    wanted = where if isinstance(where, device) else device(where)
    if wanted.type == "cpu":
        return CPU
    if wanted.type == "meta":
        return META
    if wanted.type != "cuda":
        raise NoDeviceError(f"device '{wanted}' was asked for; distgrad's devices are cpu and cuda")
    found = accelerator()
    count = 0 if found is None else found.device_count()
    if found is None or count == 0:
        why = "CuPy is not installed (pip install 'distgrad[cuda13]')" if found is None else "CuPy sees no GPU"
        raise NoDeviceError(f"device '{wanted}' was asked for but {why}; the devices here are: cpu")
    index = _current(found, count) if wanted.index is None else wanted.index
    if index >= count:
        have = ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
        raise RuntimeError(f"device '{wanted}' was asked for; the devices here are: {have}")
    return device("cuda", index)


class _Choice(threading.local):
    """As a GPU's library does, each thread has a current device; so each has chosen one, or not yet."""

    claim: tuple[int, int] | None = None  # the thread's own, where ranks are threads
    made: object = None  # the claim that was followed, or the one that an own choice overrode


_choice = _Choice()
_claim: tuple[int, int] | None = None  # of the process


def claim_device(number: int, of: int, per_thread: bool = False) -> None:
    """Say that ``of`` ranks see the same accelerator devices as this one, which is the ``number``-th of them.

    From then on ``"cuda"`` is, in every thread of the process (or, with ``per_thread``, in this thread), the device of
    that number.  No device is looked for before one is used.
    """
    global _claim
    if per_thread:
        _choice.claim = (number, of)
    else:
        _claim = (number, of)


def release_device(per_thread: bool = False) -> None:
    """Forget :func:`claim_device`; the current device stays as it is."""
    global _claim
    if per_thread:
        _choice.claim = None
    else:
        _claim = None


def choose_device(where: device) -> None:
    """Make the resolved device ``where`` this thread's current one, whatever was claimed."""
    found = accelerator()
    assert found is not None and where.index is not None
    _choice.made = _choice.claim or _claim
    found.set_current(where.index)


@contextlib.contextmanager
def chosen(where: device) -> Iterator[None]:
    """Inside, ``where`` is this thread's current device; afterwards all is as before."""
    found = accelerator()
    assert found is not None
    index, made = found.current(), _choice.made
    choose_device(where)
    try:
        yield
    finally:
        found.set_current(index)
        _choice.made = made


def _current(found: Accelerator, count: int) -> int:
    """The index of the current device, after the claimed one was made that."""
    claim = _choice.claim or _claim
    if claim is not None and _choice.made is not claim:
        number, of = claim
        if of > count:
            several = "s" * (count > 1)
            raise RuntimeError(
                f"{of} ranks on this node and {count} GPU{several}, cuda:0 to cuda:{count - 1}: there is none for each "
                f"(asked on rank {number} of the node). Start at most {count} rank{several} a node, or have them "
                "share on purpose: on each rank, "
                "distgrad.cuda.set_device(distgrad.distributed.get_local_rank() % distgrad.cuda.device_count())"
            )
        _choice.made = claim
        found.set_current(number)
    return found.current()


def module_for(where: device) -> ArrayModule:
    """The array module that makes arrays on the resolved device ``where``."""
    if where.type == "cpu":
        return np
    if where.type == "meta":
        return _meta
    found = accelerator()
    assert found is not None
    return found.module


def on(where: device) -> contextlib.AbstractContextManager[Any]:
    """A context in which new arrays of ``module_for(where)`` land on ``where``."""
    if where.type in ("cpu", "meta"):
        return contextlib.nullcontext()
    found = accelerator()
    assert found is not None and where.index is not None
    return found.on(where.index)


NOWHERE: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()


def where_it_lies(x: Array) -> contextlib.AbstractContextManager[Any]:
    """A context in which the device of the array ``x`` is the current one.

    Array libraries put results on the *current* device, and refuse or slowly read operands from another.
    """
    global _count
    if isinstance(x, (np.ndarray, np.generic, MetaArray)):
        return NOWHERE
    found = accelerator()
    assert found is not None
    if _count is None:
        _count = found.device_count()
    if _count == 1:
        return NOWHERE
    index = found.index_of(x)
    return NOWHERE if index == found.current() else found.on(index)


@contextlib.contextmanager
def switched() -> Iterator[Any]:
    """A context that gives ``switch(array)``, which makes the array's device the current one until the context ends."""
    found = accelerator()
    assert found is not None
    before = found.current()

    def switch(x: Array) -> None:
        if not isinstance(x, (np.ndarray, np.generic)):
            index = found.index_of(x)
            if index != found.current():
                found.set_current(index)

    try:
        yield switch
    finally:
        if found.current() != before:
            found.set_current(before)


def to_host(x: Array) -> np.ndarray:
    """``x`` as a NumPy array: itself if it is one, else a copy."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, np.generic):
        return np.asarray(x)
    if isinstance(x, MetaArray):
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    found = accelerator()
    if found is not None and isinstance(x, found.array_type):
        return found.to_host(x)
    raise TypeError(f"expected an array of numpy or cupy, got {type(x).__name__}")


def to_device(x: Array, where: device) -> Array:
    """``x`` on the resolved device ``where``: itself if it lies there, else a copy."""
    if device_of(x) == where:
        return x
    if where.type == "meta":
        return meta_array(x.shape, x.dtype)
    if where.type == "cpu" or isinstance(x, MetaArray):
        return to_host(x)
    found = accelerator()
    assert found is not None and where.index is not None
    return found.to_device(x, where.index)


def synchronize() -> None:
    """Wait until the accelerator has finished all that was asked of it; nothing to do on a CPU."""
    if _accelerator is not None and _accelerator.device_count() > 0:
        _accelerator.synchronize()


@contextlib.contextmanager
def accelerator_as(new: Accelerator) -> Iterator[Accelerator]:
    """Inside, ``new`` is the accelerator; for tests."""
    global _accelerator, _tried, _count
    old = _accelerator, _tried, _count
    _accelerator, _tried, _count = new, True, None
    try:
        yield new
    finally:
        _accelerator, _tried, _count = old
