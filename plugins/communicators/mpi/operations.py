"""Waiting for MPI without hanging: operations under way, and what is known of the ranks that left.

Waiting is polling.  That yields the core to other ranks where there are more ranks than cores, lets every operation
under way progress, notices at once when a rank that must still answer has left (docs/reliability.md, F2), and gives
time-outs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from distgrad_communicators.mpi.agreement import PATIENCE, Agreement

from distgrad.distributed.communication.communicator import CommState, yield_core
from distgrad.distributed.communication.errors import DistError, DistTimeoutError

if TYPE_CHECKING:
    from distgrad_communicators.mpi.communicator import MPICommunicator

_FAULT_TOLERANCE = "OMPI_MCA_mpi_ft_enable"
LEAVE_TAG = 0  # a rank's notice that it will start no further operation
_SPINS = 50  # polls before the clock is looked at
_LOOKS = 64  # Tests before the ranks that left are looked after
_GRACE = 0.2  # seconds that a message of a rank which has left may still be on its way

What = tuple[str, str, "np.ndarray | None"]
Step = Callable[[], "tuple[list[Any], Step | None]"]


def tolerates_faults() -> bool:
    """Whether the job was started to outlive its ranks, by Open MPI's ``mpirun --with-ft ulfm``."""
    return os.environ.get(_FAULT_TOLERANCE, "").lower() in ("1", "true", "yes")


def words(name: str, how: str, elements: tuple[int, np.dtype] | None) -> str:
    """An operation as it is told to users."""
    return " ".join(filter(None, [name, how, "" if elements is None else f"of {elements[0]} {elements[1]}"]))


class Operation:
    """An operation under way: MPI requests, then a step that finishes it or starts the next hop.

    ``what`` is put into words only for an error: a dtype's name takes longer to write than a small message to send.

    Attributes:
        number: among the collectives of its communicator; 0 for a message between two ranks.
        peers: for each of the requests the rank at its other end, where each has one.
        places: by rank, the array that its message is to be of; None where that is not asked for.
        since: when a caller that polls first found it waiting for long.
    """

    __slots__ = ("comm", "done", "number", "peers", "places", "requests", "since", "then", "what")

    def __init__(
        self, comm: MPICommunicator, what: What, requests: list[Any], then: Step | None, peers: Sequence[int] = ()
    ) -> None:
        self.comm, self.what, self.requests, self.then, self.peers = comm, what, requests, then, peers
        self.number = 0
        self.places: dict[int, np.ndarray] | None = None
        self.since = 0.0
        self.done = False
        comm.family.active.append(self)

    def progress(self, testall: Callable[[list[Any]], bool]) -> bool:
        """Move on as far as possible without waiting; True when done."""
        while not self.done and testall(self.requests):
            if self.then is None:
                self.done = True
                self.comm.family.active.remove(self)
            else:
                self.requests, self.then = self.then()
        return self.done

    def late(self) -> list[int]:
        """The ranks of the communicator that the operation still waits for, as far as it can tell."""
        if len(self.peers) != len(self.requests):
            return []
        return sorted({peer for request, peer in zip(self.requests, self.peers, strict=True) if not request.Test()})

    def __str__(self) -> str:
        name, how, array = self.what
        return words(name, how, None if array is None else (array.size, array.dtype))

    def Test(self) -> bool:
        if not self.done:
            self.comm.check_caller()
            family = self.comm.family
            family.progress()
            if not self.done:
                family.tests += 1
                if family.tests % _LOOKS == 0:
                    family._read_notices()
                    self.since = self.since or time.monotonic()
                    family.agreement.look(self, time.monotonic() - self.since)
                if family._left:
                    family.check_peers(self)
        return self.done

    def Wait(self) -> None:
        if not self.done:
            self.comm.check_caller()
            self.comm.family.wait(self)


