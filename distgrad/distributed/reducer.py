"""Gradients of all ranks into their mean, while backward is still running.

Parameters lie in flat storage, so a bucket is a slice of a gradient buffer: nothing is packed.  A leaf's hook says that
its gradient is complete; when a bucket's are, and all buckets before it were started, its all-reduce starts.  All ranks
start buckets in the same order, whatever order their gradients come in, so they cannot wait for each other in a circle.
What no hook announced (parameters that this rank's loss did not use) is filled with zeros at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from distgrad import autograd
from distgrad.autograd import Tensor
from distgrad.distributed.collectives import Work, start_all_reduce
from distgrad.distributed.communicator import Communicator, Request
from distgrad.distributed.reduction import ReduceOp
from distgrad.storage import FlatStorage

__all__ = ["Bucket", "Reducer", "make_buckets"]


class Bucket:
    """Parameters ``lo`` to ``hi - 1`` of one flat storage, reduced in one operation.

    Attributes:
        waiting: how many of them have no complete gradient yet in this backward.
    """

    __slots__ = ("hi", "lo", "storage", "waiting")

    def __init__(self, storage: FlatStorage, lo: int, hi: int) -> None:
        self.storage, self.lo, self.hi = storage, lo, hi
        self.waiting = hi - lo

    @property
    def params(self) -> Sequence[Tensor]:
        """The bucket's parameters, in the storage's order."""
        return self.storage.params[self.lo : self.hi]

    @property
    def range(self) -> slice:
        """Its part of the storage's buffers; padding between parameters is zero."""
        return slice(self.storage.ranges[self.lo][0], self.storage.ranges[self.hi - 1][1])


def make_buckets(
    storages: Sequence[FlatStorage], order: dict[int, int], cap_bytes: float, first_cap_bytes: float
) -> list[Bucket]:
    """Cut the storages into buckets, in the order in which gradients usually become complete: last parameter first.

    Args:
        order: the position in the model of each parameter, by ``id``.
        cap_bytes: how many bytes of gradients a bucket may have (a larger parameter is one of its own).
        first_cap_bytes: the same for the first bucket of a storage; a small one starts early.
    """
    buckets = []
    for storage in storages:
        ours = [id(p) in order for p in storage.params]  # an optimizer may have put other models' there
        cap, hi = first_cap_bytes, len(storage.params)
        while hi > 0:
            if not ours[hi - 1]:
                hi -= 1
                continue
            end, lo = storage.ranges[hi - 1][1], hi - 1
            while lo > 0 and ours[lo - 1] and (end - storage.ranges[lo - 1][0]) * storage.grad.itemsize <= cap:
                lo -= 1
            buckets.append(Bucket(storage, lo, hi))
            cap, hi = cap_bytes, lo
    return sorted(buckets, key=lambda b: max(order[id(p)] for p in b.params), reverse=True)


