"""Processes that a rank forks (``multiprocessing`` on Linux, ``os.fork``): they are no ranks.

A child has the parent's memory as it was, but for what ranks share, which would go on changing under it, and into which
it would write gradients as if it were its parent.  So parameters become its own copies before the parent goes on, and
training in it is refused.
"""

from __future__ import annotations

import os
import select
import weakref
from typing import Protocol

__all__ = ["FORKED", "Forks", "watch"]

FORKED = (
    "this process was forked from a rank and is no rank itself: it may use the model for inference, but train only a "
    "copy of it (copy.deepcopy), or be started with multiprocessing's 'spawn'"
)
_LONGEST = 60_000  # milliseconds that a parent waits for its child to have copied


class Forks(Protocol):
    """Something that lives in memory that ranks share."""

    def forked(self) -> None:
        """This process is a forked child: keep what it sees, and refuse the rest with :data:`FORKED`."""

    def __hash__(self) -> int: ...


_watched: weakref.WeakSet[Forks] = weakref.WeakSet()
_pipes: list[tuple[int, int]] = []


def watch(what: Forks) -> None:
    """Tell ``what`` in every child that is forked from now on."""
    if not _watched and not _registered:
        _registered.append(True)
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
    _watched.add(what)


_registered: list[bool] = []


def _before() -> None:
    if _watched:
        _pipes.append(os.pipe())


def _in_parent() -> None:
    if _pipes:
        read, write = _pipes.pop()
        os.close(write)
        poll = select.poll()
        poll.register(read, select.POLLIN)
        poll.poll(_LONGEST)  # the child has closed its end, or is gone
        os.close(read)


def _in_child() -> None:
    if _pipes:
        read, write = _pipes.pop()
        for what in list(_watched):
            what.forked()
        _watched.clear()
        os.close(read)
        os.close(write)
