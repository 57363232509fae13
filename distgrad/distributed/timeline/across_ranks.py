"""What every rank did when: spans of time, gathered on rank 0 as a Chrome trace (chrome://tracing, ui.perfetto.dev).

``current`` is the timeline that is being recorded, None nearly always.  Whoever wants more than what
:mod:`distgrad.profiler` attaches asks for it: ``if timeline.current is not None: with timeline.current.span(...)``.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.timeline.standby_thread import Standby

__all__ = ["RESCUE_SECONDS", "Timeline", "current", "interrupted", "join", "unwritten"]

current: Timeline | None = None
interrupted: Timeline | None = None  # one whose block an exception ended: written if the job ends by it
_COMPUTE, _REDUCTION = 0, 1  # rows of a rank
RESCUE_SECONDS = 5.0  # that writing what there is may delay the end of a job that fails
_RESCUED = 50_000  # last events of a rank that are then asked for


class Timeline:
    """Spans recorded in this process.

    Args:
        path: where rank 0 writes the trace.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._events: list[tuple[int, str, str, int, int, dict[str, Any]]] = []
        self._comm: Communicator | None = None
        self._shift = 0  # nanoseconds from this process's clock to rank 0's
        self._patched: list[tuple[type, Any]] = []
        self._state = (
            threading.local()
        )  # .bucket: how many of a backward's all-reduces were started; .rank, of a thread
        self._rank = 0  # of the process
        self._open: dict[int, tuple[int, str, str, int, dict[str, Any]]] = {}  # spans under way
        self._standby: Standby | None = None  # where a job of several processes may end before all is written
        self._written = False

    @property
    def alone(self) -> bool:
        """Whether this process writes the trace by itself, so far: it is in no group with others."""
        return self._comm is None

    # --- recording ---------------------------------------------------------------------------------------------------

    def add(self, name: str, kind: str, start: int, **details: Any) -> None:
        """A span from ``start`` (of :func:`time.perf_counter_ns`) to now; ``kind`` is ``"reduction"`` or another."""
        self._events.append((self._here(), name, kind, start, time.perf_counter_ns(), details))

    def _here(self) -> int:
        return int(getattr(self._state, "rank", self._rank))

    @contextlib.contextmanager
    def span(self, name: str, kind: str, **details: Any) -> Iterator[None]:
        """Record the time that the block takes."""
        start = time.perf_counter_ns()
        this = (self._here(), name, kind, start, details)
        self._open[id(this)] = this
        try:
            yield
        finally:
            del self._open[id(this)]
            self.add(name, kind, start, **details)

    @contextlib.contextmanager
    def backward(self) -> Iterator[None]:
        """Record a backward pass, and number the all-reduces of gradients in it: those are the buckets."""
        self._state.bucket = 0
        try:
            with self.span("backward", "backward"):
                yield
        finally:
            self._state.bucket = None

    def _name_of(self, op: ReduceOp, array: Any) -> str:
        bucket = getattr(self._state, "bucket", None)
        if bucket is None or np.dtype(array.dtype).kind in "iub":  # counts and flags, not gradients
            return f"all-reduce {op.name}"
        self._state.bucket = bucket + 1
        return f"bucket {bucket}"

    def check_path(self) -> None:
        """Find out now, not when the job has ended, whether the trace can be written.

        Raises:
            OSError: it cannot; the message names the file.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with tempfile.TemporaryFile(dir=self.path.parent):
                pass
        except OSError as error:
            reason = f"[Errno {error.errno}] {error.strerror}"
            raise OSError(
                f"the timeline was not written to {self.path}: {reason}; DISTGRAD_TRACE names where it is to be when "
                "the job ends, and nothing can be written there"
            ) from None

    def attach(self, comm: Communicator) -> None:
        """Record the all-reduces of communicators of ``comm``'s class, those that exist already included."""
        owner = next(c for c in type(comm).__mro__ if "Iallreduce" in vars(c))
        if any(owner is done for done, _ in self._patched):
            return
        plain = owner.__dict__["Iallreduce"]

        @functools.wraps(plain)
        def recorded(self_: Communicator, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
            start, name = time.perf_counter_ns(), self._name_of(op, array)
            size = int(array.nbytes)
            return _Recorded(plain(self_, array, op), lambda: self.add(name, "reduction", start, bytes=size))

        self._patched.append((owner, plain))
        owner.Iallreduce = recorded  # type: ignore[attr-defined]

    def detach(self) -> None:
        """Put back what :meth:`attach` replaced."""
        for owner, plain in self._patched:
            owner.Iallreduce = plain  # type: ignore[attr-defined]
        self._patched.clear()

    # --- over ranks --------------------------------------------------------------------------------------------------

    def join(self, comm: Communicator, private: Communicator | None) -> None:
        """Record ``comm``'s operations, and gather over ``private`` in the end.  Collective where that is not None."""
        self.attach(comm)
        if comm.per_thread:
            self._state.rank = comm.rank
        else:
            self._rank, self._comm = comm.rank, private
        if private is None:
            return
        self._standby = Standby("distgrad-watchdog-timeline")
        private.Barrier()
        # On one host all processes have one clock.  Elsewhere leaving the barrier is taken for the same moment.
        hosts = private.allgather([socket.gethostname(), time.perf_counter_ns()])
        host, moment = hosts[private.rank]
        self._shift = 0 if host == hosts[0][0] else hosts[0][1] - moment

    def write(self) -> None:
        """Write the trace: rank 0, of all ranks.  Collective where there are several processes."""
        if self._written:
            return
        comm, own = self._comm, self._own()
        if comm is None:
            self._write(own)
        elif comm.rank == 0:
            self._write(own + [event for rank in range(1, comm.size) for event in _received(comm, rank)])
        else:
            text = np.frombuffer(json.dumps(own).encode(), np.uint8)
            comm.Send(np.array([text.size], np.int64), 0)
            comm.Send(text, 0)
        self._written = True
        if self._standby is not None:
            self._standby.dismiss()
        if comm is not None:
            comm.Free()

    def _own(self) -> list[list[Any]]:
        """This process's events, by rank 0's clock."""
        shift = self._shift
        return [[rank, name, kind, t0 + shift, t1 + shift, more] for rank, name, kind, t0, t1, more in [*self._events]]

    # --- the end of a job that fails --------------------------------------------------------------------------------

    def last_events(self) -> list[list[Any]]:
        """What this process has recorded last, and what it is in the middle of, marked as unfinished."""
        now = time.perf_counter_ns() + self._shift
        unfinished = [
            [rank, name, kind, t0 + self._shift, now, {**more, "unfinished": True}]
            for rank, name, kind, t0, more in [*self._open.values()]
        ]
        return self._own()[-_RESCUED:] + unfinished

    def rescue(self, rank: int, others: Callable[[], Mapping[int, dict[str, Any] | str]]) -> str:
        """Rank ``rank``, this one, is about to end the job: write what there is, within :data:`RESCUE_SECONDS`.

        Args:
            others: fetches the other ranks' events without their doing; see ``Watchdog.events``.

        Returns:
            what became of it, for the user; empty where this process writes alone when it ends.
        """
        if self._standby is None:
            return ""
        told = [f"the timeline was not written to {self.path}: it took longer than {RESCUE_SECONDS:g} s"]

        def save() -> None:
            events, missing = self.last_events(), []
            for other, found in sorted(others().items()):
                theirs = found if isinstance(found, str) else found.get("events")
                if isinstance(theirs, list):
                    events += theirs
                else:
                    missing.append(f"rank {other}: {theirs or 'it records nothing'}")
            try:
                self._write(events, {"ended": f"rank {rank} ended the job", "missing": missing})
                told[0] = "\n".join([f"the timeline so far is in {self.path}", *(f"  without {m}" for m in missing)])
            except OSError as error:
                told[0] = f"the timeline was not written to {self.path}: {error}"

        self._standby.do(save, RESCUE_SECONDS)
        return told[0]

    def _write(self, events: list[list[Any]], about: dict[str, Any] | None = None) -> None:
        first = min((event[3] for event in events), default=0)
        out: list[dict[str, Any]] = []
        for rank in sorted({event[0] for event in events}):
            out.append({"ph": "M", "pid": rank, "name": "process_name", "args": {"name": f"rank {rank}"}})
            out.append({"ph": "M", "pid": rank, "name": "process_sort_index", "args": {"sort_index": rank}})
        for number, (rank, name, kind, t0, t1, details) in enumerate(sorted(events, key=lambda event: event[3])):
            common = {"pid": rank, "name": name, "cat": kind}
            start, end = (t0 - first) / 1000, (t1 - first) / 1000  # Chrome's unit is the microsecond
            if kind == "reduction":  # they overlap each other and backward, so they are no stack of calls
                out.append({**common, "ph": "b", "id": number, "tid": _REDUCTION, "ts": start, "args": details})
                out.append({**common, "ph": "e", "id": number, "tid": _REDUCTION, "ts": end})
            else:
                out.append({**common, "ph": "X", "tid": _COMPUTE, "ts": start, "dur": end - start, "args": details})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        trace = {"traceEvents": out, "displayTimeUnit": "ms", **({} if about is None else {"otherData": about})}
        whole = self.path.with_name(f".{self.path.name}.{os.getpid()}")  # ranks that fail together write whole files
        whole.write_text(json.dumps(trace), encoding="utf-8")
        whole.replace(self.path)


class _Recorded:
    """A request that says when it is complete, or rather when that was noticed."""

    __slots__ = ("_noticed", "_request")

    def __init__(self, request: Request, noticed: Callable[[], None]) -> None:
        self._request = request
        self._noticed: Callable[[], None] | None = noticed

    def Wait(self) -> None:
        self._request.Wait()
        self._complete()

    def Test(self) -> bool:
        done = self._request.Test()
        if done:
            self._complete()
        return done

    def _complete(self) -> None:
        noticed, self._noticed = self._noticed, None
        if noticed is not None:
            noticed()


def unwritten() -> Timeline | None:
    """The timeline of this process that is yet to be written, if there is one."""
    recorded = interrupted if current is None else current
    return None if recorded is None or recorded._written else recorded


def _received(comm: Communicator, rank: int) -> list[Any]:
    length = np.zeros(1, np.int64)
    comm.Recv(length, rank)
    text = np.empty(int(length[0]), np.uint8)
    comm.Recv(text, rank)
    return list(json.loads(text.tobytes()))


def join(comm: Communicator, again: Callable[[], Communicator]) -> Callable[[], None] | None:
    """Called by every rank for a new default group.

    Args:
        again: makes another communicator of the same ranks, one that knows nothing of ``comm``.

    Returns:
        what is to be called when all ranks have left the group; None where nothing is recorded.

    Raises:
        RuntimeError: only some ranks record, or rank 0 cannot write the trace; on all of them alike.
    """
    here = current
    if comm.per_thread or comm.size == 1:
        if here is not None:
            here.check_path()
            here.join(comm, None)
        return None
    tracing: list[bool] = comm.allgather(here is not None)
    if here is None or not all(tracing):
        if any(tracing):
            off = ", ".join(str(rank) for rank, on in enumerate(tracing) if not on)
            raise RuntimeError(
                f"rank {comm.rank}: a timeline is recorded on some ranks, but not on rank(s) {off}: "
                "DISTGRAD_TRACE must reach all of them (mpirun -x DISTGRAD_TRACE)"
            )
        return None
    problem = ""
    if comm.rank == 0:
        try:
            here.check_path()
        except OSError as error:
            problem = str(error)
    if problem := comm.bcast(problem):
        raise RuntimeError(f"rank {comm.rank}: {problem}")
    # Its own family: when the trace is gathered, all ranks have left the group's.
    here.join(comm, again())
    return here.write
