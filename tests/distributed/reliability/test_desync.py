"""Debug mode: ranks about to run different collectives are told so, on every rank (docs/reliability.md, F4, F5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import from_numpy, nn, optim, registry
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistError
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.distributed.reliability import checked_communicator
from tests.distributed.helpers import desync_mistakes, group_checks
from tests.distributed.helpers.desync_mistakes import MESSAGES, MISTAKES
from tests.distributed.helpers.ranks_as_threads import AS_PROGRAM, WAYS, on_ranks, set_parameters
from tests.helpers.crew import run_together
from tests.helpers.ranks import run_ranks

Threads: Any = registry.get("communicator", "threads")
IRECV = Threads.Irecv
PROGRAM, GROUPS = Path(desync_mistakes.__file__), Path(group_checks.__file__)


@pytest.mark.parametrize("name", MISTAKES)
def test_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", "detail")
    assert Threads.run(3, desync_mistakes.make, name, "threads") == [None] * 3


@pytest.mark.mpi
@pytest.mark.parametrize("name", MISTAKES)
def test_mpi(name: str) -> None:
    job = run_together(3, PROGRAM, name, "mpi", env={"DISTGRAD_DEBUG": "detail"})
    job.check(told=3)


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_between_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", "detail")
    assert Threads.run(3, desync_mistakes.make_between, name, "threads") == [None] * 3


@pytest.mark.mpi
@pytest.mark.parametrize("name", MESSAGES)
def test_messages_over_mpi(name: str) -> None:
    job = run_ranks(3, PROGRAM, name, "mpi", env={"DISTGRAD_DEBUG": "detail"})
    assert job.returncode != 0, job
    assert job.stdout.count("told") == 1, job
    assert "KeyError: 'whoever is told" in job.stderr, job


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_right_messages_between_threads(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", "detail")
    Threads.run(size, desync_mistakes.right, "threads")


@pytest.mark.mpi
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_right_messages_over_mpi(size: int) -> None:
    job = run_together(size, PROGRAM, "right", "mpi", env={"DISTGRAD_DEBUG": "detail"})
    job.check(told=size)


@pytest.mark.mpi
@pytest.mark.parametrize(("size", "backend"), [(2, "shared"), (3, "mpi"), (4, "shared")])
def test_every_operation_of_groups_passes_the_comparison(size: int, backend: str) -> None:
    job = run_together(size, GROUPS, backend, env={"DISTGRAD_DEBUG": "detail", **AS_PROGRAM})
    job.check(**{"rank passed": size})


def test_messages_where_only_receives_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A communicator with nothing but Send and Recv."""
    monkeypatch.setattr(Threads, "Irecv", Communicator.Irecv)
    monkeypatch.setattr(Threads, "Recv", lambda self, *what: IRECV(self, *what).Wait())

    def main() -> str:
        comm: Any = checked_communicator.compared(Threads())
        if comm.rank == 0:
            for n in (2, 2, 3):
                comm.Send(np.full(n, 5.0), 1)
            return ""
        first, second = np.zeros(2), np.zeros(2)
        request = comm.Irecv(first, 0)
        comm.Recv(second, 0)
        request.Wait()
        assert first.tolist() == second.tolist() == [5, 5]
        with pytest.raises(checked_communicator.DesyncError) as caught:
            comm.Recv(first, 0)
        return str(caught.value)

    assert "message 3 from rank 0 to rank 1, with tag 0, is 3 float64" in Threads.run(2, main)[1]


def test_messages_of_a_group_name_global_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", "detail")

    def main() -> str:
        dist.init_process_group("threads")
        group, rank = dist.new_group([1, 2]), dist.get_rank()
        if rank == 1:
            dist.send(from_numpy(np.zeros(2)), 2, group)
        if rank == 2:
            with pytest.raises(checked_communicator.DesyncError) as caught:
                dist.recv(from_numpy(np.zeros(1)), group=group)
            return str(caught.value)
        return ""

    assert "rank 2: message 1 from rank 1 to rank 2, with tag 0" in Threads.run(3, main)[2]


@pytest.mark.mpi
def test_f4_a_rank_that_never_comes_is_named_with_the_operation() -> None:
    job = run_ranks(3, """
import time
from datetime import timedelta
import numpy as np
import distgrad.distributed as dist
from distgrad import from_numpy
from distgrad.autograd import Tensor
from distgrad.ops.creation import from_array
dist.init_process_group("mpi", timeout=timedelta(seconds=2))
dist.barrier()
if dist.get_rank() == 1:
    time.sleep(1000)
dist.all_reduce(from_numpy(np.zeros(3)))
""", env={"DISTGRAD_DEBUG": "detail"})
    assert job.returncode != 0, job
    assert "operation 2 of the group of ranks 0, 1, 2, Allreduce SUM of shape (3,) and dtype float64" in job.stderr, job
    assert "for rank(s) 1, which never came" in job.stderr, job


