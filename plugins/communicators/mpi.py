"""Ranks as processes under any MPI, through mpi4py: the only file that imports it.

All traffic is bytes on a private duplicate of the communicator, so every dtype travels alike and no message of the
user's can meet ours.  Sums are not left to MPI: an all-reduce is a reduce-scatter and an all-gather of messages (what a
ring algorithm sends, in two hops), and each rank adds up its slice in rank order with NumPy.  The bits then depend
neither on the MPI nor on its choice of algorithm, and float16 and bfloat16, which MPI cannot add, need no second path.

Waiting is polling.  That yields the core to other ranks where there are more ranks than cores, lets every operation
under way progress, notices at once when a rank that must still answer has left (RELIABILITY F2), and gives time-outs.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from distgrad.distributed.communicator import (
    CommState,
    Communicator,
    CompletedRequest,
    DistError,
    DistTimeoutError,
    Request,
)
from distgrad.distributed.launcher import check_launcher_size
from distgrad.distributed.reduction import ReduceOp, check_op, combine
from distgrad.hookspecs import hookimpl

if TYPE_CHECKING:
    from mpi4py import MPI  # at run time by _start_mpi: a listing of plugins must not initialise MPI

_LEAVE_TAG = 0  # a rank's notice that it will start no further operation
_USER_TAG = 1  # .. _USER_TAG + 255: Send and Recv
_FIRST_TAG, _TAG_SPAN = 512, 32000  # the all-reduces' messages; MPI promises tags up to 32767
_SMALL = 1 << 16  # bytes over all ranks, below which one hop (everything to everyone) is quicker than two
_SPINS = 50  # polls before the clock is looked at
_LEVELS = ("SINGLE", "FUNNELED", "SERIALIZED", "MULTIPLE")
_forked = False


def _mark_forked() -> None:
    global _forked
    _forked = True


def _start_mpi() -> None:
    """Import mpi4py, which initialises MPI and asks for THREAD_MULTIPLE (unless MPI4PY_RC_THREAD_LEVEL says less)."""
    global MPI
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            f"the mpi communicator needs mpi4py and an MPI library ({error}): python -m pip install 'distgrad[mpi]'"
        ) from error


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)


class _Operation:
    """An operation under way: MPI requests, then a step that finishes it or starts the next hop.

    ``what`` is put into words only for an error: a dtype's name takes longer to write than a small message to send.
    """

    def __init__(
        self, comm: MPICommunicator, what: _What, requests: list[MPI.Request], then: _Step | None = None
    ) -> None:
        self.comm, self.what, self.requests, self.then = comm, what, requests, then
        self.number = 0  # among the collectives of the communicator; 0 for a message between two ranks
        self.done = False
        comm.active.append(self)

    def progress(self) -> bool:
        """Move on as far as possible without waiting; True when done."""
        while not self.done and MPI.Request.Testall(self.requests):
            if self.then is None:
                self.done = True
                self.comm.active.remove(self)
            else:
                self.requests, self.then = self.then()
        return self.done

    def __str__(self) -> str:
        name, how, array = self.what
        return _words(name, how, None if array is None else (array.size, array.dtype))

    def Test(self) -> bool:
        if not self.done:
            self.comm.check_caller()
            self.comm.progress()
        return self.done

    def Wait(self) -> None:
        if not self.done:
            self.comm.check_caller()
            self.comm.wait(self)


def _words(name: str, how: str, elements: tuple[int, np.dtype] | None) -> str:
    return " ".join(filter(None, [name, how, "" if elements is None else f"of {elements[0]} {elements[1]}"]))


_What = tuple[str, str, "np.ndarray | None"]
_Step = Callable[[], "tuple[list[MPI.Request], _Step | None]"]


class MPICommunicator(Communicator):
    """All processes of the MPI job, or those of an mpi4py communicator of the user's.

    Attributes:
        max_count: bytes a message may have; longer arrays are sent in pieces.  2**31 - 1 is what every MPI takes.
        thread_level: what MPI gives: below MULTIPLE only the thread that made the communicator may use it.
    """

    max_count: int = 2**31 - 1

    def __init__(self, comm: Any = None) -> None:
        _start_mpi()
        if comm is not None and not isinstance(comm, MPI.Comm):
            raise TypeError(f"comm must be an mpi4py communicator or None, got {type(comm).__name__}")
        library = MPI.Get_library_version().split(",")[0].split("\n")[0].strip()
        check_launcher_size(MPI.COMM_WORLD.Get_size(), library)
        self._attach((MPI.COMM_WORLD if comm is None else comm).Dup(), self)

    def _attach(self, comm: MPI.Comm, family: MPICommunicator) -> None:
        self._comm, self._family = comm, family
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=self.rank)
        self.local_rank, self.local_size = node.Get_rank(), node.Get_size()
        node.Free()
        level = MPI.Query_thread()
        names = {getattr(MPI, f"THREAD_{name}"): name for name in _LEVELS}
        self.thread_level: str = names[level]
        self._only_thread = None if level == MPI.THREAD_MULTIPLE else threading.get_ident()
        self.active: list[_Operation] = []
        self._scratch: dict[int, list[np.ndarray]] = {}
        self._tag = 0
        if family is self:
            self._count = 0  # operations started on this communicator and its duplicates
            self._left: dict[int, int] = {}  # the count with which a rank left
            # For state(): the last operation, without its array, which must not live longer; since when it waits.
            self._last: tuple[int, str, str, tuple[int, np.dtype] | None] = (0, "", "", None)
            self._waits_since: float | None = None

    # --- collectives -------------------------------------------------------------------------------------------------

    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        check_op(op, array.dtype)
        self.check_caller()
        flat = _flat(array)
        if self.size == 1:
            return CompletedRequest()
        if flat.nbytes * self.size <= min(_SMALL, self.max_count):
            return self._gather_and_reduce(flat, op)
        return self._scatter_and_gather(flat, op)

    def _gather_and_reduce(self, flat: np.ndarray, op: ReduceOp) -> Request:
        """One hop: everyone gets everything and adds it up."""
        table = np.empty((self.size, flat.size), flat.dtype)

        def finish() -> tuple[list[MPI.Request], _Step | None]:
            combine(op, list(table), flat)
            return [], None

        request = self._comm.Iallgather([_bytes(flat), MPI.BYTE], [_bytes(table), MPI.BYTE])
        return self._start(("Allreduce", op.name, flat), [request], finish)

    def _scatter_and_gather(self, flat: np.ndarray, op: ReduceOp) -> Request:
        """Two hops: rank ``i`` gets everyone's slice ``i``, adds it up and gives it to everyone."""
        size, rank = self.size, self.rank
        bounds = [flat.size * i // size for i in range(size + 1)]
        slices = [flat[lo:hi] for lo, hi in itertools.pairwise(bounds)]
        mine = slices[rank]
        buffer = self._take_scratch(mine.nbytes * (size - 1))
        table = buffer[: mine.nbytes * (size - 1)].view(flat.dtype).reshape(size - 1, mine.size)
        others = [peer for peer in range(size) if peer != rank]
        self._tag = (self._tag + 2) % _TAG_SPAN
        tag = _FIRST_TAG + self._tag
        requests = [r for row, peer in zip(table, others, strict=True) for r in self._irecv(row, peer, tag)]
        requests += [r for peer in others for r in self._isend(slices[peer], peer, tag)]

        def second_hop() -> tuple[list[MPI.Request], _Step | None]:
            operands = list(table)
            operands.insert(rank, mine)
            combine(op, operands, mine)
            requests = [r for peer in others for r in self._irecv(slices[peer], peer, tag + 1)]
            requests += [r for peer in others for r in self._isend(mine, peer, tag + 1)]
            return requests, finish

        def finish() -> tuple[list[MPI.Request], _Step | None]:
            self._scratch.setdefault(buffer.nbytes, []).append(buffer)
            return [], None

        return self._start(("Allreduce", op.name, flat), requests, second_hop)

    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        self._check_rank(root)
        what = ("Bcast", f"from {root}", array)
        requests = [self._comm.Ibcast([piece, MPI.BYTE], root) for piece in self._pieces(_flat(array))]
        self._start(what, requests).Wait()

    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        self.check_caller()
        flat, rows = _flat(array), _flat(out).reshape(self.size, -1)
        what = ("Allgather", "", array)
        if rows.nbytes <= self.max_count:
            request = self._comm.Iallgather([_bytes(flat), MPI.BYTE], [_bytes(rows), MPI.BYTE])
            self._start(what, [request]).Wait()
            return
        rows[self.rank] = flat
        pieces = [(piece, root) for root in range(self.size) for piece in self._pieces(rows[root])]
        self._start(what, [self._comm.Ibcast([piece, MPI.BYTE], root) for piece, root in pieces]).Wait()

    def Barrier(self) -> None:
        self.check_caller()
        self._start(("Barrier", "", None), [self._comm.Ibarrier()]).Wait()

    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        self._check_rank(dest)
        _Operation(self, ("Send", f"to {dest}", array), self._isend(_flat(array), dest, _USER_TAG + tag)).Wait()

    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        self._check_rank(source)
        _Operation(self, ("Recv", f"from {source}", array), self._irecv(_flat(array), source, _USER_TAG + tag)).Wait()

    def Dup(self) -> MPICommunicator:
        self.check_caller()
        new = type(self).__new__(type(self))
        new._attach(self._comm.Dup(), self._family)
        return new

    # --- the end -----------------------------------------------------------------------------------------------------

    def Depart(self, timeout: float) -> list[int]:
        self.check_caller()
        family = self._family
        notice = np.array([family._count], np.int64)
        others = [peer for peer in range(self.size) if peer != self.rank]
        sends = [family._comm.Isend([notice, MPI.INT64_T], peer, _LEAVE_TAG) for peer in others]
        deadline = time.monotonic() + timeout
        while len(family._left) < len(others) or not MPI.Request.Testall(sends):
            family._read_notices()
            if time.monotonic() > deadline:
                return [peer for peer in others if peer not in family._left]
            time.sleep(0.0005)  # this rank is idle: the cores are for those still at work
        return []

    def Abort(self, code: int = 1) -> None:
        MPI.COMM_WORLD.Abort(code)

    def Free(self) -> None:
        self._comm.Free()

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _start(self, what: _What, requests: list[MPI.Request], then: _Step | None = None) -> _Operation:
        """A collective whose first messages are on their way, with its number."""
        operation = _Operation(self, what, requests, then)
        family = self._family
        family._count = operation.number = family._count + 1
        name, how, array = what
        family._last = (operation.number, name, how, None if array is None else (array.size, array.dtype))
        return operation

    def state(self) -> CommState:
        number, name, how, elements = self._family._last
        since = self._family._waits_since
        return CommState(number, _words(name, how, elements), None if since is None else time.monotonic() - since)

    def progress(self) -> None:
        """Move on every operation under way: a peer may wait for the second hop of a later one."""
        for operation in self.active.copy():
            operation.progress()

    def wait(self, operation: _Operation) -> None:
        """Return when ``operation`` is done; raise when it can not be, or not in time."""
        for _ in range(_SPINS):
            self.progress()
            if operation.done:
                return
        self._family._waits_since = time.monotonic()
        try:
            self._wait_long(operation, self._family._waits_since)
        finally:
            self._family._waits_since = None

    def _wait_long(self, operation: _Operation, started: float) -> None:
        family = self._family
        while True:
            for _ in range(_SPINS):
                self.progress()
                if operation.done:
                    return
                time.sleep(0)  # sched_yield: with more ranks than cores the peer may be waiting for this one
            family._read_notices()
            gone = [peer for peer, count in family._left.items() if count < operation.number]
            if gone:
                raise DistError(
                    f"rank {self.rank} waits in operation {operation.number} ({operation}), but rank {gone[0]} "
                    f"has left after operation {family._left[gone[0]]}: every rank must take part in every collective"
                )
            if self.timeout is not None and time.monotonic() - started > self.timeout:
                raise DistTimeoutError(
                    f"rank {self.rank} waited {self.timeout:g} s in operation {operation.number} ({operation}) "
                    "for other ranks, which never came to it: every rank must take part in every collective"
                )

    def check_caller(self) -> None:
        """Refuse a call that MPI does not allow from here."""
        if _forked:
            raise DistError(
                f"rank {self.rank}: this process was forked from one that uses MPI and cannot use it; start workers "
                "with multiprocessing's 'spawn' or 'forkserver' method"
            )
        if self._only_thread is not None and threading.get_ident() != self._only_thread:
            raise DistError(
                f"rank {self.rank}: MPI gives thread level {self.thread_level}, so only the thread that made the "
                f"communicator may use it, not {threading.current_thread().name!r}; it needs THREAD_MULTIPLE"
            )

    def _read_notices(self) -> None:
        status = MPI.Status()
        while self._comm.Iprobe(MPI.ANY_SOURCE, _LEAVE_TAG, status):
            count = np.empty(1, np.int64)
            self._comm.Recv([count, MPI.INT64_T], status.Get_source(), _LEAVE_TAG)
            self._left[status.Get_source()] = int(count[0])

    # --- messages ----------------------------------------------------------------------------------------------------

    def _pieces(self, flat: np.ndarray) -> list[np.ndarray]:
        whole = _bytes(flat)
        return [whole[lo : lo + self.max_count] for lo in range(0, whole.size, self.max_count)]

    def _isend(self, flat: np.ndarray, peer: int, tag: int) -> list[MPI.Request]:
        return [self._comm.Isend([piece, MPI.BYTE], peer, tag) for piece in self._pieces(flat)]

    def _irecv(self, flat: np.ndarray, peer: int, tag: int) -> list[MPI.Request]:
        return [self._comm.Irecv([piece, MPI.BYTE], peer, tag) for piece in self._pieces(flat)]

    def _take_scratch(self, nbytes: int) -> np.ndarray:
        """A byte buffer, kept for the next step: fresh pages cost more than the message."""
        kept = self._scratch.get(nbytes)
        return kept.pop() if kept else np.empty(nbytes, np.uint8)

    def _check_rank(self, rank: int) -> None:
        self.check_caller()
        if not 0 <= rank < self.size:
            raise ValueError(f"rank {rank} does not exist: ranks are 0 to {self.size - 1}")


def _flat(array: np.ndarray) -> np.ndarray:
    if not array.flags.c_contiguous:
        raise ValueError(
            f"a communicator takes C-contiguous arrays, got strides {array.strides} of shape {array.shape}"
        )
    return array.reshape(-1)


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


@hookimpl
def distgrad_communicators() -> dict[str, type[Communicator]]:
    return {"mpi": MPICommunicator}
