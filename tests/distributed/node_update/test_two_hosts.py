"""Two hosts with two ranks each, on one machine: two network namespaces with host names of their own (two_hosts.sh)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.ranks import COMPILED, Finished, is_open_mpi, job_environment, run_job

ROOT = Path(__file__).resolve().parents[3]
NAMESPACES = ["unshare", "--mount", "--net", "--uts"]
NETWORK = "10.77.0.0/24"
TRAINING = """
import os, socket, sys, warnings
warnings.simplefilter("ignore", RuntimeWarning)  # four ranks on fewer cores
import distgrad.distributed as dist
from tests.distributed.helpers import training
dist.init_process_group()
comm = dist.process_groups.get_group().comm
names = comm.allgather(socket.gethostname())
assert names == ["node1", "node1", "node2", "node2"], names
assert (comm.local_rank, comm.local_size) == (comm.rank % 2, 2)
for name in ("sgd", "adam"):
    got = training.train(name, comm.rank, comm.size, distributed=True)
    want = training.train(name, 0, 1, distributed=False)
    worst = training.difference(got, want)
    assert worst <= 1e-12, (name, worst)
os.write(1, b"equal\\n")
dist.destroy_process_group()
"""
LOST = """
import time
import distgrad.distributed as dist
dist.init_process_group()
if dist.get_rank() >= 2:
    time.sleep(1000)
dist.barrier()
"""


def _why_not() -> str:
    for tool in ("unshare", "nsenter", "ip", "mount"):
        if shutil.which(tool) is None:
            return f"there is no {tool} (packages util-linux and iproute2)"
    trial = "ip link add cable1 type veth peer name cable2 && mount --make-rprivate /"
    done = subprocess.run([*NAMESPACES, "sh", "-c", trial], capture_output=True, text=True, timeout=150, check=False)
    return f"namespaces are not permitted here: {done.stderr.strip()}" if done.returncode else ""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if reason := _why_not():
        pytest.skip(reason)


def on_two_hosts(folder: Path, program: str, **settings: str) -> Finished:
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    agent = str(folder / "agent")
    extra = ["-launcher", "ssh", "-launcher-exec", agent]
    if is_open_mpi():
        extra = ["--prtemca", "plm_ssh_agent", agent, "--prtemca", "prte_if_include", NETWORK]
        extra += ["--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", NETWORK]
    run = [sys.executable, "-m", "distgrad", "run", "-n", "4", "--host", "node1:2,node2:2", str(script), "--", *extra]
    command = [*NAMESPACES, "bash", str(ROOT / "tests" / "two_hosts.sh"), str(folder), *run]
    return run_job(command, 200, job_environment(4, {"PYTHONPATH": str(ROOT), **settings}))


@pytest.mark.mpi
def test_training_ends_with_the_parameters_of_one_process(tmp_path: Path) -> None:
    on_two_hosts(tmp_path, TRAINING, **COMPILED).check(equal=4)


@pytest.mark.mpi
def test_lost_ranks_of_the_other_host_are_reported(tmp_path: Path) -> None:
    """Seen to fail with the watchdog's socket on 127.0.0.1 only."""
    job = on_two_hosts(tmp_path, LOST, DISTGRAD_TIMEOUT="3")
    assert job.returncode != 0, job
    assert "rank 3 (node2, process" in job.stderr, job
    assert job.stderr.count("time.sleep(1000)") == 2, job
