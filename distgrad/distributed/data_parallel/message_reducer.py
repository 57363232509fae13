"""Gradients of all ranks into their mean, while backward is still running.

Parameters lie in flat storage, so a bucket is a slice of a gradient buffer: nothing is packed.  A leaf's hook says that
its gradient is complete; when a bucket's are, and all buckets before it were started, its all-reduce starts.  All ranks
start buckets in the same order, whatever order their gradients come in, so they cannot wait for each other in a circle.
What no hook announced (parameters that this rank's loss did not use) is filled with zeros at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad import autograd
from distgrad.autograd import Tensor
from distgrad.autograd.graph import last
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.gradients.announced import Announced, refuse_unknown
from distgrad.distributed.gradients.buckets import Bucket
from distgrad.distributed.gradients.grad_bucket import CommHook, GradBucket, all_reduced
from distgrad.distributed.gradients.nonfinite import ABSENT, NONFINITE, PRESENT, FiniteCheck, all_finite
from distgrad.distributed.gradients.static_graph import StaticGraph
from distgrad.storage import FlatStorage

__all__ = ["Reducer"]


class Reducer:
    """Attaches to parameters; after each ``backward()`` every ``p.grad`` is the mean over the ranks.

    Args:
        comm: the ranks.
        buckets: in the order in which they are reduced, equal on all ranks.
        by_samples: weigh each rank by the samples that it announced, else all ranks alike.
        rebucket: given numbers by ``id`` of the parameters that are the larger the earlier a gradient was complete,
            the buckets to use from then on; asked once, after the first backward, with what rank 0 saw.
        finite: what to do about gradients that are not finite; None: nothing.
        static_graph: checks that each backward uses the same parameters; None: they may differ.
        announced: of the forward passes; default: nothing so far.
        compare_late: whether all ranks lay out their buckets alike is not asked now, which is collective, but when
            the first is reduced.

    Attributes:
        params: all parameters; ranks tell of them in this order.
        hook, hook_state: how a bucket is reduced; None: all-reduced as it is.
        before: called when a backward that reduces has its first gradient.
        by_presence: where ranks have run out of data, divide by the number of those that have not, not by all.
    """

    def __init__(
        self,
        comm: Communicator,
        buckets: Sequence[Bucket],
        by_samples: bool,
        *,
        rebucket: Callable[[dict[int, int]], list[Bucket]] | None = None,
        finite: FiniteCheck | None = None,
        static_graph: StaticGraph | None = None,
        announced: Announced | None = None,
        compare_late: bool = False,
    ) -> None:
        self.comm, self.by_samples, self.by_presence = comm, by_samples, False
        self.announced = announced or Announced(by_samples)
        self.rebucket, self.finite, self.static_graph = rebucket, finite, static_graph
        self.hook: CommHook | None = None
        self.hook_state: Any = None
        self.before: Callable[[], None] | None = None
        self.keeper: Any = None  # lives as long as the parameters' hooks
        self.params = [p for b in buckets for p in b.params]
        self._position = {id(p): k for k, p in enumerate(self.params)}
        self._late = compare_late
        self._use(buckets)
        self._idle = False
        self._order: list[int] | None = [] if rebucket is not None else None  # positions, as gradients were complete
        self._clear()
        self._handles = [p.register_post_accumulate_grad_hook(self._hook(k)) for k, p in enumerate(self.params)]

    def detach(self) -> None:
        """Let go of the parameters."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()  # they hold the hooks, which hold this

    def _use(self, buckets: Sequence[Bucket]) -> None:
        """Reduce in these buckets from now on.  Collective: all ranks' must cover the same, or sums would mix."""
        self.buckets = list(buckets)
        self._of = [self.buckets[0]] * len(self.params)
        for bucket in self.buckets:
            for p in bucket.params:
                self._of[self._position[id(p)]] = bucket
        self._compared = False
        if not self._late:
            self._compare()
        self._late = False

    def _compare(self) -> None:
        """Are all ranks' buckets laid out alike?  Asked when the first is to be reduced.  Collective."""
        self._compared = True
        layout = [(str(b.storage.dtype), b.storage.ranges[b.lo : b.hi]) for b in self.buckets]
        relative = [(kind, [(lo - ranges[0][0], hi - ranges[0][0]) for lo, hi in ranges]) for kind, ranges in layout]
        digests = self.comm.allgather(hashlib.sha256(str(relative).encode()).hexdigest())
        odd = [str(r) for r, digest in enumerate(digests) if digest != digests[0]]
        if odd:
            raise RuntimeError(
                f"rank {self.comm.rank}: parameters lie in memory in another order on rank(s) {', '.join(odd)} than on "
                "rank 0: make optimizers on all ranks either before or after wrapping the model"
            )

    def check_complete(self) -> None:
        """RuntimeError where the last backward pass has failed before its end."""
        if self._running:
            raise RuntimeError(
                f"rank {self.comm.rank}: the last backward() failed before all gradients were reduced, "
                "so the other ranks cannot be in step with this one"
            )

    def begins(self, sync: bool) -> None:
        """A forward pass begins, whose backward pass is reduced or not; RuntimeError as :meth:`check_complete`."""
        self.check_complete()

    def forward(self, sync: bool, samples: int, training: bool) -> None:
        """A forward pass that records gradients was made: whether its backward reduces, and of how many samples."""
        self.check_complete()
        self.announced.forward(sync, samples, training)

    @property
    def running(self) -> bool:
        """Whether a backward pass is being reduced."""
        return self._running

    def reduce_now(self) -> None:
        """Reduce this rank's gradients as they are, as a backward pass that is reduced would at its end."""
        self._begin()
        self._finish()

    def shadow(self) -> None:
        """Take part in the other ranks' backward without data of one's own; ``p.grad`` is then the mean, as theirs."""
        for p in self.params:
            p._grad = None
        self._idle = True
        try:
            self._begin()
            self._finish()
        finally:
            self._idle = False

    def _clear(self) -> None:
        self._running = False
        self._next = 0
        self._works: list[Future[Tensor]] = []
        self._told = np.zeros(len(self.params), np.uint8)
        self._counts: np.ndarray | None = None
        self._counting: Request | None = None

    def _hook(self, position: int) -> Callable[[Tensor], None]:
        @last
        def ready(_: Tensor) -> None:
            if not self.announced.expecting:
                self.announced.backward()
                return
            if not self._running:
                if self.before is not None:
                    self.before()
                self._begin()
                autograd.queue_callback(self._finish)
            if self._order is not None:
                self._order.append(position)
            self._of[position].waiting -= 1
            while self._next < len(self.buckets) and self.buckets[self._next].waiting == 0:
                self._start(self.buckets[self._next])
            if self._works:
                self._works[-1].poll()  # messages move only while somebody calls MPI

        return ready

    def _begin(self) -> None:
        self._running = True
        if not self._compared:
            self._compare()
        for bucket in self.buckets:
            bucket.waiting = bucket.hi - bucket.lo
        if self.by_samples or self.by_presence:
            mine = self.announced.weight() if self.by_samples else 1
            self._counts = np.zeros(self.comm.size, np.int64)
            self._counts[self.comm.rank] = 0 if self._idle else mine
            self._counting = self.comm.Iallreduce(self._counts)

    def _start(self, bucket: Bucket) -> None:
        index = self._next
        self._next += 1
        storage = bucket.storage
        for p in bucket.params:
            self._told[self._position[id(p)]] = ABSENT if p._grad is None else PRESENT
            if p._data.dtype != storage.dtype or type(p._data) is not type(storage.grad):
                raise RuntimeError(
                    f"rank {self.comm.rank}: a parameter of shape {tuple(p.shape)} was {storage.dtype} on "
                    f"{storage.device} and is now {p._data.dtype} on {p.device}: "
                    "move and convert a model before wrapping it"
                )
        storage.gather(bucket.lo, bucket.hi)
        gradients = storage.grad[bucket.range]
        if self.finite is not None and not all_finite(gradients):
            for i in range(bucket.lo, bucket.hi):
                if not all_finite(storage.slots[i]):
                    self._told[self._position[id(storage.params[i])]] = NONFINITE
            gradients[...] = 0  # nobody will use the sum, but a hook may remember what it could not send
        weight = self._weight()
        if self.hook is not None:
            if weight is not None:
                _scale(gradients, weight * self.comm.size)
            given = GradBucket(bucket, index, self._next == len(self.buckets))
            self._works.append(self._checked(self.hook(self.hook_state, given)))
            return
        if weight is not None:
            _scale(gradients, weight)
        op = ReduceOp.AVG if weight is None else ReduceOp.SUM
        self._works.append(all_reduced(self.comm, Tensor._wrap(gradients, None), op))

    def _checked(self, future: Any) -> Future[Tensor]:
        if not isinstance(future, Future):
            raise TypeError(
                f"rank {self.comm.rank}: a communication hook must return a Future of the reduced bucket, but "
                f"{getattr(self.hook, '__name__', self.hook)} returned {type(future).__name__}"
            )
        return future

    def _weight(self) -> float | None:
        """This rank's weight in the mean; None where all ranks weigh the same."""
        if self._counts is None:
            return None
        if self._counting is not None:
            self._counting.Wait()
            self._counting = None
            refuse_unknown(self.comm.rank, self._counts.tolist())
        total = int(self._counts.sum())
        if total == 0 or (self._counts == self._counts[0]).all():
            return None
        return int(self._counts[self.comm.rank]) / total

    def _finish(self) -> None:
        """The end of backward: start what is left, wait for all, and give every parameter its mean."""
        while self._next < len(self.buckets):
            self._start(self.buckets[self._next])
        told = self._told.copy()
        flags = self.comm.Iallreduce(told, ReduceOp.MAX)
        for bucket, work in zip(self.buckets, self._works, strict=True):
            self._store(bucket, work.wait())
        flags.Wait()
        used, mine = told > ABSENT, self._told
        idle, buckets = self._idle, self.buckets
        self._clear()
        if not idle:
            self.announced.reduced()
        for bucket in buckets:
            for i in range(bucket.lo, bucket.hi):
                if used[self._position[id(bucket.storage.params[i])]]:
                    _hand_over(bucket.storage, i)
        if self._order is not None:
            self._learn()
        if (told == NONFINITE).any():
            self._contain(mine)
        if self.static_graph is not None and not idle:
            self.static_graph.check()

    def _store(self, bucket: Bucket, reduced: Any) -> None:
        """What a hook returned becomes the bucket's gradients."""
        gradients = bucket.storage.grad[bucket.range]
        if isinstance(reduced, (list, tuple)) and len(reduced) == 1:  # as futures of collectives hold their results
            reduced = reduced[0]
        if not isinstance(reduced, Tensor) or reduced.numel() != gradients.size:
            what = f"a tensor of {reduced.numel()}" if isinstance(reduced, Tensor) else type(reduced).__name__
            raise TypeError(
                f"rank {self.comm.rank}: a communication hook must bring a tensor of the bucket's {gradients.size} "
                f"elements, but {getattr(self.hook, '__name__', self.hook)} brought {what}"
            )
        data = reduced._data.reshape(-1)
        if data.dtype != gradients.dtype or _address(data) != _address(gradients):
            gradients[...] = data

    def _learn(self) -> None:
        """Take the buckets in the order in which gradients became complete on rank 0.  Collective, once."""
        assert self._order is not None and self.rebucket is not None
        seen = list(dict.fromkeys(self._order))
        rest = set(range(len(self.params))) - set(seen)
        order = np.array(seen + sorted(rest), np.int64)
        self._order = None
        self.comm.Bcast(order, 0)
        n = len(self.params)
        self._use(self.rebucket({id(self.params[k]): n - place for place, k in enumerate(order.tolist())}))

    def _contain(self, mine: np.ndarray) -> None:
        """Some rank's gradient is not finite: all forget this step's, and raise if they are to."""
        assert self.finite is not None
        everyone = np.zeros((self.comm.size, mine.size), np.uint8)
        self.comm.Allgather(mine, everyone)
        for p in self.params:
            p._grad = None
        self.finite.contain(self.comm.rank, everyone)


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0]) if isinstance(array, np.ndarray) else int(array.data.ptr)


def _scale(gradients: Any, weight: float) -> None:
    if weight == 0.0:
        gradients[...] = 0  # not multiplied: the mean over no samples is NaN
    else:
        gradients *= weight


def _hand_over(storage: FlatStorage, i: int) -> None:
    """Make the reduced gradient in the storage the parameter's."""
    p = storage.params[i]
    if p._grad is not None and not p._grad.is_sparse:  # in place: who has it, or sees its memory, sees the mean
        if p._grad._data is not storage.slots[i]:
            p._grad._data[...] = storage.slots[i]
    elif storage.holds(i):
        p._grad = storage.grad_slot(i)
    else:  # the user gave it other memory (p.data = ...), so its slot may be another storage's
        p._grad = Tensor._wrap(storage.slots[i].copy(), None)
    p._grad._bump()
