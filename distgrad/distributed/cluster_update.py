"""One update for ranks of several nodes: each node's sum is reduced over the nodes, part by part.

Ranks of one index on their nodes own the same part.  At the end of ``backward()`` each adds up its part of its node's
gradients and all-reduces it with those peers: a node sends its gradients once, however many ranks it has.  The means of
all parts lie where all ranks of the node can read them, so what :mod:`~distgrad.distributed.shared_update` promises on
one node holds here too: a rank may look at ``p.grad`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distgrad.autograd import Tensor
from distgrad.backend import Array
from distgrad.distributed.communicator import Communicator
from distgrad.distributed.finite import NONFINITE
from distgrad.distributed.node_memory import NodeMemory
from distgrad.distributed.reduction import ReduceOp, combine
from distgrad.distributed.shared_update import REDUCED, SharedUpdate, scaled

__all__ = ["ClusterUpdate"]

_BLOCK = 1 << 15  # elements added up at a time: they stay in the cache


class ClusterUpdate(SharedUpdate):
    """Ranks of several nodes as they share the update of one storage.

    Args:
        comm: the ranks of this node.
        peers: the ranks of this one's index on all nodes.
        params: as for :class:`~distgrad.distributed.shared_update.SharedUpdate`.
    """

    def __init__(self, comm: Communicator, peers: Communicator, params: Sequence[Tensor]) -> None:
        self.peers = peers
        super().__init__(comm, params)
        self._means: np.ndarray = NodeMemory.common(comm, self.storage.grad.nbytes).bytes.view(self.storage.dtype)
        self._anywhere = np.zeros(len(self.storage.params), np.uint8)
        self._reduced = 0  # the pass whose means are there

    def _begin_with(self, values: Array) -> None:
        self.peers.Bcast(values, 0)

    def complete(self, samples: int | None, check: bool = False) -> None:
        super().complete(samples, check)
        if self._reduced != self._pass:
            self._reduce()

    def _used_anywhere(self) -> np.ndarray:
        if self._reduced != self._pass:
            self._reduce()
        return self._anywhere

    def nonfinite(self) -> bool:
        return bool((self._used_anywhere() == NONFINITE).any())  # not only on this node

    def _reduce(self) -> None:
        """Sum this rank's part over its node, then over the nodes."""
        super()._wait_gradients()
        counts = self._counts()
        # over the nodes: the samples, the fewest and the most a rank has, and which parameters have a gradient
        total, fewest, most = np.array([sum(counts)]), np.array([min(counts)]), np.array([max(counts)])
        self._anywhere = self._used.max(axis=0)
        works = [
            self.peers.Iallreduce(total),
            self.peers.Iallreduce(fewest, ReduceOp.MIN),
            self.peers.Iallreduce(most, ReduceOp.MAX),
            self.peers.Iallreduce(self._anywhere, ReduceOp.MAX),
        ]
        for work in works:
            work.Wait()
        alike = fewest[0] < 0 or total[0] <= 0 or fewest[0] == most[0]
        lo, hi = self.storage.owned
        mine = self._means[lo:hi]
        for a in range(lo, hi, _BLOCK):
            b = min(a + _BLOCK, hi)
            parts = [row[a:b] for row in self._rows]
            if not alike:
                parts = [scaled(x, n / int(total[0])) for x, n in zip(parts, counts, strict=True)]
            combine(ReduceOp.SUM, parts, mine[a - lo : b - lo])
        self.peers.Allreduce(mine)
        if alike:
            mine /= mine.dtype.type(self.size * self.peers.size)
        self._tell(REDUCED, self._pass)
        self._reduced = self._pass

    def _wait_gradients(self) -> None:
        self._wait(REDUCED, self._pass, "for the other ranks' sums over the nodes in backward() number {}")

    def _mean(self, lo: int, hi: int, out: Array) -> None:
        out[...] = self._means[lo:hi]
