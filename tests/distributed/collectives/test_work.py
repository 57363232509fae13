"""Collectives that cannot complete: what work tells of it, who is named, and what is left behind."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad.distributed as dist
from distgrad import from_numpy, registry
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.requests import CompletedRequest
from distgrad.distributed.process_groups.default_group import ProcessGroup
from tests.helpers.crew import run_together
from tests.helpers.ranks import run_ranks

Threads: Any = registry.get("communicator", "threads")
START = """
import sys, time
from datetime import timedelta
import numpy as np
import distgrad.distributed as dist
from distgrad import from_numpy
from distgrad.autograd import Tensor
from distgrad.ops.creation import from_array
dist.init_process_group("mpi", timeout=timedelta(seconds=100), exit_timeout=timedelta(seconds=100))
rank, size = dist.get_rank(), dist.get_world_size()
"""


def test_work_keeps_its_exception() -> None:
    def main() -> str:
        dist.init_process_group("threads")
        if dist.get_rank() == 1:
            return "left"
        work = dist.all_reduce(from_numpy(np.ones(2)), async_op=True)
        assert work is not None
        assert work.exception() is None
        for _ in range(2):
            with pytest.raises(dist.DistError, match="rank 1 has left") as caught:
                work.wait()
            assert work.exception() is caught.value
        assert (work.is_completed(), work.is_success()) == (True, False)
        return "told"

    assert Threads.run(2, main) == ["told", "left"]


def test_work_that_is_polled_ends_with_its_exception() -> None:
    def main() -> None:
        dist.init_process_group("threads")
        if dist.get_rank() == 0:
            work = dist.irecv(from_numpy(np.ones(2)), 1)
            assert work is not None
            while not work.is_completed():
                pass
            assert not work.is_success()
            assert "cannot complete Recv from 1: rank 1 has left" in str(work.exception())

    Threads.run(2, main)


def test_a_wait_with_a_time_out_may_be_repeated() -> None:
    late = threading.Event()

    def main() -> None:
        dist.init_process_group("threads")
        t = from_numpy(np.ones(2))
        if dist.get_rank() == 1:
            late.wait(100)
        work = dist.all_reduce(t, async_op=True)
        assert work is not None
        if dist.get_rank() == 0:
            with pytest.raises(dist.DistTimeoutError, match=r"waited 0.05 s"):
                work.wait(timedelta(seconds=0.05))
            assert not work.is_completed()
            late.set()
        work.wait()
        assert t.tolist() == [2, 2]

    Threads.run(2, main)


def test_threads_monitored_barrier_names_who_did_not_come() -> None:
    together = threading.Barrier(4)  # nobody leaves before all have been told

    def main() -> list[str]:
        dist.init_process_group("threads")
        dist.monitored_barrier(timeout=timedelta(seconds=100))
        told: list[str] = []
        if dist.get_rank() in (1, 3):
            together.wait(100)
            return told
        for everyone in (False, True):
            with pytest.raises(RuntimeError) as caught:
                dist.monitored_barrier(timeout=timedelta(seconds=1), wait_all_ranks=everyone)
            told.append(str(caught.value))
        together.wait(100)
        return told

    first, _, second, _ = Threads.run(4, main)
    assert first == [
        "[Rank 0]: Rank 1 failed to pass monitored_barrier in 1000 ms",
        "[Rank 0]: Ranks 1, 3 failed to pass monitored_barrier in 1000 ms",
    ]
    assert all("[Rank 2]: Rank 0 did not answer in monitored_barrier" in text for text in second)


class Least(Communicator):
    """Ten methods and no more: what a third party must write."""

    per_thread = True

    def __init__(self, comm: Any = None) -> None:
        self.inner: Any = Threads() if comm is None else comm
        self.rank, self.size, self.local_rank, self.local_size = (
            self.inner.rank, self.inner.size, self.inner.local_rank, self.inner.local_size,
        )  # fmt: skip

    def Iallreduce(self, array: np.ndarray, op: Any = dist.ReduceOp.SUM) -> Any:
        return self.inner.Iallreduce(array, op)

    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        self.inner.Bcast(array, root)

    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        self.inner.Allgather(array, out)

    def Barrier(self) -> None:
        self.inner.Barrier()

    def Send(self, array: np.ndarray, dest: int, tag: int = 0) -> None:
        self.inner.Send(array, dest, tag)

    def Recv(self, array: np.ndarray, source: int, tag: int = 0) -> None:
        self.inner.Recv(array, source, tag)

    def Dup(self) -> Communicator:
        return Least(self.inner.Dup())

    def Depart(self, timeout: float) -> list[int]:
        return self.inner.Depart(timeout)

    def Abort(self, code: int = 1) -> None:
        self.inner.Abort(code)

    def Free(self) -> None:
        self.inner.Free()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ten_methods_are_enough(size: int) -> None:
    def main() -> None:
        comm = Least()
        group, rank = ProcessGroup(comm, "least"), comm.rank
        t = from_numpy(np.full(3, rank + 1.0))
        dist.reduce(t, 0, group=group)
        assert t._data[0] == (rank + 1 if rank else size * (size + 1) / 2)
        outs = [from_numpy(np.zeros(r + 1)) for r in range(size)]
        dist.all_to_all(outs, [from_numpy(np.full(rank + 1, 10.0 * rank + r)) for r in range(size)], group=group)
        assert [out.tolist() for out in outs] == [[10.0 * r + rank] * (r + 1) for r in range(size)]
        out = from_numpy(np.zeros(2))
        dist.reduce_scatter_tensor(out, from_numpy(np.arange(2.0 * size) * (rank + 1)), group=group)
        assert out.tolist() == [x * size * (size + 1) / 2 for x in (2 * rank, 2 * rank + 1)]
        found: list[Any] = [None] * size
        dist.all_gather_object(found, {"r": rank}, group=group)
        assert found == [{"r": r} for r in range(size)]
        if size > 1:
            got = from_numpy(np.zeros(1))
            works = dist.batch_isend_irecv([
                dist.P2POp(dist.irecv, got, (rank - 1) % size, group),
                dist.P2POp(dist.isend, from_numpy(np.full(1, float(rank))), (rank + 1) % size, group),
            ])
            assert all(work.wait() for work in works)
            assert got.item() == (rank - 1) % size
            with pytest.raises(dist.DistError, match="Least cannot receive from an unnamed rank: it has no Iprobe"):
                dist.recv(got, group=group)
        with pytest.raises(dist.DistError, match="Least makes no groups of some of its ranks"):
            comm.Create_group([0])
        assert type(comm.Ibarrier()) is CompletedRequest

    Threads.run(size, main)


@pytest.mark.mpi
def test_f2_a_rank_that_leaves_is_named_in_groups_and_messages() -> None:
    job = run_ranks(3, START + """
