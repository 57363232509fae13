"""F14 to F16, F19, F20: what ranks are refused or told when they start, or start something themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import distgrad.distributed as dist
import environment
from distgrad.cli import _mpirun, run
from distgrad.distributed.launching.environment import (
    blas_threads,
    check_launcher_size,
    check_not_torchruns,
    is_launched,
    launcher_rank,
    launcher_size,
    warn_oversubscription,
)
from tests.distributed.reliability.test_nothing_hangs import TRAINING, fails
from tests.helpers.ranks import Finished, is_open_mpi, job_environment, run_alone, run_job, run_ranks


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
def test_f14_the_loaders_workers_are_not_forked() -> None:
    """Nor are they processes started in another way: they are threads of the rank."""
    run_ranks(2, TRAINING + """
import os
from distgrad.utils.data import DataLoader
began = []
os.register_at_fork(before=lambda: began.append("fork"))
sys.addaudithook(lambda event, _: began.append(event) if event in ("os.posix_spawn", "subprocess.Popen") else None)
loader = DataLoader([np.float32(i) for i in range(64)], batch_size=4, num_workers=3)
names = set()
for batch in loader:
    names |= {thread.name for thread in threading.enumerate()}
    step(0)
assert any("DataLoader worker" in name for name in names), names
assert not began, began
sys.stdout.write("threads\\n")
""").check(threads=2)


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
from distgrad.distributed.launching import environment as launcher
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
    code = "import numpy; from distgrad.distributed.launching.environment import blas_threads; print(blas_threads())"
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
def test_f16_the_launcher_sets_threads_before_numpy_comes(tmp_path: Path) -> None:
    """Read back from the BLAS itself, on every rank."""
    script = tmp_path / "say.py"
    script.write_text(
        "import os, numpy\nfrom threadpoolctl import threadpool_info\n"
        "found = {pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'}\n"
        "os.write(1, f'BLAS {sorted(found)}\\n'.encode())\n",
        encoding="utf-8",
    )
    job = launched("-n", "2", str(script))
    job.check()
    assert job.stdout.splitlines() == [f"BLAS [{max(1, run.cores() // 2)}]"] * 2, job


def launched(*arguments: str, stdin: int = subprocess.DEVNULL) -> Finished:
    """``python -m distgrad run`` with these arguments, where nobody has said how many threads there should be."""
    environ = {k: v for k, v in job_environment(1).items() if k not in environment.THREAD_VARIABLES}
    return run_job([sys.executable, "-m", "distgrad", "run", *arguments], 60.0, environ, stdin)


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


def _other_launcher() -> Path | None:
    """An mpirun of the other MPI: as installed for the tests of that one, or named by DISTGRAD_TEST_OTHER_MPIRUN."""
    named = os.environ.get("DISTGRAD_TEST_OTHER_MPIRUN")
    places = [environment.ROOT / name / "bin" / "mpirun" for name in (".venv", ".venv-mpich")]
    for file in [Path(named)] if named else places:
        if file.exists() and (_mpirun.launcher_at(file).family == "openmpi") is not is_open_mpi():
            return file
    return None


@pytest.mark.mpi
def test_f19_the_other_mpis_launcher_is_refused() -> None:
    other = _other_launcher()
    if other is None:
        pytest.skip("no mpirun of another MPI (DISTGRAD_TEST_OTHER_MPIRUN, .venv, .venv-mpich)")
    program = "import distgrad.distributed as dist; dist.init_process_group(); print('started')"
    job = run_job([str(other), "-n", "2", sys.executable, "-c", program], 60.0, job_environment(2))
    if is_open_mpi():
        fails(job, "the launcher belongs to another MPI", "started 2 processes (PMI_SIZE=2)", "sees 1")
    else:  # MPICH gives up by itself, inside MPI_Init
        fails(job)
    assert "started" not in job.stdout, job


@pytest.mark.mpi
@pytest.mark.parametrize("backend", ["", "'gloo'", "'mpi'"], ids=["default", "gloo", "mpi"])
def test_f19_processes_that_torchrun_started_are_refused(backend: str) -> None:
    code = f"""