class Reducer:
    """Attaches to parameters; after each ``backward()`` every ``p.grad`` is the mean over the ranks.

    Args:
        comm: the ranks.
        buckets: in the order in which they are reduced, equal on all ranks.
        by_samples: weigh each rank by the samples it announced with :meth:`forward`, else all ranks alike.
    """

    def __init__(self, comm: Communicator, buckets: Sequence[Bucket], by_samples: bool) -> None:
        self.comm, self.buckets, self.by_samples = comm, list(buckets), by_samples
        self._check_layout()
        self._sync = False
        self._samples, self._samples_of_eval = 0, 0
        self._clear()
        for bucket in self.buckets:
            for p in bucket.params:
                p.register_post_accumulate_grad_hook(self._hook(bucket))

    def _check_layout(self) -> None:
        """All ranks' buckets must cover the same elements, or sums would mix parameters."""
        layout = [(str(b.storage.dtype), b.storage.ranges[b.lo : b.hi]) for b in self.buckets]
        relative = [(kind, [(lo - ranges[0][0], hi - ranges[0][0]) for lo, hi in ranges]) for kind, ranges in layout]
        digests = self.comm.allgather(hashlib.sha256(str(relative).encode()).hexdigest())
        odd = [str(r) for r, digest in enumerate(digests) if digest != digests[0]]
        if odd:
            raise RuntimeError(
                f"rank {self.comm.rank}: parameters lie in memory in another order on rank(s) {', '.join(odd)} than on "
                "rank 0: make optimizers on all ranks either before or after wrapping the model"
            )

    def forward(self, sync: bool, samples: int, training: bool) -> None:
        """Announce a forward pass that records gradients: whether its backward reduces, and of how many samples."""
        if self._running:
            raise RuntimeError(
                f"rank {self.comm.rank}: the last backward() failed before all gradients were reduced, "
                "so the other ranks cannot be in step with this one"
            )
        self._sync = sync
        if training:
            self._samples += samples
        else:  # an evaluation that forgot no_grad() must not count as training
            self._samples_of_eval = samples

    def _clear(self) -> None:
        self._running = False
        self._next = 0
        self._works: list[Work] = []
        self._used: list[bool] = []
        self._counts: np.ndarray | None = None
        self._counting: Request | None = None

    def _hook(self, bucket: Bucket) -> Callable[[Tensor], None]:
        def ready(_: Tensor) -> None:
            if not self._sync:
                return
            if not self._running:
                self._begin()
            bucket.waiting -= 1
            while self._next < len(self.buckets) and self.buckets[self._next].waiting == 0:
                self._start(self.buckets[self._next])
            if self._works:
                self._works[-1].is_completed()  # messages move only while somebody calls MPI

        return ready

    def _begin(self) -> None:
        self._running = True
        for bucket in self.buckets:
            bucket.waiting = bucket.hi - bucket.lo
        autograd.queue_callback(self._finish)
        if self.by_samples:
            self._counts = np.zeros(self.comm.size, np.int64)
            self._counts[self.comm.rank] = self._samples or self._samples_of_eval
            self._samples = 0
            self._counting = self.comm.Iallreduce(self._counts)

    def _start(self, bucket: Bucket) -> None:
        self._next += 1
        storage = bucket.storage
        for p in bucket.params:
            self._used.append(p._grad is not None)
            if p._data.dtype != storage.dtype or type(p._data) is not type(storage.grad):
                raise RuntimeError(
                    f"rank {self.comm.rank}: a parameter of shape {tuple(p.shape)} was {storage.dtype} on "
                    f"{storage.device} and is now {p._data.dtype} on {p.device}: "
                    "move and convert a model before wrapping it"
                )
        storage.gather(bucket.lo, bucket.hi)
        gradients, weight = storage.grad[bucket.range], self._weight()
        if weight is None:
            self._works.append(start_all_reduce(self.comm, gradients, ReduceOp.AVG))
            return
        if weight == 0.0:
            gradients[...] = 0  # not multiplied: the mean over no samples is NaN
        else:
            gradients *= weight
        self._works.append(start_all_reduce(self.comm, gradients, ReduceOp.SUM))

    def _weight(self) -> float | None:
        """This rank's weight in the mean; None where all ranks weigh the same."""
        if self._counts is None:
            return None
        if self._counting is not None:
            self._counting.Wait()
            self._counting = None
        total = int(self._counts.sum())
        if total == 0 or (self._counts == self._counts[0]).all():
            return None
        return int(self._counts[self.comm.rank]) / total

    def _finish(self) -> None:
        """The end of backward: start what is left, wait for all, and give every parameter its mean."""
        while self._next < len(self.buckets):
            self._start(self.buckets[self._next])
        used_anywhere = np.array(self._used, np.uint8)
        flags = self.comm.Iallreduce(used_anywhere, ReduceOp.MAX)
        for work in self._works:
            work.wait()
        flags.Wait()
        position = 0
        for bucket in self.buckets:
            for i in range(bucket.lo, bucket.hi):
                if used_anywhere[position]:
                    _hand_over(bucket.storage, i)
                position += 1
        self._clear()


def _hand_over(storage: FlatStorage, i: int) -> None:
    """Make the reduced gradient in the storage the parameter's."""
    p = storage.params[i]
    if storage.holds(i):
        p._grad = storage.grad_slot(i)
    elif p._grad is None:  # the user gave it other memory (p.data = ...), so its slot may be another storage's
        p._grad = Tensor(storage.slots[i].copy())
    else:
        p._grad._data[...] = storage.slots[i]
    p._grad._bump()
