"""How far the ranks of a node are: each tells by words in memory that all of them read.  Nothing is sent or locked.

A rank writes its own words only, which lie in a cache line of their own; another line is everybody's.  On x86-64 other
processors see a rank's writes in their order, so what was written before a word was told is there for who has read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from distgrad.distributed import timeline
from distgrad.distributed.communicator import Communicator
from distgrad.distributed.node_memory import NodeMemory

__all__ = ["Awaited", "Meeting"]

_LINE = 16  # words of 8 bytes a rank, two cache lines of its own: what is told in each step is in the first


class Meeting:
    """Words of the ranks of a node.  Making it is collective.

    Args:
        comm: the ranks; all of one node.
        more: how many words of common memory are wanted besides.

    Attributes:
        more: those words (int64).
    """

    def __init__(self, comm: Communicator, more: int = 0) -> None:
        self.comm = comm
        end = (comm.size + 1) * _LINE
        memory = NodeMemory.common(comm, (end + more) * 8)
        self._words = memoryview(memory.bytes.data).cast("q")
        self.more = memory.bytes.view(np.int64)[end:]
        self._everyone = [r * _LINE for r in range(comm.size)]
        self._mine, self._all = comm.rank * _LINE, comm.size * _LINE
        self._others = [r for r in self._everyone if r != self._mine]

    def tell(self, what: int, value: int) -> None:
        """This rank's word number ``what`` (0 to 15)."""
        self._words[self._mine + what] = value

    def tell_all(self, what: int, value: int) -> None:
        """Word number ``what`` (0 to 15) of those that are everybody's; who writes it last is right."""
        self._words[self._all + what] = value

    def told(self, what: int) -> list[int]:
        """What each rank has told, in the order of ranks."""
        return [self._words[r + what] for r in self._everyone]

    def told_to_all(self, what: int) -> int:
        """Word number ``what`` of those that are everybody's."""
        return self._words[self._all + what]

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
        unless: int | None = None,
        alone: Callable[[], bool] | None = None,
    ) -> bool:
        """Return True when all ranks have told at least ``value``; ``why``, with a place for it, says what that means.

        Args:
            unless: a word of everybody's; as soon as it is told, return False if the others have not come that far.
            alone: asked where others cannot come, since they wait for this rank elsewhere: if it is true, return False.
        """
        if self.reached(what, value):
            return True
        start, why = time.perf_counter_ns(), why.format(value)
        words, stop = self._words, None if unless is None else self._all + unless

        def come() -> bool:
            return self.reached(what, value) or (stop is not None and words[stop] != 0)

        self.comm.Await(Awaited(come, lambda: self.missing(what, value), alone), why)
        if timeline.current is not None:
            timeline.current.add(f"waiting {why}", "reduction", start)
        return self.reached(what, value)


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
