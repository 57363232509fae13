"""Sums between nodes that begin while backward is still running.

A bucket is a slice of flat storage, and all ranks take buckets in one order (after the first pass: that in which the
gradients of rank 0 became complete).  A rank tells its node, by a counter in shared memory, how many of its buckets are
complete.  A bucket that is complete on all ranks of the node is cut by rank: each adds up its piece of all rows and
starts to all-reduce it with its peers, into the means that the whole node reads.  Element by element that is what would
be done at the end, so when a bucket was started changes no bit.  What was not started by then, such as a bucket with a
parameter that a rank's loss did not use, is started at the end.

A weight needs the samples of all ranks.  They are known since the forward pass, so ranks exchange them as soon as all
of a node have begun backward; no bucket starts before.

Who makes messages move: this rank, each time that a gradient becomes complete, and between two gradients nobody does.
A thread that polls for it (THREAD_MULTIPLE) was measured beside it: Open MPI over TCP held to 1 Gbit/s, two nodes of
one rank, two cores in all, 33.6 MB of gradients; medians of two to six runs, a step in ms without overlap / polling
when gradients are complete / with a thread that naps 0.1 ms:

- eight layers of 1024 x 1024, batch 1024: 735 / 703 / 690; with ``btl_tcp_flags=send,inplace`` 705 / 682 / 669.
- 1024-2048-2048-1024, batch 512: 517 / 582 / 568; with those flags 497 / 512 / 511.  Three layers leave little to
  overlap with, and by Open MPI's own flags the word that lets a transfer begin waits behind the large ones under way.

The thread moved half of the bytes before backward ended, polling an eighth.  But it took a third of the core that
computes, it needs THREAD_MULTIPLE, and a job that fails has one more thread inside MPI; where cores are idle it would
gain more.  Polling was chosen.  A ``bucket_cap_mb`` as large as the model leaves all but the first
MiB to the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.reduction import ReduceOp, combine
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.gradients.announced import UNKNOWN, refuse_unknown
from distgrad.distributed.gradients.buckets import Bucket, make_buckets
from distgrad.distributed.node_update.node_gradients import scaled
from distgrad.distributed.node_update.progress_counters import Meeting
from distgrad.storage import FlatStorage

__all__ = ["Overlap"]

_BEGUN, _SAMPLES, _READY = range(3)
_BLOCK = 1 << 15  # elements added up at a time: they stay in the cache
_FIRST_BUCKET = 2.0**20


class Overlap:
    """The sums over nodes of one storage's gradients.  Making it is collective.

    Args:
        node: the ranks of this node.
        peers: the ranks of this one's index on all nodes.
        storage: the parameters.
        rows: the gradients of each rank of the node, laid out as the storage.
        means: where the means go, laid out alike; memory of all ranks of the node.
        cap_bytes: how many bytes of gradients a bucket may have; the first has 1 MiB at most.

    Attributes:
        buckets: in the order in which they are reduced.
        early: bytes whose all-reduce this rank began before its backward had ended; in all passes together.
    """

    def __init__(
        self,
        node: Communicator,
        peers: Communicator,
        storage: FlatStorage,
        rows: Sequence[np.ndarray],
        means: np.ndarray,
        cap_bytes: float,
    ) -> None:
        # A duplicate: when a sum starts depends on other ranks' speed, so its place among another model's sums does.
        self._node, self._peers = node, peers.Dup()
        self._storage, self._rows, self._means, self._cap = storage, rows, means, cap_bytes
        self.early = 0
        self._meeting = Meeting(node, more=len(storage.params))
        self._seen = self._meeting.more  # in which order gradients came on the node's first rank
        self._order: list[int] | None = []  # in which they came here, as long as that is to be learnt
        self._pass = self._before = 0  # this pass's number, and how many buckets those before it had together
        self._use({id(p): i for i, p in enumerate(storage.params)})
        self._clear()

    def free(self) -> None:
        """Give back the communicator.  Collective."""
        self._peers.Free()

    def _use(self, order: dict[int, int]) -> None:
        self.buckets = make_buckets([self._storage], order, self._cap, min(self._cap, _FIRST_BUCKET))
        self._of = [self.buckets[0]] * len(self._storage.params)
        for bucket in self.buckets:
            self._of[bucket.lo : bucket.hi] = [bucket] * (bucket.hi - bucket.lo)

    def _clear(self) -> None:
        self._told = self._next = 0  # buckets of this pass that this rank told of, and those whose sums it started
        self._taken: dict[int, bool] = {}  # parameters whose rows are complete, and whether they had a gradient
        self._counts: list[int] = []  # of the ranks of this node; what of all ranks is asked for in _counting
        self._counting: list[Request] = []
        self._alike: bool | None = None  # all ranks weigh the same
        self._works: list[Request] = []
        for bucket in self.buckets:
            bucket.waiting = bucket.hi - bucket.lo

    # --- while backward runs ----------------------------------------------------------------------------------------

    def begin(self, samples: int | None) -> None:
        """A pass that reduces has its first gradient, and nobody reads the last one's means any more.

        Args:
            samples: what this rank weighs; None: all ranks weigh the same.
        """
        self._pass += 1
        self._meeting.mine[_SAMPLES] = -1 if samples is None else samples
        self._meeting.mine[_BEGUN] = self._pass

    def ready(self, i: int) -> None:
        """The gradient of parameter ``i`` is complete."""
        self._take(i)
        self._meeting.mine[_READY] = self._before + self._told
        self.advance()

    def _take(self, i: int) -> None:
        """The gradient of parameter ``i`` into this rank's row."""
        storage, bucket = self._storage, self._of[i]
        if i in self._taken and self.buckets.index(bucket) < self._told:
            raise RuntimeError(
                f"rank {self._node.rank} of its node: a parameter of shape {tuple(storage.params[i].shape)} was given "
                "a second gradient in one backward(), when its first was being added up: reduce at the end, under "
                "no_sync(), where a parameter is used in several nested backward passes"
            )
        p, slot = storage.params[i], storage.grad_slot(i)
        grad = p._grad
        if grad is None:
            storage.slots[i][...] = 0
        elif grad is not slot:
            if grad._data is not slot._data:
                slot._data[...] = grad._data
                slot._bump()
            p._grad = slot
        if i not in self._taken:
            bucket.waiting -= 1
            if self._order is not None:
                self._order.append(i)
        self._taken[i] = grad is not None
        while self._told < len(self.buckets) and self.buckets[self._told].waiting == 0:
            self._told += 1

    def advance(self) -> None:
        """Start what all ranks of the node are ready for, and let messages move; waits for nobody."""
        if not self._counting:
            if not self._meeting.reached(_BEGUN, self._pass):
                return
            self._count()
        if self._alike is None:
            if not all([work.Test() for work in self._counting]):  # noqa: C419 - both are to progress
                return
            self._weigh()
        while self._next < self._told and self._meeting.reached(_READY, self._before + self._next + 1):
            self.early += self._start()
        if self._works:
            self._works[-1].Test()  # it moves on all that are under way

    # --- at its end -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Before this rank tells that all its gradients are complete: those taken are what they were then."""
        for i, had in self._taken.items():
            self._storage.params[i]._grad = self._storage.grad_slot(i) if had else None
        if self._order is not None and self._node.rank == 0:
            order = list(dict.fromkeys(self._order))
            self._seen[...] = order + sorted(set(range(len(self._seen))) - set(order), reverse=True)

    def finish(self, used: np.ndarray) -> None:
        """All ranks of the node have all their gradients: return with this rank's pieces of the means.

        Args:
            used: what is told of each parameter (uint8); replaced by the most that is over all nodes.
        """
        if not self._counting:
            self._count()
        if self._alike is None:
            self._weigh()
        while self._next < len(self.buckets):
            self._start()
        flags = self._peers.Iallreduce(used, ReduceOp.MAX)
        for bucket, work in zip(self.buckets, self._works, strict=True):
            work.Wait()
            if self._alike:
                mine = self._means[self._piece(bucket)]
                mine /= mine.dtype.type(self._node.size * self._peers.size)
        flags.Wait()
        self._before += len(self.buckets)
        self._clear()
        if self._order is not None:
            self._learn()

    def _learn(self) -> None:
        """Take the buckets in the order in which rank 0 had its gradients.  Collective, once."""
        self._order = None
        order = self._seen.copy()
        self._peers.Bcast(order, 0)
        n = order.size
        self._use({id(self._storage.params[k]): n - place for place, k in enumerate(order.tolist())})
        self._clear()

    # --- the sums ---------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Ask for the samples of all ranks together, and for the most and the fewest that one has."""
        counts = self._counts = self._meeting.told(_SAMPLES)
        self._total, self._range = np.array([sum(counts)]), np.array([max(counts), -min(counts)])
        self._counting = [self._peers.Iallreduce(self._total), self._peers.Iallreduce(self._range, ReduceOp.MAX)]

    def _weigh(self) -> None:
        for work in self._counting:
            work.Wait()
        most, fewest = int(self._range[0]), -int(self._range[1])
        if fewest == UNKNOWN:  # on this node or another
            counts = self._counts
            refuse_unknown(self._node.rank, counts if UNKNOWN in counts else [UNKNOWN] * len(counts))
        self._alike = fewest < 0 or int(self._total[0]) <= 0 or fewest == most

    def _piece(self, bucket: Bucket) -> slice:
        """This rank's of the bucket: its elements by the ranks of the node."""
        first, n = bucket.range.start, bucket.range.stop - bucket.range.start
        rank, size = self._node.rank, self._node.size
        return slice(first + n * rank // size, first + n * (rank + 1) // size)

    def _start(self) -> int:
        """Add up this rank's piece of the next bucket over the node, and start to over the nodes; its bytes."""
        piece = self._piece(self.buckets[self._next])
        self._next += 1
        for lo in range(piece.start, piece.stop, _BLOCK):
            block = slice(lo, min(lo + _BLOCK, piece.stop))
            parts = [row[block] for row in self._rows]
            if not self._alike:
                total = int(self._total[0])
                parts = [scaled(x, n / total) for x, n in zip(parts, self._counts, strict=True)]
            combine(ReduceOp.SUM, parts, self._means[block])
        mine = self._means[piece]
        self._works.append(self._peers.Iallreduce(mine))
        return mine.nbytes