TRAINING = """
import sys
import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
dist.init_process_group("{backend}")
model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), weighting="samples")
optimizer = optim.SGD(model.parameters(), lr=0.1)
for i in range(3):
    mistaken = dist.get_rank() == 1 and i == 1
    optimizer.zero_grad()
    if mistaken and "{mistake}" == "collective":
        dist.all_reduce(dg.ones(3))
    model(dg.ones(2, 3)).sum().backward()
    if mistaken and "{mistake}" == "step":
        continue
    optimizer.step()
"""
PARAMETERS = "'0.weight', '0.bias', '1.weight' and 1 more"


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize(
    ("backend", "mistake", "others", "mistaken"),
    [
        ("mpi", "collective", "Allreduce SUM of shape ({size},) and dtype int64 (the samples of backward() number 2)",
         "Allreduce SUM of shape (3,) and dtype float32"),
        ("shared", "collective", f"the start of backward() number 2 of parameters {PARAMETERS}",
         "Allreduce SUM of shape (3,) and dtype float32"),
        ("shared", "step", f"step() number 2 of parameters {PARAMETERS}",
         f"the start of backward() number 3 of parameters {PARAMETERS}"),
    ],
    ids=["messages-collective", "shared-collective", "shared-step"],
)  # fmt: skip
def test_f5_training_that_falls_apart_is_named_by_parameter(
    backend: str, mistake: str, others: str, mistaken: str, size: int
) -> None:
    """Parameter, operation, sequence number and rank, on every rank, and without any time-out."""
    program = TRAINING.format(backend=backend, mistake=mistake)
    job = run_ranks(size, program, env={"DISTGRAD_DEBUG": "detail"})
    assert job.returncode != 0, job
    where = r"\[rank\d\]: .*DesyncError: rank \d: operation (\d+) of the group of ranks 0, 1.*: the ranks are about to"
    number = re.search(where, job.stderr)
    assert number is not None, job
    usual = "rank 0" if size == 2 else "ranks 0, 2" if size == 3 else "ranks 0, 2, 3"
    operation = f"operation {number.group(1)}, "
    assert f"{operation}{others.format(size=size)} on {usual}; {operation}{mistaken} on rank 1" in job.stderr, job


def test_f5_a_bucket_is_told_of_by_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", "detail")

    def main() -> str:
        dist.init_process_group("threads")
        model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2), weighting="ranks")
        loss = model(dg.ones(2, 3)).sum()
        mistaken = dist.get_rank() == 1
        with pytest.raises(DistError) as caught:
            dist.broadcast(dg.ones(3), 0) if mistaken else loss.backward()
        return str(caught.value)

    for rank, text in enumerate(Threads.run(2, main)):
        assert text.startswith(f"rank {rank}: operation ")
        assert "(bucket 0 of backward() number 1: parameters 'weight', 'bias') on rank 0; operation" in text
        assert "Bcast from 0 of shape (3,) and dtype float32 on rank 1" in text


@pytest.mark.parametrize("way", WAYS)
def test_f5_training_that_does_not_is_left_in_peace(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", "detail")

    def main() -> bytes:
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
        set_parameters(model)
        wrapped = nn.parallel.DistributedDataParallel(model)
        optimizer = optim.Adam(model.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            with wrapped.no_sync():
                wrapped(dg.full((2, 3), float(dist.get_rank()))).sum().backward()
            wrapped(dg.ones(2, 3)).sum().backward()
            if dist.get_rank() == 0:
                assert model[0].weight.grad is not None
            optimizer.step()
        return b"".join(p.detach().numpy().tobytes() for p in model.parameters())

    compared = on_ranks(3, main, way)
    monkeypatch.delenv("DISTGRAD_DEBUG")
    assert set(compared) == set(on_ranks(3, main, way))


def test_groups_are_compared_among_their_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", "detail")

    def main() -> str:
        dist.init_process_group("threads")
        rank = dist.get_rank()
        group = dist.new_group([1, 2])
        if rank == 0:
            return "outside"
        dist.all_reduce(from_numpy(np.zeros(2)), group=group)
        with pytest.raises(checked_communicator.DesyncError) as caught:
            dist.all_reduce(from_numpy(np.zeros(rank)), group=group)
        return str(caught.value)

    outside, *told = Threads.run(3, main)
    assert outside == "outside"
    for rank, text in enumerate(told, 1):
        assert text.startswith(f"rank {rank}: operation 2 of the group of ranks 1, 2: the ranks are about to run"), text
        assert "of shape (1,) and dtype float64 on rank 1; operation 2" in text
        assert "of shape (2,) and dtype float64 on rank 2" in text


@pytest.mark.parametrize(
    ("value", "on"), [(None, False), ("", False), ("info", False), ("detail", True), ("timeline,DETAIL", True)]
)
def test_it_is_off_unless_asked_for(value: str | None, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked_communicator.wanted({} if value is None else {"DISTGRAD_DEBUG": value}) is on
    monkeypatch.delenv("DISTGRAD_DEBUG", raising=False)
    if value is not None:
        monkeypatch.setenv("DISTGRAD_DEBUG", value)
    dist.init_process_group("serial")
    plain = registry.get("communicator", "serial")
    assert (type(get_group().comm) is plain) is not on
    assert isinstance(get_group().comm, plain)
    dist.destroy_process_group()


def test_what_is_compared_twice_is_compared_once() -> None:
    """A collective that is made of others carries one signature."""
    counts: list[int] = []

    def main() -> None:
        comm: Any = checked_communicator.compared(Threads())
        comm = checked_communicator.compared(comm)
        calls: list[Callable[[], Any]] = [
            lambda: comm.Reduce(np.zeros(2)),
            lambda: comm.Iallgatherv(np.zeros(1), list(np.zeros((2, 1)))).Wait(),
            lambda: comm.Bcast(np.zeros(2)),
        ]
        for number, call in enumerate(calls, 1):
            call()
            counts.append(comm._number - number)

    Threads.run(2, main)
    assert counts == [0] * 6


@pytest.mark.parametrize("value", ["foo", "details", "detail,all", "1"])
def test_another_word_is_an_error_that_names_what_is_possible(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTGRAD_DEBUG", value)
    with pytest.raises(ValueError, match="DISTGRAD_DEBUG=.* means nothing; it may be 'detail'"):
        dist.init_process_group("serial")
    assert not dist.is_initialized()
