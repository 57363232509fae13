"""Ends of a job, and processes beside its ranks: what their authors do, and what must come of it under either MPI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import environment
from distgrad.distributed.launching.environment import check_no_ranks_child
from tests.distributed.process_groups.test_starting import launched
from tests.distributed.reliability.test_nothing_hangs import TRAINING, fails
from tests.helpers.ranks import is_open_mpi, job_environment, run_job, run_ranks

JOINS = "import distgrad.distributed as dist; dist.init_process_group({}); print('joined', dist.get_world_size())"


@pytest.mark.mpi
@pytest.mark.parametrize("backend", ["", "'mpi'", "'shared'"])
def test_a_child_of_a_rank_is_refused(backend: str) -> None:
    """Through a shell or not; without the mark it would wait for ever, or end the job."""
    job = run_ranks(2, TRAINING + f"""
import subprocess
def child(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "joined" not in done.stdout, done
    assert f"is already rank {{rank}} of an MPI job" in done.stderr, done.stderr
    assert "init_process_group('serial')" in done.stderr, done.stderr
program = {JOINS.format(backend)!r}
child([sys.executable, "-c", program])
child(["/bin/sh", "-c", 'exec "$0" -c "$1"; true', sys.executable, program])
dist.destroy_process_group()
child([sys.executable, "-c", program])
print("refused")
""")
    job.check(refused=2)


@pytest.mark.mpi
def test_a_child_of_multiprocessing_is_refused_and_one_alone_is_not(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, distgrad.distributed as dist\n"
        "if __name__ == '__main__':\n"
        "    for method in ('spawn', 'forkserver'):\n"
        "        context = multiprocessing.get_context(method)\n"
        "        early = context.Process(target=dist.init_process_group)\n"  # before this rank has left its mark
        "        early.start(); early.join(100)\n"
        "        assert early.exitcode == 1, early.exitcode\n"
        "        if not dist.is_initialized(): dist.init_process_group()\n"
        "        alone = context.Process(target=dist.init_process_group, args=('serial',))\n"
        "        alone.start(); alone.join(100)\n"
        "        assert alone.exitcode == 0, alone.exitcode\n"
        "    dist.barrier()\n"
        "    print('both')\n",
        encoding="utf-8",
    )
    job = run_ranks(2, script)
    job.check(both=2)
    assert "is already rank" in job.stderr, job


@pytest.mark.mpi
def test_a_rank_may_start_a_job_of_its_own() -> None:
    mpirun = environment.mpirun(sys.executable)
    job = run_ranks(2, TRAINING + f"""
import os, subprocess
names = ("OMPI_COMM", "OMPI_FIRST", "OMPI_ARGV", "OMPI_APP", "OMPI_FILE", "OMPI_COMMAND", "OMPI_NUM", "OMPI_UNIVERSE",
         "OMPI_MCA_orte", "OMPI_MCA_ess", "OMPI_MCA_plm", "OMPI_MCA_pmix", "PMIX_", "PMI_", "HYDI_", "MPI_LOCAL")
env = {{k: v for k, v in os.environ.items() if not k.startswith(names)}}
if rank == 0:
    command = [*{mpirun!r}, "-n", "2", sys.executable, "-c", {JOINS.format("")!r}]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done
    sys.stdout.write(done.stdout)
dist.barrier()
""")
    job.check(joined=2)


def test_whose_child_it_is() -> None:
    mine = {"PMIX_RANK": "1", "PMIX_NAMESPACE": "job-a"}
    check_no_ranks_child(mine)
    check_no_ranks_child(mine)  # the rank itself, again
    pid = mine["DISTGRAD_RANK"].partition(" ")[0]
    other = {**mine, "DISTGRAD_RANK": "1 job-a"}
    with pytest.raises(RuntimeError, match=r"process 1 is already rank 1 of an MPI job \(PMIX_RANK is set\)"):
        check_no_ranks_child(other)
    check_no_ranks_child({**other, "PMIX_NAMESPACE": "job-b"})  # another job's rank, whose ancestor it was
    check_no_ranks_child({"DISTGRAD_RANK": "1 job-a"})  # no launcher: alone
    assert pid.isdigit()


ENDS = {
    "finalize": ("from mpi4py import MPI; MPI.Finalize()", ""),
    "finalize and destroy": ("from mpi4py import MPI; MPI.Finalize(); dist.destroy_process_group()", ""),
    "finalize and go on": (
        "from mpi4py import MPI; MPI.Finalize()\n"
        "try: step(0)\nexcept dist.DistError as error: print('refused:', error)\n",
        "MPI.Finalize() has been called in this process",
    ),
    "destroy and finalize": ("dist.destroy_process_group(); from mpi4py import MPI; MPI.Finalize()", ""),
}


@pytest.mark.mpi
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_script_may_finalize_mpi(end: str, ranks: int) -> None:
    what, said = ENDS[end]
    job = run_ranks(ranks, f"{TRAINING}\ntrain(3)\n{what}\nprint('after')\n")
    job.check(after=ranks)
    assert job.stdout.count(said) >= ranks, job
    assert not [line for line in job.stderr.splitlines() if "RuntimeWarning" not in line and "init_process" not in line]


@pytest.mark.mpi
def test_a_rank_that_finalizes_alone_has_left() -> None:
    job = run_ranks(2, f"{TRAINING}\nfrom mpi4py import MPI\nif rank: MPI.Finalize()\nelse: train(1000)\n")
    fails(job, "rank 1 has left")


@pytest.mark.mpi
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["main", "thread"])
def test_a_hook_of_the_users_is_called_and_the_job_ends(when: str, kind: str) -> None:
    if (when, kind) == ("after", "thread"):
        pytest.skip("whoever replaces the hook of threads takes them on")
    hook = "sys.excepthook = threading.excepthook = lambda *what: print('their hook', flush=True)\n"
    start = TRAINING.replace("dist.init_process_group(", hook + "dist.init_process_group(") if when == "before" else (
        TRAINING + hook
    )  # fmt: skip
    fail = "def bad(): raise ValueError('on purpose')\n"
    fail += "if rank: bad()\n" if kind == "main" else "if rank: threading.Thread(target=bad).start()\n"
    job = run_ranks(2, start + fail + "train(100_000)\n")
    fails(job, "[rank1]: ValueError: on purpose")
    if is_open_mpi() or when == "before":
        assert "their hook" in job.stdout, job


@pytest.mark.mpi
def test_warnings_that_are_errors_do_not_end_the_job() -> None:
    program = """
import warnings
warnings.simplefilter("error")
import distgrad.distributed as dist
from distgrad.distributed.launching import environment as launcher
launcher.blas_threads = lambda: 1000
dist.init_process_group()
dist.barrier()
print("trained")
"""
    job = run_ranks(2, program)
    job.check(trained=2)
    assert job.stderr.count("distgrad: 2 ranks with 1000 BLAS threads each share") == 1, job


@pytest.mark.mpi
@pytest.mark.parametrize("leave", ["sys.exit(3)", "exit(3)", "from sys import exit; exit(259)"])
@pytest.mark.parametrize("who", ["rank", "True"])
def test_the_exit_code_of_a_rank_is_the_jobs(who: str, leave: str, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(f"{TRAINING}\nif {who}:\n    {leave}\ntrain(100_000)\n", encoding="utf-8")
    assert run_ranks(2, tmp_path / "job.py").returncode == 3
    assert launched("-n", "2", str(tmp_path / "job.py")).returncode == 3


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_rank_that_vanishes_with_code_0_is_no_success(ranks: int, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(f"{TRAINING}\nimport os\nif rank == 1: os._exit(0)\ntrain(100_000)\n", encoding="utf-8")
    job = launched("-n", str(ranks), str(script))
    fails(job)  # MPICH's code is now and then 9, that of the ranks it has killed
    assert is_open_mpi() or job.returncode == 9 or "joined a process group and never left it" in job.stderr, job
    script.write_text(f"{TRAINING}\nimport os\ntrain(3)\ndist.destroy_process_group()\nos._exit(0)\n", encoding="utf-8")
    if not is_open_mpi():  # whose rule is that who has not finalised has failed
        launched("-n", str(ranks), str(script)).check()


KILLED = {
    "all_reduce": "train(100_000)",
    "recv": "from distgrad import from_numpy\ndist.recv(from_numpy(np.ones(3)), 1)",
    "recv from any": "from distgrad import from_numpy\ndist.recv(from_numpy(np.ones(3)))",
    "the end": "time.sleep(1)",
    "step": """
from distgrad import from_numpy, nn, optim
model = nn.parallel.DistributedDataParallel(nn.Linear(300, 300))
optimizer = optim.Adam(model.parameters())
while True:
    optimizer.zero_grad()
    model(from_numpy(np.ones((8, 300), np.float32))).sum().backward()
    optimizer.step()
""",
}


@pytest.mark.mpi
@pytest.mark.parametrize("at", KILLED)
def test_with_fault_tolerance_a_killed_rank_is_named_and_the_job_is_no_success(at: str) -> None:
    if not is_open_mpi():
        pytest.skip("--with-ft is Open MPI's")
    backend = "shared" if at == "step" else "mpi"
    program = TRAINING.replace('"mpi"', repr(backend)) + f"""
import os, signal
def kill():
    time.sleep(0.7)
    os.kill(os.getpid(), signal.SIGKILL)
if rank == 1:
    threading.Thread(target=kill).start()
if rank != 1 or {at == "step"}:
    {KILLED[at].strip().replace(chr(10), chr(10) + "    ")}
else:
    time.sleep(100)
"""
    command = [*environment.mpirun(sys.executable), "--with-ft", "ulfm", "-n", "3", sys.executable, "-c", program]
    job = run_job(command, 100.0, job_environment(3))
    fails(job, "rank(s) 1 died")
