"""Ranks as threads of one process: a test-bed for distributed code, and a way to teach it without an MPI.

``run(4, main)`` calls ``main()`` in four threads, each a rank that may ``init_process_group("threads")``.  Collectives
meet at a rendezvous; a rank that fails, leaves or never comes is an error on the others that names it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from distgrad.distributed.communicator import Communicator, DistError, DistTimeoutError, Request
from distgrad.distributed.reduction import ReduceOp, check_op, combine
from distgrad.hookspecs import hookimpl

_here = threading.local()  # .world and .rank of the thread


class _Meeting:
    """One collective: what the ranks brought, and, once all have come, what they take home."""

    def __init__(self, size: int) -> None:
        self.what: tuple[Any, ...] = ()
        self.brought: list[np.ndarray | None] = [None] * size
        self.come: set[int] = set()
        self.taken = 0
        self.result: Any = None
        self.done = False


class _World:
    """What the threads of one ``run`` share.  One condition guards it all: a test-bed has few ranks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.failure: str | None = None
        self.left: set[int] = set()
        self.meetings: dict[tuple[int, int], _Meeting] = {}
        self.mail: dict[tuple[int, int, int, int], queue.SimpleQueue[np.ndarray]] = {}

    def fail(self, why: str) -> None:
        """Release every waiting rank with an error that says ``why``."""
        with self.changed:
            self.failure = self.failure or why
            self.changed.notify_all()

    def leave(self, rank: int) -> None:
        with self.changed:
            self.left.add(rank)
            self.changed.notify_all()


class _Request:
    """A rank's part in a meeting."""

    def __init__(self, comm: ThreadsCommunicator, key: tuple[int, int], take: Callable[[Any], None]) -> None:
        self.comm, self.key, self.take = comm, key, take
        self.finished = False

    def Wait(self) -> None:
        world = self.comm.world
        if self.finished:
            return
        with world.changed:
            meeting = world.meetings[self.key]
            self.comm.wait_until(lambda: meeting.done, lambda: set(range(world.size)) - meeting.come, meeting.what[0])
        self._finish(meeting)

    def Test(self) -> bool:
        if not self.finished:
            with self.comm.world.changed:
                meeting = self.comm.world.meetings[self.key]
            if meeting.done:
                self._finish(meeting)
        return self.finished

    def _finish(self, meeting: _Meeting) -> None:
        self.take(meeting.result)
        self.finished = True
        world = self.comm.world
        with world.changed:
            meeting.taken += 1
            if meeting.taken == world.size:
                del world.meetings[self.key]


