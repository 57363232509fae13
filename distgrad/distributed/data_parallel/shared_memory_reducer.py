"""What :class:`~distgrad.distributed.data_parallel.message_reducer.Reducer` does, where ranks of a node share memory
and send nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad import autograd
from distgrad.autograd import Tensor
from distgrad.autograd.graph import last
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.distributed.gradients.announced import Announced
from distgrad.distributed.gradients.nonfinite import FiniteCheck
from distgrad.distributed.gradients.static_graph import StaticGraph
from distgrad.distributed.node_update.multi_node import ClusterUpdate
from distgrad.distributed.node_update.single_node import SharedUpdate

__all__ = ["SharedReducer"]


class SharedReducer:
    """Attaches to parameters; after each ``backward()`` every ``p.grad`` is the mean over the ranks.

    Making it is collective; all ranks' parameters are then rank 0's.

    Args:
        comm: the ranks.
        params: the parameters, equal on all ranks but for their values.
        by_samples: weigh each rank by the samples it announced with :meth:`forward`, else all ranks alike.
        cap_bytes: of a bucket of gradients, where there are several nodes.

    Attributes:
        params: the parameters, in the order in which ranks tell of them.
        finite: what to do about gradients that are not finite; None: nothing.
        static_graph: checks that each backward uses the same parameters; None: they may differ.
    """

    def __init__(
        self, comm: Communicator, params: Sequence[Tensor], by_samples: bool, cap_bytes: float = 25 * 2.0**20
    ) -> None:
        self.comm, self.by_samples = comm, by_samples
        if comm.peers is not None:
            comm.peers.timeout = comm.timeout  # as the user may have set it since
        kinds = dict.fromkeys(p._data.dtype for p in params)
        self.updates = [self._update(comm, [p for p in params if p._data.dtype == kind], cap_bytes) for kind in kinds]
        self.params = [p for update in self.updates for p in update.storage.params]
        self.finite: FiniteCheck | None = None
        self.static_graph: StaticGraph | None = None
        self._running = False
        self._announced = Announced(by_samples)
        self._unchecked = self._local = False
        self.successor: Reducer | None = None  # what has taken its place
        self.keeper: Any = None  # lives as long as the parameters' hooks
        self.part: Callable[[bool], None] | None = None  # has this rank go its own way; see GradientSync
        for update in self.updates:
            update.check, update.part = self._check, functools.partial(self._part, False)
            update.announced = self._announced
            update.check_refused = len(self.updates) == 1 and comm.peers is None
        self._with_factors = [update for update in self.updates if update.factors is not None]
        self._clusters = [update for update in self.updates if isinstance(update, ClusterUpdate)]
        hooks = [(p, self._hook(u, i)) for u in self.updates for i, p in enumerate(u.storage.params)]
        self._handles = [p.register_post_accumulate_grad_hook(hook) for p, hook in hooks]
        for p in params:
            p._bump()

    @property
    def announced(self) -> Announced:
        """Of the forward passes."""
        return self._announced

    @announced.setter
    def announced(self, found: Announced) -> None:
        self._announced = found
        for update in self.updates:
            update.announced = found

    def detach(self, frees: bool = True) -> None:
        """Let go of the parameters, which stay where they are.  Collective, if it is to free what messages go by.

        Where the group ends it is not to: other ranks may wait yet for what this one has sent.
        """
        for handle in self._handles:
            handle.remove()
        self._handles.clear()  # they hold the hooks, which hold this
        for update in self.updates:
            update.check = update.part = None
            update.search.leave()
            if update.factors is not None:
                update.factors.leave()
        for cluster in self._clusters if frees else ():
            cluster.overlap.free()

    def keep_open(self) -> Callable[[], bool]:
        """See :meth:`~distgrad.distributed.node_update.single_node.SharedUpdate.keep_open`; of all updates together."""
        kept = [update.keep_open() for update in self.updates]
        return lambda: any([needed() for needed in kept])  # noqa: C419 - each is to let go

    def _kinds(self, comm: Communicator) -> tuple[type[SharedUpdate], type[ClusterUpdate]]:
        """What shares an update on one node, and over several."""
        return SharedUpdate, ClusterUpdate

    def _update(self, comm: Communicator, params: list[Tensor], cap_bytes: float) -> SharedUpdate:
        on_one, over_several = self._kinds(comm)
        if comm.peers is None:
            return on_one(comm, params)
        return over_several(comm.node, comm.peers, params, cap_bytes)

    @staticmethod
    def can_serve(comm: Communicator, params: Sequence[Tensor]) -> bool:
        """Whether ``params`` can lie in memory that the ranks of ``comm`` share."""
        return comm.shares_memory and all(p.device.type == "cpu" and p._data.dtype.kind in "fV" for p in params)

    def check_complete(self) -> None:
        """RuntimeError where the last backward pass has failed before its end."""
        if self._running:
            raise RuntimeError(
                f"rank {self.comm.rank}: the last backward() failed before all gradients were reduced, "
                "so the other ranks cannot be in step with this one"
            )

    def begins(self, sync: bool) -> None:
        """A forward pass begins, whose backward pass is reduced or not; RuntimeError as :meth:`check_complete`."""
        if self._running:
            self.check_complete()
        for update in self._with_factors:
            update.expect(sync or self._announced.expecting)

    def forward(self, sync: bool, samples: int, training: bool) -> None:
        """A forward pass that records gradients was made: whether its backward reduces, and of how many samples."""
        if self._running:
            self.check_complete()
        self._announced.forward(sync, samples, training)
        for update in self._with_factors:
            update.expect(self._announced.expecting)

    @last
    def _ready(self, _: Tensor) -> None:
        if not self._announced.expecting:
            self._stays_local()
        elif not self._running:
            self._running = True
            autograd.queue_callback(self._finish)

    def _hook(self, update: SharedUpdate, i: int) -> Callable[[Tensor], None]:
        """What is called when the gradient of parameter ``i`` is complete."""
        overlap = update.overlap if isinstance(update, ClusterUpdate) else None
        large = i in update.search.large
        if overlap is None and not large:
            return self._ready

        @last
        def ready(p: Tensor) -> None:
            looks = large and self.finite is not None
            if not self._announced.expecting:
                self._stays_local()
                if looks:
                    update.search.bound(p)
                return
            if not self._running:
                self._ready(p)
                for cluster in self._clusters:
                    cluster.start(self._weight())
            if looks and len(p._node.post_hooks or ()) == 1:  # type: ignore[union-attr]
                update.search.early(i, p)
            elif looks:  # a user's hook may have changed it
                update.search.bound(p)
            if overlap is not None:
                overlap.ready(i)

        return ready

    def _stays_local(self) -> None:
        """A backward pass that is not reduced has a gradient."""
        self._announced.backward()
        if not self._local:
            self._local = True
            for update in self.updates:
                update.local = True

    def _part(self, reduces: bool) -> None:
        if self.part is None:
            raise RuntimeError(f"rank {self.comm.rank}: ranks that share an update stepped with different gradients")
        self.part(reduces)

    def _weight(self) -> int | None:
        """What this rank weighs in the mean."""
        return self._announced.weight() if self.by_samples else None

    def _finish(self) -> None:
        self._local = False
        late = False
        for update in self.updates:
            if not update.may_complete():
                late = True
        if self.successor is not None:  # since this pass began
            if not self.successor.running:
                self.successor.reduce_now()
            return
        if late:
            self._running = False
            self._part(True)  # by messages, as the rank does that has gone its own way
            return
        samples = self._announced.weight() if self.by_samples else None
        for update in self.updates:
            update.complete(samples, self.finite is not None)
        self._announced.reduced()
        self._running = False
        self._unchecked = self.finite is not None
        if self.comm.peers is not None:  # the sum over the nodes has told; on one node nobody waits before he must
            self._check()
        for update in self.updates:
            if update.users:
                update.settle_users()
        if self.static_graph is not None:
            self.static_graph.check()

    def _check(self) -> None:
        """Once all ranks' gradients are there: if one is not finite, all ranks forget this step's, or raise."""
        if self._unchecked:
            self._unchecked = found = False
            for update in self.updates:  # each waits
                if update.nonfinite():
                    found = True
            if found:
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
