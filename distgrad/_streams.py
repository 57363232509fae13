"""``cuda.Stream`` and ``cuda.Event``: here all work on a GPU is done in one stream, in the order in which it is asked
for, so that a stream names that one, and waiting for another has nothing to wait for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from . import backend

__all__ = ["Event", "Stream", "StreamContext", "current_stream", "default_stream", "set_stream", "stream"]


class Stream:
    """The one stream of work of a GPU.  RuntimeError where there is no GPU.

    >>> try:
    ...     stream = torch.cuda.Stream()
    ... except RuntimeError as error:
    ...     print(torch.cuda.is_available())
    False
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        if not backend.device_count():
            raise RuntimeError("torch.cuda.Stream requires CUDA support; there is no GPU here")
        self.device = backend.resolve("cuda" if device is None else device)

    def synchronize(self) -> None:
        """Wait until all work that was asked for is done."""
        with backend.on(self.device):
            backend.synchronize()

    def query(self) -> bool:
        """Whether all work is done: True, after waiting for it."""
        self.synchronize()
        return True

    def wait_stream(self, stream: Stream) -> None:
        """Nothing: there is one stream, in order."""

    def wait_event(self, event: Event) -> None:
        """Nothing: what an event waits for comes first."""

    def record_event(self, event: Event | None = None) -> Event:
        """``event``, or a new one, recorded now."""
        made = Event() if event is None else event
        made.record(self)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.device == other.device

    def __hash__(self) -> int:
        return hash(self.device)

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device}>"


class Event:
    """A moment in the work of a GPU: when all that was asked for before :meth:`record` was done.

    To record waits for that work, unlike in PyTorch, so that the times between events are right; it takes longer.
    RuntimeError where there is no GPU.

    >>> if torch.cuda.is_available():
    ...     start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    ...     start.record()
    ...     end.record()
    ...     milliseconds = start.elapsed_time(end)
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        if not backend.device_count():
            raise RuntimeError("Tried to instantiate dummy base class Event: there is no GPU here")
        self._timing = enable_timing
        self._at: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Be the moment at which all work asked for so far is done."""
        with contextlib.nullcontext() if stream is None else backend.on(stream.device):
            backend.synchronize()
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        """Nothing: the work was waited for."""

    def wait(self, stream: Stream | None = None) -> None:
        """Nothing, likewise."""

    def query(self) -> bool:
        """Whether the work before it is done: True."""
        return True

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to ``end_event``.

        ValueError: either was not made with ``enable_timing=True``, or is not recorded.
        """
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._at is None or end_event._at is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return (end_event._at - self._at) * 1000


@contextlib.contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Inside, work is done in ``stream``, on its device; None changes nothing.

    >>> with torch.cuda.stream(None):
    ...     pass
    """
    if stream is None:
        yield
        return
    with backend.on(stream.device):
        yield


StreamContext = stream


def current_stream(device: Any = None) -> Stream:
    """The stream of a GPU, by default the current one.  RuntimeError and AssertionError where there is none.

    >>> torch.cuda.is_available() and torch.cuda.current_stream()
    False
    """
    return Stream(backend.resolve("cuda" if device is None else device))


def default_stream(device: Any = None) -> Stream:
    """:func:`current_stream`.

    >>> torch.cuda.is_available() and torch.cuda.default_stream()
    False
    """
    return current_stream(device)


def set_stream(stream: Stream | None) -> None:
    """Nothing: there is one stream.

    >>> torch.cuda.set_stream(None)
    """
