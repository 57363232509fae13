"""A rank that fails or leaves ends the job, quickly, with its own traceback and a non-zero code (RELIABILITY)."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from distgrad.distributed.launcher import (
    blas_threads,
    check_launcher_size,
    deadline,
    launcher_size,
    warn_oversubscription,
)
from tests.ranks import Finished, is_open_mpi, job_environment, run_alone, run_ranks

LIMIT = 5.0  # seconds from start to end of a job that fails, its start included
SLOW = 20.0  # the same where a deadline passes first and other ranks are asked
TRAINING = """
import sys, threading, time, warnings
from datetime import timedelta
import numpy as np
import distgrad.distributed as dist
from distgrad.autograd import Tensor
warnings.simplefilter("ignore", RuntimeWarning)

dist.init_process_group("mpi", exit_timeout=timedelta(seconds=1))
rank, size = dist.get_rank(), dist.get_world_size()

def step(i):
    dist.all_reduce(Tensor(np.ones(100_000 if i % 2 else 10)))

def train(steps):
    for i in range(steps):
        step(i)

"""


def fails(job: Finished, *texts: str, limit: float = LIMIT) -> None:
    assert job.returncode != 0, job
    for text in texts:
        assert text in job.stderr, job
    assert job.seconds < limit, job


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 4])
def test_f1_an_exception_on_one_rank_ends_the_job(size: int) -> None:
    job = run_ranks(size, TRAINING + """
for i in range(100_000):
    if i == 2 and rank == 1:
        raise ValueError("the data of step 2 are bad")
    step(i)
""")
    fails(job, "[rank1]: Traceback (most recent call last):", "[rank1]: ValueError: the data of step 2 are bad")
    assert "[rank0]: " not in job.stderr, job


@pytest.mark.mpi
def test_f1_also_while_the_others_compute() -> None:
    job = run_ranks(2, TRAINING + """
if rank == 1:
    raise ValueError("early")
time.sleep(50)
""")
    fails(job, "[rank1]: ValueError: early")


@pytest.mark.mpi
@pytest.mark.parametrize("how", ["sys.exit(0)", "sys.exit(3)", "sys.exit()"])
def test_f2_a_rank_that_leaves_early_ends_the_job(how: str) -> None:
    job = run_ranks(3, TRAINING + f"""
train(5)
if rank == 1:
    {how}
train(1)
""")
    fails(job, "DistError", "but rank 1 has left after operation", "every rank must take part in every collective")


@pytest.mark.mpi
def test_f2_a_rank_that_leaves_while_the_others_wait_for_it_elsewhere() -> None:
    job = run_ranks(2, TRAINING + """
if rank == 1:
    sys.exit(0)
from mpi4py import MPI
MPI.COMM_WORLD.Barrier()  # not ours: only the deadline helps
""")
    fails(
        job, "[rank1]: this rank ended, and 1 s later rank(s) 0 had not", "destroy_process_group()",
        "stacks of rank 0:", "MPI.COMM_WORLD.Barrier()" if sys.version_info >= (3, 13) else "in <module>", limit=SLOW,
    )  # fmt: skip


@pytest.mark.mpi
def test_f2_ranks_may_end_at_different_times_and_with_one_code() -> None:
    job = run_ranks(3, TRAINING + """
train(5)
if rank == 0:
    time.sleep(0.5)
    print("saved")
sys.exit(3)
""")
    assert job.returncode == 3, job
    assert "saved" in job.stdout, job
    assert "[rank" not in job.stderr, job


@pytest.mark.mpi
def test_f2_after_destroy_a_rank_may_work_on_alone() -> None:
    job = run_ranks(2, TRAINING + """
train(5)
dist.destroy_process_group()
assert sys.excepthook is sys.__excepthook__ and threading.excepthook is threading.__excepthook__
if rank == 0:
    time.sleep(2)  # longer than exit_timeout
    print("plotted")
""")
    job.check(plotted=1)


@pytest.mark.mpi
def test_f3_an_exception_in_a_thread_ends_the_job() -> None:
    job = run_ranks(2, TRAINING + """
def prefetch():
    raise OSError("cannot read the next batch")
if rank == 1:
    threading.Thread(target=prefetch, name="loader").start()
    time.sleep(50)
train(100_000_000)
""")
    fails(job, "[rank1]: Exception in thread loader:", "[rank1]: OSError: cannot read the next batch")


@pytest.mark.mpi
def test_f4_a_skipped_collective_is_an_error_after_the_time_out() -> None:
    job = run_ranks(2, """
import time
from datetime import timedelta
import distgrad.distributed as dist
dist.init_process_group("mpi", timeout=timedelta(seconds=0.5))
if dist.get_rank() == 1:
    time.sleep(50)
dist.barrier()
""")
    fails(job, "[rank0]: ", "DistTimeoutError: rank 0 waited 0.5 s in operation", "(Barrier)")


WATCHED = """
import os, signal, threading, time
import numpy as np
import distgrad.distributed as dist
from distgrad.autograd import Tensor
dist.init_process_group("mpi")
rank, size = dist.get_rank(), dist.get_world_size()
dist.all_reduce(Tensor(np.ones(10, np.float32)))

