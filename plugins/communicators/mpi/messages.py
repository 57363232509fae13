"""Messages between two ranks, of which the receiver knows the length and the dtype before it lets them in.

What is sent ends in two words, its length in bytes and its dtype; a long one follows them, as it is, in messages of its
own.  A receive is not given to MPI before the sender's words are known: a message that is longer than its place would
be an error which names nobody, and Open MPI writes it over what lies behind.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from distgrad_communicators.mpi.operations import Operation, Step

from distgrad import dtypes
from distgrad.distributed.communication.communicator import check_message
from distgrad.distributed.communication.errors import DistError

if TYPE_CHECKING:
    from distgrad_communicators.mpi.communicator import MPICommunicator

_SHORT = 1 << 14  # bytes that are copied beside the words: above, a message more costs less than a copy
_WORDS = struct.Struct("<qq")
_CODES = {kind.np: code for code, kind in enumerate(dtypes.ALL)}


def start_send(comm: MPICommunicator, flat: np.ndarray, dest: int, tag: int, byte: Any) -> list[Any]:
    """MPI requests that send the flat array to ``dest`` with MPI's ``tag``."""
    length = flat.nbytes
    inside = length if length <= min(_SHORT, comm.max_count - _WORDS.size) else 0
    first = np.empty(inside + _WORDS.size, np.uint8)
    if inside:
        first[:inside] = flat.view(np.uint8)
    _WORDS.pack_into(first.data, inside, length, _CODES[flat.dtype])
    requests = [comm._comm.Isend([first, byte], dest, tag)]
    return requests if inside == length else requests + comm._isend(flat, dest, tag)


class Receive(Operation):
    """A receive, from when it is asked for.  Those of one tag from one rank get its messages in their order.

    Args:
        array: what is overwritten.
        tag: the user's; ``wire`` is MPI's.
    """

    __slots__ = ("array", "error", "first", "line", "source", "tag", "wire")

    def __init__(self, comm: MPICommunicator, array: np.ndarray, source: int, tag: int, wire: int) -> None:
        self.array, self.source, self.tag, self.wire = array, source, tag, wire
        self.error: DistError | None = None
        self.first: np.ndarray | None = None  # what comes first: words, behind a short message
        self.line: deque[Receive] = comm.receives.setdefault((source, wire), deque())
        self.line.append(self)
        super().__init__(comm, ("Recv", f"from {source}", array), [], self._take)

    def progress(self, testall: Callable[[list[Any]], bool]) -> bool:
        if self.first is None and (self.line[0] is not self or not self._found()):
            return False
        return super().progress(testall)

    def _found(self) -> bool:
        """Whether the message has begun to come; its beginning is then on its way into a place of its length."""
        family, comm = self.comm.family, self.comm._comm
        mpi, status = family._mpi, family.status
        if not comm.Iprobe(self.source, self.wire, status):
            return False
        self.first = np.empty(status.Get_count(mpi.BYTE), np.uint8)
        self._await([comm.Irecv([self.first, mpi.BYTE], self.source, self.wire)])
        return True

    def _await(self, requests: list[Any]) -> list[Any]:
        self.requests, self.peers = requests, [self.source] * len(requests)
        return requests

    def _take(self) -> tuple[list[Any], Step | None]:
        """The words are known: take the message behind them, or ask for it; one that does not fit, into nowhere."""
        assert self.first is not None
        inside = self.first.size - _WORDS.size
        length, code = _WORDS.unpack_from(self.first.data, inside)
        kind, comm = dtypes.ALL[code].np, self.comm
        try:
            check_message(
                comm.ranks[comm.rank], comm.ranks[self.source], self.tag, self.array, length // kind.itemsize, kind
            )
        except DistError as error:
            self.error = error
        flat = self.array.reshape(-1).view(np.uint8)
        self.line.popleft()
        if inside or not length:
            if self.error is None:
                flat[...] = self.first[:inside]
            return [], None
        into = flat if self.error is None else np.empty(length, np.uint8)
        return self._await(comm._irecv(into, self.source, self.wire)), None

    def late(self) -> list[int]:
        return [self.source] if self.first is None else super().late()

    def Test(self) -> bool:
        done = super().Test()
        self._check()
        return done

    def Wait(self) -> None:
        super().Wait()
        self._check()

    def _check(self) -> None:
        if self.done and self.error is not None:
            raise self.error
