"""``mpirun``: run a program on n ranks under the MPI that was installed beside this Python."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a job left behind; ``seconds`` is for limits a user would notice, not for speed."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        return f"exit code {self.returncode} after {self.seconds:.1f} s\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def find_mpirun() -> Path | None:
    """The launcher of this environment; never one from PATH, which may belong to another MPI."""
    found = Path(sys.executable).parent / "mpirun"
    return found if found.exists() else None


def is_open_mpi() -> bool:
    """Whether this environment's MPI is Open MPI (else MPICH)."""
    return (Path(sys.executable).parent / "ompi_info").exists()


def job_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """This environment, one BLAS thread a rank, and no trace of a launcher that may have started the tests."""
    launchers = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA_", "MPIR_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(launchers)}
    return clean | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PYTHONFAULTHANDLER": "1",
    } | (extra or {})


def run_job(command: list[str], timeout: float, env: dict[str, str] | None = None) -> Finished:
    """Run ``command`` in a process group of its own, and kill the whole group (and fail) after ``timeout`` seconds."""
    started = time.monotonic()
    job = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=job_environment(env),
        start_new_session=True,
    )
    try:
        out, err = job.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        out, err = job.communicate()
        pytest.fail(f"hung: {' '.join(command)}\n{Finished(-9, out, err, time.monotonic() - started)}")
    return Finished(job.returncode, out, err, time.monotonic() - started)


Mpirun = Callable[..., Finished]


@pytest.fixture(scope="session")
def mpirun() -> Mpirun:
    """``mpirun(n, program, *args, timeout=60, env=None)``: a file of this folder, or code (with a newline), on n ranks."""
    launcher = find_mpirun()
    if launcher is None:
        pytest.skip("no mpirun beside this Python: python -m pip install 'distgrad[mpi]'")

    def run(n: int, program: str, *args: str, timeout: float = 60.0, env: dict[str, str] | None = None) -> Finished:
        options = ["--oversubscribe", "--bind-to", "none"] if is_open_mpi() else []
        what = ["-c", program] if "\n" in program else [str(HERE / program)]
        return run_job([str(launcher), *options, "-n", str(n), sys.executable, *what, *args], timeout, env)

    return run
