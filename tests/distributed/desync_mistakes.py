"""Mistakes that leave three ranks in different collectives: made on threads, and as a program by mpirun."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as a program by mpirun

import distgrad.distributed as dist
from distgrad.autograd import Tensor
from distgrad.distributed.desync import DesyncError
from tests.distributed.checks import raises


def another_operation(rank: int) -> None:
    if rank == 1:
        dist.broadcast(zeros(3), 0)
    else:
        dist.all_reduce(zeros(3))


def another_dtype(rank: int) -> None:
    dist.all_reduce(Tensor(np.zeros(3, np.int64 if rank == 2 else np.float64)))


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
    return Tensor(np.zeros(n))


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
    make(sys.argv[1], sys.argv[2])
    sys.stdout.write("told\n")
