"""Collectives of several hops, made of messages: a tree from one rank to all, and everything to everyone in a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from distgrad_communicators._mpi_waiting import Step
    from distgrad_communicators.mpi import MPICommunicator

_SEGMENT = 1 << 20  # bytes that a rank passes on while the next come

Begun = tuple[list[Any], "Step | None", list[int]]


class Tree:
    """A broadcast along a binomial tree.  Rank ``r`` from the root has as its parent ``r`` without its lowest bit.

    Args:
        flat: what is given by the root, and overwritten on the others.
        tag: MPI's.
    """

    def __init__(self, comm: MPICommunicator, flat: np.ndarray, root: int, tag: int) -> None:
        self._comm, self._tag = comm, tag
        place, size = (comm.rank - root) % comm.size, comm.size
        lowest = place & -place or 1 << size.bit_length()
        steps = [1 << k for k in range(size.bit_length()) if 1 << k < lowest and place + (1 << k) < size]
        self._children = [(place + step + root) % size for step in reversed(steps)]
        self.parent = None if not place else (place - lowest + root) % size
        n = max(1, flat.size if size < 4 else _SEGMENT // flat.itemsize)  # of three ranks, none passes anything on
        self._segments = [flat[lo : lo + n] for lo in range(0, flat.size, n)] or [flat]
        self._sends: list[Any] = []

    def begin(self) -> Begun:
        if self.parent is None:
            for segment in self._segments:
                self._pass_on(segment)
            return self._sends, None, []
        get = self._comm.get_pieces
        self._awaited = [get(segment, self.parent, self._tag) for segment in self._segments]
        if not self._children:
            requests = [r for some in self._awaited for r in some]
            return requests, None, [self.parent] * len(requests)
        requests, then = self._next(0)
        return requests, then, [self.parent] * len(requests)

    def _pass_on(self, segment: np.ndarray) -> None:
        for child in self._children:
            self._sends += self._comm.give_pieces(segment, child, self._tag)

    def _next(self, i: int) -> tuple[list[Any], Step | None]:
        """What segment ``i`` waits for; then it is passed on."""
        if i == len(self._segments):
            return self._sends, None

        def then() -> tuple[list[Any], Step | None]:
            self._pass_on(self._segments[i])
            return self._next(i + 1)

        return self._awaited[i], then


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
