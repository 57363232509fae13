"""The shared communicator under mpirun: several nodes, ranks that fail or leave, and where it cannot serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from distgrad.distributed.shared_memory import region
from tests.distributed.helpers.ranks_as_threads import compiled_on
from tests.distributed.helpers.training import OPTIMIZERS
from tests.distributed.reliability.test_nothing_hangs import AT_EXIT, DEADLINE, fails
from tests.helpers.crew import run_together
from tests.helpers.ranks import COMPILED, LONG, run_ranks

HERE = Path(__file__).parents[1] / "helpers"
pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(region.why_not() is not None, reason=str(region.why_not())),
]

TRAINING = """
import os, sys, time
import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim

dist.init_process_group()
print(dist.get_backend())
model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2))
optimizer = optim.Adam(model.parameters())

def step():
    optimizer.zero_grad()
    model(dg.ones(4, 3)).sum().backward()
    optimizer.step()

step()
"""


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_f5_ranks_that_update_otherwise_end_the_job(ranks: int) -> None:
    job = run_ranks(ranks, TRAINING + """
for group in optimizer.param_groups:
    group["lr"] *= 1 + (dist.get_rank() == 1)
step()
print("trained")
""")
    fails(job, "step() number 2 was not the same on all ranks", "lr=0.00")
    assert "trained" not in job.stdout, job


@pytest.mark.parametrize(("ranks", "per_node"), [(4, 2), (4, 1), (3, 1), (2, 1)])
def test_nodes_end_with_the_parameters_of_one_rank(ranks: int, per_node: int) -> None:
    job = run_together(ranks, HERE / "nodes.py", str(per_node), "shared", env=compiled_on(ranks // per_node))
    job.check(equal=ranks * len(OPTIMIZERS))


def test_memory_that_another_rank_cannot_open_is_no_reason_to_fail() -> None:
    """As where a container keeps processes from each other's files."""
    job = run_ranks(3, """
import os
opened = os.open
def refuse(path, *arguments):
    if str(path).startswith("/proc/") and "/fd/" in str(path) and RANK == 2:
        raise PermissionError(13, "Permission denied", path)
    return opened(path, *arguments)
os.open = refuse
RANK = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["PMI_RANK"])
""" + TRAINING + """
print("trained")
""")
    job.check(trained=3)
    assert job.stderr.count("rank 2 cannot open memory of rank 0, of the same node ([Errno 13]") == 1, job
    assert job.stderr.count("using mpi") == 1, job


def test_uneven_nodes_use_mpi_and_say_so_once() -> None:
    job = run_ranks(3, HERE / "nodes.py", "2", "default")
    job.check(equal=3 * len(OPTIMIZERS))
    assert job.stderr.count("its nodes have different numbers of ranks (1, 2); using mpi") == 1


@pytest.mark.smoke
def test_it_is_the_default() -> None:
    job = run_ranks(2, TRAINING, env=COMPILED)
    job.check(shared=2)


@pytest.mark.parametrize("where", ["step()", "model(dg.ones(4, 3)).sum().backward()"])
def test_a_rank_that_fails_ends_the_job(where: str) -> None:
    program = f"""{TRAINING}
if dist.get_rank() == 1:
    raise KeyError("planted")
{where}
optimizer.step()
"""
    job = run_ranks(2, program)
    fails(job, "[rank1]: KeyError: 'planted'", without=(AT_EXIT, DEADLINE))


def test_a_rank_that_leaves_is_an_error_on_those_that_wait_for_it() -> None:
    program = f"""{TRAINING}
if dist.get_rank() == 1:
    sys.exit(0)
step()
"""
    fails(run_ranks(2, program), "rank 1 has left", without=(AT_EXIT, DEADLINE))


def test_a_rank_that_never_comes_is_a_timeout() -> None:
    short = TRAINING.replace("init_process_group()", "init_process_group(timeout=datetime.timedelta(seconds=2))")
    program = f"""
import datetime
{short}
if dist.get_rank() == 1:
    time.sleep({LONG})
step()
"""
    fails(run_ranks(2, program), "rank 0 waited 2 s for the other ranks")


def test_state_is_whole_on_one_rank_and_loads_on_another_number(tmp_path: Path) -> None:
    program = f"""{TRAINING}
step()
if dist.get_rank() == 0:
    dg.save({{"model": model.module.state_dict(), "optimizer": optimizer.state_dict()}}, sys.argv[1] + "/state")
dist.barrier()
saved = dg.load(sys.argv[1] + "/state")
assert all(float(v["exp_avg"].abs().sum()) > 0 for v in saved["optimizer"]["state"].values())
print("whole")
"""
    run_ranks(3, program, str(tmp_path)).check(whole=3)
    again = f"""{TRAINING}
saved = dg.load(sys.argv[1] + "/state")
model.module.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
step()
assert all(int(v["step"]) == 3 for v in optimizer.state_dict()["state"].values())
print("went on")
"""
    run_ranks(2, again, str(tmp_path)).check(**{"went on": 2})
