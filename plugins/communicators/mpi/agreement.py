"""Collectives in which the ranks' arrays differ: what differs never meets, and who waits in vain finds out why.

Each message of a collective says in MPI's tag what both ends must agree in, the length of the array, its dtype and the
operation.  So none can land in a place made for another, where it would be a wrong number or written over what lies
behind, and that costs nothing.  What is left is a rank that waits for a message which does not come.  When it has
waited for longer than most ranks are late, it tells the others what it waits in, reads what they told, and looks at
the messages that nobody awaits: where ranks differ, all who wait raise.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distgrad import dtypes
from distgrad.distributed.communication.errors import DistError

if TYPE_CHECKING:
    from distgrad_communicators.mpi.communicator import MPICommunicator
    from distgrad_communicators.mpi.operations import Family, Operation

TELL_TAG = 16450
PATIENCE = 0.1  # seconds that a rank waits before it asks why
_KINDS, _OPS = 16, 16
_CODES = {kind.np: code for code, kind in enumerate(dtypes.ALL)}
_OTHER = _KINDS - 1  # a dtype that only the framework sends
_NEEDS_ALL = ("Allgather", "Allgatherv", "Allreduce", "Alltoallv", "Barrier", "Reduce_scatter")  # no rank ends before
_EVERY = 0  # in place of a communicator's ident: whatever ranks wait in
_NOTHING: tuple[int, str, str, dict[str, int]] = (0, "", "", {})
_ALIKE = ("Allreduce", "Allgather", "Barrier", "Bcast", "Reduce", "Reduce_scatter")  # arrays of one length on all ranks


class Tags:
    """The tags of a communicator that only collectives use.

    The lower half is of persistent messages, by kind; where MPI's tags have 27 bits or more (Open MPI's have 31,
    MPICH's 29) no two kinds share one.  The upper half has the operation's number, whether the message is but a part of
    an array, the dtype and a remainder of the length: two lengths share a tag where they differ by a multiple of 131071
    (Open MPI) or 32767 (MPICH) elements.

    Args:
        largest: MPI's largest tag.
    """

    def __init__(self, largest: int) -> None:
        bits = min(int(largest + 1).bit_length(), 32) - 1
        self.half = 1 << (bits - 1)
        self.rounds = 256 if bits > 24 else 16
        self._codes = self.half // (2 * self.rounds)
        self._lengths = self._codes // _KINDS

    def of_kind(self, size: int, dtype: np.dtype, op: int) -> int:
        """The tag of persistent messages of one kind of array and reduction."""
        return ((size * _KINDS + _CODES.get(dtype, _OTHER)) * _OPS + op) % self.half

    def of(self, number: int, size: int, dtype: np.dtype, op: int = 0, part: bool = False) -> int:
        """The tag of a message of collective ``number``, in which both ends agree in what follows."""
        place = (number % self.rounds * 2 + part) * self._codes
        kind = _CODES.get(dtype, _OTHER) * self._lengths
        return self.half + place + kind + (size + 4099 * op) % (self._lengths - 1)

    def read(self, tag: int) -> tuple[int, bool, np.dtype | None]:
        """Of a message with a number: that number's remainder, whether it is a part, the dtype."""
        place, code = divmod(tag - self.half, self._codes)
        kind = code // self._lengths
        return place // 2, place % 2 == 1, dtypes.ALL[kind].np if kind < len(dtypes.ALL) else None


