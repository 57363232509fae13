"""The crew that runs many tests' programs: each is alone in it; one that fails or hangs is seen, and the last."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.helpers.crew import run_together
from tests.helpers.ranks import LONG, Finished

pytestmark = pytest.mark.mpi
SAYS = """
import os, sys, warnings
import distgrad.distributed as dist
dist.init_process_group()
print(os.getpid(), dist.get_world_size(), *sys.argv[1:], os.environ.get("WORD"), "left" in globals())
left = True
dist.init_process_group = os.getpid = None
os.environ["WORD"] = "of the one before"
warnings.simplefilter("error")
"""


def pids(job: Finished, rest: str) -> set[str]:
    assert job.returncode == 0, job
    found = [line.split(" ", 1) for line in job.stdout.splitlines()]
    assert [words for _, words in found] == [rest] * 3, job
    return {pid for pid, _ in found}


def alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_programs_share_ranks_and_nothing_else() -> None:
    first = pids(run_together(3, SAYS, "a", "b", env={"WORD": "mine"}), "3 a b mine False")
    second = pids(run_together(3, SAYS), "3 None False")
    assert len(first) == 3
    assert first == second


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("assert dist.get_rank() != 1, 'planted'", "[rank1]: AssertionError: planted"),
        ("if dist.get_rank() == 1: sys.exit(3)\ndist.barrier()", "rank 1 has left"),
        ("if dist.get_rank() == 1: os._exit(3)\ndist.barrier()", ""),
    ],
    ids=["raises", "leaves", "vanishes"],
)
def test_a_program_that_fails_is_seen_and_is_the_last_of_its_crew(failure: str, said: str) -> None:
    start = "import os, sys\nimport distgrad.distributed as dist\ndist.init_process_group()\n"
    before = pids(run_together(3, SAYS), "3 None False")
    job = run_together(3, start + failure)
    assert job.returncode != 0, job
    assert said in job.stderr, job
    assert not before & pids(run_together(3, SAYS), "3 None False")


def test_a_program_that_hangs_is_killed_with_its_crew() -> None:
    before = pids(run_together(3, SAYS), "3 None False")
    with pytest.raises(pytest.fail.Exception, match="hung, in a crew of 3"):
        run_together(3, f"import time; time.sleep({LONG})", timeout=1)
    while any(alive(pid) for pid in before):  # the kernel may take a moment
        time.sleep(0.05)


def test_whoever_leaves_a_thread_is_the_last_of_its_crew() -> None:
    before = pids(run_together(3, SAYS), "3 None False")
    thread = "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
    assert run_together(3, f"import threading, time; {thread}").returncode == 0
    assert not before & pids(run_together(3, SAYS), "3 None False")
