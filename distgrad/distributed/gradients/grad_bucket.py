"""What a communication hook is given and what it returns: a bucket of gradients, and the promise of their mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distgrad.autograd import Tensor
from distgrad.distributed.collectives.in_place import Work, start_all_reduce
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.gradients.buckets import Bucket

__all__ = ["CommHook", "GradBucket", "all_reduced"]

class GradBucket:
    """A bucket of gradients on its way: this rank's own, already weighed if ranks do not all weigh the same.

    A hook makes of it the mean over the ranks: the sum divided by their number.

    >>> from distgrad.distributed.algorithms.ddp_comm_hooks import default_hooks
    >>> from distgrad_communicators import threads
    >>> def hook(sizes, bucket):
    ...     sizes.append(bucket.buffer().numel())
    ...     return default_hooks.allreduce_hook(None, bucket)
    ...
    >>> def main():
    ...     dist.init_process_group()
    ...     model, sizes = nn.parallel.DistributedDataParallel(nn.Linear(3, 1, bias=False)), []
    ...     model.register_comm_hook(sizes, hook)
    ...     model(torch.ones(2, 3)).sum().backward()
    ...     dist.destroy_process_group()
    ...     return sizes
    ...
    >>> threads.run(2, main)
    [[3], [3]]
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
