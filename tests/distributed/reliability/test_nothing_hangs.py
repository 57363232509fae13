"""F1 to F4: a rank that fails, leaves or never comes ends the job, with its traceback and a non-zero code.

What is asserted is what ended the job, not when: ranks that only a guard can end sleep longer than a job may take, so
that one whose guard does not act is killed as hung.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest

from distgrad.distributed.launching.environment import deadline
from tests.helpers.ranks import LONG, Finished, run_ranks

TRAINING = """
import sys, threading, time, warnings
from datetime import timedelta
import numpy as np
import distgrad.distributed as dist
from distgrad import from_numpy
from distgrad.autograd import Tensor
from distgrad.ops.creation import from_array
warnings.simplefilter("ignore", RuntimeWarning)

dist.init_process_group("mpi", exit_timeout=timedelta(seconds=100))
rank, size = dist.get_rank(), dist.get_world_size()

def step(i):
    dist.all_reduce(from_numpy(np.ones(100_000 if i % 2 else 10)))

def train(steps):
    for i in range(steps):
        step(i)

"""
AT_EXIT = "this rank ended, and"  # of a rank that has waited in vain for the others to end
DEADLINE = "DistTimeoutError"


def fails(job: Finished, *texts: str, without: tuple[str, ...] = ()) -> None:
    """The job ended badly and said each of ``texts``; what other guards say, ``without``, was not needed."""
    assert job.returncode != 0, job
    for text in texts:
        assert text in job.stderr, job
    for text in without:
        assert text not in job.stderr, job


def leaving_soon(seconds: int) -> str:
    """The start of a program whose ranks wait so long, at their end, for the others to end."""
    return TRAINING.replace("seconds=100", f"seconds={seconds}")


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3, 4])
def test_f1_an_exception_on_one_rank_ends_the_job(size: int) -> None:
    job = run_ranks(size, TRAINING + """
for i in range(100_000):
    if i == 2 and rank == 1:
        raise ValueError("the data of step 2 are bad")
    step(i)
""")
    fails(
        job, "[rank1]: Traceback (most recent call last):", "[rank1]: ValueError: the data of step 2 are bad",
        without=(AT_EXIT, DEADLINE),
    )  # fmt: skip
    assert "[rank0]: " not in job.stderr, job


@pytest.mark.mpi
@pytest.mark.smoke
def test_f1_also_while_the_others_compute() -> None:
    job = run_ranks(2, TRAINING + """
if rank == 1:
    raise ValueError("early")
""" + f"time.sleep({LONG})")
    fails(job, "[rank1]: ValueError: early", without=(AT_EXIT, DEADLINE))


@pytest.mark.mpi
@pytest.mark.parametrize("how", ["sys.exit(0)", "sys.exit(3)", "sys.exit()"])
def test_f2_a_rank_that_leaves_early_ends_the_job(how: str) -> None:
    job = run_ranks(3, TRAINING + f"""
train(5)
if rank == 1:
    {how}
train(1)
""")
    fails(
        job, "DistError", "but rank 1 has left after operation", "every rank must take part in every collective",
        without=(AT_EXIT, DEADLINE),
    )  # fmt: skip


@pytest.mark.mpi
def test_f2_a_rank_that_leaves_while_the_others_wait_for_it_elsewhere() -> None:
    job = run_ranks(2, leaving_soon(1) + """
if rank == 1:
    sys.exit(0)
from mpi4py import MPI
MPI.COMM_WORLD.Barrier()  # not ours: only the deadline helps
""")
    fails(
        job, "[rank1]: this rank ended, and 1 s later rank(s) 0 had not", "destroy_process_group()",
        "stacks of rank 0:", "MPI.COMM_WORLD.Barrier()" if sys.version_info >= (3, 13) else "in <module>",
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
    job = run_ranks(2, leaving_soon(3) + """
train(5)
dist.destroy_process_group()
assert sys.excepthook is sys.__excepthook__ and threading.excepthook is threading.__excepthook__
if rank == 0:
    time.sleep(4)  # longer than exit_timeout
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
    time.sleep(1000)
train(100_000_000)
""")
    fails(
        job, "[rank1]: Exception in thread loader:", "[rank1]: OSError: cannot read the next batch",
        without=(AT_EXIT, DEADLINE),
    )  # fmt: skip


@pytest.mark.mpi
def test_f3_an_exception_in_a_worker_of_the_data_loader_ends_the_job() -> None:
    job = run_ranks(2, TRAINING + """
from distgrad.utils.data import DataLoader, Dataset

