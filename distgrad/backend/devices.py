"""``device``: where an array lies, as PyTorch names it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["CPU", "META", "default_device", "device"]


# Devices of PyTorch's that can be named, as programs do that look for one.  On ``meta`` lie tensors without elements,
# on the others none.
_ELSEWHERE = ("mps", "xpu", "meta")


class device:  # noqa: N801 - PyTorch's name
    """Where a tensor lies.

    ``device("cpu")``; ``device("cuda")``, the current; ``device("cuda:1")``, ``device("cuda", 1)``, ``device(1)``.

    As a context it is where tensors are made that are not told where.

    >>> torch.device("cuda:1").type, torch.device("cuda", 1).index
    ('cuda', 1)
    >>> with torch.device("meta"):
    ...     torch.empty(2, 3)
    ...
    tensor(..., device='meta', size=(2, 3))
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __init__(self, type: str | int | device, index: int | None = None) -> None:
        if isinstance(type, device):
            index, type = type.index, type.type
        elif isinstance(type, int):
            index, type = type, "cuda"
        elif ":" in type:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed explicitly: {type}"
                )
            text = type
            type, _, number = text.partition(":")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{text}'")
            index = int(number)
        if type not in ("cpu", "cuda", *_ELSEWHERE):
            expected = ", ".join(("cpu", "cuda", *_ELSEWHERE))
            raise RuntimeError(f"Expected one of {expected} device type at start of device string: {type}")
        if type == "cpu" and index not in (None, 0):
            raise RuntimeError(f"there is one CPU device, 'cpu'; got index {index}")
        self.type, self.index = type, index

    def __repr__(self) -> str:
        return (
            f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __enter__(self) -> device:
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(self, *error: Any) -> None:
        _entered.set(_entered.get()[:-1])


CPU = device("cpu")
META = device("meta")
_entered: ContextVar[tuple[device, ...]] = ContextVar("devices whose contexts this thread is in", default=())


def default_device() -> device:
    """Where tensors are made that are not told where."""
    entered = _entered.get()
    return entered[-1] if entered else CPU
