"""Debug mode: before a collective runs, the ranks compare what they are about to do (docs/reliability.md, F4, F5).

With ``DISTGRAD_DEBUG=detail`` every collective of the process group carries a signature: its number, operation, shapes
and dtype, and where it reduces gradients the parameters' names
(:mod:`distgrad.distributed.data_parallel.checked_reducers`).  Where signatures differ every rank raises, instead of
waiting for ever or adding up strangers' bytes. Messages between two ranks carry theirs in a header
(:mod:`~distgrad.distributed.reliability.checked_messages`).  The comparison costs a small exchange of its own; without
the variable nothing of this module is in the way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from distgrad.distributed.communication.communicator import MAX_TAG, Communicator
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.reliability.checked_messages import DesyncError, Messages

__all__ = ["Compares", "DesyncError", "compared", "wanted"]


_WORDS = ("detail", "info", "off", "timeline")


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether ``DISTGRAD_DEBUG`` has the word ``detail``.

    Raises:
        ValueError: it has a word that means nothing.
    """
    given = environment.get("DISTGRAD_DEBUG", "")
    words = given.lower().replace(",", " ").split()
    if unknown := [word for word in words if word not in _WORDS]:
        raise ValueError(
            f"DISTGRAD_DEBUG={given!r}: {unknown[0]!r} means nothing; it may be 'detail' (compare all collectives), or "
            "'off' or 'info' (do not)"
        )
    return "detail" in words


def compared(comm: Communicator) -> Communicator:
    """``comm``, whose operations from here on are compared first; its duplicates' and groups' as well.  Collective."""
    kind = type(comm)
    if not isinstance(comm, Compares):
        # A subclass, not a wrapper: everything else that this communicator can is left as it is.
        comm.__class__ = type(f"Compared{kind.__name__}", (Compares, kind), {"__module__": kind.__module__})
        _with_side(comm)
    return comm


def _with_side(comm: Any) -> Any:
    """``comm`` with what signatures travel on, made early: a rank that waits for it could not receive meanwhile."""
    if comm.size > 1 and comm._side is None:
        silent, comm._silent = comm._silent, True
        comm._side = comm._under().Dup()
        comm._side._silent = True
        comm._silent = silent
    return comm


def _array(array: Any) -> str:
    return f"of shape {tuple(array.shape)} and dtype {array.dtype}"


def _op(op: Any) -> str:
    return op.name if isinstance(op, ReduceOp) else repr(op)


_Sizes = tuple[list[int], list[int]]  # elements given to each rank, and expected from each


