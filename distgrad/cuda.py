"""The GPUs of this process, by PyTorch's names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from . import backend
from .ops.tensor_types import ON_CUDA

__all__ = [
    "current_device", "device", "device_count", "get_device_name", "is_available", "manual_seed_all", "set_device",
    "synchronize",
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
