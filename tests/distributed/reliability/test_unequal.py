"""Ranks whose tensors differ in length or dtype are told so in every collective, always, and before any time-out."""

from __future__ import annotations

from pathlib import Path

import pytest
from distgrad_communicators import threads

import distgrad.distributed as dist
from tests.distributed.helpers import unequal
from tests.helpers.crew import run_together


@pytest.mark.mpi
@pytest.mark.parametrize(("backend", "ranks"), [("mpi", 2), ("shared", 3)])
def test_over_mpi(backend: str, ranks: int) -> None:
    job = run_together(ranks, Path(unequal.__file__), backend)
    job.check(**{"all told": ranks})


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("name", unequal.COLLECTIVES)
def test_between_threads(name: str, ranks: int) -> None:
    """All are told: the last to come, what differs; the others, that it failed."""
    for pair in unequal.PAIRS:

        def program(pair: tuple[int, object, int, object] = pair) -> str:
            dist.init_process_group("threads")
            return unequal.told(name, pair, None)  # type: ignore[arg-type]

        said = threads.run(ranks, program)
        assert all("disagree" in text or "cannot complete" in text for text in said), said
