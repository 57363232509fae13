"""The GPUs of this process, by the names that PyTorch has for whatever kind of accelerator there is: here CUDA's.

>>> torch.accelerator.is_available() == torch.cuda.is_available()
True
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from . import backend, cuda

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "device_count", "device_index", "empty_cache",
    "is_available", "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved",
    "reset_peak_memory_stats", "set_device_idx", "set_device_index", "synchronize",
]  # fmt: skip

is_available = cuda.is_available
device_count = cuda.device_count


def _must_be_there() -> None:
    if not device_count():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def current_accelerator(check_available: bool = False) -> backend.device | None:
    """The kind of accelerator, ``device(type='cuda')``; None where there is no GPU.

    >>> torch.accelerator.current_accelerator() is None or torch.accelerator.is_available()
    True
    """
    return backend.device("cuda") if device_count() else None


def current_device_index() -> int:
    """The index of the current GPU.  RuntimeError where there is none.

    >>> if torch.accelerator.is_available():
    ...     assert torch.accelerator.current_device_index() == torch.cuda.current_device()
    """
    _must_be_there()
    return cuda.current_device()


def set_device_index(device: int | str | backend.device, /) -> None:
    """Make ``device`` the current GPU.  RuntimeError where there is none.

    >>> if torch.accelerator.is_available():
    ...     torch.accelerator.set_device_index(0)
    """
    _must_be_there()
    cuda.set_device(device)


current_device_idx, set_device_idx = current_device_index, set_device_index


@contextlib.contextmanager
def device_index(device: int | None, /) -> Iterator[None]:
    """Inside, GPU number ``device`` is the current one; None changes nothing.

    >>> with torch.accelerator.device_index(None):
    ...     pass
    """
    if device is None:
        yield
        return
    _must_be_there()
    with cuda.device(device):
        yield


def synchronize(device: int | str | backend.device | None = None, /) -> None:
    """Wait until all work given to the GPU is done.  RuntimeError where there is none.

    >>> if torch.accelerator.is_available():
    ...     torch.accelerator.synchronize()
    """
    _must_be_there()
    cuda.synchronize(device)


empty_cache = cuda.empty_cache
memory_allocated, memory_reserved = cuda.memory_allocated, cuda.memory_reserved
max_memory_allocated, max_memory_reserved = cuda.max_memory_allocated, cuda.max_memory_reserved
reset_peak_memory_stats = cuda.reset_peak_memory_stats
