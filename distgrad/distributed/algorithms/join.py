"""Uneven inputs: ranks that ran out take part in what the others do (docs/reliability.md, F7; PyTorch's ``Join``).

Before each iteration the ranks still at work and those that have run out count together who is left.  Whoever has run
out then plays the part that each :class:`Joinable` describes, until nobody is left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from distgrad.distributed.process_groups.default_group import ProcessGroup

__all__ = ["Join", "JoinHook", "Joinable"]


class JoinHook:
    """What a rank does that has run out of inputs, in place of what it would have done.

    >>> dist.algorithms.join.JoinHook().main_hook()
    """

    def main_hook(self) -> None:
        """Take part in the collectives of one iteration of the others."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """All ranks have run out; ``is_last_joiner``: this one worked to the end (there may be several)."""


class _Config(NamedTuple):
    enable: bool = False
    throw: bool = False
    first: bool = False  # the joinable whose iterations are counted


class Joinable(ABC):
    """Something whose iterations are collective and that knows how to take part in them without inputs.

    >>> issubclass(nn.parallel.DistributedDataParallel, dist.algorithms.join.Joinable)
    True
    """

    _join_config = _Config()

    @abstractmethod
    def join_hook(self, **kwargs: Any) -> JoinHook:
        """The part it plays; called on entering :class:`Join`, with the context's keyword arguments."""

    @property
    @abstractmethod
    def join_device(self) -> Any:
        """Where its collectives take place."""

    @property
    @abstractmethod
    def join_process_group(self) -> ProcessGroup:
        """The ranks that take part."""


class Join:
    """``with Join([model, optimizer]):`` around a loop over inputs, of which ranks may have different numbers.

    Every rank enters and leaves it.  One forward pass of the first of ``joinables`` (or one step, of an optimizer)
    belongs to each iteration.

    Args:
        joinables: what is trained with, of one process group; in the order in which an iteration uses them.
        enable: False: do nothing.
        throw_on_early_termination: once a rank has run out, all raise RuntimeError instead.
        kwargs: for the joinables' ``join_hook``.

    Raises:
        ValueError: nothing to join, or process groups that differ.

    >>> model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
    >>> with dist.algorithms.join.Join([model]):
    ...     model(torch.ones(3, 2)).sum().backward()
    ...
    >>> model.module.bias.grad
    tensor([3.])
    """

    def __init__(
        self,
        joinables: Sequence[Joinable],
        enable: bool = True,
        throw_on_early_termination: bool = False,
        **kwargs: Any,
    ) -> None:
        if not joinables:
            raise ValueError("Join needs at least one Joinable, got none")
        self._joinables = list(joinables)
        self._enable, self._throw, self._kwargs = enable, throw_on_early_termination, kwargs
        groups = [j.join_process_group for j in self._joinables]
        if any(group.comm is not groups[0].comm for group in groups):
            raise ValueError(f"all joinables must use one process group, got {groups}")
        self._comm = groups[0].comm
        self._hooks: list[JoinHook] = []

    def __enter__(self) -> None:
        if not self._enable:
            return
        self._hooks = [j.join_hook(**self._kwargs) for j in self._joinables]
        for i, joinable in enumerate(self._joinables):
            joinable._join_config = _Config(True, self._throw, i == 0)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._enable:
            return
        for joinable in self._joinables:
            joinable._join_config = _Config()
        if kind is not None:
            return
        last = True
        while _count(self._comm, 0, int(self._throw))[0] > 0:
            if self._throw:
                raise RuntimeError(f"rank {self._comm.rank} has run out of inputs before others")
            for hook in self._hooks:
                hook.main_hook()
            last = False
        for hook in self._hooks:
            hook.post_hook(last)

    @staticmethod
    def notify_join_context(joinable: Joinable) -> None:
        """Called by a joinable at the start of each of its iterations, before any collective of it.

        Raises RuntimeError where a rank has run out and the context is to throw.
        """
        config = joinable._join_config
        if not (config.enable and config.first):
            return
        comm = joinable.join_process_group.comm
        out = _count(comm, 1, 0)[1]
        if out:
            raise RuntimeError(f"rank {comm.rank}: {out} of {comm.size} ranks have run out of inputs")


def _count(comm: Any, active: int, throwing: int) -> tuple[int, int]:
    """How many ranks are at work, and how many have run out and want all to stop."""
    counts = np.array([active, throwing], np.int64)
    comm.Allreduce(counts)
    return int(counts[0]), int(counts[1])
