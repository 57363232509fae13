"""Process groups and their collectives: on one process, on threads, under both MPIs, and with signatures compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distgrad.distributed as dist
from distgrad import registry
from tests.distributed.helpers.group_checks import CHECKS
from tests.helpers.crew import run_together

PROGRAM = Path(__file__).parents[1] / "helpers" / "group_checks.py"

Threads: Any = registry.get("communicator", "threads")


def in_group(check: Callable[[], None], backend: str) -> None:
    dist.init_process_group(backend)
    try:
        check()
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("name", CHECKS)
def test_serial(name: str) -> None:
    in_group(CHECKS[name], "serial")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.filterwarnings("ignore:Running all_reduce on global rank")  # from the threads outside a group
def test_threads(name: str, size: int) -> None:
    Threads.run(size, in_group, CHECKS[name], "threads")


@pytest.mark.mpi
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_mpi(size: int) -> None:
    job = run_together(size, PROGRAM, "mpi")
    assert job.returncode == 0, job
    assert job.stdout.count(f"rank passed {len(CHECKS)} checks") == size, job


@pytest.mark.mpi
def test_mpi_with_signatures_compared() -> None:
    job = run_together(3, PROGRAM, "mpi", env={"DISTGRAD_DEBUG": "detail"})
    assert job.returncode == 0, job
    assert job.stdout.count(f"rank passed {len(CHECKS)} checks") == 3, job
