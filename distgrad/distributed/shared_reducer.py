"""What :class:`~distgrad.distributed.reducer.Reducer` does, where ranks of a node share memory and send nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from distgrad import autograd
from distgrad.autograd import Tensor
from distgrad.distributed.cluster_update import ClusterUpdate
from distgrad.distributed.communicator import Communicator
from distgrad.distributed.finite import FiniteCheck
from distgrad.distributed.shared_update import SharedUpdate
from distgrad.distributed.static_graph import StaticGraph

__all__ = ["SharedReducer"]


class SharedReducer:
    """Attaches to parameters; after each ``backward()`` every ``p.grad`` is the mean over the ranks.

    Making it is collective; all ranks' parameters are then rank 0's.

    Args:
        comm: the ranks.
        params: the parameters, equal on all ranks but for their values.
        by_samples: weigh each rank by the samples it announced with :meth:`forward`, else all ranks alike.

    Attributes:
        params: the parameters, in the order in which ranks tell of them.
        finite: what to do about gradients that are not finite; None: nothing.
        static_graph: checks that each backward uses the same parameters; None: they may differ.
    """

    def __init__(self, comm: Communicator, params: Sequence[Tensor], by_samples: bool) -> None:
        self.comm, self.by_samples = comm, by_samples
        kinds = dict.fromkeys(p._data.dtype for p in params)
        self.updates = [self._update(comm, [p for p in params if p._data.dtype == kind]) for kind in kinds]
        self.params = [p for update in self.updates for p in update.storage.params]
        self.finite: FiniteCheck | None = None
        self.static_graph: StaticGraph | None = None
        self._sync = self._running = False
        self._samples, self._samples_of_eval = 0, 0
        self._unchecked = False
        for update in self.updates:
            update.check = self._check
        self._handles = [p.register_post_accumulate_grad_hook(self._ready) for p in params]
        for p in params:
            p._bump()

    def detach(self) -> None:
        """Let go of the parameters, which stay where they are."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()  # they hold the hooks, which hold this
        for update in self.updates:
            update.check = None

    def keep_open(self) -> Callable[[], bool]:
        """See :meth:`~distgrad.distributed.shared_update.SharedUpdate.keep_open`; of all updates together."""
        kept = [update.keep_open() for update in self.updates]
        return lambda: any([needed() for needed in kept])  # noqa: C419 - each is to let go

    @staticmethod
    def _update(comm: Communicator, params: list[Tensor]) -> SharedUpdate:
        return SharedUpdate(comm, params) if comm.peers is None else ClusterUpdate(comm.node, comm.peers, params)

    @staticmethod
    def can_serve(comm: Communicator, params: Sequence[Tensor]) -> bool:
        """Whether ``params`` can lie in memory that the ranks of ``comm`` share."""
        return comm.shares_memory and all(p.device.type == "cpu" and p._data.dtype.kind in "fV" for p in params)

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

    def _ready(self, _: Tensor) -> None:
        if self._sync and not self._running:
            self._running = True
            autograd.queue_callback(self._finish)

    def _finish(self) -> None:
        samples = (self._samples or self._samples_of_eval) if self.by_samples else None
        self._samples = 0
        for update in self.updates:
            update.complete(samples, self.finite is not None)
        self._running = False
        self._unchecked = self.finite is not None
        if self.comm.peers is not None:  # the sum over the nodes has told; on one node nobody waits before he must
            self._check()
        if self.static_graph is not None:
            self.static_graph.check()

    def _check(self) -> None:
        """Once all ranks' gradients are there: if one is not finite, all ranks forget this step's, or raise."""
        if self._unchecked:
            self._unchecked = False
            if any([update.nonfinite() for update in self.updates]):  # noqa: C419 - all wait
                assert self.finite is not None
                self._contain(self.finite)

    def _contain(self, finite: FiniteCheck) -> None:
        everyone = np.concatenate([update.told for update in self.updates], axis=1)
        if self.comm.peers is not None:
            mine = everyone[self.comm.node.rank]
            everyone = np.zeros((self.comm.size, mine.size), np.uint8)
            self.comm.Allgather(mine.copy(), everyone)
        for update in self.updates:
            update.forget()
        finite.contain(self.comm.rank, everyone)