import os
os.environ.update(RANK="1", WORLD_SIZE="2")
import distgrad.distributed as dist
dist.init_process_group({backend})
"""
    fails(run_alone(code), "WORLD_SIZE=2 and RANK=1", "torchrun", "each would train alone", "mpirun -n 2 python")


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"WORLD_SIZE": "2"},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "2", "OMPI_COMM_WORLD_SIZE": "2"},
    ],
)
def test_f19_others_are_not(environment: dict[str, str]) -> None:
    check_not_torchruns(environment)


@pytest.mark.parametrize("variable", ["PMI_SIZE", "PMIX_RANK", "PALS_RANKID", "JSM_NAMESPACE_RANK"])
def test_f19_launchers_are_known_by_what_they_set(variable: str) -> None:
    assert is_launched({variable: "1"})
    assert launcher_rank({variable: "1"}) == (None if variable == "PMI_SIZE" else 1)
    assert not is_launched({variable: "x"})
    assert not is_launched({"SLURM_PROCID": "0"})  # in a batch script, which srun has not started


@pytest.mark.mpi
def test_f19_a_launcher_that_tells_no_number_starts_ranks() -> None:
    """Open MPI's prterun; each process would train alone otherwise, unseen."""
    prterun = Path(environment.mpirun(sys.executable)[0]).with_name("prterun")
    if not prterun.exists():
        pytest.skip("no prterun beside mpirun")
    program = "import distgrad.distributed as dist; dist.init_process_group(); print('of', dist.get_world_size())"
    as_root = {"PRTE_ALLOW_RUN_AS_ROOT": "1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    job = run_job([str(prterun), "-n", "2", sys.executable, "-c", program], 60.0, job_environment(2, as_root))
    job.check(**{"of 2": 2})


def test_f19_who_asks_to_be_alone_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    dist.init_process_group("serial")
    dist.destroy_process_group()


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


READS = """
import os, sys
import distgrad.distributed as dist
{before}
dist.init_process_group()
if dist.get_rank() > 0 or sys.argv[1:] == ["all"]:
    os.write(1, f"rank {{dist.get_rank()}} read {{sys.stdin.read()!r}}\\n".encode())
dist.destroy_process_group()
"""
PIPE = """
reading, writing = os.pipe()
os.write(writing, b"yes")
os.dup2(reading, 0)
"""


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("before", ["", PIPE], ids=["launcher", "pipe"])
def test_f20_ranks_above_0_never_read_stdin(before: str, ranks: int, tmp_path: Path) -> None:
    """Whether the launcher gives them what it gives (MPICH: a pipe), or all ranks a pipe with words in it, as srun."""
    (tmp_path / "read.py").write_text(READS.format(before=before), encoding="utf-8")
    reading, writing = os.pipe()
    try:
        os.write(writing, b"yes\n")
        job = launched("-n", str(ranks), str(tmp_path / "read.py"), stdin=reading)
    finally:
        os.close(reading)
        os.close(writing)
    job.check()
    assert sorted(job.stdout.splitlines()) == [f"rank {rank} read ''" for rank in range(1, ranks)], job


@pytest.mark.mpi
def test_f20_stdin_from_nowhere_is_empty_on_all_ranks(tmp_path: Path) -> None:
    (tmp_path / "read.py").write_text(READS.format(before=""), encoding="utf-8")
    launched("-n", "2", str(tmp_path / "read.py"), "all").check(**{"rank 0 read ''": 1, "rank 1 read ''": 1})


@pytest.mark.mpi
def test_f20_a_bad_hostfile_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "read.py").write_text(READS.format(before=""), encoding="utf-8")
    (tmp_path / "hosts").write_text("localhost slots=2\nlocalhost cpus=3\n", encoding="utf-8")
    job = launched("-n", "2", "--hostfile", str(tmp_path / "hosts"), str(tmp_path / "read.py"))
    fails(job, "hosts, line 2: 'cpus=3' is neither slots=N nor max_slots=N")
    assert job.returncode == 2, job
    assert job.stdout == "", job
