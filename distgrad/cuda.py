"""The GPUs of this process, by PyTorch's names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from . import backend
from ._streams import Event, Stream, StreamContext, current_stream, default_stream, set_stream, stream
from .ops.tensor_types import ON_CUDA

__all__ = [
    "Event", "Stream", "StreamContext", "current_device", "current_stream", "default_stream", "device",
    "device_count", "empty_cache", "get_device_capability", "get_device_name", "is_available",
    "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_reserved", "reset_max_memory_allocated",
    "reset_peak_memory_stats", "seed", "seed_all", "set_device", "set_stream", "stream", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether CuPy is installed and sees a GPU.

    >>> torch.cuda.is_available() == (torch.cuda.device_count() > 0)
    True
    """
    return backend.device_count() > 0


def device_count() -> int:
    """How many GPUs can be used.

    >>> torch.cuda.device_count() >= 0
    True
    """
    return backend.device_count()


def _index(which: int | str | backend.device | None) -> int:
    wanted = backend.resolve("cuda" if which is None else which)
    if wanted.type != "cuda" or wanted.index is None:
        raise ValueError(f"Expected a cuda device, but got: {wanted}")
    return wanted.index


def current_device() -> int:
    """The index of the GPU on which ``"cuda"`` tensors are made.

    >>> if torch.cuda.is_available():
    ...     assert torch.zeros(1, device="cuda").device.index == torch.cuda.current_device()
    """
    return _index(None)


def set_device(device: int | str | backend.device) -> None:
    """Make ``device`` the current GPU of this thread; a negative number changes nothing.

    Ranks need not call it: ``"cuda"`` is the GPU of :func:`distgrad.distributed.get_local_rank`.

    >>> torch.cuda.set_device(-1)
    >>> if torch.cuda.is_available():
    ...     torch.cuda.set_device("cuda:0")
    """
    if not (isinstance(device, int) and device < 0):  # PyTorch's way to say: leave it
        backend.choose_device(backend.device("cuda", _index(device)))


@contextlib.contextmanager
def device(device: int | str | backend.device) -> Iterator[None]:
    """Inside, ``device`` is the current GPU.

    >>> if torch.cuda.device_count() > 1:
    ...     with torch.cuda.device(1):
    ...         assert torch.zeros(1, device="cuda").device.index == 1
    """
    with backend.chosen(backend.device("cuda", _index(device))):
        yield


def get_device_name(device: int | str | backend.device | None = None) -> str:
    """What the maker calls the GPU ``device``, by default the current one.

    >>> if torch.cuda.is_available():
    ...     assert torch.cuda.get_device_name() == torch.cuda.get_device_name(torch.cuda.current_device())
    """
    index = _index(device)
    found = backend.accelerator()
    assert found is not None
    return found.device_name(index)


def synchronize(device: int | str | backend.device | None = None) -> None:
    """Wait until all work given to the GPU is done.

    >>> if torch.cuda.is_available():
    ...     torch.cuda.synchronize()
    """
    with backend.on(backend.device("cuda", _index(device))):
        backend.synchronize()


def get_device_capability(device: int | str | backend.device | None = None) -> tuple[int, int]:
    """The compute capability of the GPU ``device``, by default the current one, as (major, minor).

    >>> if torch.cuda.is_available():
    ...     assert torch.cuda.get_device_capability() >= (5, 0)
    """
    index = _index(device)
    found = backend.accelerator()
    assert found is not None
    return found.capability(index)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current GPU computes in bfloat16: False, as its arrays here have no such type.

    >>> torch.cuda.is_bf16_supported()
    False
    """
    return False


def is_initialized() -> bool:
    """Whether a GPU is in use: there is one, as CuPy starts it when it is first looked for.

    >>> torch.cuda.is_initialized() == torch.cuda.is_available()
    True
    """
    return is_available()


def _memory(device: int | str | backend.device | None) -> tuple[int, int]:
    """The bytes of the GPU's memory pool that are in use, and those that it holds; none where there is no GPU."""
    if not is_available():
        return 0, 0
    index = _index(device)
    found = backend.accelerator()
    assert found is not None
    return found.memory(index)


def memory_allocated(device: int | str | backend.device | None = None) -> int:
    """The bytes of the GPU's memory that arrays occupy; 0 without a GPU.

    >>> torch.cuda.memory_allocated() >= 0
    True
    """
    return _memory(device)[0]


def memory_reserved(device: int | str | backend.device | None = None) -> int:
    """The bytes of the GPU's memory that CuPy's pool holds, in use or free; 0 without a GPU.

    >>> torch.cuda.memory_reserved() >= torch.cuda.memory_allocated()
    True
    """
    return _memory(device)[1]


def max_memory_allocated(device: int | str | backend.device | None = None) -> int:
    """An upper bound of what arrays occupied at once since :func:`empty_cache`: CuPy's pool keeps no peak, but gives
    back nothing by itself, so that it is what it holds.  0 without a GPU.

    >>> torch.cuda.max_memory_allocated() >= torch.cuda.memory_allocated()
    True
    """
    return _memory(device)[1]


max_memory_reserved = max_memory_allocated


def empty_cache() -> None:
    """Give the memory of CuPy's pool that no array occupies back to the GPUs; nothing without a GPU.

    >>> torch.cuda.empty_cache()
    """
    found = backend.accelerator()
    if found is not None and is_available():
        found.empty_cache()


def reset_peak_memory_stats(device: int | str | backend.device | None = None) -> None:
    """Let :func:`max_memory_allocated` start anew: what is free in the pool is given back, as by :func:`empty_cache`.

    >>> torch.cuda.reset_peak_memory_stats()
    """
    empty_cache()


reset_max_memory_allocated = reset_peak_memory_stats


def mem_get_info(device: int | str | backend.device | None = None) -> tuple[int, int]:
    """The free and all bytes of the memory of the GPU ``device``.

    >>> if torch.cuda.is_available():
    ...     free, total = torch.cuda.mem_get_info()
    ...     assert free <= total
    """
    index = _index(device)
    found = backend.accelerator()
    assert found is not None
    return found.memory_info(index)


def manual_seed(seed: int) -> None:
    """Seed the generator; one serves all devices here, so this is :func:`distgrad.manual_seed`.

    >>> torch.cuda.manual_seed(0)
    """
    manual_seed_all(seed)


def seed() -> None:
    """Seed the generator by chance.

    >>> torch.cuda.seed()
    """
    from .random import seed

    seed()


seed_all = seed


def manual_seed_all(seed: int) -> None:
    """Seed the generator; one generator serves all devices here, so this is :func:`distgrad.manual_seed`.

    >>> torch.cuda.manual_seed_all(0)
    """
    from .random import manual_seed

    manual_seed(seed)


def __getattr__(name: str) -> Any:
    if name in ON_CUDA:  # FloatTensor and its like
        return ON_CUDA[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
