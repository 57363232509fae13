"""What lies between ranks: a small protocol, named after MPI's functions, on contiguous arrays.

A communicator plugin subclasses :class:`Communicator` (the object collectives and the default attributes come with it)
and moves bytes; how numbers are combined is :func:`distgrad.distributed.reduction.combine`'s business, so that every
communicator gives the same bits.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from distgrad.distributed.reduction import ReduceOp

__all__ = ["CommState", "Communicator", "CompletedRequest", "DistError", "DistTimeoutError", "Request"]


class DistError(RuntimeError):
    """Ranks cannot go on together: one failed, left, or asked for another operation.  The message names the rank."""


class DistTimeoutError(DistError):
    """A rank waited longer than its time-out for the others."""


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


class Request(Protocol):
    """An operation under way."""

    def Wait(self) -> None:
        """Return when the operation is complete and its array holds the result."""

    def Test(self) -> bool:
        """Let the operation progress; True once it is complete."""


class CompletedRequest:
    """An operation that needed no waiting."""

    def Wait(self) -> None:
        return

    def Test(self) -> bool:
        return True


class Communicator(Protocol):
    """A fixed set of ranks that can exchange arrays.

    Arrays are C-contiguous, of any dtype of :mod:`distgrad.dtypes`, and lie on the host unless ``device_pointers``.
    Every rank calls the same collectives in the same order with equal shapes and dtypes.  The constructor takes one
    argument, ``comm``: None for all ranks there are, or the user's own object where the communicator knows such.

    Attributes:
        rank, size: this rank and the number of ranks.
        local_rank, local_size: the same among the ranks that share this rank's memory (its node).
        device_pointers: whether arrays on an accelerator may be passed; if not, callers stage them through the host.
        per_thread: whether a rank is a thread (True) or a process (False).
        timeout: seconds an operation may wait for other ranks before :class:`DistTimeoutError`; None: for ever.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    device_pointers: ClassVar[bool] = False
    per_thread: ClassVar[bool] = False
    timeout: float | None = 1800.0

    def __init__(self, comm: Any = None) -> None: ...

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
        """Give ``array`` to rank ``dest``, which must :meth:`Recv` it with the same tag (0 to 255)."""

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

    def state(self) -> CommState | None:
        """What this rank did last and whether it waits, asked from another thread; None where that is not recorded."""
        return None

    def Allreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> None:
        """Replace ``array`` on every rank by ``op`` over the ranks' arrays, taken in rank order."""
        self.Iallreduce(array, op).Wait()

    def Reduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM, root: int = 0) -> None:
        """:meth:`Allreduce` whose result only rank ``root`` gets; the other ranks' arrays are left as they are."""
        result = array.copy()
        self.Allreduce(result, op)
        if self.rank == root:
            array[...] = result

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