class Compares(Communicator):
    """What :func:`compared` puts before a communicator's class.

    Attributes:
        note: what the collectives started now are for, in words that errors repeat.
    """

    note = ""
    _side: Communicator | None = None
    _between: Messages | None = None
    _silent = False  # on the communicator that signatures travel on, and inside a collective made of others
    _number = 0

    def _under(self) -> Any:
        """The communicator without comparisons."""
        return super()

    @property
    def _messages(self) -> Messages:
        if self._between is None:
            self._between = Messages(self, self._under, self._number_of)
        return self._between

    def Isend(self, array: np.ndarray, dest: int, tag: int = 0) -> Any:
        if self._silent or not self._messages.compares(tag, MAX_TAG):
            return self._under().Isend(array, dest, tag)
        return self._messages.send(array, dest, tag)

    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        if self._silent or not self._messages.compares(tag, MAX_TAG):
            self._under().Send(array, dest, tag)
        else:
            self._messages.send(array, dest, tag).Wait()

    def Irecv(self, array: np.ndarray, source: int, tag: int = 0) -> Any:
        if self._silent or not self._messages.compares(tag, MAX_TAG):
            return self._under().Irecv(array, source, tag)
        return self._messages.receive(array, source, tag)

    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        if self._silent or not self._messages.compares(tag, MAX_TAG):
            self._under().Recv(array, source, tag)
        else:
            self._messages.receive(array, source, tag).Wait()

    def Await(self, condition: Callable[[], bool], what: str) -> None:
        messages = self._messages

        def looked_after() -> bool:
            if messages.pending:
                messages.look()
            return condition()

        self._under().Await(looked_after, what)

    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Any:
        return self._first(f"Allreduce {_op(op)} {_array(array)}", self._under().Iallreduce, array, op)

    def Allreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> None:
        self._first(f"Allreduce {_op(op)} {_array(array)}", self._under().Allreduce, array, op)

    def Ireduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM, root: int = 0) -> Any:
        return self._first(f"Reduce {_op(op)} to {root} {_array(array)}", self._under().Ireduce, array, op, root)

    def Ibcast(self, array: np.ndarray, root: int = 0) -> Any:
        return self._first(f"Bcast from {root} {_array(array)}", self._under().Ibcast, array, root)

    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        self._first(f"Bcast from {root} {_array(array)}", self._under().Bcast, array, root)

    def Iallgather(self, array: np.ndarray, out: np.ndarray) -> Any:
        return self._first(f"Allgather {_array(array)}", self._under().Iallgather, array, out)

    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        self._first(f"Allgather {_array(array)}", self._under().Allgather, array, out)

    def Ibarrier(self) -> Any:
        return self._first("Barrier", self._under().Ibarrier)

    def Barrier(self) -> None:
        self._first("Barrier", self._under().Barrier)

    def Ialltoallv(self, send: Sequence[np.ndarray], recv: Sequence[np.ndarray]) -> Any:
        sizes = ([x.size for x in send], [x.size for x in recv])
        return self._first(f"Alltoallv of {recv[self.rank].dtype}", self._under().Ialltoallv, send, recv, sizes=sizes)

    def Iallgatherv(self, array: np.ndarray, out: Sequence[np.ndarray]) -> Any:
        sizes = ([array.size] * self.size, [x.size for x in out])
        return self._first(f"Allgatherv of {array.dtype}", self._under().Iallgatherv, array, out, sizes=sizes)

    def Igatherv(self, array: np.ndarray, out: Sequence[np.ndarray] | None, root: int = 0) -> Any:
        given = [array.size if r == root else 0 for r in range(self.size)]
        sizes = (given, [0] * self.size if out is None else [x.size for x in out])
        return self._first(f"Gatherv to {root} of {array.dtype}", self._under().Igatherv, array, out, root, sizes=sizes)

    def Iscatterv(self, send: Sequence[np.ndarray] | None, array: np.ndarray, root: int = 0) -> Any:
        taken = [array.size if r == root else 0 for r in range(self.size)]
        sizes = ([0] * self.size if send is None else [x.size for x in send], taken)
        what = f"Scatterv from {root} of {array.dtype}"
        return self._first(what, self._under().Iscatterv, send, array, root, sizes=sizes)

    def Ireduce_scatter(self, send: Sequence[np.ndarray], out: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Any:
        sizes = ([x.size for x in send], [out.size] * self.size)
        what = f"Reduce_scatter {_op(op)} of {out.dtype}"
        return self._first(what, self._under().Ireduce_scatter, send, out, op, sizes=sizes)

    def Dup(self) -> Any:
        return _with_side(self._first("Dup", self._under().Dup))

    def Create_group(self, ranks: Sequence[int]) -> Any:
        self._messages.meet([r for r in ranks if r != self.rank] if self.rank in ranks else [])
        made = self._under().Create_group(ranks)
        return None if made is None else _with_side(made)

    def Iprobe(self, source: int | None, tag: int = 0) -> int | None:
        if self._messages.pending:  # a receive that was started before takes its message first
            self._messages.look()
        return self._under().Iprobe(source, tag)

    def Free(self) -> None:
        if self._side is not None:
            self._side.Free()
            self._side = None
        self._under().Free()

    def announce(self, what: str) -> None:
        """Compare ``what`` this rank is about to do with the other ranks, where that is no collective.  Collective."""
        self._first(what, lambda: None)

    def _first(self, what: str, collective: Callable[..., Any], *arguments: Any, sizes: _Sizes | None = None) -> Any:
        """Compare, then run the collective; the collectives that it is made of need no comparison."""
        if self._silent or self.size == 1:
            return collective(*arguments)
        self._silent = True
        try:
            self._compare(what, sizes)
            return collective(*arguments)
        finally:
            self._silent = False

    def _compare(self, what: str, sizes: _Sizes | None) -> None:
        assert self._side is not None
        if self.note:
            what = f"{what} ({self.note})"
        self._number += 1
        self._side.timeout = self.timeout
        try:
            signatures = self._exchange(self._side, [self._number, what, sizes])
        except DistError as error:
            kind = DistTimeoutError if isinstance(error, DistTimeoutError) else DesyncError
            raise kind(f"{self._place()}, {what}, was not reached by all: {error}") from error
        calls = [f"operation {number}, {text}" for number, text, _ in signatures]
        if len(set(calls)) > 1:
            variants = list(dict.fromkeys(calls))
            found = "; ".join(f"{v} on {self._listed([r for r, c in enumerate(calls) if c == v])}" for v in variants)
            raise DesyncError(f"{self._place()}: the ranks are about to run different collectives: {found}")
        if sizes is not None:
            for giver, (_, _, (sends, _)) in enumerate(signatures):
                for taker, (_, _, (_, takes)) in enumerate(signatures):
                    if sends[taker] != takes[giver]:
                        raise DesyncError(
                            f"{self._place()}, {what}: rank {self._number_of(giver)} gives {sends[taker]} elements to "
                            f"rank {self._number_of(taker)}, which expects {takes[giver]}"
                        )

    def _exchange(self, side: Communicator, signature: Any) -> list[Any]:
        # By messages between ranks, which know whom they wait for; Allgather would not.
        text = np.frombuffer(json.dumps(signature).encode(), np.uint8)
        lengths = list(np.zeros((self.size, 1), np.int64))
        self._wait_comparing(side.Ialltoallv([np.array([text.size], np.int64)] * self.size, lengths))
        texts = [np.empty(int(n[0]), np.uint8) for n in lengths]
        self._wait_comparing(side.Ialltoallv([text] * self.size, texts))
        return [json.loads(t.tobytes()) for t in texts]

    def _wait_comparing(self, request: Request) -> None:
        """Wait for the others, of whom one may wait for this rank to receive first."""
        if self._messages.pending:
            self._messages.wait(request)
        else:
            request.Wait()

    def _place(self) -> str:
        group = self._listed(range(self.size))
        return f"rank {self._number_of(self.rank)}: operation {self._number} of the group of {group}"

    def _number_of(self, rank: int) -> int:
        ranks: Sequence[int] = getattr(self, "ranks", range(self.size))
        return ranks[rank]

    def _listed(self, ranks: Sequence[int]) -> str:
        return f"rank{'s' * (len(ranks) > 1)} {', '.join(str(self._number_of(r)) for r in ranks)}"
