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

import functools
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from distgrad.autograd import Tensor
from distgrad.autograd.gradient_slots import elements, held
from distgrad.autograd.graph import Leaf
from distgrad.autograd.tensor import DeferredGrad
from distgrad.backend import Array, carve, device
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.reduction import ReduceOp, combine
from distgrad.distributed.gradients.announced import Announced, refuse_unknown
from distgrad.distributed.gradients.fingerprint import PRIME, bits
from distgrad.distributed.gradients.nonfinite import ABSENT, NONFINITE, PRESENT, FiniteSearch, all_finite
from distgrad.distributed.node_update.agreement import SameUpdate
from distgrad.distributed.node_update.optimizer_state import SharedState
from distgrad.distributed.node_update.parameters import SharedParameters
from distgrad.distributed.node_update.progress_counters import Meeting
from distgrad.distributed.node_update.sufficient_factors import Factors
from distgrad.distributed.reliability.forks import FORKED
from distgrad.distributed.shared_memory.region import NodeMemory
from distgrad.jit import MOST_PARTS, Mean
from distgrad.storage import FlatStorage

__all__ = ["Parted", "REDUCED", "SharedUpdate", "Withdrawn", "scaled"]

_DONE, _RELEASED, _ENTERED, _PUBLISHED, _UPDATED, _SAMPLES, REDUCED, _HOW = range(8)  # words of each rank
_TOTALLED = 15  # in steps of optimizers that make sums over all parameters
_COMPARED, _STANDS, _LEFT = range(8, 11)  # told seldom; the last is 1 + the passes that it took part in
# Everybody's: in which pass some rank last had such gradients; in which step parameters, another update than before,
# and gradients of its own; whether one has gone its own way
_NONFINITE, _DIRTY, _CHANGED, _OWNED, _PARTED = range(5)
_FOR_GOOD = 2**62
_PAGE = 4096
_KEPT = 256  # means that are kept for loops: an update of a whole group asks for the same at each step


