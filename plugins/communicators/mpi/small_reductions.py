"""Small all-reduces and all-gathers: everything to everyone in persistent messages, added up in rank order.

What a small one costs is calls, not bytes.  So the buffers and MPI's own preparation are kept from one step to
the next (``Send_init``, ``Recv_init``), and as long as nothing else is under way no object is made for the operation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from distgrad_communicators.mpi.operations import Operation, Step, What

from distgrad.distributed.communication.reduction import ReduceOp, combine
from distgrad.distributed.communication.requests import Request

if TYPE_CHECKING:
    from distgrad_communicators.mpi.communicator import MPICommunicator

_RANKS = 8  # above, a tree (MPI's all-gather) needs fewer messages than one to everybody
_BYTES = 1 << 17  # of all ranks but one together: above, two hops (a slice to each) are quicker
_KINDS = 64  # of arrays that buffers are kept for
_SPINS = 400  # polls before other operations, other ranks and the clock are looked after

_Kind = tuple[np.dtype, int, int]  # dtype, length, operation
_GATHER = 15  # in the place of an operation's number


class _Slot:
    """Buffers of one all-reduce and the persistent requests that fill them."""

    __slots__ = ("mine", "peers", "requests", "rows", "table")

    def __init__(self, comm: Any, rank: int, size: int, kind: _Kind, tag: int, byte: Any) -> None:
        table = np.empty((size, kind[1]), kind[0])
        others = [peer for peer in range(size) if peer != rank]
        self.table, self.rows, self.mine = table, list(table), table[rank]
        raw = [row.view(np.uint8) for row in table]
        # One tag for all of a kind: they arrive in the order they were sent in, whichever slot they are for.
        self.requests = [comm.Recv_init([raw[peer], byte], peer, tag) for peer in others]
        self.requests += [comm.Send_init([raw[rank], byte], peer, tag) for peer in others]
        self.peers = others * 2


class SmallReductions:
    """The small all-reduces of one communicator."""

    def __init__(self, comm: MPICommunicator, mpi: Any) -> None:
        self._comm, self._mpi = comm, mpi
        self._limit = _BYTES // (comm.size - 1) if 1 < comm.size <= _RANKS else -1
        self._idle: dict[_Kind, list[_Slot]] = {}
        # Where ranks outnumber cores the one waited for may need this core.
        self._spins = _SPINS if comm.local_size <= (os.cpu_count() or 1) else 1

    def takes(self, nbytes: int) -> bool:
        """Whether arrays of so many bytes are small; the same answer on all ranks."""
        return nbytes <= self._limit and nbytes <= self._comm.max_count

    def reduce(self, flat: np.ndarray, op: ReduceOp) -> None:
        """Reduce ``flat`` in place."""
        kind = (flat.dtype, flat.size, op._value_)
        slot = self._begin(kind, flat, ("Allreduce", op._name_, flat))
        if not self._comm.family.active:
            requests = slot.requests
            i, last = 0, len(requests) - 1
            for _ in range(self._spins):  # one after the other: a Testall costs as much as three Tests
                if requests[i].Test():
                    if i == last:
                        combine(op, slot.rows, flat)
                        self._idle[kind].append(slot)
                        return
                    i += 1
        self._reduction(kind, slot, flat, op).Wait()

    def start(self, flat: np.ndarray, op: ReduceOp) -> Request:
        """Start reducing ``flat`` in place."""
        kind = (flat.dtype, flat.size, op._value_)
        return self._reduction(kind, self._begin(kind, flat, ("Allreduce", op._name_, flat)), flat, op)

    def gather(self, flat: np.ndarray, out: np.ndarray) -> Request:
        """Start writing the ranks' ``flat`` into ``out``."""
        kind, what = (flat.dtype, flat.size, _GATHER), ("Allgather", "", flat)
        slot = self._begin(kind, flat, what)

        def take() -> None:
            out[...] = slot.table.reshape(out.shape)

        return self._operation(kind, slot, what, take)

    def free(self) -> None:
        """Give the requests back to MPI."""
        while self._idle:
            self._drop(next(iter(self._idle)))

    def _begin(self, kind: _Kind, flat: np.ndarray, what: What) -> _Slot:
        comm, idle = self._comm, self._idle.get(kind)
        if idle:
            slot = idle.pop()
        else:
            if idle is None:
                if len(self._idle) == _KINDS:
                    self._drop(next(iter(self._idle)))
                self._idle[kind] = []
            tag = comm.tags.of_kind(kind[1], kind[0], kind[2])
            slot = _Slot(comm.wire, comm.rank, comm.size, kind, tag, self._mpi.BYTE)
        slot.mine[...] = flat
        for request in slot.requests:
            request.Start()
        comm.count += 1
        comm.family.started(comm.count, what)
        return slot

    def _reduction(self, kind: _Kind, slot: _Slot, flat: np.ndarray, op: ReduceOp) -> Operation:
        return self._operation(kind, slot, ("Allreduce", op._name_, flat), lambda: combine(op, slot.rows, flat))

    def _operation(self, kind: _Kind, slot: _Slot, what: What, take: Callable[[], None]) -> Operation:
        def finish() -> tuple[list[Any], Step | None]:
            take()
            self._idle.setdefault(kind, []).append(slot)
            return [], None

        operation = Operation(self._comm, what, slot.requests, finish, slot.peers)
        operation.number = self._comm.count
        return operation

    def _drop(self, kind: _Kind) -> None:
        for slot in self._idle.pop(kind):
            for request in slot.requests:
                request.Free()
