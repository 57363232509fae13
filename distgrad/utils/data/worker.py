"""The loader's workers: threads that fetch batches ahead of time, each in its turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from ...random import own_generator

__all__ = ["END", "LoaderTimeout", "WorkerInfo", "Workers", "get_worker_info", "stream_of"]

END = object()  # what a worker answers whose stream has ended
_local = threading.local()


class LoaderTimeout(RuntimeError):
    """A worker took longer for a batch than the loader's ``timeout``."""


@dataclass(frozen=True)
class WorkerInfo:
    """What :func:`get_worker_info` says in a worker: its number, of how many, a seed of its own, the data set.

    >>> torch.utils.data.get_worker_info() is None   # it is made in workers
    True
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """In a loader's worker thread, which one it is; None elsewhere.

    >>> torch.utils.data.get_worker_info() is None
    True
    """
    return getattr(_local, "info", None)


class Workers:
    """``num_workers`` threads.  Batch i is worker ``i % num_workers``'s, so which worker fetches what is determined."""

    def __init__(self, num_workers: int, dataset: Any, init: Callable[[int], None] | None, base_seed: int) -> None:
        self._threads = [ThreadPoolExecutor(1, f"DataLoader worker {i}") for i in range(num_workers)]
        for i, thread in enumerate(self._threads):
            info = WorkerInfo(i, num_workers, base_seed + i, dataset)
            thread.submit(_begin, info, init)

    def run(
        self, jobs: Iterator[Any], do: Callable[[Any], Any], prefetch: int, timeout: float, take_turns: bool
    ) -> Iterator[Any]:
        """What ``do`` returns for each job, in order, ``prefetch`` jobs a worker being asked for ahead.

        Args:
            jobs: walked through in this thread.
            timeout: seconds to wait for a result; 0 for ever.
            take_turns: a worker that answers END is left out from then on, until none is left.
        """
        alive = list(range(len(self._threads)))
        pending: deque[tuple[int, Future[Any]]] = deque()
        turn = 0

        def ask() -> bool:
            nonlocal turn
            for job in jobs:
                worker = alive[turn % len(alive)]
                turn += 1
                pending.append((worker, self._threads[worker].submit(_guarded, do, job)))
                return True
            return False

        try:
            while len(pending) < prefetch * len(alive) and ask():
                pass
            while pending:
                worker, future = pending.popleft()
                try:
                    result = future.result(timeout or None)
                except FutureTimeout:
                    if future.done():  # the job itself raised a TimeoutError
                        raise
                    raise LoaderTimeout(f"DataLoader timed out after {timeout} seconds") from None
                if result is END and take_turns:
                    if worker in alive:
                        # Keep the order of turns: the next one to be asked stays the next one.
                        at = alive.index(worker)
                        position = turn % len(alive)
                        alive.pop(at)
                        turn = position - (at < position)
                    if alive:
                        ask()
                    continue
                ask()
                yield result
        finally:
            for _, future in pending:
                future.cancel()

    def close(self, wait: bool = True) -> None:
        """End the threads, after what they are at; a second call does nothing."""
        for thread in self._threads:
            thread.shutdown(wait=wait, cancel_futures=True)
        self._threads = []


def _begin(info: WorkerInfo, init: Callable[[int], None] | None) -> None:
    _local.info, _local.failure, _local.iterator = info, None, None
    own_generator(info.seed % 2**64)
    if init is not None:
        try:
            init(info.id)
        except BaseException as error:
            _local.failure = error  # raised to the consumer in place of the first batch


def _guarded(do: Callable[[Any], Any], job: Any) -> Any:
    try:
        if _local.failure is not None:
            raise _local.failure
        return do(job)
    except BaseException as error:
        error.add_note(f"raised in DataLoader worker {_local.info.id} (a thread)")
        raise


def stream_of(dataset: Any, epoch: object) -> Iterator[Any]:
    """This worker's own iterator over an iterable data set, made anew in each epoch."""
    if _local.iterator is None or _local.iterator[0] is not epoch:
        _local.iterator = (epoch, iter(dataset))
    found: Iterator[Any] = _local.iterator[1]
    return found
