"""One update for all ranks of a node: parameters lie once in shared memory, and each rank updates its part of them.

Each rank's gradients lie where the others can read them.  In a step a rank adds up its own part of all ranks'
gradients, block by block as the optimizer comes to it, and writes the new parameters of that part, which the others
then see.  Nothing is sent.  Of wide layers it is not gradients that lie there, but what they are products of
(:mod:`~distgrad.distributed.node_update.sufficient_factors`).  The ranks meet twice a step: before the update (all have
come to ``step()``, so nobody reads parameters any more) and behind it.

What PyTorch allows still works:

- After ``backward()`` any rank may look at ``p.grad``, alone: it is then added up for this rank, into memory of its own
  (:meth:`SharedUpdate._arrive`).  Changed there (clipped, scaled), it is what this rank updates its part with.
- A rank's own write to a parameter stays its own until the next step publishes it (see
  :mod:`~distgrad.distributed.node_update.parameters`).
- Nobody overwrites gradients that another rank might still read: before a backward pass writes the first of them it
  waits (:meth:`SharedUpdate.gate`) until all ranks have done with those of the pass before.
- Ranks may go their own ways: step with gradients that were not reduced (local SGD), or that they changed each in its
  own way.  What they share then no longer has one value, so each takes along what it sees
  (:meth:`SharedUpdate.withdraw`), parameters and the whole optimizer state.  None must wait for the others to do so:
  parameters and state change only in a step that all ranks have entered, and who withdraws enters none.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np

from distgrad.autograd.tensor import DeferredGrad
from distgrad.backend.protocol import Array
from distgrad.distributed.node_update.withdrawing import Withdrawing
from distgrad.distributed.node_update.words import (
    DIRTY,
    DONE,
    ENTERED,
    NOT_FINITE,
    OWNED,
    PUBLISHED,
    TOTALLED,
    UPDATED,
)
from distgrad.distributed.reliability.forks import FORKED
from distgrad.distributed.shared_memory.region import NodeMemory
from distgrad.jit import MOST_PARTS, Mean

__all__ = ["SharedUpdate"]

_KEPT = 256  # means that are kept for loops: an update of a whole group asks for the same at each step


class SharedUpdate(Withdrawing):
    """The ranks of a node as they share the update of one storage.

    Args:
        comm: the ranks; all of one node.
        params: parameters of one real floating-point dtype on the CPU, the same on all ranks; rank 0's values count.
    """

    readable = True

    # --- the update -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Wait for all ranks to come to ``step()``, and make what they wrote to parameters everybody's."""
        if self.parted:
            if self._foreign:
                raise RuntimeError(FORKED)
            return
        storage = self.storage
        if self.local and self.part is not None and any(p._grad is not None for p in storage.params):
            self.part()
            return
        for p, view in zip(storage.params, storage.views):  # noqa: B905 - of one length; strict costs time here
            if p._data is not view:
                self._take_in()
                break
        written = self.parameters.written()
        meeting, steps = self.meeting, self._steps + 1
        self._steps = steps
        self._dirty = bool(written)
        if written:
            meeting.everyones[DIRTY] = steps
        in_slots = self._pending and self._in_slots()
        if not in_slots and self._has_own():
            meeting.everyones[OWNED] = steps
        meeting.mine[ENTERED] = steps
        why = "for the other ranks to come to step() number {}"
        if not meeting.wait(ENTERED, steps, why, self._some_parted, self._is_alone):
            self.part()  # type: ignore[misc]
            return
        if self._pending:
            if not meeting.reached(DONE, self._pass):
                raise RuntimeError(
                    f"rank {self.rank} came to step() number {steps} after {self._pass} backward() passes that are "
                    f"reduced, another rank after fewer ({meeting.told(DONE)} of all ranks): every rank must take "
                    "part in every one"
                )
            self._wait_gradients()
            if self.check is not None and (not self.check_refused or meeting.everyones[NOT_FINITE] == self._pass):
                in_slots = False
                self.check()
            if self.factors is not None:
                self.factors.agree()
        dirty = meeting.everyones[DIRTY] == steps
        if (dirty or meeting.everyones[OWNED] == steps) and not self._alike(dirty):
            self.part()  # type: ignore[misc]
            return
        if dirty:
            self.parameters.publish(written, *storage.owned)
            meeting.mine[PUBLISHED] = steps
            meeting.wait(PUBLISHED, steps, "for what the other ranks wrote to parameters before step() {}")
        self._own = []
        if not in_slots:
            for p, (lo, hi) in zip(storage.params, storage.ranges, strict=True):
                grad = p._grad
                if grad is not None and not (self._pending and grad.__class__ is DeferredGrad):
                    self._own.append((lo, hi, grad._data))

    def _take_in(self) -> None:
        """``p.data = …`` since the last step: the values move into the memory that ranks share."""
        self.storage.take_in()
        for p, view in zip(self.storage.params, self.storage.views, strict=True):
            if p._data is not view:
                raise RuntimeError(
                    f"rank {self.rank}: a parameter of shape {view.shape} was {view.dtype} on the CPU and is now "
                    f"{tuple(p.shape)} {p._data.dtype} on {p.device}: move and convert a model before wrapping it"
                )

    def ranges(self, lo: int, hi: int, size: int) -> list[tuple[int, int]]:
        """Elements ``lo`` to ``hi - 1`` cut into ranges that :meth:`gradient` makes at a time, of about ``size``."""
        stretches = self.factors.stretches(lo, hi) if self._factored and self.factors is not None else [(lo, hi, -1)]
        found = []
        for a, b, i in stretches:
            step = size if i < 0 else self.factors.at_a_time(i)  # type: ignore[union-attr]
            found += [(c, min(c + step, b)) for c in range(a, b, step)]
        return found

    def gradient(self, lo: int, hi: int) -> Array:
        """Elements ``lo`` to ``hi - 1`` of what to update with; valid until the next call."""
        if self._factored and self._pending and not self._own and not self._weights:
            found = self.factors.block(lo, hi)  # type: ignore[union-attr]
            if found is not None:
                return found
        if self._scratch.size < hi - lo:
            self._scratch = np.empty(hi - lo, self.storage.dtype)
        out = self._scratch[: hi - lo]
        if self._pending:
            self._mean(lo, hi, out)
        else:
            out[...] = 0
        for a, b, values in self._own:
            first, last = max(a, lo), min(b, hi)
            if first < last:
                out[first - lo : last - lo] = values.reshape(-1)[first - a : last - a]
        return out

    def operand(self, lo: int, hi: int) -> Array | Mean | None:
        """The same for a compiled loop to read where it lies; None where only :meth:`gradient` has it."""
        settled = self.storage.settled
        if self._own and settled is not None and [id(own) for _, _, own in self._own] == [id(x) for x in settled[1]]:
            return settled[0][lo:hi]  # all were asked for
        return self._operand(lo, hi) if self._pending and not self._own else None

    def _operand(self, lo: int, hi: int) -> Array | Mean | None:
        """Elements ``lo`` to ``hi - 1`` of the mean over the ranks, for a loop that makes it."""
        if self._weights or self._factored or self.size > MOST_PARTS:
            return None
        mean = self._means.get((lo, hi))
        if mean is None:
            if len(self._means) > _KEPT:
                self._means.clear()
            mean = self._means[lo, hi] = Mean.of([row[lo:hi] for row in self._rows])
        return mean

    def total(self, values: list[float]) -> list[float]:
        """The sums over the ranks of ``values``, taken in rank order.  Collective, in a step."""
        if self.parted:
            return values
        n = len(values)
        table = self._totals.get(n)
        if table is None:
            memory = NodeMemory.common(self.comm, max(self.size * n, 1) * 8).bytes.view(np.float64)
            table = self._totals[n] = memory[: self.size * n].reshape(self.size, n)
        table[self.rank] = values  # all have entered this step, so nobody reads those of the last one
        self.meeting.mine[TOTALLED] = self._steps
        self.meeting.wait(TOTALLED, self._steps, "for the other ranks' sums in step() number {}")
        return [sum(column) for column in table.T.tolist()]

    def end(self, digest: int, how: Callable[[], str]) -> None:
        """Wait for all ranks' updates, and see them; RuntimeError on all ranks if they were not made alike."""
        if self._state.to_sweep:
            self._state.sweep()
        self._own = []
        self._same.tell(digest, self._steps)
        self.meeting.mine[UPDATED] = self._steps
        self.meeting.wait(UPDATED, self._steps, "for the other ranks' updates in step() number {}")
        if self._dirty:
            self.parameters.drop()
        self._same.check(how, self._steps)

    # --- ranks that go their own ways ------------------------------------------------------------------------------

    # --- state ------------------------------------------------------------------------------------------------------

    def allocate(self, n: int, dtype: np.dtype) -> Array:
        """Zeroed memory for this rank's part of optimizer state, which the others can read."""
        return self._state.allocate(n, dtype)

    def keep_open(self) -> Callable[[], bool]:
        """Hold on to the memory in which other ranks find this one's part of the state, and to nothing else.

        Returns:
            tells whether an optimizer of this rank still keeps its state here.
        """
        in_use, me = self._state.keep_open(), weakref.ref(self)

        def needed() -> bool:
            if in_use():
                return True
            update = me()
            if update is not None:  # they hold each other, and with each other a model's memory
                update.storage.sharing = update.storage.assemble = None
            return False

        return needed
