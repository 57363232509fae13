"""Gradients of the ranks of a node, in memory where each can read the others': written, added up, let go of."""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad.autograd import Tensor
from distgrad.autograd.gradient_slots import elements, held, place, replaced
from distgrad.autograd.graph import Leaf
from distgrad.autograd.tensor import DeferredGrad
from distgrad.backend import carve
from distgrad.backend.devices import device
from distgrad.backend.protocol import Array
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.reduction import ReduceOp, combine
from distgrad.distributed.gradients.announced import Announced, refuse_unknown
from distgrad.distributed.gradients.fingerprint import bits
from distgrad.distributed.gradients.nonfinite import ABSENT, NONFINITE, PRESENT, FiniteSearch, all_finite
from distgrad.distributed.node_update.agreement import SameUpdate
from distgrad.distributed.node_update.optimizer_state import SharedState
from distgrad.distributed.node_update.parameters import SharedParameters
from distgrad.distributed.node_update.progress_counters import Meeting
from distgrad.distributed.node_update.sufficient_factors import Factors
from distgrad.distributed.node_update.words import (
    CHANGED,
    DONE,
    ENTERED,
    HOW,
    LEFT,
    NOT_FINITE,
    PARTED,
    RELEASED,
    SAMPLES,
)
from distgrad.distributed.reliability.forks import FORKED
from distgrad.distributed.shared_memory.region import NodeMemory
from distgrad.jit import Mean
from distgrad.storage import FlatStorage

__all__ = ["NodeGradients", "Parted", "scaled"]

_PAGE = 4096


class NodeGradients:
    """The gradients of one flat storage on all ranks of a node.  Making it is collective.

    Args:
        comm: the ranks; all of one node.
        params: parameters of one real floating-point dtype on the CPU, the same on all ranks; rank 0's values count.
    """

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
        self._same = SameUpdate(self.meeting, HOW, CHANGED)
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
        self._some_parted: Callable[[], Any] = functools.partial(operator.getitem, meeting.everyones, PARTED)
        self._state = SharedState(comm, self._some_parted)
        self._totals: dict[int, np.ndarray] = {}  # by how many they are, the ranks' parts of sums over all
        bounds = [n * r // self.size // 16 * 16 for r in range(self.size)] + [n]
        sharing: Any = self  # as it is of a whole update
        storage.share(sharing, (bounds[self.rank], bounds[self.rank + 1]), self._state.assemble)
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
            replaced(p, leaf, slot)

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
        return self.meeting.everyones[NOT_FINITE] == self._pass

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
        self.meeting.mine[RELEASED] = self._pass

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
                self.meeting.everyones[NOT_FINITE] = self._pass + 1
            self._told_present = finite and not missing
        if samples is not None:
            self.meeting.mine[SAMPLES] = samples
        self._samples = samples
        self._pass += 1
        self._pending = self._closed = True
        self._weights = None
        self.local = False
        self.meeting.mine[DONE] = self._pass
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
        if not self.meeting.wait(DONE, self._pass, "for the other ranks' backward() number {}", self._some_parted):
            if self.comes_too_late(self._pass):
                raise Parted(self.rank, self._pass)
            self.meeting.wait(DONE, self._pass, "for the other ranks' backward() number {}")
        if self._weights is None:
            self._weights = [] if self._samples is None else self._by_samples()
            self._factored = self.factors is not None and self.factors.read()

    def _by_samples(self) -> list[float]:
        """What each rank weighs; empty where all weigh the same."""
        samples = self.meeting.told(SAMPLES)
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
        storage, i = place(p) or (None, 0)
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
        if not waits and not self.meeting.reached(RELEASED, self._pass):
            if self.factors is not None:
                self.factors.idle = True
            return False
        self._pending = self._closed = False
        self.meeting.mine[RELEASED] = self._pass
        why = "for the other ranks to have done with the gradients of backward() number {}"
        missed = not self.meeting.wait(RELEASED, self._pass, why, self._misses_step)
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
            self.meeting.mine[RELEASED] = self._pass

    def may_complete(self) -> bool:
        """Whether the pass that is about to end can be completed here: no rank has gone its own way before it."""
        if self._closed:
            self.gate()
        return not self._some_parted() or not self.comes_too_late(self._pass + 1)

    def comes_too_late(self, number: int) -> bool:
        """Whether a rank has gone its own way before pass ``number``, which is reduced by messages then."""
        if not self._some_parted():
            return False
        return any(0 < told <= number for told in self.meeting.told(LEFT))

    def _misses_step(self) -> bool:
        """Whether another rank waits in a step that this one does not make."""
        meeting = self.meeting
        told = zip(meeting.told(ENTERED), meeting.told(DONE), strict=True)
        return any(entered > self._steps and done <= self._pass for entered, done in told)


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