def lost_in_thought():
    time.sleep(50)

"""


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3, 4])
def test_f4_a_sleeping_rank_is_named_with_its_stacks_and_last_operation(size: int) -> None:
    """Seen to fail without the report in Guard._abort."""
    job = run_ranks(size, WATCHED + """
if rank == 1:
    threading.Thread(target=lost_in_thought, name="helper", daemon=True).start()
    lost_in_thought()
dist.all_reduce(Tensor(np.ones(100_000)))
""", env={"DISTGRAD_TIMEOUT": "2"})
    fails(
        job,
        "DistTimeoutError: rank 0 waited 2 s in operation",
        "what each rank does:",
        "is in none; its last was operation",
        "(Allreduce SUM of 10 float32)",
        "behind the others, who came to operation",
        "stacks of rank 1:",
        "in lost_in_thought",
        "Thread helper (most recent call last):",
        limit=SLOW,
    )
    assert job.stderr.count("what each rank does:") == 1, job  # one rank reports for all
    assert ": rank 1\n" in job.stderr, job


@pytest.mark.mpi
def test_f4_different_collectives_are_named() -> None:
    """Seen to fail without the sentence in watchdog._verdict."""
    job = run_ranks(2, WATCHED + """
if rank == 1:
    dist.broadcast(Tensor(np.ones(10)), 0)
else:
    dist.all_reduce(Tensor(np.ones(100_000)))
time.sleep(50)
""", env={"DISTGRAD_TIMEOUT": "2"})
    fails(job, "is not the same on all ranks: Allreduce SUM; Bcast from 0", "stacks of rank 1:", limit=SLOW)


@pytest.mark.mpi
def test_f4_a_rank_that_cannot_answer_is_told_apart() -> None:
    """Seen to fail (it hangs) without the time-out in Watchdog._ask."""
    job = run_ranks(2, WATCHED + """
if rank == 1:
    os.kill(os.getpid(), signal.SIGSTOP)
dist.barrier()
""", env={"DISTGRAD_TIMEOUT": "1"})
    fails(job, "no answer within 2 s", "its process is in state T (stopped)", limit=SLOW)


@pytest.mark.mpi
def test_f4_a_wait_that_raises_nothing_is_ended_by_the_watchdog() -> None:
    """As inside native code.  Seen to fail (it hangs) without Watchdog._look."""
    job = run_ranks(2, WATCHED + """
from distgrad.distributed.communicator import CommState
comm = dist.process_group.get_group().comm
if rank == 0:
    began = time.monotonic()
    comm.state = lambda: CommState(7, "Allreduce of the plugin", time.monotonic() - began)
lost_in_thought()
""", env={"DISTGRAD_TIMEOUT": "1"})
    fails(
        job, "[rank0]: rank 0 has waited", "in operation 7 (Allreduce of the plugin), where 1 s are allowed",
        "stacks of rank 1:", limit=SLOW,
    )  # fmt: skip


@pytest.mark.mpi
def test_f4_nobody_is_answered_without_the_secret() -> None:
    """Seen to fail with the comparison in Watchdog._answer taken out."""
    job = run_ranks(2, WATCHED + """
import socket
watchdog = dist.process_group.get_group().guard.watchdog
port = watchdog._peers[1 - rank][1]
for sent in (b"", b"x" * 300, b"0" * 32 + b" 0", b"0" * 32 + b" 0 events", watchdog._secret.encode() + b" no rank"):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(10) == b""
        except OSError as error:  # reset, where the rest of what was sent is not even read
            assert not isinstance(error, TimeoutError)
found = watchdog._ask(1 << 20)[1 - rank]
assert isinstance(found, dict) and "MainThread" in found["stacks"], found
dist.barrier()
print("answered")
""")
    job.check(answered=2)


@pytest.mark.mpi
def test_f4_without_sockets_training_works_and_the_report_has_a_gap() -> None:
    job = run_ranks(2, "import socket\ndef refuse(*a, **k): raise PermissionError('no sockets here')\n"
                    "socket.create_server = refuse\n" + WATCHED + """
if rank == 1:
    lost_in_thought()
dist.barrier()
""", env={"DISTGRAD_TIMEOUT": "1"})
    fails(job, "could not open a socket (no sockets here)", limit=SLOW)


def test_f4_the_deadline_is_the_argument_or_the_environment() -> None:
    assert deadline(None, {}) is None
    assert deadline(None, {"DISTGRAD_TIMEOUT": "2.5"}) == 2.5
    assert deadline(timedelta(minutes=1), {"DISTGRAD_TIMEOUT": "2.5"}) == 60.0
    for given in ("", "0", "-1", "nan", "inf", "soon"):
        with pytest.raises(ValueError, match="DISTGRAD_TIMEOUT must be a positive number of seconds"):
            deadline(None, {"DISTGRAD_TIMEOUT": given})
    with pytest.raises(ValueError, match="timeout must be"):
        deadline(timedelta(0), {})


@pytest.mark.mpi
def test_f14_a_forked_child_is_kept_from_mpi_and_does_not_end_the_job() -> None:
    job = run_ranks(2, TRAINING + """