group = dist.new_group([0, 1])
other = dist.new_group([1, 2])
if rank == 1:
    sys.exit(0)
try:
    if rank == 0:
        dist.all_reduce(from_numpy(np.ones(50_000)), group=group)
    else:
        dist.recv(from_numpy(np.ones(1)), src=1)
except dist.DistError as error:
    print(rank, "was told", error, flush=True)
""")
    assert "0 was told rank 0 waits in operation 1 (Allreduce SUM of 50000 float64), but rank 1 has" in job.stdout, job
    assert "2 was told rank 2 waits in Recv from 1 of 1 float64, but rank 1 has left" in job.stdout, job


@pytest.mark.mpi
def test_f2_members_of_groups_may_do_different_numbers_of_operations() -> None:
    """A rank that left with fewer operations is missed by nobody who does not need it."""
    job = run_ranks(3, START + """
group = dist.new_group([0, 1])
if rank < 2:
    for _ in range(300):
        dist.all_reduce(from_numpy(np.ones(4 if _ % 2 else 30_000)), group=group)
        time.sleep(0.001)
    print("done")
""")
    job.check(done=2)


@pytest.mark.mpi
def test_f2_work_that_is_polled_learns_that_a_rank_has_left() -> None:
    job = run_ranks(2, START + """
if rank == 1:
    sys.exit(0)
work = dist.all_reduce(from_numpy(np.ones(50_000)), async_op=True)
while not work.is_completed():
    pass
