"""How a set of parameters gets the mean of its gradients: in shared memory where ranks have it, else by messages.

What shared memory cannot serve (a communication hook, ranks without inputs) changes over to messages, with the same
results: each rank's parameters then move into memory of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from distgrad import storage
from distgrad.autograd import Tensor
from distgrad.distributed.buckets import make_buckets
from distgrad.distributed.communicator import Communicator
from distgrad.distributed.compared import ComparedReducer, ComparedSharedReducer
from distgrad.distributed.desync import Compares
from distgrad.distributed.finite import FiniteCheck
from distgrad.distributed.grad_bucket import CommHook
from distgrad.distributed.reducer import Reducer
from distgrad.distributed.shared_reducer import SharedReducer

__all__ = ["GradientSync"]

_FIRST_BUCKET = 2.0**20


class GradientSync:
    """Attaches to parameters.  Collective.

    Args:
        comm: the ranks.
        params: by name; equal on all ranks but for their values.
        by_samples: weigh each rank by its samples, else all alike.
        shared: whether memory may be shared where it can; all ranks' parameters are then rank 0's.
        cap_bytes: of a bucket of gradients; the first one has 1 MiB at most.
        check_finite: ``"raise"``, ``"skip"`` or None; see :class:`~distgrad.distributed.finite.FiniteCheck`.
        static_graph: see :class:`~distgrad.distributed.reducer.Reducer`.

    Attributes:
        reducer: the one in use.
        params: in the order given.
    """

    def __init__(
        self,
        comm: Communicator,
        params: Mapping[str, Tensor],
        by_samples: bool,
        *,
        shared: bool = True,
        cap_bytes: float = 25 * 2.0**20,
        check_finite: str | None = None,
        static_graph: bool = False,
    ) -> None:
        self.comm, self.by_samples = comm, by_samples
        self.params = list(params.values())
        self._names = {id(p): name for name, p in params.items()}
        self._cap, self._check, self._static = cap_bytes, check_finite, static_graph
        self._former: SharedReducer | None = None
        self._hooked = False
        self.reducer: Reducer | SharedReducer
        if shared and comm.size > 1 and SharedReducer.can_serve(comm, self.params):
            self.reducer = (
                ComparedSharedReducer(comm, self.params, by_samples, names=self._names)
                if isinstance(comm, Compares)
                else SharedReducer(comm, self.params, by_samples)
            )
            self.reducer.finite = self._finite(self.reducer)
        else:
            self.reducer = self._messages()

    @property
    def shares_memory(self) -> bool:
        """Whether the parameters lie in memory that ranks share."""
        return isinstance(self.reducer, SharedReducer)

    def by_messages(self) -> Reducer:
        """The reducer that needs no common memory; the one in use from then on.  Collective the first time."""
        if isinstance(self.reducer, SharedReducer):
            self._leave_shared_memory(self.reducer)
            self.reducer = self._messages()
        return self.reducer

    def register_hook(self, state: Any, hook: CommHook) -> None:
        """Have ``hook(state, bucket)`` reduce each bucket; TypeError, RuntimeError as PyTorch's.  Collective."""
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")
        if self._hooked:
            raise RuntimeError("register_comm_hook or register_builtin_comm_hook can only be called once.")
        reducer = self.by_messages()
        reducer.hook, reducer.hook_state, self._hooked = hook, state, True

    def _messages(self) -> Reducer:
        rebucket = functools.partial(
            make_buckets,
            storage.flatten(self.params),
            cap_bytes=self._cap,
            first_cap_bytes=min(self._cap, _FIRST_BUCKET),
        )
        first = rebucket({id(p): i for i, p in enumerate(self.params)})
        options: dict[str, Any] = dict(rebucket=rebucket, static_graph=self._static)
        if isinstance(self.comm, Compares):
            reducer: Reducer = ComparedReducer(self.comm, first, self.by_samples, names=self._names, **options)
        else:
            reducer = Reducer(self.comm, first, self.by_samples, **options)
        reducer.finite = self._finite(reducer)
        return reducer

    def _finite(self, reducer: Reducer | SharedReducer) -> FiniteCheck | None:
        if self._check is None:
            return None
        return FiniteCheck(self._check, [self._names[id(p)] for p in reducer.params])

    def _leave_shared_memory(self, reducer: SharedReducer) -> None:
        """Give each rank parameters of its own, with the values and gradients that it sees."""
        for p in self.params:
            p.grad  # noqa: B018 - a gradient that is shared is settled when it is asked for
        self.comm.Barrier()  # all have read the others'
        reducer.detach()
        for kind in dict.fromkeys(p._data.dtype for p in self.params):
            storage.FlatStorage([p for p in self.params if p._data.dtype == kind], storage.allocate)
        if reducer.has_state:
            self._former = reducer  # other ranks' optimizers have yet to fetch the state that lies in this rank's
