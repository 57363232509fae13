"""A message that does not fit is an error with ranks, lengths and dtypes, and nothing is written (not even behind)."""

from __future__ import annotations

from pathlib import Path

import pytest
from distgrad_communicators import threads

import distgrad.distributed as dist
from tests.distributed.helpers import messages
from tests.helpers.crew import run_together

ROOT = str(Path(__file__).parents[3])


@pytest.mark.mpi
@pytest.mark.parametrize(("backend", "ranks"), [("mpi", 2), ("shared", 3)])
def test_over_mpi(backend: str, ranks: int) -> None:
    job = run_together(ranks, Path(messages.__file__), backend, env={"PYTHONPATH": ROOT})
    job.check(fits=ranks)


@pytest.mark.parametrize("ranks", [2, 3])
def test_between_threads(ranks: int, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        dist.init_process_group("threads")
        messages.main()
        dist.destroy_process_group()

    threads.run(ranks, program)
    assert capsys.readouterr().out == "fits\n" * ranks


def test_a_thread_that_is_a_rank_needs_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> int:
        dist.init_process_group()
        assert dist.get_backend() == "threads"
        rank = dist.get_rank()
        dist.destroy_process_group()
        return rank

    assert threads.run(3, program) == [0, 1, 2]
