"""The built-in communicators, each against the same checks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad.distributed as dist
from distgrad import registry
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.process_groups.default_group import get_group
from tests.distributed.helpers.checks import CHECKS
from tests.helpers.crew import run_together
from tests.helpers.ranks import run_ranks

HERE = Path(__file__).parents[1] / "helpers"

Threads: Any = registry.get("communicator", "threads")


def in_group(check: Callable[[Communicator], Any], backend: str) -> Any:
    """Run ``check`` in a process group of this thread's or process' own."""
    dist.init_process_group(backend)
    try:
        return check(get_group().comm)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("name", CHECKS)
def test_serial(name: str) -> None:
    in_group(CHECKS[name], "serial")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", CHECKS)
def test_threads(name: str, size: int) -> None:
    Threads.run(size, in_group, CHECKS[name], "threads")


@pytest.mark.mpi
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_mpi(size: int) -> None:
    job = run_together(size, HERE / "checks.py", "mpi")
    assert job.returncode == 0, job
    assert job.stdout.count(f"rank passed {len(CHECKS)} checks") == size, job


@pytest.mark.mpi
def test_mpi_takes_the_users_communicator_and_keeps_apart_from_it() -> None:
    job = run_ranks(3, """
import numpy as np
from mpi4py import MPI
import distgrad.distributed as dist
from distgrad import from_numpy
from distgrad.autograd import Tensor
from distgrad.ops.creation import from_array
mine = MPI.COMM_WORLD.Split(MPI.COMM_WORLD.rank // 2)
pending = mine.irecv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG)   # would swallow any message sent on it
dist.init_process_group(comm=mine)
t = from_numpy(np.ones(100_000, np.float32))
dist.all_reduce(t)
assert (dist.get_backend(), dist.get_world_size(), t._data[0]) == ("shared", mine.size, mine.size)
dist.destroy_process_group()
mine.send(None, 0 if mine.size == 1 else 1 - mine.rank)
pending.wait()
print("fine")
""")
    job.check(fine=3)


def test_threads_return_results_in_rank_order() -> None:
    assert Threads.run(3, lambda: in_group(lambda comm: comm.rank * 10, "threads")) == [0, 10, 20]


def test_a_failing_thread_releases_the_others_and_is_named() -> None:
    released = []

    def main(comm: Communicator) -> None:
        if comm.rank == 1:
            raise KeyError("lost")
        try:
            comm.Barrier()
        except DistError as error:
            released.append(str(error))
            raise

    with pytest.raises(KeyError, match="lost") as caught:
        Threads.run(3, in_group, main, "threads")
    assert caught.value.__notes__ == ["raised on rank 1 of 3 (threads)"]
    assert len(released) == 2
    assert all("rank 1 failed with KeyError" in text for text in released)


def test_a_thread_that_leaves_early_is_named() -> None:
    def main(comm: Communicator) -> None:
        if comm.rank != 2:
            comm.Barrier()

    with pytest.raises(DistError, match="cannot complete Barrier: rank 2 has left"):
        Threads.run(3, in_group, main, "threads")


def test_a_thread_that_never_comes_is_named_after_the_time_out() -> None:
    done = threading.Event()

    def main(comm: Communicator) -> None:
        comm.timeout = 0.2
        if comm.rank == 1:
            done.wait(20)
            return
        try:
            comm.Barrier()
        finally:
            done.set()

    with pytest.raises(DistTimeoutError, match=r"rank 0 waited 0.2 s in Barrier for rank\(s\) 1"):
        Threads.run(2, in_group, main, "threads")


def test_threads_in_different_collectives_are_told_so() -> None:
    def main(comm: Communicator) -> None:
        if comm.rank:
            comm.Bcast(np.zeros(3))
        else:
            comm.Allreduce(np.zeros(3))

    with pytest.raises(DistError, match="ranks disagree.*Allreduce SUM"):
        Threads.run(2, in_group, main, "threads")


def test_the_threads_communicator_needs_run() -> None:
    with pytest.raises(DistError, match="inside threads.run"):
        dist.init_process_group("threads")


def test_zero_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="world_size=0"):
        Threads.run(0, lambda: None)


@pytest.mark.parametrize("name", ["serial", "threads"])
def test_a_communicator_that_wraps_no_other_says_so(name: str) -> None:
    def main() -> None:
        dist.init_process_group(name, comm="mine")

    with pytest.raises(TypeError, match="wraps no other, got comm='mine'"):
        Threads.run(1, main)
