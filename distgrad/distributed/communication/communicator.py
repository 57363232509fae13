"""What lies between ranks: a small protocol, named after MPI's functions, on contiguous arrays.

A communicator plugin subclasses :class:`Communicator` and moves bytes; how numbers are combined is
:func:`distgrad.distributed.communication.reduction.combine`'s business, so that every communicator gives the same bits.
Ten methods are enough; the others are made of them, and a communicator overrides those that it can do better.
"""

from __future__ import annotations

import functools
import json
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.communication.reduction import ReduceOp, check_op, combine
from distgrad.distributed.communication.requests import CompletedRequest, FinishingRequest, Request, _LateReceive

__all__ = [
    "CommState", "Communicator", "DEFAULTS_TAG", "HEADER_TAG", "MAX_TAG", "MEETING_TAG", "MONITOR_TAG",
    "OBJECTS_TAG", "check_message", "yield_core",
]  # fmt: skip

MAX_TAG = 16383  # of a message of the user's; the next few are ours
DEFAULTS_TAG = MAX_TAG + 1  # the default Ialltoallv's
MONITOR_TAG = MAX_TAG + 2  # monitored_barrier's
OBJECTS_TAG = MAX_TAG + 3  # send_object_list's
HEADER_TAG = MAX_TAG + 4  # debug mode's, before each message of the user's
MEETING_TAG = MAX_TAG + 5  # debug mode's, before a group is made

What = tuple[str, str, np.ndarray]  # an operation's name, how it is done, and an array of it


def check_message(rank: int, source: int, tag: int, array: np.ndarray, size: int, kind: np.dtype) -> None:
    """Refuse a message of ``size`` elements of dtype ``kind`` that ``rank`` is to receive into ``array``.

    Raises:
        DistError: length or dtype is another.
    """
    if (size, kind) != (array.size, array.dtype):
        raise DistError(
            f"rank {rank} receives {array.size} elements of {array.dtype} from rank {source}, which sent {size} of "
            f"{kind} (tag {tag}): length and dtype must be the same on both; nothing was written"
        )


# What a loop that polls calls each time round: with more ranks than cores the one it waits for may need this core, with
# ranks that are threads the interpreter.  Not time.sleep(0): from Python 3.11 on that sets a timer, which took 80 us.
yield_core: Callable[[], None] = getattr(os, "sched_yield", functools.partial(time.sleep, 0))


@dataclass(frozen=True, slots=True)
class CommState:
    """What a rank did last, for the report of a job that hangs; read from another thread, so it may be a moment old.

    Attributes:
        number: how many collectives it has started; equal numbers on two ranks mean the same place in the program.
        operation: the last one in words, such as ``"Allreduce SUM of 10 float32"``; empty where there was none.
        waits: seconds that it has been waiting for other ranks, None where it is not.
    """

    number: int
    operation: str
    waits: float | None