class Broken(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        if rank == 1 and i == 6:
            raise OSError("cannot read sample 6")
        return np.float32(i)

for batch in DataLoader(Broken(), batch_size=2, num_workers=2):
    step(0)
train(100_000_000)
""")
    fails(job, "[rank1]: OSError: cannot read sample 6", "[rank1]: raised in DataLoader worker 1 (a thread)",
          without=(AT_EXIT, DEADLINE))
    assert "[rank0]: " not in job.stderr, job


@pytest.mark.mpi
def test_f4_a_skipped_collective_is_an_error_after_the_time_out() -> None:
    job = run_ranks(2, """
import time
from datetime import timedelta
import distgrad.distributed as dist
dist.init_process_group("mpi", timeout=timedelta(seconds=2))
if dist.get_rank() == 1:
    time.sleep(1000)
dist.barrier()
""")
    fails(job, "[rank0]: ", "DistTimeoutError: rank 0 waited 2 s in operation", "(Barrier)")


WATCHED = """
import os, signal, threading, time
import numpy as np
import distgrad.distributed as dist
from distgrad import from_numpy
from distgrad.autograd import Tensor
from distgrad.ops.creation import from_array
dist.init_process_group("mpi")
rank, size = dist.get_rank(), dist.get_world_size()
dist.all_reduce(from_numpy(np.ones(10, np.float32)))

def lost_in_thought():
    time.sleep(1000)

"""


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3, 4])
def test_f4_a_sleeping_rank_is_named_with_its_stacks_and_last_operation(size: int) -> None:
    """Seen to fail without the report in Guard._abort."""
    job = run_ranks(size, WATCHED + """
if rank == 1:
    threading.Thread(target=lost_in_thought, name="helper", daemon=True).start()
    lost_in_thought()
dist.all_reduce(from_numpy(np.ones(100_000)))
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
    )
    assert job.stderr.count("what each rank does:") == 1, job  # one rank reports for all
    assert ": rank 1\n" in job.stderr, job


@pytest.mark.mpi
def test_f4_different_collectives_are_named() -> None:
    """Seen to fail without the sentence in watchdog._verdict.  Ranks that tell each other end sooner."""
    job = run_ranks(2, WATCHED + """
from distgrad_communicators.mpi import agreement
agreement.PATIENCE = 1000
if rank == 1:
    dist.broadcast(from_numpy(np.ones(10)), 0)
else:
    dist.all_reduce(from_numpy(np.ones(100_000)))
time.sleep(1000)
""", env={"DISTGRAD_TIMEOUT": "2"})
    fails(job, "is not the same on all ranks: Allreduce SUM; Bcast from 0", "stacks of rank 1:")


@pytest.mark.mpi
def test_f4_a_rank_that_cannot_answer_is_told_apart() -> None:
    """Seen to fail (it hangs) without the time-out in Watchdog._ask."""
    job = run_ranks(2, WATCHED + """
if rank == 1:
    os.kill(os.getpid(), signal.SIGSTOP)
dist.barrier()
""", env={"DISTGRAD_TIMEOUT": "1"})
    fails(job, "no answer within 2 s", "its process is in state T (stopped)")


@pytest.mark.mpi
def test_f4_a_wait_that_raises_nothing_is_ended_by_the_watchdog() -> None:
    """As inside native code.  Seen to fail (it hangs) without Watchdog._look."""
    job = run_ranks(2, WATCHED + """
from distgrad.distributed.communication.communicator import CommState
comm = dist.process_groups.get_group().comm
if rank == 0:
    began = time.monotonic()
    comm.state = lambda: CommState(7, "Allreduce of the plugin", time.monotonic() - began)
lost_in_thought()
""", env={"DISTGRAD_TIMEOUT": "1"})
    fails(
        job, "[rank0]: rank 0 has waited", "in operation 7 (Allreduce of the plugin), where 1 s are allowed",
        "stacks of rank 1:",
    )  # fmt: skip


@pytest.mark.mpi
def test_f4_nobody_is_answered_without_the_secret() -> None:
    """Seen to fail with the comparison in Watchdog._answer taken out."""
    job = run_ranks(2, WATCHED + """
import socket
watchdog = dist.process_groups.get_group().guard.watchdog
port = watchdog._peers[1 - rank][1]
for sent in (b"", b"x" * 300, b"0" * 32 + b" 0", b"0" * 32 + b" 0 events", watchdog._secret.encode() + b" no rank"):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
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
    fails(job, "could not open a socket (no sockets here)")


def test_f4_the_deadline_is_the_argument_or_the_environment() -> None:
    assert deadline(None, {}) is None
    assert deadline(None, {"DISTGRAD_TIMEOUT": "2.5"}) == 2.5
    assert deadline(timedelta(minutes=1), {"DISTGRAD_TIMEOUT": "2.5"}) == 60.0
    for given in ("", "0", "-1", "nan", "inf", "soon"):
        with pytest.raises(ValueError, match="DISTGRAD_TIMEOUT must be a positive number of seconds"):
            deadline(None, {"DISTGRAD_TIMEOUT": given})
    with pytest.raises(ValueError, match="timeout must be"):
        deadline(timedelta(0), {})