class ThreadsCommunicator(Communicator):
    """A rank of the :func:`run` that this thread belongs to."""

    per_thread = True
    timeout: float | None = 60.0

    def __init__(self, comm: Any = None, context: int = 0) -> None:
        if comm is not None:
            raise TypeError(f"the threads communicator wraps no other, got comm={comm!r}")
        world = getattr(_here, "world", None)
        if world is None:
            raise DistError("the threads communicator exists inside ThreadsCommunicator.run(world_size, fn) only")
        self.world: _World = world
        self.rank: int = _here.rank
        self.size = world.size
        self.local_rank, self.local_size = self.rank, self.size
        self._context, self._count, self._children = context, 0, 0

    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        check_op(op, array.dtype)

        def reduce(brought: list[np.ndarray]) -> np.ndarray:
            flat = [x.reshape(-1) for x in brought]
            total = np.empty_like(flat[0])
            combine(op, flat, total)
            return total.reshape(array.shape)

        def take(result: np.ndarray) -> None:
            array[...] = result

        # A copy: the caller's array is overwritten while a slower rank may still be on its way.
        return self._meet((f"Allreduce {op.name}", array.shape, array.dtype), array.copy(), reduce, take)

    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        self._check_rank(root)

        def take(result: np.ndarray) -> None:
            array[...] = result

        what = (f"Bcast from {root}", array.shape, array.dtype)
        self._meet(what, array.copy(), lambda brought: brought[root], take).Wait()

    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        def take(result: np.ndarray) -> None:
            out[...] = result

        self._meet(("Allgather", array.shape, array.dtype), array.copy(), np.stack, take).Wait()

    def Barrier(self) -> None:
        self._meet(("Barrier",), np.empty(0), lambda brought: None, lambda result: None).Wait()

    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        self._check_rank(dest)
        self._box(self.rank, dest, tag).put(array.copy())
        with self.world.changed:
            self.world.changed.notify_all()

    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        self._check_rank(source)
        box = self._box(source, self.rank, tag)
        with self.world.changed:
            self.wait_until(lambda: not box.empty(), lambda: {source}, f"Recv from {source}")
        array[...] = box.get()

    def Dup(self) -> ThreadsCommunicator:
        self.Barrier()
        self._children += 1
        return ThreadsCommunicator(context=self._context * 1000 + self._children)

    def Depart(self, timeout: float) -> list[int]:
        world = self.world
        with world.changed:
            world.leave(self.rank)
            world.changed.wait_for(lambda: len(world.left) == self.size or world.failure is not None, timeout)
            return sorted(set(range(self.size)) - world.left)

    def Abort(self, code: int = 1) -> None:
        self.world.fail(f"rank {self.rank} called Abort({code})")
        raise SystemExit(code)

    def Free(self) -> None:
        return

    def Await(self, condition: Callable[[], bool], what: str) -> None:
        world = self.world
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while not condition():
            if world.failure is not None:
                raise DistError(f"rank {self.rank} waits {what} in vain: {world.failure}")
            if world.left - {self.rank} and not condition():
                raise DistError(f"rank {self.rank} waits {what} in vain: rank {min(world.left)} has left")
            if deadline is not None and time.monotonic() >= deadline:
                raise DistTimeoutError(f"rank {self.rank} waited {self.timeout:g} s {what}")
            time.sleep(0)

    def wait_until(self, ready: Callable[[], bool], missing: Callable[[], set[int]], what: str) -> None:
        """Wait, with the world's condition held, until ``ready()``; else say who of ``missing()`` is to blame."""
        world = self.world
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while not ready():
            if world.failure is not None:
                raise DistError(f"rank {self.rank} cannot complete {what}: {world.failure}")
            gone = sorted(missing() & world.left)
            if gone:
                raise DistError(f"rank {self.rank} cannot complete {what}: rank {gone[0]} has left")
            if deadline is not None and time.monotonic() >= deadline:
                late = ", ".join(map(str, sorted(missing())))
                raise DistTimeoutError(f"rank {self.rank} waited {self.timeout:g} s in {what} for rank(s) {late}")
            world.changed.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def _meet(
        self,
        what: tuple[Any, ...],
        payload: np.ndarray,
        reduce: Callable[[list[np.ndarray]], Any],
        take: Callable[[Any], None],
    ) -> _Request:
        world, key = self.world, (self._context, self._count)
        self._count += 1
        with world.changed:
            meeting = world.meetings.setdefault(key, _Meeting(world.size))
            if not meeting.come:
                meeting.what = what
            elif meeting.what != what:
                first = min(meeting.come)
                why = f"operation {key[1]} is {what} on rank {self.rank} but {meeting.what} on rank {first}"
                world.fail(why)
                raise DistError(f"ranks disagree: {why}")
            meeting.come.add(self.rank)
            meeting.brought[self.rank] = payload
            if len(meeting.come) == world.size:
                meeting.result = reduce([x for x in meeting.brought if x is not None])
                meeting.brought.clear()
                meeting.done = True
                world.changed.notify_all()
        return _Request(self, key, take)

    def _check_rank(self, rank: int) -> None:
        if not 0 <= rank < self.size:
            raise ValueError(f"rank {rank} does not exist: ranks are 0 to {self.size - 1}")

    def _box(self, source: int, dest: int, tag: int) -> queue.SimpleQueue[np.ndarray]:
        with self.world.changed:
            return self.world.mail.setdefault((self._context, source, dest, tag), queue.SimpleQueue())

    @staticmethod
    def run(world_size: int, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Call ``fn(*args)`` in ``world_size`` threads, each a rank, and return what they returned, in rank order.

        Raises:
            what the first rank to fail raised, with a note that names the rank; the other ranks are released.
        """
        return run(world_size, fn, *args)


def run(world_size: int, fn: Callable[..., Any], *args: Any) -> list[Any]:
    """See :meth:`ThreadsCommunicator.run`."""
    if world_size < 1:
        raise ValueError(f"a job has at least one rank, got world_size={world_size}")
    world = _World(world_size)
    results: list[Any] = [None] * world_size
    failures: list[tuple[int, BaseException]] = []

    def body(rank: int) -> None:
        _here.world, _here.rank = world, rank
        try:
            results[rank] = fn(*args)
        except BaseException as error:  # a SystemExit too: the others must not wait for this rank
            failures.append((rank, error))
            world.fail(f"rank {rank} failed with {type(error).__name__}: {error}")
        finally:
            world.leave(rank)

    threads = [
        threading.Thread(target=body, args=(rank,), name=f"rank {rank}", daemon=True) for rank in range(world_size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        rank, error = failures[0]
        error.add_note(f"raised on rank {rank} of {world_size} (threads)")
        raise error
    return results


@hookimpl
def distgrad_communicators() -> dict[str, type[Communicator]]:
    return {"threads": ThreadsCommunicator}
