"""Debug mode between two ranks: what is sent is compared with what its receiver expects, before it is received.

Before each message of the user's goes a header with its number, tag, length and dtype.  Headers from one rank come in
the order of its messages, under a tag of their own, so a receive that waits in vain can tell which messages with other
tags there are.  A receive takes its message only once the header has been found to fit; until then it is looked after
in every wait of this rank, so that a sender which waits to be received is, whatever this rank does meanwhile.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from distgrad import dtypes
from distgrad.distributed.communication.communicator import HEADER_TAG, MEETING_TAG, Communicator, yield_core
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.communication.requests import Request

__all__ = ["DesyncError", "Messages"]


class DesyncError(DistError):
    """Ranks are about to do different things; the message names operation, number and ranks."""


class _Header(NamedTuple):
    number: int  # among the sender's messages to this rank
    tag: int
    size: int
    kind: int  # the dtype's place in dtypes.ALL

    @property
    def words(self) -> str:
        return f"{self.size} {dtypes.ALL[self.kind].np}"


def _header(number: int, tag: int, array: np.ndarray) -> _Header:
    return _Header(number, tag, array.size, dtypes.ALL.index(dtypes.from_numpy_dtype(array.dtype)))


class Messages:
    """The messages of one communicator.

    Args:
        comm: the communicator, whose errors and time-out count.
        plain: gives it without comparisons.
        name: of a rank, its number in errors.
    """

    def __init__(self, comm: Communicator, plain: Callable[[], Any], name: Callable[[int], int]) -> None:
        self.comm, self._plain, self.name = comm, plain, name
        # Where messages cannot be awaited beside other work, only their own receives may wait for headers.
        self._waits = plain().Irecv.__func__ is Communicator.Irecv
        self._quiet = False
        self._sent: dict[int, int] = defaultdict(int)
        self._asked: dict[int, int] = defaultdict(int)
        self._headers: dict[int, tuple[np.ndarray, Request]] = {}  # by source: the next one, under way
        self._found: dict[int, dict[int, deque[_Header]]] = defaultdict(lambda: defaultdict(deque))
        self._receives: dict[int, dict[int, deque[_Receive]]] = defaultdict(lambda: defaultdict(deque))
        self._sends: list[Request] = []  # of headers

    def compares(self, tag: int, highest: int) -> bool:
        """Whether a message with ``tag`` is one of the user's; others are parts of operations, compared as such."""
        return not self._quiet and tag <= highest and self.comm.size > 1

    # --- sending ----------------------------------------------------------------------------------------------------

    def send(self, array: np.ndarray, dest: int, tag: int) -> Request:
        """Start sending the header and the message."""
        self._sent[dest] += 1
        header = np.array(_header(self._sent[dest], tag, array), np.int64)
        with self._quietly():
            self._sends = [request for request in self._sends if not request.Test()]
            self._sends.append(self._plain().Isend(header, dest, HEADER_TAG))
            return _Send(self, self._plain().Isend(array, dest, tag))

    # --- receiving --------------------------------------------------------------------------------------------------

    def receive(self, array: np.ndarray, source: int, tag: int) -> Request:
        """Start receiving, in the order of the receives with this tag."""
        self._asked[source] += 1
        made = _Receive(self, array, source, tag, self._asked[source])
        self._receives[source][tag].append(made)
        self._match(source, tag)
        return made

    def look(self, only: int | None = None) -> None:
        """Take the headers that have come from those that receives wait for, and start what they fit."""
        for source in [*self._receives] if only is None else [only]:
            while any(self._receives[source].values()):
                header, request = self._next_header(source)
                with self._quietly():
                    if not request.Test():
                        break
                self._take(source, header)

    def _next_header(self, source: int) -> tuple[np.ndarray, Request]:
        if source not in self._headers:
            buffer = np.zeros(4, np.int64)
            with self._quietly():
                self._headers[source] = buffer, self._plain().Irecv(buffer, source, HEADER_TAG)
        return self._headers[source]

    def _take(self, source: int, header: np.ndarray) -> None:
        del self._headers[source]
        found = _Header(*header.tolist())
        self._found[source][found.tag].append(found)
        self._match(source, found.tag)

    def _match(self, source: int, tag: int) -> None:
        found, receives = self._found[source][tag], self._receives[source][tag]
        while found and receives:
            found_one, receive = found.popleft(), receives.popleft()
            wanted = _header(receive.number, tag, receive.array)
            if (found_one.size, found_one.kind) != (wanted.size, wanted.kind):
                me, sender = self.name(self.comm.rank), self.name(source)
                receive.error = DesyncError(
                    f"rank {me}: message {found_one.number} from rank {sender} to rank {me}, with tag {tag}, is "
                    f"{found_one.words}, but rank {me}'s receive {wanted.number} from there expects {wanted.words}"
                )
                raise receive.error
            with self._quietly():
                receive.request = self._plain().Irecv(receive.array, source, tag)

    def wait_for_header(self, receive: _Receive) -> None:
        """Wait until the next header has come from where ``receive`` waits for one."""
        header, request = self._next_header(receive.source)
        try:
            self.wait(request, receive.source)
        except DistError as error:
            kind = DistTimeoutError if isinstance(error, DistTimeoutError) else DesyncError
            raise kind(f"rank {self.name(self.comm.rank)} waits in vain for {self.words(receive)}: {error}") from error
        self._take(receive.source, header)

    def words(self, receive: _Receive) -> str:
        """A receive, and what it might have been meant for."""
        wanted = _header(receive.number, receive.tag, receive.array)
        others = sorted(h for queue in self._found[receive.source].values() for h in queue)
        there = "; ".join(f"message {h.number} with tag {h.tag}, {h.words}" for h in others) or "none"
        return (
            f"receive {receive.number} from rank {self.name(receive.source)}, of {wanted.words} with tag {receive.tag} "
            f"(messages from there that nobody has received: {there})"
        )

    def meet(self, others: Sequence[int]) -> None:
        """Wait for ``others`` to come here too; what they meet for then keeps none of them from receiving."""
        tokens = np.zeros((len(others), 1), np.uint8)
        with self._quietly():
            requests = [self._plain().Isend(np.zeros(1, np.uint8), other, MEETING_TAG) for other in others]
            pairs = zip(tokens, others, strict=True)
            requests += [self._plain().Irecv(token, other, MEETING_TAG) for token, other in pairs]
        for request in requests:
            self.wait(request)

    # --- waiting ----------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether a receive waits for its header, in a way that lets others be looked after."""
        return not self._waits and any(queue for tags in self._receives.values() for queue in tags.values())

    def wait(self, request: Request, source: int | None = None) -> None:
        """Wait for ``request`` and look after receives meanwhile; it is itself the header from ``source``, if any."""
        limit = self.comm.timeout
        deadline = None if limit is None else time.monotonic() + limit
        while self.pending and not self._tested(request):
            for other in [s for s in self._receives if s != source]:
                self.look(other)
            if deadline is not None and time.monotonic() > deadline:
                break  # the wait below says whom it is for
            yield_core()
        with self._quietly():
            request.Wait()

    def _tested(self, request: Request) -> bool:
        with self._quietly():
            return request.Test()

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """The plain communicator may make one operation of another; those are not compared once more."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before


class _Send:
    """A send under way, beside which this rank's receives are looked after."""

    def __init__(self, messages: Messages, request: Request) -> None:
        self._messages, self._request = messages, request

    def Wait(self) -> None:
        self._messages.wait(self._request)

    def Test(self) -> bool:
        if self._messages.pending:
            self._messages.look()
        return self._messages._tested(self._request)


class _Receive:
    """A receive: of the header, then of the message."""

    def __init__(self, messages: Messages, array: np.ndarray, source: int, tag: int, number: int) -> None:
        self._messages = messages
        self.array, self.source, self.tag, self.number = array, source, tag, number
        self.request: Request | None = None
        self.error: DesyncError | None = None

    def Wait(self) -> None:
        while self.request is None:
            self._check()
            self._messages.wait_for_header(self)
        self._messages.wait(self.request)

    def Test(self) -> bool:
        self._check()
        self._messages.look(self.source)
        return self.request is not None and self._messages._tested(self.request)

    def __str__(self) -> str:
        return self._messages.words(self)

    def _check(self) -> None:
        if self.error is not None:
            raise self.error