print(work.is_success(), work.exception())
""")
    assert "False rank 0 waits in operation" in job.stdout, job
    assert "but rank 1 has left" in job.stdout, job


@pytest.mark.mpi
def test_f4_a_group_that_a_member_does_not_come_to_is_an_error() -> None:
    job = run_ranks(3, """
import time
from datetime import timedelta
import distgrad.distributed as dist
dist.init_process_group("mpi", timeout=timedelta(seconds=2))
if dist.get_rank() == 1:
    time.sleep(1000)
dist.new_group([0, 1, 2])
""")
    assert job.returncode != 0, job
    assert "Create_group of the ranks 0, 1, 2) for rank(s) 1, which never came" in job.stderr, job


@pytest.mark.mpi
def test_mpi_monitored_barrier_names_who_did_not_come() -> None:
    job = run_ranks(3, START + """
dist.monitored_barrier()
if rank == 2:
    time.sleep(8)
else:
    try:
        dist.monitored_barrier(timeout=timedelta(seconds=2))
    except RuntimeError as error:
        print(error, flush=True)
        time.sleep(4)
""")
    assert "[Rank 0]: Rank 2 failed to pass monitored_barrier in 2000 ms" in job.stdout, job
    assert "[Rank 1]: Rank 0 did not answer in monitored_barrier" in job.stdout, job


@pytest.mark.mpi
def test_f13_every_collective_splits_messages_over_the_limit() -> None:
    """With the limit lowered to 1000 bytes the bits are the same, and no message is longer."""
    job = run_together(3, START + """
sys.path.insert(0, sys.argv[1])
from tests.distributed.helpers.checks import Recorder, sample
from distgrad import dtypes
from distgrad.distributed.process_groups.default_group import get_group

def results():
    mine, out = sample(rank, 1500, dtypes.float64), []
    for op in (dist.ReduceOp.SUM, dist.ReduceOp.AVG):
        t = from_array(mine.copy()); dist.reduce(t, 1, op); out.append(t)
        t = from_numpy(np.zeros(500)); dist.reduce_scatter_tensor(t, from_array(mine), op); out.append(t)
    rows = [from_numpy(np.zeros(400 + r)) for r in range(size)]
    dist.all_gather(rows, from_array(mine[: 400 + rank])); out += rows
    rows = [from_numpy(np.zeros(500)) for r in range(size)]
    dist.gather(from_array(mine[:500]), rows if rank == 0 else None); out += rows
    t = from_numpy(np.zeros(1500)); dist.all_to_all_single(t, from_array(mine)); out.append(t)
    t, parts = from_numpy(np.zeros(1500)), [from_array(mine + r) for r in range(size)]
    dist.scatter(t, parts if rank == 0 else None); out.append(t)
    t = from_numpy(np.zeros(1500))
    for w in dist.batch_isend_irecv([dist.P2POp(dist.isend, from_array(mine), (rank + 1) % size),
                                     dist.P2POp(dist.irecv, t, (rank - 1) % size)]): w.wait()
    return [*out, t]

whole, comm = results(), get_group().comm
recorder, kept = Recorder(comm), comm.wire
comm.wire, comm.max_count = recorder, 1000
pieces = results()
comm.wire, comm.max_count = kept, 2**31 - 1
assert all(a._data.tobytes() == b._data.tobytes() for a, b in zip(whole, pieces, strict=True))
assert recorder.largest == 1000, recorder.largest
print("split")
""", str(Path(__file__).parents[3]))
    job.check(split=3)


@pytest.mark.mpi
def test_small_all_reduces_of_many_lengths_keep_few_buffers_and_leave_none() -> None:
    job = run_ranks(2, START + """
from distgrad.distributed.process_groups.default_group import get_group
for _ in range(2):
    for n in range(1, 200):
        t = from_numpy(np.full(n, rank + 1.0))
        works = [dist.all_reduce(t, async_op=True), dist.all_reduce(from_numpy(np.full(n, 1.0)), async_op=True)]
        for work in works:
            work.wait()
        assert (t._data == 3).all()
assert len(get_group().comm._small._idle) <= 64
print("fine")
""")
    job.check(fine=2)
    assert not job.stderr, job  # MPICH names persistent requests that were not given back
