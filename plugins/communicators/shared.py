"""Ranks of one node over MPI that share memory: parameters once, the sum of gradients and the update shared out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from distgrad_communicators.mpi import MPICommunicator

from distgrad.distributed import node_memory
from distgrad.distributed.communicator import Communicator, DistError, DistTimeoutError
from distgrad.hookspecs import hookimpl


class SharedCommunicator(MPICommunicator):
    """The ``mpi`` communicator where all ranks are of one node and can share memory.

    Raises:
        DistError: they cannot; the message says why.
    """

    shares_memory = True

    def __init__(self, comm: Any = None) -> None:
        super().__init__(comm)
        reason = node_memory.why_not()
        if self.local_size != self.size:
            reason = f"its {self.size} ranks are on several nodes ({self.local_size} on rank {self.rank}'s)"
        reasons = [r for r in self.allgather(reason) if r]
        if reasons:
            self.Free()
            raise DistError(f"the shared communicator cannot serve: {reasons[0]}")

    def Await(self, condition: Callable[[], bool], what: str) -> None:
        if condition():
            return
        started = time.monotonic()
        while True:
            for _ in range(100):
                if condition():
                    return
            self.progress()
            time.sleep(0)  # sched_yield: with more ranks than cores the peer may be waiting for this one
            family = self._family
            family._read_notices()
            if family._left and not condition():
                raise DistError(
                    f"rank {self.rank} waits {what}, but rank {min(family._left)} has left: every rank must take part "
                    "in every backward() and step()"
                )
            if self.timeout is not None and time.monotonic() - started > self.timeout:
                raise DistTimeoutError(f"rank {self.rank} waited {self.timeout:g} s {what}, which never came about")


@hookimpl
def distgrad_communicators() -> dict[str, type[Communicator]]:
    return {"shared": SharedCommunicator}
