"""How a set of parameters gets the mean of its gradients: in shared memory where ranks have it, else by messages.

What shared memory cannot serve (a communication hook, ranks without inputs) changes over to messages, with the same
results: each rank's parameters then move into memory of its own.  When the ranks without inputs are done with, they
move back; a hook stays for good.
"""

from __future__ import annotations

import functools
import itertools
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distgrad import storage
from distgrad.autograd import Tensor
from distgrad.autograd.grad_mode import recording
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.data_parallel.checked_reducers import ComparedReducer, ComparedSharedReducer
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.distributed.data_parallel.shared_memory_reducer import SharedReducer
from distgrad.distributed.gradients.buckets import make_buckets
from distgrad.distributed.gradients.grad_bucket import CommHook
from distgrad.distributed.gradients.nonfinite import FiniteCheck
from distgrad.distributed.gradients.static_graph import StaticGraph
from distgrad.distributed.process_groups import default_group
from distgrad.distributed.reliability.checked_communicator import Compares
from distgrad.distributed.reliability.forks import watch

__all__ = ["GradientSync"]

_FIRST_BUCKET = 2.0**20
_PRIME = 2**61 - 1


class GradientSync:
    """Attaches to parameters.  Collective.

    Args:
        comm: the ranks.
        params: by name; equal on all ranks but for their values.
        by_samples: weigh each rank by its samples, else all alike.
        shared: whether memory may be shared where it can; all ranks' parameters are then rank 0's.
        cap_bytes: of a bucket of gradients; the first one has 1 MiB at most.
        check_finite: ``"raise"``, ``"skip"`` or None; see
            :class:`~distgrad.distributed.gradients.nonfinite.FiniteCheck`.
        static_graph: see :class:`~distgrad.distributed.gradients.static_graph.StaticGraph`.

    Attributes:
        reducer: the one in use.
        params: in the order given.
        user: who reduces with it; once that is gone, and the parameters get another one, it lets go of them.
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
        self.comm, self.by_samples, self._number = comm, by_samples, next(_numbers)
        self.user: weakref.ref[Any] | None = None
        self.params = list(params.values())
        self._names = {id(p): name for name, p in params.items()}
        self._cap, self._check = cap_bytes, check_finite
        self._static = StaticGraph(comm.rank, self.params, list(params)) if static_graph else None
        self.is_forked = False  # whether this process is a forked child of the rank
        self.ended = False  # whether the group has: this rank works alone
        self._formers: list[Callable[[], bool]] = []  # of the times in shared memory; see SharedUpdate.keep_open
        self._hooked = self._returns = False
        self._succeed()
        self.reducer: Reducer | SharedReducer
        if shared and comm.size > 1 and SharedReducer.can_serve(comm, self.params) and self._may_move():
            self._share()
        else:
            self.reducer = self._messages()
        _live.add(self)
        watch(self)

    def _succeed(self) -> None:
        """Have those before this one that nobody uses any more let go of the parameters.  Collective, if there are any.

        Not when their user goes: ranks may drop theirs at different times, and backward passes of what was computed
        before are still to come.
        """
        mine = {id(p) for p in self.params}
        former = [s for s in _live if s.comm is self.comm and not s.ended and any(id(p) in mine for p in s.params)]
        if not former:
            return
        for p in self.params:
            p.grad  # noqa: B018 - a gradient that is shared is settled when it is asked for
        former.sort(key=lambda s: s._number)
        memory = [still for s in former for still in s._formers]
        told = [*[s._is_used() for s in former], *[still() for still in memory]]
        answer = np.array(told, np.uint8)
        self.comm.Allreduce(answer, ReduceOp.MAX)
        self._formers = [still for still, needed in zip(memory, answer[len(former) :], strict=True) if needed]
        for s, used in zip(former, answer, strict=False):
            s._formers = []  # one looks after them
            for update in s.reducer.updates if isinstance(s.reducer, SharedReducer) else ():
                update.follow()
            if not used:
                s._let_go(self._formers)
            elif isinstance(s.reducer, SharedReducer) and recording.callbacks is None:
                s._go_over(s.reducer)  # memory is shared by the newest: who is used beside it goes by messages
                self._formers += s._formers
                s._formers = []

    def _is_used(self) -> bool:
        return self.user is None or self.user() is not None or recording.callbacks is not None

    def _let_go(self, formers: list[Callable[[], bool]]) -> None:
        self.reducer.detach()
        if isinstance(self.reducer, SharedReducer):
            formers.append(self.reducer.keep_open())
            self.reducer.part = None
        self.reducer.keeper = None
        if self._static is not None:
            self._static.leave()
        self.ended = True

    @property
    def shares_memory(self) -> bool:
        """Whether the parameters lie in memory that ranks share."""
        return isinstance(self.reducer, SharedReducer)

    def by_messages(self) -> Reducer:
        """The reducer that needs no common memory; in use until :meth:`share_again`.  Collective the first time."""
        former = self.reducer
        if isinstance(former, SharedReducer):
            self._go_over(former)
            self._returns = True
            assert isinstance(self.reducer, Reducer)
            return self.reducer
        return former

    def _go_over(self, former: SharedReducer) -> None:
        """Let messages take the place of common memory on this rank."""
        taken = [update.withdraw() for update in former.updates]
        self._leave_shared_memory(former)
        self.reducer = former.successor = self._messages(late=True)
        if any(of_one.again for of_one in taken):
            if taken[0].samples is not None:
                self.reducer.announced.tell(taken[0].samples)
            self.reducer.reduce_now()
            for of_one in taken:
                for p, grad in of_one.aside:
                    p._grad = grad
        self._carry_over(former)

    def _part(self, reduces: bool) -> None:
        """Have this rank go its own way, for good: it steps with gradients that are not the same on all ranks.

        Not collective: the others find out, and do the same, at the latest when they come to a step.

        Args:
            reduces: a backward pass that is reduced is about to end.
        """
        former = self.reducer
        assert isinstance(former, SharedReducer)
        if not any(update.comes_too_late(2**62) for update in former.updates):
            print(
                f"distgrad: rank {self.comm.rank} makes a step with gradients that are not the mean over the ranks, or "
                "not changed alike on all; each rank has parameters and optimizer state of its own from now on, and "
                "this model's gradients go by messages, not through memory that ranks share",
                file=sys.stderr,
                flush=True,
            )
            if self.comm.peers is not None:
                self.comm.forewarn(  # type: ignore[attr-defined]
                    f"rank {self.comm.rank} made a step() of its own, with gradients that are not the mean over the "
                    "ranks or not changed alike on all, or alone, which ranks of other nodes did not: let all ranks "
                    "make such steps, or none"
                )
        self._go_over(former)
        assert isinstance(self.reducer, Reducer)
        if reduces:
            self.reducer.reduce_now()

    def forked(self) -> None:
        """See :class:`~distgrad.distributed.reliability.forks.Forks`."""
        self.is_forked = True
        if isinstance(self.reducer, SharedReducer):
            for update in self.reducer.updates:
                update.forked()

    def end(self) -> None:
        """The group of ranks ends: this one keeps what it sees, and works alone."""
        if isinstance(self.reducer, SharedReducer):
            for update in self.reducer.updates:
                update.withdraw(tell=False)
            self._leave_shared_memory(self.reducer, frees=False)
        else:
            self.reducer.detach()
        self.ended = True

    def share_again(self) -> None:
        """Undo :meth:`by_messages`: parameters, equal on all ranks by now, move back to memory that they share.

        Does nothing where they did not come from there, where a hook needs messages, or where the ranks' optimizer
        states differ, of which there would be a mixture.  Collective.
        """
        former = self.reducer
        if isinstance(former, SharedReducer) or not self._returns or self._hooked:
            return
        # Of an earlier time in shared memory, this rank's part of the state is kept until all have taken it along.
        stay = not SharedReducer.can_serve(self.comm, self.params) or any(storage.seen_elsewhere(self.params))
        told = [stay, *[still() for still in self._formers]]
        answer = np.array(told, np.uint8)
        self.comm.Allreduce(answer, ReduceOp.MAX)
        self._formers = [still for still, needed in zip(self._formers, answer[1:], strict=True) if needed]
        if answer[0] or not self._states_agree():
            return  # converted or moved since, or seen elsewhere, which moving would cut off
        former.detach()
        self._share()
        self._carry_over(former)

    def _states_agree(self) -> bool:
        """Whether all ranks have the same optimizer state, of which each would keep but its part.  Collective."""
        told = 0
        for flat in storage.flatten(self.params):
            for user in sorted(flat.users, key=lambda user: user.first):
                told = (told * 31 + user.content()) % _PRIME
        return len(set(self.comm.allgather(told))) == 1

    def register_hook(self, state: Any, hook: CommHook) -> None:
        """Have ``hook(state, bucket)`` reduce each bucket; TypeError, RuntimeError as PyTorch's.  Collective."""
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")
        if self._hooked:
            raise RuntimeError("register_comm_hook or register_builtin_comm_hook can only be called once.")
        reducer = self.by_messages()
        reducer.hook, reducer.hook_state, self._hooked = hook, state, True

    def _may_move(self) -> bool:
        """Whether no rank sees a parameter's memory otherwise too; else rank 0 says why it stays.  Collective."""
        seen = np.array(storage.seen_elsewhere(self.params), np.uint8)
        self.comm.Allreduce(seen, ReduceOp.MAX)
        if seen.any() and self.comm.rank == 0:
            name = self._names[id(self.params[int(seen.argmax())])]
            print(
                f"distgrad: parameter {name!r} shares its memory (with a tensor, a view of it, or an array); so that "
                "they stay one, this model's gradients go by messages, not through memory that ranks share",
                file=sys.stderr,
                flush=True,
            )
        return not seen.any()

    def _messages(self, late: bool = False) -> Reducer:
        rebucket = functools.partial(
            make_buckets,
            storage.flatten(self.params),
            cap_bytes=self._cap,
            first_cap_bytes=min(self._cap, _FIRST_BUCKET),
        )
        first = rebucket({id(p): i for i, p in enumerate(self.params)})
        options: dict[str, Any] = dict(rebucket=rebucket, static_graph=self._static, compare_late=late)
        if isinstance(self.comm, Compares):
            reducer: Reducer = ComparedReducer(self.comm, first, self.by_samples, names=self._names, **options)
        else:
            reducer = Reducer(self.comm, first, self.by_samples, **options)
        reducer.finite, reducer.keeper = self._finite(reducer), self
        return reducer

    def _share(self) -> None:
        self.reducer = (
            ComparedSharedReducer(self.comm, self.params, self.by_samples, self._cap, names=self._names)
            if isinstance(self.comm, Compares)
            else SharedReducer(self.comm, self.params, self.by_samples, self._cap)
        )
        self.reducer.finite, self.reducer.static_graph = self._finite(self.reducer), self._static
        self.reducer.part, self.reducer.keeper = self._part, self

    def _carry_over(self, former: Reducer | SharedReducer) -> None:
        """What was announced to the reducer before, and steps that it skipped."""
        self.reducer.announced = former.announced
        if self.reducer.finite is not None and former.finite is not None:
            self.reducer.finite.skipped = former.finite.skipped

    def _finite(self, reducer: Reducer | SharedReducer) -> FiniteCheck | None:
        if self._check is None:
            return None
        return FiniteCheck(self._check, [self._names[id(p)] for p in reducer.params])

    def _leave_shared_memory(self, reducer: SharedReducer, frees: bool = True) -> None:
        """Give each rank parameters of its own, with the values and gradients that it sees."""
        reducer.detach(frees)
        # One that is seen elsewhere stays in this rank's private mapping, which nobody else writes to from now on.
        found = zip(self.params, storage.seen_elsewhere(self.params), strict=True)
        seen = {id(p) for p, elsewhere in found if elsewhere}
        for kind in dict.fromkeys(p._data.dtype for p in self.params):
            several = [p for p in self.params if p._data.dtype == kind]
            storage.FlatStorage(several, storage.allocate, [i for i, p in enumerate(several) if id(p) in seen])
        self._formers.append(reducer.keep_open())  # other ranks' optimizers have yet to fetch state that lies here


_live: weakref.WeakSet[GradientSync] = weakref.WeakSet()
_numbers = itertools.count()


def _end(comm: Communicator) -> list[GradientSync]:
    found = [sync for sync in _live if sync.comm is comm and not sync.ended]
    for sync in found:
        sync.end()
    return found


default_group.endings.append(_end)
