"""Optimizer state of which each rank of a node holds its part, and any rank may read the whole.

Each array lies in memory of its owner, who tells the others, in a table that they can read, by which process, file
descriptor and place they find it.  Reading takes no part of the owner's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from distgrad.backend.protocol import Array
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistError
from distgrad.distributed.shared_memory.region import NodeMemory

__all__ = ["SharedState"]

_FIRST = 64  # rows of a rank's first table; each further one has twice as many
_ROOM = 2**20  # bytes of memory in which small arrays lie together: a file descriptor each would soon be too many
_LINE = 64  # bytes: what an array begins at a multiple of


class _Regions(list[NodeMemory]):
    """A rank's tables; when nobody has them any more, the others are told that there is nothing to read."""

    def __init__(self, tables: np.ndarray, rank: int) -> None:
        super().__init__()
        weakref.finalize(self, _tell_gone, tables, rank).atexit = False


def _tell_gone(tables: np.ndarray, rank: int) -> None:
    tables[rank, 0] = 0


class SharedState:
    """The state that optimizers keep for one storage.  Making it is collective.

    Ranks allocate the same arrays in the same order; an array's number is how many were allocated before it.

    Args:
        comm: the ranks of this node.
        parted: tells whether some rank went its own way.
    """

    def __init__(self, comm: Communicator, parted: Callable[[], Any]) -> None:
        self._parted = parted
        self._comm = comm
        words = NodeMemory.common(comm, comm.size * 3 * 8).bytes.view(np.int64)
        self._tables = words.reshape(comm.size, 3)  # of each rank's table: process, file descriptor, rows told of
        self._regions = _Regions(self._tables, comm.rank)  # the last is in use; others may be reading earlier ones
        self._rows = np.empty((0, 4), np.int64)  # process, file descriptor, first byte, elements
        self._arrays: dict[int, tuple[weakref.ref[np.ndarray], NodeMemory]] = {}
        self._dead: list[int] = []  # numbers of arrays that nobody here uses any more
        self._count = 0
        self._room: NodeMemory | None = None
        self._used = 0  # bytes of it
        self._fetched: dict[int, Array | DistError] | None = None  # once the ranks went their own ways

    def allocate(self, n: int, dtype: np.dtype) -> Array:
        """Zeroed memory that the other ranks find in :meth:`assemble`."""
        number = self._count
        if number == len(self._rows):
            self._enlarge()
        memory, first = self._place(max(n, 1) * dtype.itemsize)
        array = memory.bytes[first:].view(np.uint8)[: n * dtype.itemsize].view(dtype)
        self._arrays[number] = weakref.ref(array, lambda _: self._dead.append(number)), memory
        self._rows[number] = [*memory.handle, first, n]
        self._count += 1
        self._tables[self._comm.rank, 2] = self._count  # last: it tells that the others are there
        return array

    def _enlarge(self) -> None:
        rows = max(_FIRST, 2 * len(self._rows))
        region = NodeMemory(rows * 4 * 8)
        table = region.bytes.view(np.int64).reshape(rows, 4)
        table[: len(self._rows)] = self._rows
        self._regions.append(region)
        self._rows = table
        mine = self._tables[self._comm.rank]
        mine[1] = region.handle[1]
        mine[0] = region.handle[0]

    def _place(self, nbytes: int) -> tuple[NodeMemory, int]:
        if nbytes > _ROOM // 4:
            memory = NodeMemory(nbytes)
            memory.take()
            return memory, 0
        if self._room is None or self._used + nbytes > _ROOM:
            self._room, self._used = NodeMemory(_ROOM), 0
        first = self._used
        self._used += -(-nbytes // _LINE) * _LINE
        return self._room, first

    def sweep(self) -> None:
        """All ranks have come further than where a rank may have read an array that is dead by now: give it back."""
        dead, self._dead = self._dead, []
        for number in dead:
            self._rows[number] = 0  # who still looks for it finds that it is gone
            del self._arrays[number]

    @property
    def to_sweep(self) -> bool:
        """Whether :meth:`sweep` has anything to do."""
        return bool(self._dead)

    def assemble(self, part: Array) -> Array | None:
        """All ranks' parts of the state of which ``part`` is this one's; the others need not take part.

        None where the ranks went their own ways before the others had such state.
        """
        number = next(k for k, (array, _) in self._arrays.items() if array() is part)
        if self._fetched is None:
            told = self._tables[:, 2]
            self._comm.Await(
                lambda: bool((told > number).all()) or self._parted(), "for the other ranks to have optimizer state"
            )
            return self._read(number, part) if (told > number).all() else None
        found = self._fetched.get(number)
        if isinstance(found, DistError):
            raise found
        return found

    def fetch(self) -> None:
        """Read all arrays that are in use: what the other ranks do from now on is their own affair."""
        alive = {k: array() for k, (array, _) in self._arrays.items()}
        least = int(self._tables[:, 2].min())
        self._fetched = {}
        for k, part in alive.items():
            if part is not None and k < least:
                try:
                    self._fetched[k] = self._read(k, part)
                except DistError as error:  # of an optimizer that only this rank still has: an error if it is used
                    self._fetched[k] = error

    def _read(self, number: int, part: Array) -> Array:
        found = []
        for r, (pid, fd, _) in enumerate(self._tables.tolist()):
            if r == self._comm.rank:
                found.append(part)
                continue
            try:
                part_of_r = self._read_of(pid, fd, number, part.dtype)
            except OSError:  # it has just closed it
                part_of_r = None
            if part_of_r is None:
                raise DistError(
                    f"rank {self._comm.rank} has an optimizer whose state rank {r} has no more: it dropped its own"
                )
            found.append(part_of_r)
        return np.concatenate(found)

    def _read_of(self, pid: int, fd: int, number: int, dtype: np.dtype) -> Array | None:
        """The part of array ``number`` of the rank whose table is that; None where it has it no more."""
        if pid == 0:
            return None
        table = NodeMemory((number + 1) * 4 * 8, (pid, fd)).bytes.view(np.int64).reshape(-1, 4)
        pid, fd, first, n = table[number].tolist()
        if pid == 0:
            return None
        nbytes = n * dtype.itemsize
        return NodeMemory(first + max(nbytes, 1), (pid, fd)).bytes[first : first + nbytes].view(dtype)

    def keep_open(self) -> Callable[[], bool]:
        """Hold on to this rank's part and to nothing else; the function returned tells whether it is still in use."""
        arrays, regions = self._arrays, self._regions
        return lambda: bool(regions) and any(array() is not None for array, _ in arrays.values())
