"""What a communication hook is given and what it returns: a bucket of gradients, and the promise of their mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from distgrad.autograd import Tensor
from distgrad.distributed.buckets import Bucket
from distgrad.distributed.collectives import Work, start_all_reduce
from distgrad.distributed.communicator import Communicator
from distgrad.distributed.reduction import ReduceOp

__all__ = ["CommHook", "Future", "GradBucket", "all_reduced"]

T = TypeVar("T")
S = TypeVar("S")


class Future(Generic[T]):
    """A value that is there once somebody has waited for it.

    What :meth:`then` adds runs when the value is waited for, not before: ranks wait in the same order, so callbacks may
    start collectives.

    Args:
        obtain: waits and returns the value; None: it comes by :meth:`set_result`.
        ready: whether that would not have to wait; lets messages progress.
    """

    __slots__ = ("_done", "_obtain", "_ready", "_value")

    def __init__(self, obtain: Callable[[], T] | None = None, ready: Callable[[], bool] | None = None) -> None:
        self._obtain, self._ready = obtain, ready
        self._done = False
        self._value: T | None = None

    def wait(self) -> T:
        """The value, once it is there."""
        if not self._done:
            if self._obtain is None:
                raise RuntimeError("nothing brings this Future's value: call set_result() before wait()")
            self.set_result(self._obtain())
        return self._value  # type: ignore[return-value]

    def value(self) -> T:
        """The value, which must be there."""
        if not self._done:
            raise RuntimeError("this Future has no value yet: wait() for it")
        return self._value  # type: ignore[return-value]

    def set_result(self, result: T) -> None:
        """Give the value; once only."""
        if self._done:
            raise RuntimeError("this Future has its value already")
        self._value, self._done, self._obtain, self._ready = result, True, None, None

    def done(self) -> bool:
        """Whether the value is there."""
        return self._done

    def poll(self) -> None:
        """Let messages that the value waits for progress."""
        if self._ready is not None:
            self._ready()

    def then(self, callback: Callable[[Future[T]], S]) -> Future[S]:
        """The promise of ``callback(this)``, called once this has its value."""

        def obtain() -> S:
            self.wait()
            return callback(self)

        return Future(obtain, self._ready)


class GradBucket:
    """A bucket of gradients on its way: this rank's own, already weighed if ranks do not all weigh the same.

    A hook makes of it the mean over the ranks: the sum divided by their number.
    """

    __slots__ = ("_bucket", "_buffer", "_index", "_last")

    def __init__(self, bucket: Bucket, index: int, last: bool) -> None:
        self._bucket, self._index, self._last = bucket, index, last
        self._buffer = Tensor._wrap(bucket.storage.grad[bucket.range], None)

    def index(self) -> int:
        """The bucket's number, in the order of reduction."""
        return self._index

    def is_last(self) -> bool:
        """Whether it is the last one of this backward."""
        return self._last

    def buffer(self) -> Tensor:
        """All gradients side by side, one-dimensional; gaps up to a multiple of 64 bytes are zero."""
        return self._buffer

    def set_buffer(self, buffer: Tensor) -> None:
        """Replace the gradients by a tensor of as many elements."""
        if buffer.numel() != self._buffer.numel():
            raise ValueError(f"the bucket's buffer has {self._buffer.numel()} elements, the new one {buffer.numel()}")
        self._buffer = buffer.reshape(-1)

    def gradients(self) -> list[Tensor]:
        """Each parameter's part of the buffer, in its shape."""
        start = self._bucket.range.start
        ranges = self._bucket.storage.ranges[self._bucket.lo : self._bucket.hi]
        flat = self._buffer._data
        return [
            Tensor._wrap(flat[lo - start : hi - start].reshape(p._data.shape), None)
            for p, (lo, hi) in zip(self._bucket.params, ranges, strict=True)
        ]

    def parameters(self) -> list[Tensor]:
        """The parameters, in the order of :meth:`gradients`."""
        return list(self._bucket.params)


CommHook = Callable[[Any, GradBucket], Future[Tensor]]


def all_reduced(comm: Communicator, tensor: Tensor, op: ReduceOp = ReduceOp.SUM) -> Future[Tensor]:
    """Start reducing ``tensor`` in place; the promise of it."""
    work: Work = start_all_reduce(comm, tensor._data, op)

    def obtain() -> Tensor:
        work.wait()
        return tensor

    return Future(obtain, work.is_completed)
