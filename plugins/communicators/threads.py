"""Ranks as threads of one process: a test-bed for distributed code, and a way to teach it without an MPI.

``run(4, main)`` calls ``main()`` in four threads, each a rank, whose ``main`` calls ``init_process_group()``, as every
rank does, before anything else of :mod:`distgrad.distributed` (in these threads it means ``"threads"``).  Collectives
meet at a rendezvous; a rank that fails, leaves or never comes is an error on the others that names it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad.distributed.communication.communicator import Communicator, What, check_message, yield_core
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.communication.reduction import ReduceOp, check_op, combine
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.process_groups.default_group import this_thread_is_a_rank
from distgrad.hookspecs import hookimpl

_here = threading.local()  # .world and .rank of the thread


class _Meeting:
    """One collective: what the ranks brought, and, once all have come, what they take home."""

    def __init__(self, size: int) -> None:
        self.what: tuple[Any, ...] = ()
        self.brought: list[Any] = [None] * size
        self.come: set[int] = set()
        self.taken = 0
        self.result: Any = None
        self.done = False


_PATIENCE = 0.1  # seconds that a rank waits before it asks why


class _Box:
    """Messages from one rank to another with one tag: the n-th message is the n-th receive's."""

    def __init__(self) -> None:
        self.sent, self.awaited = 0, 0
        self.messages: dict[int, np.ndarray] = {}


_Context = tuple[Any, ...]  # which communicator: its origin, in words that all its ranks have in common


