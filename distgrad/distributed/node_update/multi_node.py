"""One update for ranks of several nodes: each node's sum is reduced over the nodes, bucket by bucket.

Each rank adds up its piece of every bucket over its node and all-reduces it with the ranks of its index on the other
nodes, as far as it can while backward runs (:mod:`~distgrad.distributed.node_update.internode_overlap`): a node sends
its gradients once, however many ranks it has.  The means lie where all ranks of the node can read them, so what
:mod:`~distgrad.distributed.node_update.single_node` promises on one node holds here too: a rank may look at ``p.grad``
alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distgrad.autograd import Tensor
from distgrad.backend.protocol import Array
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.gradients.nonfinite import NONFINITE
from distgrad.distributed.node_update.internode_overlap import Overlap
from distgrad.distributed.node_update.node_gradients import Parted
from distgrad.distributed.node_update.single_node import SharedUpdate
from distgrad.distributed.node_update.words import REDUCED
from distgrad.distributed.shared_memory.region import NodeMemory

__all__ = ["ClusterUpdate"]


class ClusterUpdate(SharedUpdate):
    """Ranks of several nodes as they share the update of one storage.

    Args:
        comm: the ranks of this node.
        peers: the ranks of this one's index on all nodes.
        params: as for :class:`~distgrad.distributed.node_update.single_node.SharedUpdate`.
        cap_bytes: of a bucket of gradients; see :class:`~distgrad.distributed.node_update.internode_overlap.Overlap`.
    """

    def __init__(self, comm: Communicator, peers: Communicator, params: Sequence[Tensor], cap_bytes: float) -> None:
        self.peers = peers
        super().__init__(comm, params)
        self._over_nodes: np.ndarray = NodeMemory.common(comm, self.storage.grad.nbytes).bytes.view(self.storage.dtype)
        self._anywhere = np.zeros(len(self.storage.params), np.uint8)
        self._reduced = 0  # the pass whose means are there
        self.overlap = Overlap(comm, peers, self.storage, self._rows, self._over_nodes, cap_bytes)

    def _make_factors(self) -> None:
        return None  # gradients are on their way before all ranks of the node have theirs

    def _begin_with(self, values: Array) -> None:
        self.peers.Bcast(values, 0)

    def start(self, samples: int | None) -> None:
        """A backward pass of so many samples that reduces has its first gradient of some storage."""
        self.gate()  # before this pass's first mean is written, all have read the last one's
        self.overlap.begin(samples)

    def complete(self, samples: int | None, check: bool = False) -> None:
        self.overlap.settle()
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
        """What is left to do when all ranks of the node have all their gradients."""
        try:
            super()._wait_gradients()
        except Parted:
            self.peers.refuse()  # type: ignore[attr-defined]
        self._anywhere = self._used.max(axis=0)
        self.overlap.finish(self._anywhere)
        self.meeting.mine[REDUCED] = self._pass
        self._reduced = self._pass

    def _wait_gradients(self) -> None:
        self.meeting.wait(REDUCED, self._pass, "for the other ranks' sums over the nodes in backward() number {}")

    def _mean(self, lo: int, hi: int, out: Array) -> None:
        out[...] = self._over_nodes[lo:hi]

    def _operand(self, lo: int, hi: int) -> Array:
        return self._over_nodes[lo:hi]
