"""A value that comes later, as PyTorch's ``torch.futures.Future`` shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Future"]

T = TypeVar("T")
S = TypeVar("S")


class Future(Generic[T]):
    """A value that is there once somebody has waited for it.

    What :meth:`then` adds runs when the value is waited for, not before: ranks wait in the same order, so callbacks may
    start collectives.

    Args:
        obtain: waits and returns the value; None: it comes by :meth:`set_result`.
        ready: whether that would not have to wait; lets messages progress.
    """

    __slots__ = ("_done", "_obtain", "_ready", "_value")

    def __init__(self, obtain: Callable[[], T] | None = None, ready: Callable[[], bool] | None = None) -> None:
        self._obtain, self._ready = obtain, ready
        self._done = False
        self._value: T | None = None

    def wait(self) -> T:
        """The value, once it is there."""
        if not self._done:
            if self._obtain is None:
                raise RuntimeError("nothing brings this Future's value: call set_result() before wait()")
            self.set_result(self._obtain())
        return self._value  # type: ignore[return-value]

    def value(self) -> T:
        """The value, which must be there."""
        if not self._done:
            raise RuntimeError("this Future has no value yet: wait() for it")
        return self._value  # type: ignore[return-value]

    def set_result(self, result: T) -> None:
        """Give the value; once only."""
        if self._done:
            raise RuntimeError("this Future has its value already")
        self._value, self._done, self._obtain, self._ready = result, True, None, None

    def done(self) -> bool:
        """Whether the value is there."""
        return self._done

    def poll(self) -> None:
        """Let messages that the value waits for progress."""
        if self._ready is not None:
            self._ready()

    def then(self, callback: Callable[[Future[T]], S]) -> Future[S]:
        """The promise of ``callback(this)``, called once this has its value."""

        def obtain() -> S:
            self.wait()
            return callback(self)

        return Future(obtain, self._ready)
