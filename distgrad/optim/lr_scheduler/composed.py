"""Schedules made of schedules: one after another, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..._arguments import kind_of, steps
from ..optimizer import Optimizer
from .base import LRScheduler, iterated, listed, write
from .plateau import ReduceLROnPlateau

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Composed(LRScheduler):
    """The schedules it holds, checked; their states within its own."""

    _schedulers: Sequence[LRScheduler]
    _unsaved = ("optimizer", "_schedulers")

    def _check(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer) -> None:
        name = type(self).__name__
        if not isinstance(schedulers, list | tuple):
            raise TypeError(f"{name} takes a list of schedulers, not {kind_of(schedulers)}")
        for i, scheduler in enumerate(schedulers):
            kind = type(scheduler).__name__
            if not hasattr(scheduler, "optimizer"):
                raise TypeError(f"{name} at index {i} should have `optimizer` as its attribute, but it is a {kind}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name} does not support `ReduceLROnPlateau`, which needs a metric; there is one at index {i}"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"{name} expects all schedulers to belong to the same optimizer, but that of {kind} at index {i} "
                    f"is another {type(scheduler.optimizer).__name__}"
                )

    def state_dict(self) -> dict[str, Any]:
        """Every attribute but the optimizer, with the states of the schedules under ``_schedulers``."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Composed):
    """One schedule after another.

    Args:
        schedulers: in their order, all of ``optimizer``.
        milestones: the steps at which the second, third, ... begin, each with its own step 0.
        last_epoch: one less than the number of steps made already.

    Raises:
        TypeError: something that is no scheduler.
        ValueError: no schedulers, one of another optimizer, a ReduceLROnPlateau, or another number of milestones.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> warmup = optim.lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=2)
    >>> decay = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[2])
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    ...
    >>> rates
    [0.1, 0.1, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if not schedulers:
            raise ValueError("SequentialLR expects at least one scheduler, but got no scheduler")
        self._check(schedulers, optimizer)
        milestones = [steps("SequentialLR", "milestones", m, 0) for m in iterated(milestones)]
        if sorted(milestones) != milestones:
            raise ValueError(f"SequentialLR: milestones must not decrease, but got {milestones}")
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR expects one scheduler more than milestones, but got {len(schedulers)} schedulers and "
                f"{len(milestones)} milestones"
            )
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # constructing them made all their steps 0, one on top of the other: undo those, and make only the first's
        for group in optimizer.param_groups:
            write(group, "lr", group["initial_lr"])
        _undo(self)
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Set the next rates, by the schedule whose turn it is."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[i]
        if i and self._milestones[i - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _undo(scheduler: LRScheduler) -> None:
    """Take back the counting of step 0, also of schedules within schedules."""
    inner = getattr(scheduler, "_schedulers", None)
    if inner is not None:
        for each in inner:
            _undo(each)
    elif hasattr(scheduler, "last_epoch"):
        scheduler.last_epoch -= 1


class ChainedScheduler(_Composed):
    """Several schedules at once, each working on the rates that the one before left.

    Args:
        schedulers: in their order.
        optimizer: theirs; the first one's by default.

    Raises:
        TypeError: something that is no scheduler.
        ValueError: no schedulers, one of another optimizer, or a ReduceLROnPlateau.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> half = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> tenth = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    >>> scheduler = optim.lr_scheduler.ChainedScheduler([half, tenth])
    >>> for epoch in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    ...
    >>> [round(rate, 6) for rate in scheduler.get_last_lr()]
    [0.025]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not isinstance(schedulers, list | tuple):
            raise TypeError(f"ChainedScheduler takes a list of schedulers, not {kind_of(schedulers)}")
        if not schedulers:
            raise ValueError("ChainedScheduler expects at least one scheduler to be chained, but got no scheduler")
        theirs: Any = optimizer or getattr(schedulers[0], "optimizer", None)
        self._check(schedulers, theirs)
        optimizer = theirs
        self._schedulers = schedulers
        self.optimizer = optimizer
        self._last_lr = listed(optimizer, "lr")

    def step(self) -> None:  # type: ignore[override]
        """Make a step of each."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = listed(self.optimizer, "lr")
