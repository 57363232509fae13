"""What a non-blocking operation returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["CompletedRequest", "FinishingRequest", "Request"]


class Request(Protocol):
    """An operation under way."""

    def Wait(self) -> None:
        """Return when the operation is complete and its array holds the result."""

    def Test(self) -> bool:
        """Let the operation progress; True once it is complete."""


class CompletedRequest:
    """An operation that needed no waiting."""

    def Wait(self) -> None:
        return

    def Test(self) -> bool:
        return True


class FinishingRequest:
    """An operation after which ``finish()``, which exchanges nothing, makes the result of what arrived."""

    def __init__(self, request: Request, finish: Callable[[], None]) -> None:
        self._request, self._finish = request, finish
        self._done = False

    def Wait(self) -> None:
        if not self._done:
            self._request.Wait()
            self._done = True
            self._finish()

    def Test(self) -> bool:
        if not self._done and self._request.Test():
            self._done = True
            self._finish()
        return self._done


class _LateReceive:
    """A receive that happens when it is waited for: the default where messages cannot be awaited beside other work."""

    def __init__(self, receive: Callable[[], None]) -> None:
        self._receive: Callable[[], None] | None = receive

    def Wait(self) -> None:
        if self._receive is not None:
            receive, self._receive = self._receive, None
            receive()

    def Test(self) -> bool:
        self.Wait()
        return True
