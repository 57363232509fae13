"""Whoever wants to see every operation as it is recorded: hooks for saved tensors, the search for anomalies.

Nodes are made in a few places that ordinary programs run through all the time, so nothing is asked there.  While
somebody observes, ``new`` of those modules makes nodes that tell when the last of their fields is written, and are
like any other from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .grad_mode import recording as mode
from .graph import Node
from .recording import makers

__all__ = ["observe", "stop", "tell"]

Observer = Callable[[Node], None]

_lock = threading.Lock()
_count = 0  # of those who observe, in any thread


class _Newborn(Node):
    """A node until its dtype, the last of its fields, is written."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "dtype":
            self.__class__ = Node  # type: ignore[assignment]
            tell(self)


def _new(cls: type) -> Any:
    return object.__new__(_Newborn if cls is Node else cls)


def tell(node: Node) -> None:
    """Show ``node`` to this thread's observers."""
    for observer in mode.observers:
        observer(node)


def observe(observer: Observer) -> None:
    """Show ``observer`` each operation that this thread records from now on, until :func:`stop`."""
    global _count
    mode.observers = (*mode.observers, observer)
    with _lock:
        _count += 1
        for names in makers:
            names["new"] = _new


def stop(observer: Observer) -> None:
    """Undo :func:`observe`."""
    global _count
    inward = [*reversed(mode.observers)]
    if observer in inward:  # it is not where another thread began to observe
        inward.remove(observer)
        mode.observers = (*reversed(inward),)
    with _lock:
        _count -= 1
        if not _count:
            for names in makers:
                names["new"] = object.__new__
