"""Ranks as processes under any MPI, through mpi4py.

All traffic is bytes on a private duplicate of the communicator, so every dtype travels alike and no message of the
user's can meet ours.  Sums are not left to MPI: an all-reduce is a reduce-scatter and an all-gather of messages (what a
ring algorithm sends, in two hops), and each rank adds up its slice in rank order with NumPy.  The bits then depend
neither on the MPI nor on its choice of algorithm, and float16 and bfloat16, which MPI cannot add, need no second path.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from distgrad_communicators.mpi import process
from distgrad_communicators.mpi.agreement import Tags
from distgrad_communicators.mpi.hops import Bruck, Tree
from distgrad_communicators.mpi.messages import Receive, start_send
from distgrad_communicators.mpi.operations import Family, Operation, Step, What, tolerates_faults
from distgrad_communicators.mpi.small_reductions import SmallReductions

from distgrad.distributed.communication.communicator import CommState, Communicator
from distgrad.distributed.communication.errors import DistError
from distgrad.distributed.communication.reduction import ReduceOp, check_op, combine
from distgrad.distributed.communication.requests import CompletedRequest, Request
from distgrad.distributed.launching.environment import check_launcher_size
from distgrad.hookspecs import hookimpl

if TYPE_CHECKING:
    from mpi4py import MPI  # at run time by process.start: a listing of plugins must not initialise MPI

_USER_TAG = 1  # .. 16400: Send and Recv; LEAVE_TAG is 0
_MEET_TAG = 16448  # the members of a new group; TELL_TAG is 16450.  Collectives have a communicator of their own
_FEW = 8  # ranks, of which each gives to each
# Operations that nobody waits for any more, kept to the process's end: MPI may still write to their arrays, and ranks
# that leave later than this one still read them.
_LOST: list[Operation] = []
_LEVELS = ("SINGLE", "FUNNELED", "SERIALIZED", "MULTIPLE")


class MPICommunicator(Communicator):
    """All processes of the MPI job, or those of an mpi4py communicator of the user's.

    Attributes:
        max_count: bytes a message may have; longer arrays are sent in pieces.  2**31 - 1 is what every MPI takes.
        thread_level: what MPI gives: below MULTIPLE only the thread that made the communicator may use it.
        wire: the mpi4py communicator of the collectives' messages, and ``tags`` what is told by theirs.
        ranks: of each member, its rank in the communicator that this one was made from; errors name those.
        count: collectives started so far.
    """

    max_count: int = 2**31 - 1

    def __init__(self, comm: Any = None) -> None:
        global MPI
        MPI = process.start()
        if (why := process.why_not()) is not None:
            raise DistError(why)
        if comm is not None and not isinstance(comm, MPI.Intracomm):
            raise TypeError(f"comm must be an mpi4py communicator (an Intracomm) or None, got {type(comm).__name__}")
        library = MPI.Get_library_version().split(",")[0].split("\n")[0].strip()
        check_launcher_size(MPI.COMM_WORLD.Get_size(), library)
        mine = (MPI.COMM_WORLD if comm is None else comm).Dup()
        self._attach(mine, Family(mine, MPI), "", range(mine.Get_size()))

    def _attach(self, comm: MPI.Intracomm, family: Family, path: str, ranks: Sequence[int]) -> None:
        self._comm, self.family, self._path, self.ranks = comm, family, path, tuple(ranks)
        self.wire, self.tags = comm.Dup(), Tags(MPI.COMM_WORLD.Get_attr(MPI.TAG_UB) or 32767)
        self._broken = ""  # in what the ranks of this communicator disagreed
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=self.rank)
        self.local_rank, self.local_size = node.Get_rank(), node.Get_size()
        node.Free()
        level = MPI.Query_thread()
        names = {getattr(MPI, f"THREAD_{name}"): name for name in _LEVELS}
        self.thread_level: str = names[level]
        self._only_thread = None if level == MPI.THREAD_MULTIPLE else threading.get_ident()
        self._scratch: dict[int, list[np.ndarray]] = {}
        self.receives: dict[tuple[int, int], deque[Receive]] = {}  # by rank and MPI's tag: those without a message yet
        self._trees: dict[int, Tree] = {}
        self._children: dict[tuple[int, ...], int] = {}  # how many of each were made
        self.count = 0
        self._small = SmallReductions(self, MPI)
        # By its origin, which all members know: ranks that are in different groups count differently.
        self.ident = int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little", signed=True)
        family.members[self.ident] = self

    # --- reductions --------------------------------------------------------------------------------------------------

    def Allreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> None:
        if self._small.takes(array.nbytes):
            check_op(op, array.dtype)
            self.check_caller()
            self._small.reduce(_flat(array), op)
        else:
            self.Iallreduce(array, op).Wait()

    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        check_op(op, array.dtype)
        self.check_caller()
        flat = _flat(array)
        if self.size == 1:
            return CompletedRequest()
        if self._small.takes(flat.nbytes):
            return self._small.start(flat, op)
        if self._in_one_hop(flat):
            return self._gather_and_reduce(flat, op)
        return self._scatter_and_gather(flat, op)

    def _in_one_hop(self, flat: np.ndarray) -> bool:
        return bool(flat.nbytes * self.size <= min(1 << 16, self.max_count))

    def _gather_and_reduce(self, flat: np.ndarray, op: ReduceOp) -> Request:
        """Everyone gets everything and adds it up.  For many ranks, where a tree beats a message to each."""
        table = np.empty((self.size, flat.size), flat.dtype)
        hops = Bruck(self, flat, table, self._tag(flat, op._value_, part=True), lambda: combine(op, list(table), flat))
        return self._start(("Allreduce", op.name, flat), *hops.begin())

    def _scatter_and_gather(self, flat: np.ndarray, op: ReduceOp, root: int | None = None) -> Request:
        """Two hops: rank ``i`` gets everyone's slice ``i``, adds it up and gives it to everyone, or to ``root``."""
        size, rank = self.size, self.rank
        bounds = [flat.size * i // size for i in range(size + 1)]
        slices = [flat[lo:hi] for lo, hi in itertools.pairwise(bounds)]
        mine = slices[rank]
        buffer = self._take_scratch(mine.nbytes * size)
        table = buffer.view(flat.dtype).reshape(size, mine.size)
        others = [peer for peer in range(size) if peer != rank]
        tags = [self._tag(flat, op._value_ + hop, part=True) for hop in (0, len(ReduceOp))]
        requests = [r for peer in others for r in self.get_pieces(table[peer], peer, tags[0])]
        requests += [r for peer in others for r in self.give_pieces(slices[peer], peer, tags[0])]

        def second_hop() -> tuple[list[Any], Step | None]:
            operands = list(table)
            operands[rank] = mine
            total = table[rank] if root not in (None, rank) else mine  # only the root's array may change
            combine(op, operands, total)
            sources, targets = (others, others) if root is None else (others if rank == root else [], [root])
            requests = [r for peer in sources for r in self.get_pieces(slices[peer], peer, tags[1])]
            requests += [r for peer in targets if peer != rank for r in self.give_pieces(total, peer, tags[1])]
            return requests, finish

        def finish() -> tuple[list[Any], Step | None]:
            self._scratch.setdefault(buffer.nbytes, []).append(buffer)
            return [], None

        what = ("Allreduce", op.name, flat) if root is None else ("Reduce", f"{op.name} to {root}", flat)
        operation = self._start(what, requests, second_hop, others * 2)
        operation.places = dict.fromkeys(others, flat)
        return operation

    def Ireduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM, root: int = 0) -> Request:
        check_op(op, array.dtype)
        self._check_rank(root)
        flat = _flat(array)
        if self.size == 1:
            return CompletedRequest()
        if not self._in_one_hop(flat):
            return self._scatter_and_gather(flat, op, root)
        return super().Ireduce(array, op, root)

    # --- other collectives -------------------------------------------------------------------------------------------

    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        self.Ibcast(array, root).Wait()

    def Ibcast(self, array: np.ndarray, root: int = 0) -> Request:
        self._check_rank(root)
        flat = _flat(array)
        tree = self._trees.get(root) or self._trees.setdefault(root, Tree(self, root))
        operation = self._start(("Bcast", f"from {root}", flat), *tree.begin(flat, self._tag(flat)))
        if tree.parent is not None:
            operation.places = {tree.parent: flat}
        return operation

    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        self.Iallgather(array, out).Wait()

    def Iallgather(self, array: np.ndarray, out: np.ndarray) -> Request:
        self.check_caller()
        self.check_table(array, out)
        flat, what = _flat(array), ("Allgather", "", array)
        if self._small.takes(flat.nbytes):
            return self._small.gather(flat, out)
        table = _flat(out).reshape(self.size, flat.size)
        if self.size > _FEW and self._in_one_hop(flat):
            return self._start(what, *Bruck(self, flat, table, self._tag(flat, part=True), None).begin())
        return self.Iexchange(what, [flat] * self.size, list(table))

    def Ialltoallv(self, send: Sequence[np.ndarray], recv: Sequence[np.ndarray]) -> Request:
        return self.Iexchange(("Alltoallv", "", recv[self.rank]), send, recv)

    def Iexchange(
        self, what: tuple[str, str, np.ndarray], send: Sequence[np.ndarray | None], recv: Sequence[np.ndarray | None]
    ) -> Request:
        self.check_caller()
        ours = [None if x is None else _flat(x) for x in send]
        places = {peer: _flat(x) for peer, x in enumerate(recv) if x is not None and peer != self.rank}
        self.keep_own(ours, recv)
        requests, peers = [], []
        order = [(self.rank + step) % self.size for step in range(1, self.size)]  # not all ranks to rank 0 first
        for exchange, arrays in ((self.get_pieces, places), (self.give_pieces, dict(enumerate(ours)))):
            for peer in order:
                flat = arrays.get(peer)
                if flat is not None:
                    started = exchange(flat, peer, self._tag(flat))
                    requests += started
                    peers += [peer] * len(started)
        operation = self._start(what, requests, peers=peers)
        operation.places = places
        return operation

    def Barrier(self) -> None:
        self.Ibarrier().Wait()

    def Ibarrier(self) -> Request:
        self.check_caller()
        return self._start(("Barrier", "", None), [self.wire.Ibarrier()])

    # --- between two ranks -------------------------------------------------------------------------------------------

    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        self.Isend(array, dest, tag).Wait()

    def Isend(self, array: np.ndarray, dest: int, tag: int = 0) -> Request:
        self._check_rank(dest)
        requests = start_send(self, _flat(array), dest, _USER_TAG + tag, MPI.BYTE)
        return Operation(self, ("Send", f"to {dest}", array), requests, None, [dest] * len(requests))

    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        self.Irecv(array, source, tag).Wait()

    def Irecv(self, array: np.ndarray, source: int, tag: int = 0) -> Request:
        self._check_rank(source)
        return Receive(self, _flat(array), source, tag, _USER_TAG + tag)

    def Iprobe(self, source: int | None, tag: int = 0) -> int | None:
        self.check_caller()
        self.family.progress()
        status = MPI.Status()
        try:
            if not self._comm.Iprobe(MPI.ANY_SOURCE if source is None else source, _USER_TAG + tag, status):
                return None
        except MPI.Exception as error:
            raise self.family.failure(error) from error
        found: int = status.Get_source()
        if self.receives.get((found, _USER_TAG + tag)):  # it came just now, for a receive that was started before
            self.family.progress()
            return None
        return found

    # --- other communicators -----------------------------------------------------------------------------------------

    def Dup(self) -> MPICommunicator:
        self.check_caller()
        name = self._child_name("dup", self.ranks)
        self.Barrier()  # MPI's own call would wait for a missing rank for ever
        return self._made(self._comm.Dup(), name, self.ranks)

    def Create_group(self, ranks: Sequence[int]) -> MPICommunicator | None:
        for rank in ranks:
            self._check_rank(rank)
        members = tuple(self.ranks[r] for r in ranks)
        if self.rank not in ranks:
            return None
        name = self._child_name("group", members)
        token, answers = np.zeros(1, np.uint8), np.zeros((len(ranks), 1), np.uint8)
        others = [(i, r) for i, r in enumerate(ranks) if r != self.rank]
        requests = [r for i, peer in others for r in self._irecv(answers[i], peer, _MEET_TAG)]
        requests += [r for _, peer in others for r in self._isend(token, peer, _MEET_TAG)]
        what = ("Create_group", f"of the ranks {', '.join(map(str, members))}", None)
        Operation(self, what, requests, None, [peer for _, peer in others] * 2).Wait()
        group = self._comm.Get_group()
        chosen = group.Incl(list(ranks))
        made = self._comm.Create_group(chosen, _MEET_TAG)
        chosen.Free()
        group.Free()
        return self._made(made, name, members)

    def _child_name(self, kind: str, members: tuple[int, ...]) -> str:
        number = self._children[members] = self._children.get(members, 0) + 1
        return f"{self._path}/{kind} {number} of {members}"

    def _made(self, comm: MPI.Intracomm, name: str, ranks: Sequence[int]) -> MPICommunicator:
        new = type(self).__new__(type(self))
        new.timeout, new.max_count = self.timeout, self.max_count
        new._attach(comm, self.family, name, ranks)
        return new

    # --- the end -----------------------------------------------------------------------------------------------------

    def Depart(self, timeout: float) -> list[int]:
        MPICommunicator.check_caller(self)  # where ranks disagreed, too
        return self.family.depart(timeout, self.exit_code)

    def at_end(self, leave: Callable[[], None]) -> None:
        process.at_end.append(leave)

    def dead(self) -> list[int]:
        return self.family.dead()

    def codes(self) -> list[int]:
        return list(self.family.codes.values())

    def Abort(self, code: int = 1) -> None:
        if MPI.Is_finalized() or tolerates_faults():
            os._exit(code)  # a job that outlives its ranks outlives an MPI_Abort, too, and counts as a success
        MPI.COMM_WORLD.Abort(code)

    def rest(self) -> None:
        """Give back to MPI what is kept for further operations."""
        self._small.free()

    def Free(self) -> None:
        if process.why_not() is not None:
            return
        self.rest()
        self.drain()
        if self.family.members.pop(self.ident, None) is not None:
            self.family.freed[str(self.ident)] = self.count
        self.wire.Free()
        self._comm.Free()

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _start(
        self, what: What, requests: list[Any], then: Step | None = None, peers: Sequence[int] = ()
    ) -> Operation:
        """A collective whose first messages are on their way, with its number."""
        operation = Operation(self, what, requests, then, peers)
        self.count += 1
        operation.number = self.count
        self.family.started(self.count, what)
        return operation

    def state(self) -> CommState:
        return self.family.state()

    def progress(self) -> None:
        """Move on every operation under way."""
        self.family.progress()

    def break_up(self, why: str) -> None:
        """From here on nothing is done on this communicator: messages that nobody awaits are on their way in it."""
        _LOST.extend(self.family.give_up(self))
        self._broken = why

        def refuse() -> None:
            raise DistError(f"rank {self.family.rank} cannot go on with these ranks: {self._broken}")

        vars(self)["check_caller"] = refuse  # the others' calls need not ask whether they are

    def drain(self) -> None:
        """Where ranks disagreed: take what nobody awaits, so that those who sent it can leave."""
        status = MPI.Status()
        while self._broken and self.wire.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status):
            nowhere = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            self.wire.Recv([nowhere, MPI.BYTE], status.Get_source(), status.Get_tag())

    def check_caller(self) -> None:
        """Refuse a call that MPI does not allow from here."""
        if (why := process.why_not()) is not None:
            raise DistError(f"rank {self.rank}: {why}")
        if self._only_thread is not None and threading.get_ident() != self._only_thread:
            raise DistError(
                f"rank {self.rank}: MPI gives thread level {self.thread_level}, so only the thread that made the "
                f"communicator may use it, not {threading.current_thread().name!r}; it needs THREAD_MULTIPLE"
            )

    def _tag(self, flat: np.ndarray, op: int = 0, part: bool = False) -> int:
        """Of the messages of the collective that is started next, in which ``flat`` is sent or received."""
        return self.tags.of(self.count + 1, flat.size, flat.dtype, op, part)

    def _pieces(self, flat: np.ndarray) -> list[np.ndarray]:
        """The array as bytes, in messages that MPI takes; an empty one is a message, too."""
        whole, most = flat.view(np.uint8), self.max_count
        return [whole] if whole.size <= most else [whole[lo : lo + most] for lo in range(0, whole.size, most)]

    def give_pieces(self, flat: np.ndarray, peer: int, tag: int) -> list[Any]:
        """Start sending a flat array in a collective."""
        return [self.wire.Isend([piece, MPI.BYTE], peer, tag) for piece in self._pieces(flat)]

    def get_pieces(self, flat: np.ndarray, peer: int, tag: int) -> list[Any]:
        """Start receiving a flat array in a collective."""
        return [self.wire.Irecv([piece, MPI.BYTE], peer, tag) for piece in self._pieces(flat)]

    def _isend(self, flat: np.ndarray, peer: int, tag: int) -> list[Any]:
        return [self._comm.Isend([piece, MPI.BYTE], peer, tag) for piece in self._pieces(flat)]

    def _irecv(self, flat: np.ndarray, peer: int, tag: int) -> list[Any]:
        return [self._comm.Irecv([piece, MPI.BYTE], peer, tag) for piece in self._pieces(flat)]

    def _take_scratch(self, nbytes: int) -> np.ndarray:
        """A byte buffer, kept for the next step: fresh pages cost more than the message."""
        kept = self._scratch.get(nbytes)
        return kept.pop() if kept else np.empty(nbytes, np.uint8)

    def _check_rank(self, rank: int) -> None:
        self.check_caller()
        self.check_root(rank)


def _flat(array: np.ndarray) -> np.ndarray:
    if not array.flags.c_contiguous:
        raise ValueError(
            f"a communicator takes C-contiguous arrays, got strides {array.strides} of shape {array.shape}"
        )
    return array.reshape(-1)


@hookimpl
def distgrad_communicators() -> dict[str, type[Communicator]]:
    return {"mpi": MPICommunicator}
