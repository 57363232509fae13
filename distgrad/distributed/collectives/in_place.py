"""PyTorch's collectives on one tensor a rank, in place: all_reduce, reduce, broadcast, barriers.

The others are in :mod:`gathering`, :mod:`point_to_point` and :mod:`objects`, beside this file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.distributed.collectives.work import Work, broadcast_array, start_all_reduce, transferable
from distgrad.distributed.communication.communicator import MONITOR_TAG, Communicator, yield_core
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group
from distgrad.distributed.process_groups.subgroups import member, one_rank

__all__ = [
    "Work", "all_reduce", "barrier", "broadcast", "broadcast_array", "monitored_barrier", "raw", "reduce", "run",
    "start_all_reduce", "transferable",
]  # fmt: skip


def raw(tensor: Any, name: str = "tensor") -> backend.Array:
    """The array under a tensor; TypeError for anything else."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` to be a Tensor, got {type(tensor).__name__}"
        )
    return tensor._data


def run(
    request: Request, finish: Callable[[], None], async_op: bool, result: list[Tensor] | None = None
) -> Work | None:
    """Wait for the request and return None, or with ``async_op`` return a :class:`Work`; then ``finish()``."""
    work = Work(request, finish, result=result)
    if async_op:
        return work
    work.wait()
    return None


def all_reduce(
    tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Replace ``tensor`` on every rank by ``op`` over the ranks' tensors, which have equal shapes and dtypes.

    Operands are taken in rank order, so all ranks get the same bits; float16 and bfloat16 are summed in float32.

    Returns:
        None, or with ``async_op`` a :class:`Work` to wait for.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     t = torch.tensor([1.0, 10.0]) * (dist.get_rank() + 1)
    ...     dist.all_reduce(t)
    ...     dist.destroy_process_group()
    ...     return t.tolist()
    ...
    >>> threads.run(2, main)
    [[3.0, 30.0], [3.0, 30.0]]
    """
    array, comm = raw(tensor), member(group, "all_reduce")
    if comm is None:
        return None
    if not async_op and type(array) is np.ndarray and array.flags.c_contiguous:  # the usual case, without detours
        comm.Allreduce(array, op)
        tensor._bump()
        return None
    buffer, copy_back = transferable(comm, array)

    def finish() -> None:
        if copy_back is not None:
            copy_back()
        tensor._bump()

    return run(comm.Iallreduce(buffer, op), finish, async_op, [tensor])


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Overwrite ``tensor`` on every rank with the one of rank ``src`` (``group_src``: by its number in ``group``).

    >>> t = torch.tensor([1.0])
    >>> dist.broadcast(t, src=0)
    >>> t
    tensor([1.])
    """
    array, comm = raw(tensor), member(group, "broadcast")
    if comm is None:
        return None
    root = one_rank(group, "src", src, group_src)
    buffer, copy_back = transferable(comm, array)

    def finish() -> None:
        if copy_back is not None and comm.rank != root:
            copy_back()
        tensor._bump()

    return run(comm.Ibcast(buffer, root), finish, async_op, [tensor])


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """:func:`all_reduce` whose result rank ``dst`` (``group_dst``: by its number in ``group``) alone gets.

    >>> t = torch.tensor([1.0])
    >>> dist.reduce(t, dst=0)
    >>> t
    tensor([1.])
    """
    array, comm = raw(tensor), member(group, "reduce")
    if comm is None:
        return None
    root = one_rank(group, "dst", dst, group_dst)
    buffer, copy_back = transferable(comm, array)

    def finish() -> None:
        if comm.rank == root:
            if copy_back is not None:
                copy_back()
            tensor._bump()

    return run(comm.Ireduce(buffer, op, root), finish, async_op, [tensor])


def barrier(
    group: ProcessGroup | None = None,
    async_op: bool = False,
    device_ids: Any = None,
    timeout: timedelta | None = None,
) -> Work | None:
    """Return once every rank has called it; with ``async_op``, return a :class:`Work` that waits for that.

    Args:
        device_ids: accepted for PyTorch's sake.
        timeout: how long to wait; None is the process group's time-out.

    >>> dist.barrier()
    """
    comm = member(group, "barrier")
    if comm is None:
        return None
    work = Work(comm.Ibarrier())
    if async_op:
        return work
    work.wait(timeout)
    return None


def monitored_barrier(
    group: ProcessGroup | None = None, timeout: timedelta | None = None, wait_all_ranks: bool = False
) -> None:
    """A barrier that names the ranks which did not come in time.

    Every rank reports to rank 0 of the group, which then lets them go.

    Args:
        timeout: how long rank 0 waits for reports, and the others for its answer; None is the group's.
        wait_all_ranks: name all ranks that are late, else the first.

    Raises:
        RuntimeError: on rank 0, ranks that did not report; on others, that rank 0 did not answer.

    >>> dist.monitored_barrier()
    """
    comm = member(group, "monitored_barrier")
    if comm is None:
        return
    seconds = timeout.total_seconds() if timeout is not None else comm.timeout
    ranks = get_group(group).ranks
    deadline = None if seconds is None else time.monotonic() + seconds
    token = np.zeros(1, np.uint8)
    if comm.rank:
        comm.Isend(token, 0, MONITOR_TAG)
        if not _until(comm.Irecv(token, 0, MONITOR_TAG), deadline):
            raise RuntimeError(
                f"[Rank {ranks[comm.rank]}]: Rank {ranks[0]} did not answer in monitored_barrier within "
                f"{(seconds or 0) * 1000:g} ms: it may wait for another rank, or not have called it"
            )
        return
    late = _report(comm, token, deadline, wait_all_ranks)
    if late:
        names = ", ".join(str(ranks[r]) for r in late)
        raise RuntimeError(
            f"[Rank {ranks[0]}]: Rank{'s' * (len(late) > 1)} {names} failed to pass monitored_barrier in "
            f"{(seconds or 0) * 1000:g} ms"
        )
    for peer in range(1, comm.size):
        comm.Send(token, peer, MONITOR_TAG)


def _report(comm: Communicator, token: np.ndarray, deadline: float | None, everyone: bool) -> list[int]:
    """On rank 0: the ranks (the first, or all) that have not reported by the deadline."""
    reports = [comm.Irecv(token.copy(), peer, MONITOR_TAG) for peer in range(1, comm.size)]
    late = []
    for peer, report in enumerate(reports, 1):
        if not _until(report, deadline):
            late.append(peer)
            if not everyone:
                break
    return late


def _until(request: Request, deadline: float | None) -> bool:
    while not request.Test():
        if deadline is not None and time.monotonic() > deadline:
            return False
        yield_core()
    return True