class _World:
    """What the threads of one ``run`` share.  One condition guards it all: a test-bed has few ranks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.failure: str | None = None
        self.left: set[int] = set()
        self.meetings: dict[tuple[_Context, int], _Meeting] = {}
        self.mail: dict[tuple[_Context, int, int, int], _Box] = {}
        self.waiting: dict[int, tuple[Callable[[], set[int]], str]] = {}  # by rank: for which others, in what

    def fail(self, why: str) -> None:
        """Release every waiting rank with an error that says ``why``."""
        with self.changed:
            self.failure = self.failure or why
            self.changed.notify_all()

    def leave(self, rank: int) -> None:
        with self.changed:
            self.left.add(rank)
            self.changed.notify_all()


def _elements(of: tuple[int, np.dtype] | None) -> str:
    return "nothing" if of is None else f"{of[0]} elements of {of[1]}"


class _Request:
    """Something that is ready when other ranks have done their part; then ``finish()`` takes it."""

    def __init__(
        self,
        comm: ThreadsCommunicator,
        what: str,
        ready: Callable[[], bool],
        missing: Callable[[], set[int]],
        finish: Callable[[], None],
    ) -> None:
        self.comm, self.what, self.ready, self.missing, self.finish = comm, what, ready, missing, finish
        self.finished = False

    def Wait(self) -> None:
        if self.finished:
            return
        with self.comm.world.changed:
            self.comm.wait_until(self.ready, self.missing, self.what)
        self._finish()

    def Test(self) -> bool:
        if not self.finished:
            with self.comm.world.changed:
                ready = self.ready()
                if not ready:
                    self.comm.look_for_failures(self.missing, self.what)
            if ready:
                self._finish()
            else:
                yield_core()  # callers poll, and the others need the interpreter
        return self.finished

    def _finish(self) -> None:
        self.finished = True
        self.finish()


class ThreadsCommunicator(Communicator):
    """A rank of the :func:`run` that this thread belongs to.

    Attributes:
        ranks: of each member, its rank in the world; errors name those.
    """

    per_thread = True
    timeout: float | None = 60.0

    def __init__(self, comm: Any = None, context: _Context = (), ranks: tuple[int, ...] | None = None) -> None:
        if comm is not None:
            raise TypeError(f"the threads communicator wraps no other, got comm={comm!r}")
        world = getattr(_here, "world", None)
        if world is None:
            raise DistError("the threads communicator exists inside threads.run(world_size, fn) only")
        self.world: _World = world
        self.ranks = tuple(range(world.size)) if ranks is None else ranks
        self.rank, self.size = self.ranks.index(_here.rank), len(self.ranks)
        self.local_rank, self.local_size = self.rank, self.size
        self._context, self._count = context, 0
        self._children: dict[tuple[int, ...], int] = {}  # how many of each were made

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
        self.Ibcast(array, root).Wait()

    def Ibcast(self, array: np.ndarray, root: int = 0) -> Request:
        self.check_root(root)

        def take(result: np.ndarray) -> None:
            array[...] = result

        what = (f"Bcast from {root}", array.shape, array.dtype)
        return self._meet(what, array.copy(), lambda brought: brought[root], take)

    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        self.Iallgather(array, out).Wait()

    def Iallgather(self, array: np.ndarray, out: np.ndarray) -> Request:
        self.check_table(array, out)

        def take(result: np.ndarray) -> None:
            out[...] = result.reshape(out.shape)

        return self._meet(("Allgather", array.shape, array.dtype), array.copy(), np.stack, take)

    def Ialltoallv(self, send: Sequence[np.ndarray], recv: Sequence[np.ndarray]) -> Request:
        return self.Iexchange(("Alltoallv", "", recv[self.rank]), send, recv)

    def Iexchange(self, what: What, send: Sequence[np.ndarray | None], recv: Sequence[np.ndarray | None]) -> Request:
        name = " ".join(filter(None, what[:2]))
        self.keep_own(send, recv)

        def matched(brought: list[Any]) -> list[Any]:
            for giver, (given, _) in enumerate(brought):
                for taker, (_, places) in enumerate(brought):
                    found, wanted = given[taker], places[giver]
                    sent = None if found is None else (found.size, found.dtype)
                    if giver != taker and sent != wanted:
                        raise DistError(
                            f"in {name} rank {self.ranks[giver]} gives {_elements(sent)} to rank {self.ranks[taker]}, "
                            f"which expects {_elements(wanted)}; both must agree in length and dtype"
                        )
            return [given for given, _ in brought]

        def take(result: list[list[np.ndarray]]) -> None:
            for giver, target in enumerate(recv):
                if target is not None and giver != self.rank:
                    target.reshape(-1)[...] = result[giver][self.rank]

        copies = [None if x is None else x.reshape(-1).copy() for x in send]
        places = [None if x is None else (x.size, x.dtype) for x in recv]
        return self._meet((name,), (copies, places), matched, take)

    def Barrier(self) -> None:
        self.Ibarrier().Wait()

    def Ibarrier(self) -> Request:
        return self._meet(("Barrier",), (), lambda brought: None, lambda result: None)

    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        self.check_root(dest)
        with self.world.changed:
            box = self._box(self.rank, dest, tag)
            box.messages[box.sent] = array.copy()
            box.sent += 1
            self.world.changed.notify_all()

    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        self.Irecv(array, source, tag).Wait()

    def Irecv(self, array: np.ndarray, source: int, tag: int = 0) -> Request:
        self.check_root(source)
        with self.world.changed:
            box = self._box(source, self.rank, tag)
            number = box.awaited
            box.awaited += 1
        culprit = {self.ranks[source]}

        def take() -> None:
            with self.world.changed:
                message = box.messages.pop(number)
            check_message(self.ranks[self.rank], self.ranks[source], tag, array, message.size, message.dtype)
            array[...] = message.reshape(array.shape)

        return _Request(self, f"Recv from {source}", lambda: number in box.messages, lambda: culprit, take)

    def Iprobe(self, source: int | None, tag: int = 0) -> int | None:
        candidates = range(self.size) if source is None else [source]
        with self.world.changed:
            for rank in candidates:
                box = self._box(rank, self.rank, tag)
                if box.sent > box.awaited:
                    return rank
            self.look_for_failures(lambda: {self.ranks[r] for r in candidates if r != self.rank}, "Iprobe")
        yield_core()
        return None

    def Dup(self) -> ThreadsCommunicator:
        context = self._child("dup", self.ranks)
        self.Barrier()
        return self._made(context, self.ranks)

    def Create_group(self, ranks: Sequence[int]) -> ThreadsCommunicator | None:
        for rank in ranks:
            self.check_root(rank)
        members = tuple(self.ranks[r] for r in ranks)
        return self._made(self._child("group", members), members) if self.rank in ranks else None

    def _child(self, kind: str, members: tuple[int, ...]) -> _Context:
        number = self._children[members] = self._children.get(members, 0) + 1
        return (*self._context, kind, number, members)

    def _made(self, context: _Context, ranks: tuple[int, ...]) -> ThreadsCommunicator:
        new = type(self)(context=context, ranks=ranks)
        new.timeout = self.timeout
        return new

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
        world, started = self.world, time.monotonic()
        deadline = None if self.timeout is None else started + self.timeout
        while not condition():
            late = getattr(condition, "late", None)
            if late and time.monotonic() > started + _PATIENCE and (why := self._in_vain(late, what)):
                if condition.alone is not None and condition.alone():  # type: ignore[attr-defined]
                    return
                world.fail(why)
            if world.failure is not None:
                raise DistError(f"rank {self.rank} waits {what} in vain: {world.failure}")
            if world.left - {self.rank} and not condition():
                raise DistError(f"rank {self.rank} waits {what} in vain: rank {min(world.left)} has left")
            if deadline is not None and time.monotonic() >= deadline:
                raise DistTimeoutError(f"rank {self.rank} waited {self.timeout:g} s {what}")
            yield_core()

    def _in_vain(self, late: list[int], what: str) -> str:
        """Whether one of the ranks that this one waits for waits for this one elsewhere: then, in words."""
        world, me = self.world, self.ranks[self.rank]
        with world.changed:
            for rank in late:
                peer = self.ranks[rank]
                missing, where = world.waiting.get(peer, (set[int], ""))
                if me in missing():
                    return (
                        f"the ranks disagree: rank {me} waits {what}, but rank {peer} waits in {where}: every rank "
                        "must take part in every backward(), step() and collective"
                    )
        return ""

    def wait_until(self, ready: Callable[[], bool], missing: Callable[[], set[int]], what: str) -> None:
        """Wait, with the world's condition held, until ``ready()``; else say who of ``missing()`` is to blame."""
        world = self.world
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        world.waiting[self.ranks[self.rank]] = missing, what
        try:
            while not ready():
                self.look_for_failures(missing, what)
                if deadline is not None and time.monotonic() >= deadline:
                    late = ", ".join(map(str, sorted(missing())))
                    raise DistTimeoutError(f"rank {self.rank} waited {self.timeout:g} s in {what} for rank(s) {late}")
                world.changed.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        finally:
            del world.waiting[self.ranks[self.rank]]

    def look_for_failures(self, missing: Callable[[], set[int]], what: str) -> None:
        """Raise where what is waited for cannot come any more."""
        world = self.world
        if world.failure is not None:
            raise DistError(f"rank {self.rank} cannot complete {what}: {world.failure}")
        needed = missing()
        gone = sorted(needed & world.left)
        if gone and (what != "Iprobe" or len(gone) == len(needed)):
            raise DistError(f"rank {self.rank} cannot complete {what}: rank {gone[0]} has left")

    def _meet(
        self,
        what: tuple[Any, ...],
        payload: Any,
        reduce: Callable[[list[Any]], Any],
        take: Callable[[Any], None],
    ) -> _Request:
        world, key = self.world, (self._context, self._count)
        self._count += 1
        with world.changed:
            meeting = world.meetings.setdefault(key, _Meeting(self.size))
            if not meeting.come:
                meeting.what = what
            elif meeting.what != what:
                first = self.ranks[min(meeting.come)]
                why = f"operation {key[1]} is {what} on rank {self.ranks[self.rank]} but {meeting.what} on rank {first}"
                world.fail(why)
                raise DistError(f"ranks disagree: {why}")
            meeting.come.add(self.rank)
            meeting.brought[self.rank] = payload
            if len(meeting.come) == self.size:
                try:
                    meeting.result = reduce(meeting.brought)
                except DistError as error:
                    why = f"the ranks disagree: {error}"
                    world.fail(why)
                    raise DistError(f"rank {self.ranks[self.rank]}: {why}") from None
                meeting.brought = []
                meeting.done = True
                world.changed.notify_all()

        def finish() -> None:
            take(meeting.result)
            with world.changed:
                meeting.taken += 1
                if meeting.taken == self.size:
                    del world.meetings[key]

        def missing() -> set[int]:
            return {self.ranks[r] for r in set(range(self.size)) - meeting.come}

        return _Request(self, meeting.what[0], lambda: meeting.done, missing, finish)

    def _box(self, source: int, dest: int, tag: int) -> _Box:
        """The mail of three numbers; the world's condition is held."""
        return self.world.mail.setdefault((self._context, source, dest, tag), _Box())

    @staticmethod
    def run(world_size: int, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Call ``fn(*args)`` in ``world_size`` threads, each a rank, and return what they returned, in rank order.

        ``fn`` starts with ``init_process_group()``.

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
        this_thread_is_a_rank("threads")
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