class Agreement:
    """What the ranks of a family tell each other when they have waited for long.

    Args:
        comm: the family's mpi4py communicator.
        mpi: the module ``mpi4py.MPI``.
        family: whose communicators they are.
    """

    def __init__(self, comm: Any, mpi: Any, family: Family) -> None:
        self._comm, self._mpi, self._rank, self._family = comm, mpi, comm.Get_rank(), family
        # By rank and communicator: where it waits, and how far it is in others
        self._told: dict[tuple[int, int], tuple[int, str, str, dict[str, int]]] = {}
        self._failed: dict[int, str] = {}  # by communicator: in what its ranks differ
        self._note = ""  # why ranks may wait for each other that take another way
        # By rank: what was told last, and the request.  It is complete when it has been read, so at most one is unread.
        self._said: dict[int, tuple[tuple[int, int], Any]] = {}
        self._last: list[Any] = []
        self._lock = threading.Lock()

    @property
    def _one_thread(self) -> bool:
        """Whether no other thread of this process may do what one waits for."""
        return len(self._family.waiters) < 2

    def look(self, operation: Operation, waited: float) -> None:
        """After ``waited`` seconds, raise where ``operation`` cannot be done since ranks differ.

        Raises:
            DistError: it names the operation, both lengths or dtypes, and the ranks.
        """
        if waited < PATIENCE or not operation.number or not self._lock.acquire(blocking=False):
            return
        try:
            comm = operation.comm
            self.read()
            why = self._failed.get(comm.ident) or self._failed.get(_EVERY)
            if why is None:
                why = self._differs(operation) or self._misfits(operation)
                if why is not None:
                    self._fail(comm, why)
                else:
                    why = self._crossed(operation)
                    if why is None:
                        self._tell(operation)
                        return
                    self._fail(None, why)
        finally:
            self._lock.release()
        comm.break_up(why)
        raise DistError(f"rank {self._rank}: {why}")

    def check(self, comm: MPICommunicator) -> None:
        """Raise where the ranks of ``comm`` are known to have disagreed."""
        if self._lock.acquire(blocking=False):
            try:
                self.read()
            finally:
                self._lock.release()
        why = self._failed.get(comm.ident) or self._failed.get(_EVERY)
        if why is not None:
            comm.break_up(why)
            raise DistError(f"rank {self._rank}: {why}")

    def forewarn(self, why: str) -> None:
        """Should ranks wait for each other in vain, let ``why`` be what they are told."""
        self._note = self._note or why
        self._tell_all(range(self._comm.Get_size()), _EVERY, -1, why)

    def refuse(self) -> None:
        """Have all ranks that wait for others raise what they were forewarned of, and this one."""
        deadline = time.monotonic() + 10 * PATIENCE
        while not self._note and _EVERY not in self._failed and time.monotonic() < deadline:
            self.read()  # it is on its way
        if _EVERY not in self._failed:
            self._fail(None, self._note or "other ranks take another way")
        raise DistError(f"rank {self._rank}: {self._failed[_EVERY]}")

    def in_vain(self, late: Sequence[int], what: str) -> Callable[[], None] | None:
        """Whether one of the ranks that this one waits for waits for this one, in a collective that it has not begun.

        Args:
            late: the ranks.
            what: says what it waits for.

        Returns:
            has that rank and its companions raise, and raises; None where it is not so, as far as is known.
        """
        for peer in late if self._one_thread else ():
            for member in list(self._family.members.values()):
                number, _, words, counts = self._told.get((peer, member.ident), _NOTHING)
                if counts and member.count < number and words.split(" ")[0] in _NEEDS_ALL:
                    return functools.partial(self._give_up, member, peer, number, words, what)
        return None

    def _give_up(self, comm: MPICommunicator, peer: int, number: int, words: str, what: str) -> None:
        why = (
            f"the ranks disagree: rank {self._rank} waits {what}, but rank {peer} waits in operation {number} "
            f"({words}): every rank must take part in every backward(), step() and collective"
        )
        self._fail(comm, why)
        comm.break_up(why)
        raise DistError(f"rank {self._rank}: {why}")

    def read(self) -> None:
        """Read what other ranks have told."""
        mpi, status = self._mpi, self._mpi.Status()
        while self._comm.Iprobe(mpi.ANY_SOURCE, TELL_TAG, status):
            text = np.empty(status.Get_count(mpi.BYTE), np.uint8)
            self._comm.Recv([text, mpi.BYTE], status.Get_source(), TELL_TAG)
            ident, number, key, words, counts = json.loads(text.tobytes())
            if number > 0:
                self._told[status.Get_source(), ident] = (number, key, words, counts)
            elif number < 0:
                self._note = self._note or words
            else:
                self._failed.setdefault(ident, words)

    def settled(self) -> bool:
        """Whether all that this rank told has been read, as it must be before it leaves."""
        self.read()
        return all([request.Test() for _, request in (*self._said.values(), *self._last)])  # noqa: C419 - all progress

    def _tell(self, operation: Operation) -> None:
        """Tell the others where this rank waits; one that has not read the last is told later."""
        comm = operation.comm
        what = (comm.ident, operation.number)
        for peer in comm.ranks:
            said, request = self._said.get(peer, (None, None))
            if peer != self._rank and said != what and (request is None or request.Test()):
                counts: dict[str, int] = {}
                if self._one_thread:
                    counts.update(self._family.freed)
                    counts.update((str(m.ident), m.count) for m in self._family.members.values())
                self._said[peer] = (what, self._send(peer, [*what, _key(operation), str(operation), counts]))

    def _fail(self, comm: MPICommunicator | None, why: str) -> None:
        """Have the ranks of ``comm`` raise, or those of the whole family in all they wait for."""
        ident = _EVERY if comm is None else comm.ident
        self._failed[ident] = why
        self._tell_all(range(self._comm.Get_size()) if comm is None else comm.ranks, ident, 0, why)

    def _tell_all(self, ranks: Sequence[int], ident: int, number: int, words: str) -> None:
        others = [peer for peer in ranks if peer != self._rank]
        self._last += [((ident, number), self._send(peer, [ident, number, "", words, {}])) for peer in others]

    def _crossed(self, operation: Operation) -> str | None:
        """Which rank waits for this one in another collective, which this one has not begun, nor that rank this."""
        comm = operation.comm
        if not self._one_thread or operation.what[0] not in _NEEDS_ALL:
            return None
        for (peer, ident), (number, _, words, counts) in self._told.items():
            other = self._family.members.get(ident)
            if other is None or other is comm or peer not in comm.ranks or words.split(" ")[0] not in _NEEDS_ALL:
                continue
            if other.count < number and counts.get(str(comm.ident), operation.number) < operation.number:
                pair = sorted([(self._rank, str(operation), comm.ranks), (peer, words, other.ranks)])
                found = ", but ".join(f"{text} of the ranks {list(ranks)} on rank {r}" for r, text, ranks in pair)
                return self._note or f"the ranks disagree: what they wait in is {found}"
        return None

    def _send(self, peer: int, told: Any) -> Any:
        text = np.frombuffer(json.dumps(told).encode(), np.uint8)
        return self._comm.Issend([text, self._mpi.BYTE], peer, TELL_TAG)  # the request keeps the text

    def _differs(self, operation: Operation) -> str | None:
        """In what another rank that waits in the operation of this number differs from this one."""
        comm, mine = operation.comm, _key(operation)
        for peer in comm.ranks:
            number, key, words, _ = self._told.get((peer, comm.ident), _NOTHING)
            if number == operation.number and key != mine:
                pair = sorted([(self._rank, str(operation)), (peer, words)])
                found = ", but ".join(f"{text} on rank {rank}" for rank, text in pair)
                return f"the ranks disagree: operation {number} is {found}; arrays must agree in length and dtype"
        return None

    def _misfits(self, operation: Operation) -> str | None:
        """Which message of the operation is there, but not as long or not of the dtype as this rank expects."""
        if operation.places is None:
            return None
        comm, mpi, status = operation.comm, self._mpi, self._mpi.Status()
        for peer in operation.late():
            place = operation.places.get(peer)
            if place is None or not comm.wire.Iprobe(peer, mpi.ANY_TAG, status) or status.Get_tag() < comm.tags.half:
                continue
            number, part, kind = comm.tags.read(status.Get_tag())
            # It may be of another operation, which this rank has not come to yet; and who gives parts waits and tells.
            if part or number != operation.number % comm.tags.rounds:
                continue
            length = status.Get_count(mpi.BYTE)
            sent = f"{length} bytes" if kind is None else f"{length // kind.itemsize} elements of {kind}"
            given, taken = comm.ranks[peer], self._rank
            return (
                f"the ranks disagree: in operation {operation.number} ({operation}) rank {given} gives {sent} to rank "
                f"{taken}, which expects {place.size} elements of {place.dtype}; both must agree in length and dtype"
            )
        return None


def _key(operation: Operation) -> str:
    """What is the same on all ranks that take part in an operation."""
    name, how, array = operation.what
    return str(operation) if name in _ALIKE or array is None else f"{name} {how} {array.dtype}"
