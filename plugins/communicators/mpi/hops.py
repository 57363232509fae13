"""Collectives of several hops, made of messages: a tree from one rank to all, and everything to everyone in a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from distgrad_communicators.mpi.communicator import MPICommunicator
    from distgrad_communicators.mpi.operations import Step

_SEGMENT = 1 << 20  # bytes that a rank passes on while the next come

Begun = tuple[list[Any], "Step | None", list[int]]


class Tree:
    """How broadcasts from ``root`` go: along a binomial tree.

    The parent of the rank ``r`` behind the root is ``r`` without its lowest bit.

    Attributes:
        parent: None on the root.
    """

    def __init__(self, comm: MPICommunicator, root: int) -> None:
        self._comm = comm
        place, size = (comm.rank - root) % comm.size, comm.size
        lowest = place & -place or 1 << size.bit_length()
        steps = [1 << k for k in range(size.bit_length()) if 1 << k < lowest and place + (1 << k) < size]
        self._children = [(place + step + root) % size for step in reversed(steps)]
        self.parent = None if not place else (place - lowest + root) % size
        self._deep = size > 3  # of three ranks, none passes anything on

    def begin(self, flat: np.ndarray, tag: int) -> Begun:
        """Start a broadcast.

        Args:
            flat: what the root gives, and what is overwritten on the others.
            tag: MPI's.
        """
        parent, get = self.parent, self._comm.get_pieces
        n = _SEGMENT // flat.itemsize
        segments = [flat[lo : lo + n] for lo in range(0, flat.size, n)] if self._deep and flat.size > n else [flat]
        if parent is None:
            return [r for segment in segments for r in self.pass_on(segment, tag)], None, []
        awaited = [get(segment, parent, tag) for segment in segments]
        if not self._children:
            requests = [r for some in awaited for r in some]
            return requests, None, [parent] * len(requests)
        requests, then = _Relay(self, segments, awaited, tag).step()
        return requests, then, [parent] * len(requests)

    def pass_on(self, segment: np.ndarray, tag: int) -> list[Any]:
        return [r for child in self._children for r in self._comm.give_pieces(segment, child, tag)]


class _Relay:
    """A rank in the midst of a tree: as soon as a segment is there it is passed on."""

    def __init__(self, tree: Tree, segments: list[np.ndarray], awaited: list[list[Any]], tag: int) -> None:
        self._tree, self._segments, self._awaited, self._tag = tree, segments, awaited, tag
        self._sends: list[Any] = []
        self._next = 0

    def step(self) -> tuple[list[Any], Step | None]:
        """What is waited for next; then it is passed on."""
        if self._next == len(self._segments):
            return self._sends, None
        self._next += 1
        return self._awaited[self._next - 1], self._passes_on

    def _passes_on(self) -> tuple[list[Any], Step | None]:
        self._sends += self._tree.pass_on(self._segments[self._next - 1], self._tag)
        return self.step()


class Bruck:
    """Everyone's array to everyone: after ``k`` hops each rank has those of ``2**k`` (Bruck et al., 1997).

    Args:
        flat: this rank's array.
        table: row ``r`` will be rank ``r``'s.
        tag: MPI's.
        finish: called, if not None, when the table is there.
    """

    def __init__(
        self, comm: MPICommunicator, flat: np.ndarray, table: np.ndarray, tag: int, finish: Callable[[], None] | None
    ) -> None:
        self._comm, self._table, self._tag, self._finish = comm, table, tag, finish
        self._rows = np.empty_like(table)  # row i is rank ``rank + i``'s
        self._rows[0] = flat

    def begin(self) -> Begun:
        requests, then = self._hop(1)
        return requests, then, []

    def _hop(self, d: int) -> tuple[list[Any], Step | None]:
        comm, rows, size = self._comm, self._rows, self._comm.size
        n = min(d, size - d)
        requests = comm.get_pieces(rows[d : d + n].reshape(-1), (comm.rank + d) % size, self._tag)
        requests += comm.give_pieces(rows[:n].reshape(-1), (comm.rank - d) % size, self._tag)
        return requests, self._end if 2 * d >= size else lambda: self._hop(2 * d)

    def _end(self) -> tuple[list[Any], Step | None]:
        self._table[...] = np.roll(self._rows, self._comm.rank, axis=0)
        if self._finish is not None:
            self._finish()
        return [], None
