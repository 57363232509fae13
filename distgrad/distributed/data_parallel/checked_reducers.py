"""Debug mode for gradients: what each rank is about to reduce or update, by parameters (docs/reliability.md, F5).

A bucket is bytes, and in shared memory nothing is sent at all.  So with ``DISTGRAD_DEBUG=detail`` a bucket's collective
carries the names of its parameters, and ranks that share memory compare where they are before each ``backward()`` is
completed and at each ``step()``: a rank that skipped one is told so at once, with the others, instead of after the
time-out.  These classes stand in for the ones without comparisons, which know nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distgrad.autograd import Tensor
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.distributed.data_parallel.shared_memory_reducer import SharedReducer
from distgrad.distributed.gradients.buckets import Bucket
from distgrad.distributed.node_update.multi_node import ClusterUpdate
from distgrad.distributed.node_update.single_node import SharedUpdate
from distgrad.distributed.reliability.checked_communicator import Compares

__all__ = ["ComparedReducer", "ComparedSharedReducer"]


def _named(names: Sequence[str]) -> str:
    """``parameters 'a', 'b' and 3 more``."""
    shown = ", ".join(f"'{name}'" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"parameter{'s' * (len(names) > 1)} {shown}{more}"


class ComparedReducer(Reducer):
    """A reducer whose buckets are told of by their parameters.

    Args:
        names: of the parameters, by ``id``.
        options: as for :class:`~distgrad.distributed.data_parallel.message_reducer.Reducer`.
    """

    def __init__(self, comm: Compares, *args: Any, names: Mapping[int, str], **options: Any) -> None:
        self._names, self._passes = names, 0
        super().__init__(comm, *args, **options)

    def _begin(self) -> None:
        self._passes += 1
        self._noting(f"the samples of backward() number {self._passes}", super()._begin)

    def _start(self, bucket: Bucket) -> None:
        names = [self._names[id(p)] for p in bucket.params]
        words = f"bucket {self._next} of backward() number {self._passes}: {_named(names)}"
        self._noting(words, super()._start, bucket)

    def _finish(self) -> None:
        self._noting(f"the end of backward() number {self._passes}", super()._finish)

    def _noting(self, words: str, do: Callable[..., None], *given: Any) -> None:
        """Call ``do``; collectives that it starts are told of with ``words``."""
        comm: Any = self.comm
        before, comm.note = comm.note, words
        try:
            do(*given)
        finally:
            comm.note = before


class ComparedSharedReducer(SharedReducer):
    """A reducer in shared memory whose ranks compare where they are.

    Args:
        names: of the parameters, by ``id``.
    """

    def __init__(
        self, comm: Compares, params: Sequence[Tensor], by_samples: bool, cap_bytes: float, *, names: Mapping[int, str]
    ) -> None:
        self._parameters, self._passes = _named([names[id(p)] for p in params]), 0
        super().__init__(comm, params, by_samples, cap_bytes)

    def _kinds(self, comm: Communicator) -> tuple[type[SharedUpdate], type[ClusterUpdate]]:
        known = {"__module__": __name__, "compared_on": comm, "compared_as": self._parameters}
        kinds: Any = [
            type(f"Compared{kind.__name__}", (_MeetsFirst, kind), known) for kind in (SharedUpdate, ClusterUpdate)
        ]
        return kinds[0], kinds[1]

    def _finish(self) -> None:
        self._passes += 1
        for update in self.updates:
            update.gate()  # before the end is announced: others may wait for it amid the pass
        _announce(self.comm, f"the end of backward() number {self._passes} of {self._parameters}")
        super()._finish()


class _MeetsFirst(SharedUpdate):
    """What is put before the class of an update, whose ranks meet three times a step."""

    compared_on: Communicator  # not only the ranks of this node, which are ``comm``
    compared_as: str

    _begun = 0

    def begins(self) -> None:
        """Compared once for each pass that is reduced, though none of its gradients may go into common memory."""
        if self._begun < self._pass and (self.announced is None or self.announced.expecting):
            self._begun = self._pass
            _announce(self.compared_on, f"the start of backward() number {self._pass + 1} of {self.compared_as}")

    def gate(self) -> bool:
        self.begins()
        return super().gate()


    def begin(self) -> None:
        _announce(self.compared_on, f"step() number {self._steps + 1} of {self.compared_as}")
        super().begin()


def _announce(comm: Any, what: str) -> None:
    comm.announce(what)
