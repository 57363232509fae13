"""Mistakes that leave three ranks in different collectives: made on threads, and as a program by mpirun."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np

from distgrad import from_numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program by mpirun

import distgrad.distributed as dist
from distgrad.autograd import Tensor
from distgrad.distributed.communication.errors import DistError
from distgrad.distributed.reliability.checked_communicator import DesyncError
from tests.distributed.helpers.checks import raises


def another_operation(rank: int) -> None:
    if rank == 1:
        dist.broadcast(zeros(3), 0)
    else:
        dist.all_reduce(zeros(3))


def another_dtype(rank: int) -> None:
    dist.all_reduce(from_numpy(np.zeros(3, np.int64 if rank == 2 else np.float64)))


def another_shape(rank: int) -> None:
    dist.all_reduce(zeros(4 if rank == 0 else 3))


def another_root(rank: int) -> None:
    dist.broadcast(zeros(3), rank // 2)


def another_reduction(rank: int) -> None:
    dist.all_reduce(zeros(3), dist.ReduceOp.MAX if rank else dist.ReduceOp.SUM)


def unfitting_sizes(rank: int) -> None:
    dist.all_gather([zeros(5 if (rank, r) == (2, 0) else r) for r in range(3)], zeros(rank))


def operation_left_out(rank: int) -> None:
    if rank:
        dist.barrier()
    dist.all_reduce(zeros(3))


def asynchronous(rank: int) -> None:
    dist.all_reduce(zeros(3 + rank), async_op=True)


def zeros(n: int) -> Tensor:
    return from_numpy(np.zeros(n))


SUM, SHAPE = "operation 2, Allreduce SUM", "of shape (3,) and dtype float64"
MISTAKES: dict[str, tuple[Callable[[int], None], str]] = {
    "another operation": (
        another_operation,
        f"{SUM} {SHAPE} on ranks 0, 2; operation 2, Bcast from 0 {SHAPE} on rank 1",
    ),
    "another dtype": (another_dtype, f"{SUM} {SHAPE} on ranks 0, 1; {SUM} of shape (3,) and dtype int64"),
    "another shape": (another_shape, "Allreduce SUM of shape (4,) and dtype float64 on rank 0; operation 2, Allreduce"),
    "another root": (another_root, f"Bcast from 0 {SHAPE} on ranks 0, 1; operation 2, Bcast from 1 {SHAPE} on rank 2"),
    "another reduction": (another_reduction, f"{SUM} {SHAPE} on rank 0; operation 2, Allreduce MAX {SHAPE} on ranks 1"),
    "sizes that do not fit": (unfitting_sizes, "of float64: rank 0 gives 0 elements to rank 2, which expects"),
    "an operation left out": (operation_left_out, f"{SUM} {SHAPE} on rank 0; operation 2, Barrier on ranks 1, 2"),
    "asynchronous": (asynchronous, "on rank 0; operation 2, Allreduce SUM of shape (4,) and dtype float64 on rank 1;"),
}  # fmt: skip


def message_of_another_dtype(rank: int) -> None:
    exchange(rank, from_numpy(np.zeros(3, np.float32)), zeros(3))


def longer_message(rank: int) -> None:
    exchange(rank, zeros(100_000), zeros(3))


def shorter_message(rank: int) -> None:
    exchange(rank, zeros(2), zeros(3))


def another_tag(rank: int) -> None:
    if rank == 2:
        dist.isend(zeros(3), 1, tag=6)
    exchange(rank, zeros(3), zeros(3), 5)


def exchange(rank: int, sent: Tensor, received: Tensor, tag: int = 0) -> None:
    """Rank 2 sends to rank 1, after a message that is right; it is told nothing, so it fails as rank 1 does."""
    if rank == 2:
        dist.send(zeros(1), 1, tag=9)
        dist.isend(sent, 1, tag=7)
    elif rank == 1:
        dist.recv(zeros(1), 2, tag=9)
        dist.recv(received, 2, tag=tag or 7)


# What rank 1 is told.
MESSAGES: dict[str, tuple[Callable[[int], None], str]] = {
    "a message of another dtype": (
        message_of_another_dtype,
        "rank 1: message 2 from rank 2 to rank 1, with tag 7, is 3 float32, but rank 1's receive 2 from there "
        "expects 3 float64",
    ),
    "a longer message": (longer_message, "with tag 7, is 100000 float64, but rank 1's receive 2 from there exp"),
    "a shorter message": (shorter_message, "with tag 7, is 2 float64, but rank 1's receive 2 from there expects 3"),
    "a message with another tag": (
        another_tag,
        "rank 1 waits in vain for receive 2 from rank 2, of 3 float64 with tag 5 (messages from there that nobody "
        "has received: message 1 with tag 6, 3 float64; message 3 with tag 7, 3 float64)",
    ),
}


def make_between(name: str, backend_name: str) -> None:
    """Make a mistake between two ranks, of whom the receiver is told."""
    dist.init_process_group(backend_name, timeout=timedelta(seconds=2))
    rank = dist.get_rank()
    dist.barrier()
    mistake, words = MESSAGES[name]
    if rank == 1:
        with raises(DistError, re.escape(words)):
            mistake(rank)
        if backend_name != "threads":
            sys.stdout.write("told\n")
            sys.stdout.flush()
            raise KeyError("whoever is told ends the job")
    else:
        mistake(rank)
        if backend_name != "threads":
            time.sleep(1000)  # not in a collective, whose time-out would end the job as well


def right(backend_name: str) -> None:
    """No false alarm, and nobody waits in a circle: long messages, of which most MPIs wait for the receiver."""
    dist.init_process_group(backend_name, timeout=timedelta(seconds=100))
    rank, size = dist.get_rank(), dist.get_world_size()
    after, before = (rank + 1) % size, (rank - 1) % size
    n = 300_000
    for between in (dist.barrier, lambda: dist.all_reduce(zeros(3)), lambda: dist.new_group()):
        if size == 1:
            break
        # All have asked for a message when they send; the receiver of rank 0's comes to another operation first.
        got = zeros(n)
        work = dist.irecv(got, before, tag=3)
        assert work is not None
        dist.send(from_numpy(np.full(n, rank + 1.0)), after, tag=3)
        between()
        work.wait()
        assert (got._data == before + 1).all()
        got = zeros(n)
        if rank == 0:
            dist.send(from_numpy(np.full(n, 7.0)), 1)
            between()
        else:
            work = dist.irecv(got, 0) if rank == 1 else None
            between()
            assert work is None or (work.wait() and (got._data == 7).all())
        # Tags in another order than sent, and one receive from anybody behind one from a given rank.
        if rank == 0:
            works = [dist.isend(from_numpy(np.full(k, k)), 1, tag=k) for k in (1, 2, 3)]
            works += [dist.isend(from_numpy(np.full(4, k)), 1, tag=4) for k in (1, 2)]
            assert all(w is not None and w.wait() for w in works)
        elif rank == 1:
            parts = [from_numpy(np.zeros(k, np.int64)) for k in (3, 1, 2, 4, 4)]
            first = dist.irecv(parts[3], 0, tag=4)
            assert dist.recv(parts[4], tag=4) == 0
            for k in range(3):
                dist.recv(parts[k], 0, tag=parts[k].numel())
            assert first is not None
            assert first.wait()
            assert [p.tolist()[0] for p in parts] == [3, 1, 2, 1, 2]
    dist.destroy_process_group()


def make(name: str, backend_name: str) -> None:
    """Make the mistake after one right collective; every rank is told what differs."""
    dist.init_process_group(backend_name)
    rank = dist.get_rank()
    dist.barrier()
    mistake, words = MISTAKES[name]
    where = f"rank {rank}: operation 2 of the group of ranks 0, 1, 2"
    with raises(DesyncError, f"^{re.escape(where)}.*{re.escape(words)}"):
        mistake(rank)
    dist.destroy_process_group()


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores
    if sys.argv[1] == "right":
        right(sys.argv[2])
    elif sys.argv[1] in MESSAGES:
        make_between(sys.argv[1], sys.argv[2])
    else:
        make(sys.argv[1], sys.argv[2])
    sys.stdout.write("told\n")
