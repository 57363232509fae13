"""Ranks that share an update and go their own ways: how they find out, and what each takes along."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distgrad.autograd import Tensor
from distgrad.autograd.tensor import DeferredGrad
from distgrad.distributed.gradients.fingerprint import PRIME, bits
from distgrad.distributed.gradients.nonfinite import PRESENT
from distgrad.distributed.node_update.node_gradients import NodeGradients
from distgrad.distributed.node_update.words import COMPARED, DIRTY, DONE, LEFT, OWNED, PARTED, RELEASED, STANDS

__all__ = ["Withdrawing", "Withdrawn"]

_FOR_GOOD = 2**62


class Withdrawing(NodeGradients):
    """What a rank does when ranks no longer step alike: it finds out, tells the others, and takes its values along."""

    def _is_alone(self) -> bool:
        """Whether this rank may make a step that others do not: with gradients for which it needs nobody any more."""
        return self.part is not None and (not self._pending or self.meeting.reached(DONE, self._pass))

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
        meeting.mine[STANDS] = self._stands(parameters)
        meeting.mine[COMPARED] = steps
        meeting.wait(COMPARED, steps, "for the other ranks to compare what they step with in step() number {}")
        return len(set(meeting.told(STANDS))) == 1

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
        if self._steps not in (meeting.everyones[OWNED], meeting.everyones[DIRTY]):
            return 0
        return self._stands(meeting.everyones[DIRTY] == self._steps)

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
        meeting.wait(DONE, last, "for the other ranks' backward() number {}", self._some_parted)
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
        meeting.mine[LEFT] = last if again else last + 1
        if tell:
            meeting.everyones[PARTED] = 1
        meeting.mine[RELEASED] = _FOR_GOOD
        self.parted = True
        return Withdrawn(again, self._samples, aside)


class Withdrawn(NamedTuple):
    """What a rank took along; see :meth:`SharedUpdate.withdraw`."""

    again: bool  # whether the last pass has to be reduced by messages
    samples: int | None  # of which it was; None: they do not count
    aside: list[tuple[Tensor, Tensor | None]]  # then, parameters and what they have instead of gradients of it