class SharedUpdate:
    """The ranks of a node as they share the update of one storage.

    Args:
        comm: the ranks; all of one node.
        params: parameters of one real floating-point dtype on the CPU, the same on all ranks; rank 0's values count.
    """

    readable = True

    def __init__(self, comm: Communicator, params: Sequence[Tensor]) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self._make = self._make_data
        self.storage = storage = FlatStorage(params, lambda *asked: self._make(*asked))
        del self._make  # a bound method: it would keep this alive
        storage.common = True
        n = storage.data.size
        if self.rank == 0:
            self._begin_with(storage.data)
        self.parameters.begin()
        storage.data = self.parameters.common
        self.meeting = Meeting(comm)
        self._same = SameUpdate(self.meeting, _HOW, _CHANGED)
        self._used = NodeMemory.common(comm, self.size * len(storage.params)).bytes.reshape(self.size, -1)
        self._pass = self._steps = 0
        self._pending = False  # whether gradients of pass _pass are there that count
        self._closed = False  # whether others may still read what this rank told and wrote in that pass
        self._dirty = False
        self.parted = False  # whether this rank has gone its own way
        self._foreign = False  # whether this process is a forked child of the rank
        self.part: Callable[[], None] | None = None  # makes it do so; None: it cannot
        self.announced: Announced | None = None
        self.local = False  # whether a backward pass added to this rank's gradients alone, behind the last reduced one
        self._absent: list[int] = []  # parameters that no rank had a gradient of in that pass
        self._told_present = False  # whether this rank told that it has a finite gradient of every parameter
        self.search = FiniteSearch(storage)
        self.factors = self._make_factors()
        self._factored = False  # whether some of pass _pass are factors
        self.check: Callable[[], None] | None = None  # called when all gradients are there, before the first is used
        self.check_refused = False  # whether at a step that is for gradients that were refused only
        self._weights: list[float] | None = None
        self._samples: int | None = None  # what this rank weighs in the mean of that pass; None: as all do
        self._own: list[tuple[int, int, Array]] = []
        self._bits: dict[int, int] = {}  # of the means that were asked for in pass _asked_in
        # The gradients that were asked for in pass _asked_in: parameters' numbers and the tensors
        self._asked: list[tuple[int, weakref.ref[Tensor]]] = []
        self.users: list[tuple[int, Tensor]] = []  # gradients of this pass that lie in memory that a user has
        self._asked_in = 0
        self._means: dict[tuple[int, int], Mean] = {}  # of rows, for loops, by their elements
        self._scratch = np.empty(0, storage.dtype)
        meeting = self.meeting
        self._some_parted: Callable[[], Any] = functools.partial(operator.getitem, meeting.everyones, _PARTED)
        self._state = SharedState(comm, self._some_parted)
        self._totals: dict[int, np.ndarray] = {}  # by how many they are, the ranks' parts of sums over all
        bounds = [n * r // self.size // 16 * 16 for r in range(self.size)] + [n]
        storage.share(self, (bounds[self.rank], bounds[self.rank + 1]), self._state.assemble)
        self._lay_slots()

    def _make_factors(self) -> Factors | None:
        """What keeps gradients as factors, if there is a use for it."""
        stride = len(self._gradients.bytes) // self.size
        factors = Factors(self.comm, self.storage, self.search.limit, self._gradients, self.rank * stride)
        return factors if factors.which else None

    def _begin_with(self, values: Array) -> None:
        """The parameters' first values, on local rank 0."""

    def _make_data(self, n: int, dtype: np.dtype, where: device) -> np.ndarray:
        self._make = self._make_gradients
        self.parameters = SharedParameters(self.comm, n, dtype)
        return self.parameters.mine

    def _make_gradients(self, n: int, dtype: np.dtype, where: device) -> np.ndarray:
        stride = -(-n * dtype.itemsize // _PAGE) * _PAGE
        self._gradients = NodeMemory.common(self.comm, stride * self.size)
        rows = self._gradients.bytes.reshape(self.size, stride)
        self._rows = [row[: n * dtype.itemsize].view(dtype) for row in rows]
        return self._rows[self.rank]

    def _lay_slots(self) -> None:
        """Give every leaf a slot whose value the ranks share."""
        for i, p in enumerate(self.storage.params):
            leaf = p._node
            if self.factors is not None:
                self.factors.offer(i)
            if type(leaf) is not Leaf or type(self.storage.grad_slot(i)) is DeferredGrad:
                continue
            slot = DeferredGrad(self.storage.slots[i])
            slot.settle, slot.open = self._arrive, self.gate
            if p._grad is leaf.slot:
                p._grad = slot
            leaf.slot = slot

    # --- gradients --------------------------------------------------------------------------------------------------

    def expect(self, reduces: bool) -> None:
        """A forward pass begins, whose backward pass will be reduced or not; where there are :attr:`factors`."""
        assert self.factors is not None
        self.factors.open = reduces
        if not self._closed:
            self.factors.clear()  # of a pass that was interrupted

    def nonfinite(self) -> bool:
        """Whether some rank's gradient of the pass just completed is not finite; waits for all ranks'."""
        if self._weights is None:
            self._wait_gradients()
        return self.meeting.everyones[_NONFINITE] == self._pass

    @property
    def told(self) -> np.ndarray:
        """What each rank told of each parameter's gradient, (ranks, parameters), once :meth:`nonfinite` was asked.

        For the meaning see :mod:`~distgrad.distributed.gradients.nonfinite`.
        """
        return self._used

    def forget(self) -> None:
        """Drop the gradients of the pass just completed."""
        for p in self.storage.params:
            p._grad = None
        if self.factors is not None:
            self.factors.agree()  # every rank forgets them; not all of them at step()
        self._pending = False
        self.meeting.mine[_RELEASED] = self._pass

    def complete(self, samples: int | None, check: bool = False) -> None:
        """This rank's gradients are complete: from here on ``p.grad`` is the mean over the ranks.

        Args:
            samples: what this rank weighs in the mean; None: all ranks weigh the same.
            check: tell the others which of them are not finite.
        """
        storage = self.storage
        missing = [] if self._in_slots() else self._gather()
        finite = not check or self.search.finish()
        if missing or not finite or not self._told_present:
            used = self._used[self.rank]
            used[...] = PRESENT
            used[missing] = ABSENT
            if not finite:
                for i, slot in enumerate(storage.slots):
                    if not (self.factors is not None and self.factors.kept(i)) and not all_finite(slot):
                        used[i] = NONFINITE
                self.meeting.everyones[_NONFINITE] = self._pass + 1
            self._told_present = finite and not missing
        if samples is not None:
            self.meeting.mine[_SAMPLES] = samples
        self._samples = samples
        self._pass += 1
        self._pending = self._closed = True
        self._weights = None
        self.local = False
        self.meeting.mine[_DONE] = self._pass
        self._absent = []
        if missing:
            anywhere = self._used_anywhere()
            for i in missing:
                p = storage.params[i]
                p._grad = storage.grad_slot(i) if anywhere[i] and type(p._node) is Leaf else None
            self._absent = [i for i in missing if not anywhere[i]]

    def _in_slots(self) -> bool:
        """Whether every parameter has a gradient, in its slot, and nobody has looked at it."""
        for p in self.storage.params:
            grad = p._grad
            if grad.__class__ is not DeferredGrad or grad is not p._node.slot:  # type: ignore[union-attr]
                return False
        return True

    def _gather(self) -> list[int]:
        """Bring this rank's gradients into their slots, zeros where there is none; which those are."""
        storage = self.storage
        missing = []
        for i, p in enumerate(storage.params):
            grad = p._grad
            if grad is None:
                self._fill(i, 0)
                missing.append(i)
                continue
            slot = storage.grad_slot(i)
            if grad is not slot:
                settled = storage.buffer_of(i, grad._data) is not None  # then a list holds it
                if held(p, here=1, lists=settled):
                    self.users.append((i, grad))
                if grad._data is not slot._data:
                    self._fill(i, grad._data)
                    slot._bump()
                p._grad = slot
        self._lay_slots()
        return missing

    def settle_users(self) -> None:
        """Write the means where a user has gradients of his own (``p.grad = g``, or one that was added to)."""
        users, self.users = self.users, []
        for i, grad in users:
            p = self.storage.params[i]
            if p._grad.__class__ is DeferredGrad:
                grad._data[...] = self._arrive(p)._data
                grad._bump()
                p._grad = grad

    def _fill(self, i: int, values: Any) -> None:
        """Make ``values`` this rank's gradient of parameter ``i``."""
        if self.factors is not None:
            self.factors.drop(i)
        self.storage.slots[i][...] = values

    def _used_anywhere(self) -> np.ndarray:
        """For each parameter whether some rank has a gradient of it."""
        self._wait_gradients()
        return self._used.max(axis=0)

    def _wait_gradients(self) -> None:
        if not self.meeting.wait(_DONE, self._pass, "for the other ranks' backward() number {}", self._some_parted):
            if self.comes_too_late(self._pass):
                raise Parted(self.rank, self._pass)
            self.meeting.wait(_DONE, self._pass, "for the other ranks' backward() number {}")
        if self._weights is None:
            self._weights = [] if self._samples is None else self._by_samples()
            self._factored = self.factors is not None and self.factors.read()

    def _by_samples(self) -> list[float]:
        """What each rank weighs; empty where all weigh the same."""
        samples = self.meeting.told(_SAMPLES)
        refuse_unknown(self.rank, samples)
        total = 0 if samples.count(samples[0]) == self.size else sum(samples)
        return [s / total for s in samples] if total > 0 else []

    def _mean(self, lo: int, hi: int, out: Array) -> None:
        """Elements ``lo`` to ``hi - 1`` of the mean over the ranks.

        The same operations as an all-reduce's, but for those of which all ranks have factors.
        """
        if not self._factored or self.factors is None:
            self._mean_of([row[lo:hi] for row in self._rows], out)
            return
        for a, b, i in self.factors.stretches(lo, hi):
            into = out[a - lo : b - lo]
            if i < 0 or self._weights or not self.factors.mean(i, a, b, into):
                parts = [self.factors.part(i, r, a, b) for r in range(self.size)]
                self._mean_of([row[a:b] if x is None else x for x, row in zip(parts, self._rows, strict=True)], into)

    def _mean_of(self, parts: list[Array], out: Array) -> None:
        """The mean over the ranks of ``parts``, one of each."""
        if not self._weights:
            combine(ReduceOp.AVG, parts, out)
        else:
            combine(ReduceOp.SUM, [scaled(part, w) for part, w in zip(parts, self._weights, strict=True)], out)

    def _arrive(self, p: Tensor) -> Tensor:
        """The gradient of ``p`` for somebody who asks for it: where it is shared, the mean, in memory of its own."""
        storage, i = p.__dict__["_flat"]
        if not self._pending or storage is not self.storage:
            if self.factors is not None and storage is self.storage:
                self.factors.make(i)  # in the midst of a pass, or of one that failed
            if p._grad.__class__ is DeferredGrad:  # in memory of its own: who keeps it sees no later gradient there
                p._grad = Tensor._wrap(p._grad._data.copy(), None)
            return p._grad  # type: ignore[return-value]
        try:
            self._wait_gradients()
        except Parted:
            if self.part is None:
                raise
            self.part()
            return p._grad  # type: ignore[return-value]
        if self.check is not None:
            self.check()
            if p._grad is None:
                return p._grad  # type: ignore[return-value]
        if self._asked_in != self._pass:
            self._asked_in = self._pass
            if storage.settled is None or any(self._kept(*asked) for asked in self._asked):
                buffer = np.zeros_like(storage.grad)  # not the last one: somebody has kept a gradient there
                parts = zip(storage.ranges, storage.slots, strict=True)
                storage.settled = buffer, [carve(buffer, lo, slot.shape) for (lo, _), slot in parts]
            self._asked, self._bits = [], {}
        assert storage.settled is not None
        mean, (lo, hi) = storage.settled[1][i], storage.ranges[i]
        self._mean(lo, hi, mean.reshape(-1))
        self._bits[i] = bits(mean)
        if self._factored:
            self.factors.ask(i)  # type: ignore[union-attr]
        p._grad = Tensor._wrap(mean, None)
        self._asked.append((i, weakref.ref(p._grad)))
        return p._grad

    def _kept(self, i: int, tensor: Callable[[], Tensor | None]) -> bool:
        """Whether somebody still has the gradient of parameter ``i`` that was asked for, or sees its memory."""
        assert self.storage.settled is not None
        return tensor() is not None or elements(self.storage.settled[1], i) > 1

    def gate(self) -> bool:
        """A backward pass is about to write gradients: all ranks must have done with the last ones.

        Returns:
            False for a pass that is not reduced, as long as they have not: it is this rank's own affair, which waits
            for nobody, and its gradients go into memory of its own.
        """
        if not self._closed:
            return True
        if self._foreign:
            raise RuntimeError(FORKED)
        if self._pending:
            for p in self.storage.params:
                if p._grad.__class__ is DeferredGrad:
                    self._arrive(p)  # it will be added to
                    if self.parted:
                        return True
        waits = self.announced is None or self.announced.expecting
        if not waits and not self.meeting.reached(_RELEASED, self._pass):
            if self.factors is not None:
                self.factors.idle = True
            return False
        self._pending = self._closed = False
        self.meeting.mine[_RELEASED] = self._pass
        why = "for the other ranks to have done with the gradients of backward() number {}"
        missed = not self.meeting.wait(_RELEASED, self._pass, why, self._misses_step)
        if (missed or self._some_parted()) and self.part is not None and (missed or self.comes_too_late(self._pass)):
            self.part()  # before what this rank has of that pass is written over
            return True
        if self.factors is not None:
            self.factors.idle = False
            self.factors.clear()
        return True

    def release(self) -> None:
        """If no gradient is left that this rank might read, the others need not wait for it."""
        if self._pending:
            for p in self.storage.params:
                if p._grad.__class__ is DeferredGrad:
                    return
            self.meeting.mine[_RELEASED] = self._pass

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
            meeting.everyones[_DIRTY] = steps
        in_slots = self._pending and self._in_slots()
        if not in_slots and self._has_own():
            meeting.everyones[_OWNED] = steps
        meeting.mine[_ENTERED] = steps
        why = "for the other ranks to come to step() number {}"
        if not meeting.wait(_ENTERED, steps, why, self._some_parted, self._is_alone):
            self.part()  # type: ignore[misc]
            return
        if self._pending:
            if not meeting.reached(_DONE, self._pass):
                raise RuntimeError(
                    f"rank {self.rank} came to step() number {steps} after {self._pass} backward() passes that are "
                    f"reduced, another rank after fewer ({meeting.told(_DONE)} of all ranks): every rank must take "
                    "part in every one"
                )
            self._wait_gradients()
            if self.check is not None and (not self.check_refused or meeting.everyones[_NONFINITE] == self._pass):
                in_slots = False
                self.check()
            if self.factors is not None:
                self.factors.agree()
        dirty = meeting.everyones[_DIRTY] == steps
        if (dirty or meeting.everyones[_OWNED] == steps) and not self._alike(dirty):
            self.part()  # type: ignore[misc]
            return
        if dirty:
            self.parameters.publish(written, *storage.owned)
            meeting.mine[_PUBLISHED] = steps
            meeting.wait(_PUBLISHED, steps, "for what the other ranks wrote to parameters before step() {}")
        self._own = []
        if not in_slots:
            for p, (lo, hi) in zip(storage.params, storage.ranges, strict=True):
                grad = p._grad
                if grad is not None and not (self._pending and grad.__class__ is DeferredGrad):
                    self._own.append((lo, hi, grad._data))

    def _is_alone(self) -> bool:
        """Whether this rank may make a step that others do not: with gradients for which it needs nobody any more."""
        return self.part is not None and (not self._pending or self.meeting.reached(_DONE, self._pass))

    def _has_own(self) -> bool:
        """Whether this rank steps with something else than the mean of the last pass, for some parameter."""
        absent = set(self._absent)
        for i, p in enumerate(self.storage.params):
            grad = p._grad
            if not self._pending:
                if grad is not None:
                    return True
            elif grad is None:
                if i not in absent:
                    return True
            elif grad.__class__ is not DeferredGrad and (
                self._asked_in != self._pass or self._bits.get(i) != bits(grad._data)
            ):
                return True
        return False

    def _alike(self, parameters: bool) -> bool:
        """Whether all ranks step with the same gradients, and, where asked for, have the same parameters.

        All of them call it; what counts are the bits.
        """
        meeting, steps = self.meeting, self._steps
        meeting.mine[_STANDS] = self._stands(parameters)
        meeting.mine[_COMPARED] = steps
        meeting.wait(_COMPARED, steps, "for the other ranks to compare what they step with in step() number {}")
        return len(set(meeting.told(_STANDS))) == 1

    def _stands(self, parameters: bool) -> int:
        told = 0
        for i, p in enumerate(self.storage.params):
            told = (told * 31 + self._gradient_bits(i, p)) % PRIME
        if parameters:
            told = (told * 31 + bits(self.parameters.mine)) % PRIME
        return told

    def steps_with(self) -> int:
        """In a step a number for what this node's ranks step with; 0 where that is but the mean of the last pass."""
        meeting = self.meeting
        if self._steps not in (meeting.everyones[_OWNED], meeting.everyones[_DIRTY]):
            return 0
        return self._stands(meeting.everyones[_DIRTY] == self._steps)

    def _gradient_bits(self, i: int, p: Tensor) -> int:
        grad = p._grad
        if grad is None:
            return 1
        if grad.__class__ is not DeferredGrad:
            return 2 + bits(grad.to_dense()._data if grad.is_sparse else grad._data)
        if not self._pending:
            if self.factors is not None:
                self.factors.make(i)
            return 2 + bits(self.storage.slots[i])
        lo, hi = self.storage.ranges[i]
        mean = np.empty(hi - lo, self.storage.dtype)
        self._mean(lo, hi, mean)
        return 2 + bits(mean)

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
        self.meeting.mine[_TOTALLED] = self._steps
        self.meeting.wait(_TOTALLED, self._steps, "for the other ranks' sums in step() number {}")
        return [sum(column) for column in table.T.tolist()]

    def end(self, digest: int, how: Callable[[], str]) -> None:
        """Wait for all ranks' updates, and see them; RuntimeError on all ranks if they were not made alike."""
        if self._state.to_sweep:
            self._state.sweep()
        self._own = []
        self._same.tell(digest, self._steps)
        self.meeting.mine[_UPDATED] = self._steps
        self.meeting.wait(_UPDATED, self._steps, "for the other ranks' updates in step() number {}")
        if self._dirty:
            self.parameters.drop()
        self._same.check(how, self._steps)

    # --- ranks that go their own ways ------------------------------------------------------------------------------

    def may_complete(self) -> bool:
        """Whether the pass that is about to end can be completed here: no rank has gone its own way before it."""
        if self._closed:
            self.gate()
        return not self._some_parted() or not self.comes_too_late(self._pass + 1)

    def comes_too_late(self, number: int) -> bool:
        """Whether a rank has gone its own way before pass ``number``, which is reduced by messages then."""
        if not self._some_parted():
            return False
        return any(0 < told <= number for told in self.meeting.told(_LEFT))

    def _misses_step(self) -> bool:
        """Whether another rank waits in a step that this one does not make."""
        meeting = self.meeting
        told = zip(meeting.told(_ENTERED), meeting.told(_DONE), strict=True)
        return any(entered > self._steps and done <= self._pass for entered, done in told)

    def follow(self) -> None:
        """If some rank went its own way, so does this one."""
        if not self.parted and self.part is not None and self._some_parted():
            self.part()

    def forked(self) -> None:
        """This process is a forked child of the rank: parameters are its own from now on, gradients are refused."""
        self.parameters.keep()
        self.parted = self._closed = self._foreign = True
        self._pending = False

    @property
    def passes(self) -> int:
        """How many passes this rank has completed here."""
        return self._pass

    def withdraw(self, tell: bool = True) -> Withdrawn:
        """Take this rank's gradients out of common memory, and all ranks' optimizer state; parameters stay readable.

        Args:
            tell: the others, who then do the same.

        Where another rank had withdrawn before the last pass, that pass has to be reduced by messages: every gradient
        of it is then this rank's own again.
        """
        meeting, last = self.meeting, self._pass
        meeting.wait(_DONE, last, "for the other ranks' backward() number {}", self._some_parted)
        again = self.comes_too_late(last)
        aside: list[tuple[Tensor, Tensor | None]] = []
        if again:
            self._pending = False
            for i, p in enumerate(self.storage.params):
                if p._grad.__class__ is not DeferredGrad:
                    aside.append((p, p._grad))
                p._grad = self.storage.grad_slot(i) if self._used[self.rank][i] == PRESENT else None
        elif self._pending:
            self._wait_gradients()
        for p in self.storage.params:
            p.grad  # noqa: B018 - a gradient that is shared is settled when it is asked for
        self._pending = self._closed = self.local = False
        self.users = []
        self._state.fetch()
        meeting.mine[_LEFT] = last if again else last + 1
        if tell:
            meeting.everyones[_PARTED] = 1
        meeting.mine[_RELEASED] = _FOR_GOOD
        self.parted = True
        return Withdrawn(again, self._samples, aside)

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


class Withdrawn(NamedTuple):
    """What a rank took along; see :meth:`SharedUpdate.withdraw`."""

    again: bool  # whether the last pass has to be reduced by messages
    samples: int | None  # of which it was; None: they do not count
    aside: list[tuple[Tensor, Tensor | None]]  # then, parameters and what they have instead of gradients of it


class Parted(RuntimeError):
    """The last pass will not be completed here: a rank went its own way before it."""

    def __init__(self, rank: int, number: int) -> None:
        super().__init__(
            f"rank {rank}: another rank made a step() with gradients of its own before backward() number {number}, of "
            "which this rank wants the mean now: let all ranks make such steps, or none"
        )


def scaled(part: Array, weight: float) -> Array:
    """``part`` times ``weight``; zeros for a weight of 0, whatever ``part`` holds."""
    if weight == 0.0:
        return np.zeros_like(part)  # not multiplied: the mean over no samples is NaN
    scaled = part.copy()
    scaled *= weight
    return scaled
