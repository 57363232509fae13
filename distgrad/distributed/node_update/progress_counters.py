"""How far the ranks of a node are: each tells by words in memory that all of them read.  Nothing is sent or locked.

A rank writes its own words only, which lie in a cache line of their own; another line is everybody's.  On x86-64 other
processors see a rank's writes in their order, so what was written before a word was told is there for who has read it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.shared_memory.region import NodeMemory
from distgrad.distributed.timeline import across_ranks

__all__ = ["Awaited", "Meeting"]

_LINE = 16  # words of 8 bytes a rank, two cache lines of its own: what is told in each step is in the first
_AT_ONCE = 50  # looks, some microseconds, before a wait is made known and other things are looked after


class Meeting:
    """Words of the ranks of a node.  Making it is collective.

    Args:
        comm: the ranks; all of one node.
        more: how many words of common memory are wanted besides.

    Attributes:
        more: those words (int64).
        mine: this rank's words, 16, which all see; it alone writes them.
        everyones: 16 words that are everybody's; who writes one last is right.
    """

    def __init__(self, comm: Communicator, more: int = 0) -> None:
        self.comm = comm
        end = (comm.size + 1) * _LINE
        memory = NodeMemory.common(comm, (end + more) * 8)
        self._words = memoryview(memory.bytes.data).cast("q")
        self.more = memory.bytes.view(np.int64)[end:]
        self._everyone = [r * _LINE for r in range(comm.size)]
        mine, everyones = comm.rank * _LINE, comm.size * _LINE
        self.mine, self.everyones = self._words[mine : mine + _LINE], self._words[everyones : everyones + _LINE]
        self._others = [r for r in self._everyone if r != mine]

    def told(self, what: int) -> list[int]:
        """What each rank has told, in the order of ranks."""
        return [self._words[r + what] for r in self._everyone]

    def reached(self, what: int, value: int) -> bool:
        """Whether all other ranks have told at least ``value``."""
        words = self._words
        for r in self._others:  # noqa: SIM110 - a generator takes longer
            if words[r + what] < value:
                return False
        return True

    def missing(self, what: int, value: int) -> list[int]:
        """The ranks that have not told as much."""
        return [r for r, told in enumerate(self.told(what)) if told < value]

    def wait(
        self,
        what: int,
        value: int,
        why: str,
        unless: Callable[[], Any] | None = None,
        alone: Callable[[], bool] | None = None,
    ) -> bool:
        """Return True when all ranks have told at least ``value``; ``why``, with a place for it, says what that means.

        Args:
            unless: as soon as it says so, return False if the others have not come that far.
            alone: asked where others cannot come, since they wait for this rank elsewhere: if it is true, return False.
        """
        if self.reached(what, value):
            return True
        start, words = time.perf_counter_ns(), self._words
        for _ in range(_AT_ONCE):
            for r in self._others:
                if words[r + what] < value:
                    break
            else:
                break
        else:
            self.comm.Await(self._awaited(what, value, unless, alone), why.format(value))
        if across_ranks.current is not None:
            across_ranks.current.add(f"waiting {why.format(value)}", "reduction", start)
        return self.reached(what, value)

    def _awaited(
        self, what: int, value: int, unless: Callable[[], Any] | None, alone: Callable[[], bool] | None
    ) -> Awaited:
        reached = functools.partial(self.reached, what, value)
        come = reached if unless is None else lambda: reached() or bool(unless())
        return Awaited(come, lambda: self.missing(what, value), alone)


class Awaited:
    """What a rank waits for in memory that ranks share, by words that others tell.

    Attributes:
        late: the ranks for which it does.
        alone: whether it can do without them, where they cannot come; None: it cannot.
    """

    __slots__ = ("_condition", "_late", "alone")

    def __init__(
        self, condition: Callable[[], bool], late: Callable[[], list[int]], alone: Callable[[], bool] | None = None
    ) -> None:
        self._condition, self._late, self.alone = condition, late, alone

    def __call__(self) -> bool:
        return self._condition()

    @property
    def late(self) -> list[int]:
        return self._late()