import os
child = os.fork()
if child == 0:
    try:
        train(1)
    except dist.DistError as error:
        print("refused:", error, flush=True)
    raise ValueError("the child's own affair")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
train(10)
print("trained")
""")
    job.check(trained=2, refused=2)
    assert job.stdout.count("was forked from one that uses MPI") == 2, job
    assert job.stderr.count("ValueError: the child's own affair") == 2, job
    assert "[rank" not in job.stderr, job


@pytest.mark.mpi
def test_f15_another_thread_is_refused_below_thread_multiple() -> None:
    program = TRAINING + """
answers = []
def elsewhere():
    try:
        train(3)
        answers.append("allowed")
    except dist.DistError as error:
        answers.append(str(error))
thread = threading.Thread(target=elsewhere, name="other")
thread.start()
thread.join()
train(3)
print(answers)
"""
    job = run_ranks(2, program, env={"MPI4PY_RC_THREAD_LEVEL": "single"})
    job.check(SINGLE=2, allowed=0)
    assert job.stdout.count("only the thread that made the communicator may use it, not 'other'") == 2, job
    job = run_ranks(2, program)
    job.check(allowed=2)


@pytest.mark.mpi
def test_f16_too_many_threads_are_warned_of_once() -> None:
    program = """
import distgrad.distributed as dist
from distgrad.distributed import launcher
launcher.blas_threads = lambda: 1000
dist.init_process_group("mpi")
"""
    job = run_ranks(2, program)
    job.check()
    assert job.stderr.count("2 ranks with 1000 BLAS threads each share") == 1, job
    assert "<string>:5: RuntimeWarning" in job.stderr, job  # the user's line


def test_f16_the_warning_says_what_to_do() -> None:
    with pytest.warns(RuntimeWarning, match="set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to 2 before Python starts"):
        warn_oversubscription(ranks=4, threads=8, available=8)
    with pytest.warns(RuntimeWarning, match="4 ranks with 1 BLAS thread each share 2 cores.*start at most 2 ranks"):
        warn_oversubscription(ranks=4, threads=1, available=2)


@pytest.mark.parametrize(("ranks", "threads", "available"), [(1, 8, 2), (2, 1, 2), (4, 2, 8)])
@pytest.mark.filterwarnings("error")
def test_f16_no_warning_where_the_cores_suffice(ranks: int, threads: int, available: int) -> None:
    warn_oversubscription(ranks, threads, available)


def test_f16_threads_are_read_back() -> None:
    code = "import numpy; from distgrad.distributed.launcher import blas_threads; print(blas_threads())"
    env = job_environment(1)
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == "1\n"


def test_f16_threads_are_read_from_the_environment_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert blas_threads({"OMP_NUM_THREADS": "1"}) == 1
    assert blas_threads({"OMP_NUM_THREADS": "many"}) == blas_threads({}) >= 1


def test_f16_a_blas_that_threadpoolctl_does_not_know_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [{"user_api": "openmp", "num_threads": 64}]
    monkeypatch.setitem(sys.modules, "threadpoolctl", SimpleNamespace(threadpool_info=lambda: pools))
    assert blas_threads({"OPENBLAS_NUM_THREADS": "1"}) == 1


@pytest.mark.mpi
def test_f19_separate_jobs_of_one_rank_are_refused() -> None:
    """Both MPIs are seldom installed: the other's launcher is a variable on a process that sees itself alone."""
    other = "PMI_SIZE" if is_open_mpi() else "OMPI_COMM_WORLD_SIZE"
    code = f"""
import os, subprocess, sys
import distgrad.distributed as dist
from mpi4py import MPI   # alone: no launcher's variable is seen while MPI starts
os.environ["{other}"] = "4"
dist.init_process_group()
"""
    job = run_alone(code)
    fails(job, "the launcher belongs to another MPI", f"started 4 processes ({other}=4)", "sees 1")


def test_f19_sizes_are_compared() -> None:
    with pytest.raises(RuntimeError, match=r"MPICH or Intel MPI started 4 processes.*\(Open MPI v5\) sees 1"):
        check_launcher_size(1, "Open MPI v5", {"PMI_SIZE": "4"})
    with pytest.raises(RuntimeError, match="separate ones"):
        check_launcher_size(1, "any", {"SLURM_STEP_NUM_TASKS": "2"})
    check_launcher_size(4, "any", {"PMI_SIZE": "4"})
    check_launcher_size(4, "any", {"SLURM_STEP_NUM_TASKS": "1"})  # mpirun inside `srun --pty bash`
    check_launcher_size(1, "any", {})
    found = launcher_size({"OMPI_COMM_WORLD_SIZE": "2", "PMI_SIZE": "x"})
    assert found == (2, "OMPI_COMM_WORLD_SIZE", "Open MPI's mpirun")


def test_mpi_without_mpi4py_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "mpi4py.py").write_text("raise ImportError('not here')\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import distgrad.distributed as dist
dist.init_process_group("mpi")
"""
    fails(run_alone(code), "pip install 'distgrad[mpi]'")
