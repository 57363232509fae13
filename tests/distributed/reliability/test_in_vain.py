"""Ranks that wait for each other in different places are told so at once, all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import distgrad.distributed as dist
from distgrad.distributed.process_groups.default_group import get_group
from tests.distributed.helpers import in_vain
from tests.distributed.helpers.ranks_as_threads import AS_PROGRAM, Threads
from tests.helpers.ranks import run_ranks

CASES = ["step", "look", "passes"]


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_between_threads(case: str, ranks: int) -> None:
    def program() -> str:
        dist.init_process_group("threads")
        get_group().comm.shares_memory = True
        get_group().comm.timeout = in_vain.LIMIT
        return in_vain.wait_in_vain(case)

    for told in Threads.run(ranks, program):
        assert "the ranks disagree" in told
        assert "every rank must take part in every backward(), step() and collective" in told


@pytest.mark.mpi
@pytest.mark.parametrize(("case", "ranks"), [("step", 2), ("look", 3), ("passes", 2)])
def test_over_mpi(case: str, ranks: int) -> None:
    run_ranks(ranks, Path(in_vain.__file__), case, env=AS_PROGRAM).check(told=ranks)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("case", "per_node"), [("local on one node", "2"), ("local on one node", "1"), ("alone on one node", "2")]
)
def test_between_nodes(case: str, per_node: str) -> None:
    """One node's ranks go their own way, the others do not: seen to wait for the time-out, or told on one node."""
    run_ranks(4, Path(in_vain.__file__), case, per_node, env=AS_PROGRAM).check(told=4)
