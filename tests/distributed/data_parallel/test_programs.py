"""Random programs with DistributedDataParallel mean what PyTorch makes of them, in every backend."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

import distgrad
import distgrad.distributed as dist
from tests.distributed.helpers import programs
from tests.distributed.helpers.ranks_as_threads import AS_PROGRAM, on_ranks
from tests.helpers.crew import run_together
from tests.helpers.ranks import HANG, job_environment, run_job

FILE = Path(programs.__file__)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["messages", "shared"])
@pytest.mark.parametrize("size", [2, 3])
def test_on_threads(size: int, way: str) -> None:
    def main() -> list[str]:
        found = []
        for seed in range(60):
            group = dist.new_group(list(range(size)))
            group.comm.shares_memory = way == "shared"
            program = programs.random_program(seed, size)
            fault = programs.check(program, distgrad, dist.get_rank(), size, group)
            found += [f"seed {seed}: {fault}\n{program}"] if fault else []
        return found

    assert on_ranks(size, main, way) == [[]] * size


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3])
def test_over_mpi(size: int) -> None:
    job = run_together(size, FILE, "mpi,shared", "1000", "40", env=AS_PROGRAM)
    job.check(**{"mpi as-pytorch": size, "shared as-pytorch": size})


@pytest.mark.torch
@pytest.mark.parametrize("size", [2, 3])
def test_pytorch_agrees(size: int) -> None:
    """What is expected is what PyTorch's own DistributedDataParallel does, over gloo."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    start = (
        "import os, subprocess, sys\n"
        "ranks, command = int(sys.argv[1]), sys.argv[2:]\n"
        "jobs = [subprocess.Popen(command, env={**os.environ, 'RANK': str(r)}) for r in range(ranks)]\n"
        "sys.exit(max(job.wait() for job in jobs))\n"
    )
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    env = job_environment(1, {**AS_PROGRAM, **where})
    command = [sys.executable, "-c", start, str(size), sys.executable, str(FILE), "torch", "0", "40"]
    job = run_job(command, HANG, env)
    job.check(**{"torch as-pytorch": size})
    assert "RANK" not in os.environ
