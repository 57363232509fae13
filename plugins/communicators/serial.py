"""One rank: every collective is a no-op, so a distributed script runs unchanged in one process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistError
from distgrad.distributed.communication.reduction import ReduceOp, check_op
from distgrad.distributed.communication.requests import CompletedRequest, Request
from distgrad.hookspecs import hookimpl


class SerialCommunicator(Communicator):
    """The communicator of a lone process; arguments are checked as the others check them."""

    device_pointers = True  # nothing is sent anywhere

    def __init__(self, comm: Any = None) -> None:
        if comm is not None:
            raise TypeError(f"the serial communicator wraps no other, got comm={comm!r}; use backend='mpi'")
        self.rank, self.size, self.local_rank, self.local_size = 0, 1, 0, 1

    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        check_op(op, array.dtype)
        return CompletedRequest()

    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        if root != 0:
            raise ValueError(f"rank {root} does not exist: this job has 1 rank")

    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        self.check_table(array, out)
        out[0] = array.reshape(out[0].shape)

    def Barrier(self) -> None:
        return

    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        raise DistError(f"rank 0 sends to rank {dest}, but this job has 1 rank and no peer to receive")

    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        raise DistError(f"rank 0 receives from rank {source}, but this job has 1 rank and no peer to send")

    def Iprobe(self, source: int | None, tag: int = 0) -> int | None:
        raise DistError("rank 0 receives from any rank, but this job has 1 rank and no peer to send")

    def Dup(self) -> SerialCommunicator:
        return self._made()

    def Create_group(self, ranks: Sequence[int]) -> SerialCommunicator | None:
        for rank in ranks:
            self.check_root(rank)
        return self._made() if ranks else None

    def _made(self) -> SerialCommunicator:
        new = type(self)()
        new.timeout = self.timeout
        return new

    def Depart(self, timeout: float) -> list[int]:
        return []

    def Abort(self, code: int = 1) -> None:
        os._exit(code)

    def Free(self) -> None:
        return


@hookimpl
def distgrad_communicators() -> dict[str, type[Communicator]]:
    return {"serial": SerialCommunicator}
