"""Process groups: PyTorch's names, answers and errors; state of a process or of a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import distgrad.distributed as dist
from distgrad import from_numpy, registry
from distgrad.distributed.process_groups.default_group import get_group
from tests.helpers.ranks import run_ranks

Threads: Any = registry.get("communicator", "threads")


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMPI_COMM_WORLD_SIZE", raising=False)
    monkeypatch.delenv("PMI_SIZE", raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    dist.init_process_group()
    yield
    dist.destroy_process_group()


def test_public_names_are_sorted_and_exist() -> None:
    assert dist.__all__ == sorted(dist.__all__)
    assert all(hasattr(dist, name) for name in dist.__all__)


@pytest.mark.parametrize(
    "call",
    [
        dist.get_rank, dist.get_world_size, dist.get_local_rank, dist.get_backend, dist.barrier,
        dist.destroy_process_group, lambda: dist.all_reduce(from_numpy(np.zeros(1))),
        lambda: dist.broadcast(from_numpy(np.zeros(1)), 0),
    ],
)  # fmt: skip
def test_before_init_pytorchs_error(call: Callable[[], Any]) -> None:
    message = "Default process group has not been initialized, please make sure to call init_process_group."
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message


def test_what_backends_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [dist.is_backend_available(name) for name in ("serial", "Threads", "gloo", "")] == [True, True, False, False]
    assert dist.is_backend_available("MPI") == dist.is_backend_available("shared") == dist.is_mpi_available()
    absent = (dist.is_gloo_available, dist.is_nccl_available, dist.is_ucc_available, dist.is_xccl_available)
    assert not any(available() for available in absent)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not dist.is_torchelastic_launched()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert dist.is_torchelastic_launched()


def test_the_rank_on_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(RuntimeError, match="LOCAL_RANK is not in the environment"):
        dist.get_node_local_rank()
    assert dist.get_node_local_rank(3) == 3
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert dist.get_node_local_rank(3) == 2

    def main() -> int:
        dist.init_process_group("threads")
        return dist.get_node_local_rank()

    assert Threads.run(2, main) == [0, 1]


def test_without_a_launcher_the_default_is_one_process(serial: None) -> None:
    assert dist.is_available()
    assert dist.is_initialized()
    assert (dist.get_backend(), dist.get_rank(), dist.get_world_size(), dist.get_local_rank()) == ("serial", 0, 1, 0)
    group = get_group()
    assert (group.rank(), group.size()) == (0, 1)
    assert repr(group) == "ProcessGroup(backend='serial', rank=0, size=1)"
    t = from_numpy(np.arange(3.0))
    dist.all_reduce(t)
    dist.all_reduce(t, op=dist.ReduceOp.AVG, group=group)
    assert t._data.tolist() == [0, 1, 2]


def test_twice_is_refused(serial: None) -> None:
    with pytest.raises(ValueError, match="trying to initialize the default process group twice!"):
        dist.init_process_group("serial")


def test_destroyed_it_can_be_made_again() -> None:
    for _ in range(2):
        dist.init_process_group("serial")
        dist.destroy_process_group()
        assert not dist.is_initialized()


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="nccl3.*mpi.*serial.*threads"):
        dist.init_process_group("nccl3")
    assert not dist.is_initialized()


@pytest.mark.parametrize("name", ["gloo", "NCCL", "cpu:gloo,cuda:nccl"])
def test_pytorchs_backends_stand_for_the_default(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """So that a script of PyTorch's runs; what serves is said."""
    dist.init_process_group(name)
    assert dist.get_backend() == "serial"
    assert capfd.readouterr().err == f"distgrad: {name} is PyTorch's; using serial\n"
    assert dist.get_world_size(dist.new_group(backend=name)) == 1
    dist.destroy_process_group()


def test_backends_are_found_in_any_case(capfd: pytest.CaptureFixture[str]) -> None:
    dist.init_process_group("Serial")
    assert dist.get_backend() == "serial"
    assert not capfd.readouterr().err
    dist.destroy_process_group()


def test_a_store_is_refused() -> None:
    with pytest.raises(ValueError, match="store must be None, got 'file'"):
        dist.init_process_group("serial", None, None, 1, 0, "file")
    assert not dist.is_initialized()


@pytest.mark.parametrize(("option", "value"), [("rank", 1), ("world_size", 4)])
def test_rank_and_size_are_checked_against_the_launchers(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{option}={value} was asked for, but the serial communicator"):
        dist.init_process_group("serial", **{option: value})  # type: ignore[arg-type]
    assert not dist.is_initialized()


def test_a_rendezvous_address_is_refused() -> None:
    with pytest.raises(ValueError, match="init_method must be None or 'env://', got 'tcp://host:1'"):
        dist.init_process_group("serial", init_method="tcp://host:1")


def test_the_time_out_reaches_the_communicator() -> None:
    dist.init_process_group("serial", init_method="env://", timeout=timedelta(seconds=7), rank=0, world_size=1)
    assert get_group().comm.timeout == 7
    dist.destroy_process_group()


def test_threads_have_groups_of_their_own() -> None:
    def main() -> int:
        assert not dist.is_initialized()
        dist.init_process_group("threads")
        dist.barrier()
        rank = dist.get_rank()
        dist.destroy_process_group()
        return rank

    assert Threads.run(3, main) == [0, 1, 2]
    assert not dist.is_initialized()


def test_a_worker_thread_sees_the_group_of_its_process(serial: None) -> None:
    seen: list[int] = []
    worker = threading.Thread(target=lambda: seen.append(dist.get_world_size()))
    worker.start()
    worker.join()
    assert seen == [1]


def test_all_reduce_counts_as_an_in_place_write(serial: None) -> None:
    t = from_numpy(np.ones(3))
    t._bump()
    before = t._version
    dist.all_reduce(t)
    assert t._version == before + 1


@pytest.mark.mpi
def test_under_a_launcher_the_default_is_shared() -> None:
    job = run_ranks(2, """
import distgrad.distributed as dist
dist.init_process_group()
print(dist.get_backend(), dist.get_rank(), dist.get_world_size(), dist.get_local_rank())
dist.destroy_process_group()
dist.init_process_group("mpi", rank=-1, world_size=2)
""")
    job.check()
    assert sorted(job.stdout.splitlines()) == ["shared 0 2 0", "shared 1 2 1"], job


@pytest.mark.mpi
def test_importing_the_plugin_does_not_start_mpi() -> None:
    job = run_ranks(1, """
import sys
from distgrad import registry
registry.get("communicator", "mpi")
assert "mpi4py" not in sys.modules
print("fine")
""")
    job.check(fine=1)
