"""Jobs as subprocesses: a program on n ranks, under the MPI that was installed beside this Python."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import environment

HANG = 150.0  # seconds after which a job is taken to hang, on a busy machine too: no limit to what it may take
LONG = 1000  # seconds that a rank sleeps which only something else is to end: longer than any job may take
GUARDS_OFF = Path(__file__).resolve().parents[1] / "guards_off"
COMPILED = {"DISTGRAD_JIT": "1"}  # for jobs whose subject is what numba compiles
LAUNCHERS = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA_", "MPIR_", "SLURM_")


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a job left behind; ``seconds`` is told, and never asserted: on a busy machine everything is slow."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        heading = f"exit code {self.returncode} after {self.seconds:.1f} s"
        return f"{heading}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    def check(self, **counts: int) -> None:
        """The job ended well, and wrote each text of ``counts`` to stdout so many times."""
        assert self.returncode == 0, self
        for text, count in counts.items():
            assert self.stdout.count(text) == count, self


def is_open_mpi() -> bool:
    """Whether this environment's MPI is Open MPI (else MPICH)."""
    return Path(sys.executable).with_name("ompi_info").exists()


def job_environment(ranks: int, extra: dict[str, str] | None = None) -> dict[str, str]:
    """This environment for ``ranks`` ranks of one thread each, without a trace of a launcher that started the tests.

    Loops are not compiled unless ``extra`` holds :data:`COMPILED`: importing numba takes a rank longer than most jobs.
    """
    # Unbuffered, ranks write pieces of lines, which the launcher mixes.
    clean = {k: v for k, v in os.environ.items() if not k.startswith((*LAUNCHERS, "PYTHONUNBUFFERED"))}
    threads = dict.fromkeys(environment.THREAD_VARIABLES, "1")
    made = environment.mpi_environ(ranks, base=clean | threads) | {"PYTHONFAULTHANDLER": "1"} | (extra or {})
    made.setdefault("DISTGRAD_JIT", "0")
    made.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")  # other tests' jobs need the cores that waiting ranks spin on
    if "DISTGRAD_TEST_GUARD_OFF" in os.environ:  # see guards.py
        folders = [str(GUARDS_OFF), *filter(None, [made.get("PYTHONPATH")])]
        made["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    return made


@contextlib.contextmanager
def own_folder(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """``env`` with a folder for temporary files that no other job has, and that is removed afterwards.

    Open MPI names its session folder after mpirun's process number, and a job that is killed leaves it: the next mpirun
    of that number would fail at once (exit code 213).  The path is short, since sockets lie there.
    """
    with tempfile.TemporaryDirectory(prefix="dg", ignore_cleanup_errors=True) as folder:
        yield env | {"TMPDIR": folder}


def _descendants(pid: int) -> list[int]:
    """The processes that ``pid`` has started, and those that they have."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def kill(job: subprocess.Popen[Any]) -> None:
    """End a job and whatever it has started."""
    if job.poll() is None:
        for pid in [job.pid, *_descendants(job.pid)]:  # Open MPI's ranks lead sessions of their own, and would go on
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.wait()


def run_job(command: list[str], timeout: float, env: dict[str, str], stdin: int = subprocess.DEVNULL) -> Finished:
    """Run ``command`` in a session and a folder of its own, and kill all of it (and fail) after ``timeout`` seconds."""
    with own_folder(env) as env:
        return _run_job(command, timeout, env, stdin)


def _run_job(command: list[str], timeout: float, env: dict[str, str], stdin: int) -> Finished:
    timeout = min(timeout, float(os.environ.get("DISTGRAD_TEST_JOB_SECONDS", "inf")))
    started = time.monotonic()
    job = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    )
    try:
        out, err = job.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill(job)
        out, err = job.communicate()
        pytest.fail(f"hung: {' '.join(command)}\n{Finished(-9, out, err, time.monotonic() - started)}")
    return Finished(job.returncode, out, err, time.monotonic() - started)


def run_alone(code: str, timeout: float = HANG) -> Finished:
    """Lines of code in one process that no launcher started."""
    return run_job([sys.executable, "-c", code], timeout, job_environment(1))


def run_ranks(
    ranks: int, program: str | Path, *arguments: str, timeout: float = HANG, env: dict[str, str] | None = None
) -> Finished:
    """A file, or lines of code, on so many ranks; ``env`` is added to the environment."""
    what = [str(program)] if isinstance(program, Path) else ["-c", program]
    command = [*environment.mpirun(sys.executable), "-n", str(ranks), sys.executable, *what, *arguments]
    return run_job(command, timeout, job_environment(ranks, env))