class Family:
    """A communicator, its duplicates and its groups: they progress together, and a rank leaves them together.

    A peer may wait for the second hop of an operation that this rank, waiting elsewhere, has not asked for yet.

    Args:
        comm: the mpi4py communicator of all members; notices travel on it.
        mpi: the module ``mpi4py.MPI``.
    """

    def __init__(self, comm: Any, mpi: Any) -> None:
        self.comm, self._mpi = comm, mpi
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.active: list[Operation] = []
        self.members: dict[int, MPICommunicator] = {}
        self.tests = 0
        self.freed: dict[str, int] = {}  # by those that are no more: how many operations they have had
        self.waiters: set[int] = set()  # threads that have waited for long
        self.agreement = Agreement(comm, mpi, self)
        self._left: dict[int, dict[int, int]] = {}  # by rank: the count of each communicator's operations at the end
        self._testall = mpi.Request.Testall
        self.status = mpi.Status()  # of whoever holds the lock
        self._lock = threading.Lock()  # two threads must not test one request
        # For state(): the last operation, without its array, which must not live longer; since when this rank waits.
        self._last: tuple[int, str, str, tuple[int, np.dtype] | None] = (0, "", "", None)
        self.waits_since: float | None = None
        self.codes: dict[int, int] = {}  # by rank that has left: what its process ends with
        self.waits_for = ""  # what is brought about through shared memory, and is no operation

    def give_up(self, comm: MPICommunicator) -> list[Operation]:
        """Wait no more for the operations of a communicator; they are returned."""
        lost = [operation for operation in self.active if operation.comm is comm]
        self.active[:] = [operation for operation in self.active if operation.comm is not comm]
        return lost

    def started(self, number: int, what: What) -> None:
        """Note the operation that this rank is about to take part in."""
        name, how, array = what
        self._last = (number, name, how, None if array is None else (array.size, array.dtype))

    def state(self) -> CommState:
        """See :meth:`distgrad.distributed.communication.communicator.Communicator.state`."""
        number, name, how, elements = self._last
        since, awaited = self.waits_since, self.waits_for
        what = f"waiting {awaited}" if awaited else words(name, how, elements)
        return CommState(number, what, None if since is None else time.monotonic() - since)

    def progress(self) -> None:
        """Move on every operation under way."""
        if not self._lock.acquire(blocking=False):
            yield_core()
            return
        try:
            active = self.active
            if len(active) == 1:
                active[0].progress(self._testall)
                return
            for operation in active.copy():
                operation.progress(self._testall)
        except self._mpi.Exception as error:
            raise self.failure(error) from error
        finally:
            self._lock.release()

    def failure(self, error: Exception) -> DistError:
        """MPI's own error, put into words: with fault tolerance it says that ranks have died, but not which."""
        if dead := self.dead():
            return DistError(f"rank {self.rank} cannot go on: rank(s) {', '.join(map(str, dead))} died ({error})")
        return DistError(f"rank {self.rank}: {error}")

    def dead(self) -> list[int]:
        """See :meth:`distgrad.distributed.communication.communicator.Communicator.dead`."""
        if not tolerates_faults():
            return []
        failed, own = self.comm.Get_failed(), self.comm.Get_group()
        found = self._mpi.Group.Translate_ranks(failed, list(range(failed.Get_size())), own)
        failed.Free()
        own.Free()
        return sorted(found)

    def wait(self, operation: Operation) -> None:
        """Return when ``operation`` is done; raise when it can not be, or not in time."""
        for _ in range(_SPINS):
            self.progress()
            if operation.done:
                return
        self.waits_since = time.monotonic()
        try:
            self._wait_long(operation, self.waits_since)
        finally:
            self.waits_since = None

    def _wait_long(self, operation: Operation, started: float) -> None:
        comm = operation.comm
        self.waiters.add(threading.get_ident())
        while True:
            for _ in range(_SPINS):
                self.progress()
                if operation.done:
                    return
                yield_core()  # with more ranks than cores the peer may be waiting for this one
            waited = time.monotonic() - started
            self.agreement.look(operation, waited)
            self._read_notices()
            if self._left:
                self.agreement.look(operation, PATIENCE)  # before they left they may have told why
                self.check_peers(operation)
            if comm.timeout is not None and waited > comm.timeout:
                late = [comm.ranks[r] for r in operation.late()]
                whom = f"rank(s) {', '.join(map(str, late))}" if late else "other ranks"
                raise DistTimeoutError(
                    f"rank {self.rank} waited {comm.timeout:g} s in operation {operation.number} ({operation}) "
                    f"for {whom}, which never came to it: every rank must take part in every collective"
                )

    def check_peers(self, operation: Operation) -> None:
        """Raise where ``operation`` waits for a rank that has left before it."""
        comm = operation.comm
        if operation.number:
            for peer in comm.ranks:
                count = self._left.get(peer, {}).get(comm.ident, 0)
                if peer in self._left and count < operation.number:
                    raise DistError(
                        f"rank {self.rank} waits in operation {operation.number} ({operation}), but rank {peer} "
                        f"has left after operation {count}: every rank must take part in every collective"
                    )
            return
        deadline = None
        while gone := [comm.ranks[r] for r in operation.late() if comm.ranks[r] in self._left]:
            now = time.monotonic()
            deadline = now + _GRACE if deadline is None else deadline
            self.progress()
            if operation.done:
                return
            if now > deadline:
                raise DistError(f"rank {self.rank} waits in {operation}, but rank {gone[0]} has left")
            yield_core()

    def depart(self, timeout: float, code: int) -> list[int]:
        """See :meth:`distgrad.distributed.communication.communicator.Communicator.Depart`."""
        try:
            return self._depart(timeout, code)
        except self._mpi.Exception as error:
            raise self.failure(error) from error

    def _depart(self, timeout: float, code: int) -> list[int]:
        mpi = self._mpi
        counts = [(ident, comm.count) for ident, comm in self.members.items()]
        notice = np.array([*counts, (code, 0)], np.int64).reshape(-1)
        others = [peer for peer in range(self.size) if peer != self.rank]
        sends = [self.comm.Isend([notice, mpi.INT64_T], peer, LEAVE_TAG) for peer in others]
        for comm in self.members.values():
            comm.rest()
        deadline = time.monotonic() + timeout
        while len(self._left) < len(others) or not self._testall(sends) or not self.agreement.settled():
            self._read()
            for comm in self.members.values():
                comm.drain()
            if time.monotonic() > deadline:
                return [peer for peer in others if peer not in self._left]
            time.sleep(0.0005)  # this rank is idle: the cores are for those still at work
        return []

    def _read_notices(self) -> None:
        try:
            self._read()
        except self._mpi.Exception as error:
            raise self.failure(error) from error

    def _read(self) -> None:
        mpi = self._mpi
        status = mpi.Status()
        while self.comm.Iprobe(mpi.ANY_SOURCE, LEAVE_TAG, status):
            counts = np.empty(status.Get_count(mpi.INT64_T), np.int64)
            self.comm.Recv([counts, mpi.INT64_T], status.Get_source(), LEAVE_TAG)
            *pairs, (code, _) = counts.reshape(-1, 2).tolist()
            self.codes[status.Get_source()] = code
            self._left[status.Get_source()] = dict(pairs)