class Communicator(Protocol):
    """A fixed set of ranks that can exchange arrays.

    Arrays are C-contiguous, of any dtype of :mod:`distgrad.dtypes`, and lie on the host unless ``device_pointers``.
    Every rank calls the same collectives in the same order with equal lengths and dtypes (where the names end in ``v``,
    lengths may differ between ranks, but not between the two ends of a message).  Where ranks do not, those who would
    get wrong numbers or wait in vain raise :class:`DistError`, in much less than the time-out; what they wait in
    afterwards raises as well.  The constructor takes one argument, ``comm``: None for all ranks there are, or
    the user's own object where the communicator knows such.  Arrays given to a method that starts with ``I`` belong to
    the operation until its request is complete.

    Attributes:
        rank, size: this rank and the number of ranks.
        local_rank, local_size: the same among the ranks that share this rank's memory (its node).
        device_pointers: whether arrays on an accelerator may be passed; if not, callers stage them through the host.
        shares_memory: whether ranks of one node may use :class:`~distgrad.distributed.shared_memory.region.NodeMemory`.
        node, peers: where they do, the ranks of this one's node, and those of its index on all nodes; peers is None
            where there is one node.
        per_thread: whether a rank is a thread (True) or a process (False).
        timeout: seconds an operation may wait for other ranks before :class:`DistTimeoutError`; None: for ever.
        exit_code: what this rank's process is about to end with, where that is known; :meth:`Depart` may tell others.

    >>> from distgrad_communicators.serial import SerialCommunicator
    >>> comm = SerialCommunicator()
    >>> comm.rank, comm.size
    (0, 1)
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    device_pointers: ClassVar[bool] = False
    per_thread: ClassVar[bool] = False
    shares_memory: bool = False
    peers: Communicator | None = None
    timeout: float | None = 1800.0
    exit_code: int = 0

    def __init__(self, comm: Any = None) -> None: ...

    # --- what a communicator must do ---------------------------------------------------------------------------------

    @abstractmethod
    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        """Start replacing ``array`` on every rank by ``op`` over the ranks' arrays, taken in rank order."""

    @abstractmethod
    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        """Replace ``array`` on every rank by the one of rank ``root``."""

    @abstractmethod
    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        """Write rank ``r``'s ``array`` into ``out[r]``; ``out`` has shape ``(size, *array.shape)``."""

    @abstractmethod
    def Barrier(self) -> None:
        """Return once every rank has called it."""

    @abstractmethod
    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        """Give ``array`` to rank ``dest``, which must :meth:`Recv` it with the same tag (0 to ``MAX_TAG + 16``)."""

    @abstractmethod
    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        """Overwrite ``array`` with the one that rank ``source`` sends."""

    @abstractmethod
    def Dup(self) -> Communicator:
        """A communicator of the same ranks whose operations cannot meet this one's.  Collective."""

    @abstractmethod
    def Depart(self, timeout: float) -> list[int]:
        """Tell every rank that this one will start no further operation, and wait until all have told so.

        Returns:
            the ranks that did not within ``timeout`` seconds; empty when all have left.
        """

    @abstractmethod
    def Abort(self, code: int = 1) -> None:
        """End the job, all ranks, with a non-zero exit code; does not return where ranks are processes."""

    @abstractmethod
    def Free(self) -> None:
        """Give back what the communicator holds; it cannot be used afterwards."""

    # --- what some communicators cannot ------------------------------------------------------------------------------

    def Create_group(self, ranks: Sequence[int]) -> Communicator | None:
        """A communicator of ``ranks``, in that order.  Collective over them alone; None on a rank that is not one."""
        raise DistError(f"{type(self).__name__} makes no groups of some of its ranks: it has no Create_group method")

    def Iprobe(self, source: int | None, tag: int = 0) -> int | None:
        """The rank of which a message with ``tag`` can be received: ``source``, or any where that is None.

        None where no message has come yet.
        """
        raise DistError(f"{type(self).__name__} cannot receive from an unnamed rank: it has no Iprobe method")

    # --- what is made of the above -----------------------------------------------------------------------------------

    @property
    def node(self) -> Communicator:
        """The ranks of this one's node."""
        return self

    def Await(self, condition: Callable[[], bool], what: str) -> None:
        """Return once ``condition()``, which other ranks bring about through shared memory; ``what`` names it.

        A condition may have the attributes of :class:`~distgrad.distributed.node_update.progress_counters.Awaited`: a
        communicator that knows that one of its ``late`` ranks waits for this one elsewhere raises at once, or returns
        where ``alone()``.

        Raises :class:`DistError` when it cannot come about because a rank has left, and after :attr:`timeout`.
        """
        started = time.monotonic()
        while not condition():
            yield_core()
            if self.timeout is not None and time.monotonic() - started > self.timeout:
                raise DistTimeoutError(f"rank {self.rank} waited {self.timeout:g} s {what}")

    def Ibcast(self, array: np.ndarray, root: int = 0) -> Request:
        """Start :meth:`Bcast`."""
        self.Bcast(array, root)
        return CompletedRequest()

    def Iallgather(self, array: np.ndarray, out: np.ndarray) -> Request:
        """Start :meth:`Allgather`."""
        self.Allgather(array, out)
        return CompletedRequest()

    def Ibarrier(self) -> Request:
        """Start :meth:`Barrier`."""
        self.Barrier()
        return CompletedRequest()

    def Isend(self, array: np.ndarray, dest: int, tag: int = 0) -> Request:
        """Start :meth:`Send`.  To be overridden where that waits until the message is received."""
        self.Send(array, dest, tag)
        return CompletedRequest()

    def Irecv(self, array: np.ndarray, source: int, tag: int = 0) -> Request:
        """Start :meth:`Recv`; receives of one tag from one rank get its messages in the order they were started in."""
        return _LateReceive(lambda: self.Recv(array, source, tag))

    def Ialltoallv(self, send: Sequence[np.ndarray], recv: Sequence[np.ndarray]) -> Request:
        """Start writing this rank's ``send[r]`` into rank ``r``'s ``recv`` of this rank.

        Both hold one array a rank, of any lengths, also 0; ``send[r]`` here and ``recv[rank]`` on ``r`` agree in length
        and dtype.
        """
        return self._pair_after_pair(send, recv)

    def Iallgatherv(self, array: np.ndarray, out: Sequence[np.ndarray]) -> Request:
        """Start writing rank ``r``'s ``array`` into ``out[r]``; ranks' arrays may differ in length."""
        return self.Iexchange(("Allgatherv", "", array), [array] * self.size, out)

    def Igatherv(self, array: np.ndarray, out: Sequence[np.ndarray] | None, root: int = 0) -> Request:
        """Start writing rank ``r``'s ``array`` into ``out[r]`` on rank ``root``; ``out`` is None on the others."""
        return self._gather(("Gatherv", f"to {root}", array), array, out, root)

    def Iscatterv(self, send: Sequence[np.ndarray] | None, array: np.ndarray, root: int = 0) -> Request:
        """Start writing ``send[r]`` of rank ``root`` into rank ``r``'s ``array``; ``send`` is None on the others."""
        self.check_root(root)
        recv = [array if r == root else None for r in range(self.size)]
        return self.Iexchange(("Scatterv", f"from {root}", array), [None] * self.size if send is None else send, recv)

    def Ireduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM, root: int = 0) -> Request:
        """:meth:`Iallreduce` whose result only rank ``root`` gets; the other ranks' arrays are left as they are."""
        check_op(op, array.dtype)
        what = ("Reduce", f"{op.name} to {root}", array)
        if self.rank != root:
            return self._gather(what, array, None, root)
        flat = array.reshape(-1)
        table = np.empty((self.size, flat.size), flat.dtype)
        return FinishingRequest(self._gather(what, flat, list(table), root), lambda: combine(op, list(table), flat))

    def _gather(self, what: What, array: np.ndarray, out: Sequence[np.ndarray] | None, root: int) -> Request:
        self.check_root(root)
        send = [array if r == root else None for r in range(self.size)]
        return self.Iexchange(what, send, [None] * self.size if out is None else out)

    def Iexchange(
        self, what: What, send: Sequence[np.ndarray | None], recv: Sequence[np.ndarray | None]
    ) -> Request:
        """:meth:`Ialltoallv` between some pairs of ranks only: None on both stands for no message.

        Args:
            what: the operation's name, how it is done, and an array of its dtype; for errors.
        """
        if type(self).Ialltoallv is Communicator.Ialltoallv:
            return self._pair_after_pair(send, recv)
        nothing = np.empty(0, what[2].dtype)
        return self.Ialltoallv([nothing if x is None else x for x in send], [nothing if x is None else x for x in recv])

    def _pair_after_pair(self, send: Sequence[np.ndarray | None], recv: Sequence[np.ndarray | None]) -> Request:
        """In one order on all ranks: nobody waits in a circle."""
        self.keep_own(send, recv)
        for peer in range(self.size):
            given, taken = send[peer], recv[peer]
            if peer < self.rank and taken is not None:
                self.Recv(taken, peer, DEFAULTS_TAG)
            if peer != self.rank and given is not None:
                self.Send(given, peer, DEFAULTS_TAG)
            if peer > self.rank and taken is not None:
                self.Recv(taken, peer, DEFAULTS_TAG)
        return CompletedRequest()

    def keep_own(self, send: Sequence[np.ndarray | None], recv: Sequence[np.ndarray | None]) -> None:
        """Write what this rank gives itself; ValueError where that is of another length or dtype than expected."""
        given, taken = send[self.rank], recv[self.rank]
        if given is None or taken is None:
            return
        if (given.size, given.dtype) != (taken.size, taken.dtype):
            raise ValueError(
                f"rank {self.rank} gives itself {given.size} elements of {given.dtype} and expects {taken.size} of "
                f"{taken.dtype}"
            )
        taken.reshape(-1)[...] = given.reshape(-1)

    def check_table(self, array: np.ndarray, out: np.ndarray) -> None:
        """Refuse an ``out`` of :meth:`Allgather` that does not hold one ``array`` of each rank."""
        if (out.size, out.dtype) != (self.size * array.size, array.dtype):
            raise ValueError(
                f"rank {self.rank}: {out.size} elements of {out.dtype} do not hold {array.size} of {array.dtype} of "
                f"each of {self.size} ranks"
            )

    def Ireduce_scatter(self, send: Sequence[np.ndarray], out: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        """Start writing ``op`` over the ranks' ``send[r]`` into ``out`` of rank ``r``."""
        check_op(op, out.dtype)
        flat = out.reshape(-1)
        table = np.empty((self.size, flat.size), flat.dtype)
        what = ("Reduce_scatter", op.name, flat)
        return FinishingRequest(self.Iexchange(what, send, list(table)), lambda: combine(op, list(table), flat))

    def state(self) -> CommState | None:
        """What this rank did last and whether it waits, asked from another thread; None where that is not recorded."""
        return None

    def at_end(self, leave: Callable[[], None]) -> None:
        """Have ``leave()`` called where the user's program itself ends what lies below, as ``MPI.Finalize()`` does."""
        return

    def dead(self) -> list[int]:
        """The ranks that are known to have died, where a job outlives them."""
        return []

    def codes(self) -> list[int]:
        """The :attr:`exit_code` of those that have left, as far as it is known."""
        return []

    def Allreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> None:
        """Replace ``array`` on every rank by ``op`` over the ranks' arrays, taken in rank order."""
        self.Iallreduce(array, op).Wait()

    def Reduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM, root: int = 0) -> None:
        """:meth:`Allreduce` whose result only rank ``root`` gets; the other ranks' arrays are left as they are."""
        self.Ireduce(array, op, root).Wait()

    def bcast(self, value: Any, root: int = 0) -> Any:
        """``value`` of rank ``root``, on every rank; it must be JSON (no pickle is ever loaded)."""
        text = json.dumps(value).encode() if self.rank == root else b""
        length = np.array([len(text)], np.int64)
        self.Bcast(length, root)
        buffer = np.zeros(int(length[0]), np.uint8)
        if self.rank == root:
            buffer[:] = np.frombuffer(text, np.uint8)
        self.Bcast(buffer, root)
        return json.loads(buffer.tobytes())

    def allgather(self, value: Any) -> list[Any]:
        """The list of every rank's ``value``, in rank order, on every rank; values must be JSON."""
        text = json.dumps(value).encode()
        lengths = np.zeros((self.size, 1), np.int64)
        self.Allgather(np.array([len(text)], np.int64), lengths)
        padded = np.zeros(int(lengths.max()), np.uint8)
        padded[: len(text)] = np.frombuffer(text, np.uint8)
        table = np.zeros((self.size, padded.size), np.uint8)
        self.Allgather(padded, table)
        return [json.loads(row[: int(n)].tobytes()) for row, n in zip(table, lengths[:, 0], strict=True)]

    def check_root(self, rank: int) -> None:
        """Refuse a rank that does not exist."""
        if not 0 <= rank < self.size:
            raise ValueError(f"rank {rank} does not exist: ranks are 0 to {self.size - 1}")
