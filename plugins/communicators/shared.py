"""Ranks over MPI, of which those of a node share memory: parameters once, sums of gradients and the update by part."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distgrad_communicators.mpi import MPICommunicator

from distgrad.distributed import node_memory
from distgrad.distributed.communicator import Communicator, DistError, DistTimeoutError
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

    def __init__(self, comm: Any = None) -> None:
        super().__init__(comm)
        names = self.allgather(self.identity())
        mine = [rank for rank, name in enumerate(names) if name == names[self.rank]]
        reasons = [reason for reason in self.allgather(node_memory.why_not()) if reason]
        sizes = sorted({names.count(name) for name in names})
        if len(sizes) > 1:
            reasons.append(f"its nodes have different numbers of ranks ({', '.join(map(str, sizes))})")
        if reasons:
            self.Free()
            raise DistError(f"the shared communicator cannot serve: {reasons[0]}")
        if len(mine) < self.size:
            self._node, self.peers = self._split(mine[0]), self._split(mine.index(self.rank))

    @staticmethod
    def identity() -> str:
        """What ranks have in common that can open each other's memory: the host, its boot, and the process table."""
        boot, table = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
        started = boot.read_text().strip() if boot.exists() else ""
        return f"{socket.gethostname()} {started} {table.stat().st_ino if table.exists() else ''}"

    def _split(self, color: int) -> SharedCommunicator:
        new = type(self).__new__(type(self))
        new._attach(self._comm.Split(color, self.rank), new)
        new._world = self
        return new

    @property
    def node(self) -> SharedCommunicator:
        return self._node or self

    def Await(self, condition: Callable[[], bool], what: str) -> None:
        if condition():
            return
        world = self._world or self
        started = time.monotonic()
        while True:
            for _ in range(100):
                if condition():
                    return
            world.progress()
            time.sleep(0)  # sched_yield: with more ranks than cores the peer may be waiting for this one
            world._read_notices()
            if world._left and not condition():
                raise DistError(
                    f"rank {world.rank} waits {what}, but rank {min(world._left)} has left: every rank must take part "
                    "in every backward() and step()"
                )
            if world.timeout is not None and time.monotonic() - started > world.timeout:
                raise DistTimeoutError(f"rank {world.rank} waited {world.timeout:g} s {what}, which never came about")

    def Free(self) -> None:
        for part in (self._node, self.peers):
            if part is not None:
                part.Free()
        super().Free()


@hookimpl
def distgrad_communicators() -> dict[str, type[Communicator]]:
    return {"shared": SharedCommunicator}
