"""Ranks over MPI, of which those of a node share memory: parameters once, sums of gradients and the update by part."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distgrad_communicators.mpi.agreement import PATIENCE
from distgrad_communicators.mpi.communicator import MPICommunicator

from distgrad.distributed.communication.communicator import Communicator, yield_core
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.shared_memory import region
from distgrad.distributed.shared_memory.region import NodeMemory
from distgrad.hookspecs import hookimpl


class SharedCommunicator(MPICommunicator):
    """The ``mpi`` communicator where all nodes have the same number of ranks, which can share memory.

    Attributes:
        node: the ranks of this one's node.
        peers: the ranks of this one's index on all nodes; None where there is one node.

    Raises:
        DistError: they cannot; the message says why.
    """

    shares_memory = True
    _node: SharedCommunicator | None = None
    _world: SharedCommunicator | None = None
    _names: list[str]  # of the nodes of the ranks that this communicator comes from

    def __init__(self, comm: Any = None) -> None:
        super().__init__(comm)
        names = self._names = self.allgather(self.identity())
        mine = [rank for rank, name in enumerate(names) if name == names[self.rank]]
        reasons = [reason for reason in self.allgather(region.why_not()) if reason]
        if not reasons:
            reasons = [reason for reason in self._try(mine[0]) if reason]
        sizes = sorted({names.count(name) for name in names})
        if len(sizes) > 1:
            reasons.append(f"its nodes have different numbers of ranks ({', '.join(map(str, sizes))})")
        if reasons:
            self.Free()
            raise DistError(f"the shared communicator cannot serve: {reasons[0]}")
        if len(mine) < self.size:
            nodes = [[r for r, other in enumerate(names) if other == name] for name in dict.fromkeys(names)]
            self._node = self._part(mine)
            self.peers = self._part([node[mine.index(self.rank)] for node in nodes])

    def _try(self, first: int) -> list[str]:
        """Of each rank, why it cannot open the memory of the first of its node; empty where it can."""
        made = NodeMemory(8) if self.rank == first else None
        pid, descriptor = self.allgather(None if made is None else list(made.handle))[first]
        reason = ""
        try:
            made = made or NodeMemory(8, (pid, descriptor))
        except OSError as error:
            reason = f"rank {self.rank} cannot open memory of rank {first}, of the same node ({error})"
        reasons: list[str] = self.allgather(reason)  # by then all have tried
        return reasons

    @staticmethod
    def identity() -> str:
        """What ranks have in common that can open each other's memory: the host, its boot, and the process table."""
        boot, table = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
        started = boot.read_text().strip() if boot.exists() else ""
        return f"{socket.gethostname()} {started} {table.stat().st_ino if table.exists() else ''}"

    def _part(self, ranks: Sequence[int]) -> SharedCommunicator:
        part: Any = self.Create_group(ranks)
        part._world = self
        return part

    def _made(self, comm: Any, name: str, ranks: Sequence[int]) -> SharedCommunicator:
        new: Any = super()._made(comm, name, ranks)
        new._names = self._names
        new.shares_memory = len({self._names[r] for r in ranks}) == 1  # a group of several nodes goes by messages alone
        return new

    @property
    def node(self) -> SharedCommunicator:
        return self._node or self

    def Await(self, condition: Callable[[], bool], what: str) -> None:
        if condition():
            return
        family = self.family
        family.waits_since, family.waits_for = time.monotonic(), what
        try:
            self._await(condition, what, family.waits_since)
        finally:
            family.waits_since = None
        family.waits_for = ""  # where it was in vain it is what this rank did last

    def _await(self, condition: Callable[[], bool], what: str, started: float) -> None:
        family, timeout = self.family, (self._world or self).timeout
        family.waiters.add(threading.get_ident())
        while True:
            for _ in range(100):
                if condition():
                    return
            family.progress()
            yield_core()  # with more ranks than cores the peer may be waiting for this one
            waited = time.monotonic() - started
            if waited > PATIENCE:
                family.agreement.check(self._world or self)
                late = getattr(condition, "late", None)
                why = late and family.agreement.in_vain([self.ranks[r] for r in late], what)
                if why and not condition():
                    if condition.alone is not None and condition.alone():  # type: ignore[attr-defined]
                        return
                    why()
            family._read_notices()
            gone = family._left.keys() & set(self.ranks) if family._left else ()  # who is of another node may be done
            if gone and not condition():
                raise DistError(
                    f"rank {family.rank} waits {what}, but rank {min(gone)} has left: every rank must take "
                    "part in every backward() and step()"
                )
            if timeout is not None and waited > timeout:
                raise DistTimeoutError(f"rank {family.rank} waited {timeout:g} s {what}, which never came about")

    def forewarn(self, why: str) -> None:
        """Tell all ranks, of every node, why they may come to wait for each other in vain."""
        self.family.agreement.forewarn(why)

    def refuse(self) -> None:
        """Have all ranks raise what they were forewarned of."""
        self.family.agreement.refuse()

    def Free(self) -> None:
        for part in (self._node, self.peers):
            if part is not None:
                part.Free()
        super().Free()


@hookimpl
def distgrad_communicators() -> dict[str, type[Communicator]]:
    return {"shared": SharedCommunicator}
