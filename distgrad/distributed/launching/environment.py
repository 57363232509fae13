"""What an MPI launcher tells its processes through the environment, and what can be checked against it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Mapping, MutableMapping
from datetime import timedelta

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.launching.advice import advise

__all__ = [
    "NOTES", "blas_threads", "check_launcher_size", "check_no_ranks_child", "check_not_torchruns",
    "check_oversubscription", "deadline", "is_launched", "launcher_rank", "launcher_size", "leave_stdin_to_rank_0",
    "note", "warn_oversubscription",
]  # fmt: skip

NOTES = "DISTGRAD_NOTES"  # names a file

# The number of processes, by launcher.  Slurm's variable is last: under `srun --pty` it describes an outer step.
_SIZE_VARIABLES = (
    ("OMPI_COMM_WORLD_SIZE", "Open MPI's mpirun"),
    ("PMI_SIZE", "the mpiexec of MPICH or Intel MPI"),
    ("MV2_COMM_WORLD_SIZE", "MVAPICH's launcher"),
    ("SLURM_STEP_NUM_TASKS", "Slurm's srun"),
)
# What those set that do not tell the number: PMIx (Open MPI's prterun, srun), Cray's PALS and IBM's jsrun.
_ONLY_RANK_VARIABLES = ("PMIX_RANK", "PALS_RANKID", "JSM_NAMESPACE_RANK")
_RANK_VARIABLES = (
    "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", *_ONLY_RANK_VARIABLES, "SLURM_PROCID",
)  # fmt: skip


def launcher_size(environment: Mapping[str, str] = os.environ) -> tuple[int, str, str] | None:
    """``(processes, variable, launcher)`` as the launcher announced them; None when started without one."""
    for variable, launcher in _SIZE_VARIABLES:
        text = environment.get(variable, "")
        if text.isdigit():
            return int(text), variable, launcher
    return None


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether an MPI launcher started this process.  (Slurm's rank alone does not say so: batch scripts have one.)"""
    return launcher_size(environment) is not None or any(
        environment.get(variable, "").isdigit() for variable in _ONLY_RANK_VARIABLES
    )


def launcher_rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """This process' number among those the launcher started; None when started without one."""
    found = (environment.get(variable, "") for variable in _RANK_VARIABLES)
    return next((int(text) for text in found if text.isdigit()), None)


def note(what: str, rank: int, environment: Mapping[str, str] = os.environ) -> None:
    """Tell ``python -m distgrad run``, where it asks for that, that a rank has ``"joined"`` or ``"left"`` a group."""
    if NOTES in environment:
        with contextlib.suppress(OSError):  # on another host
            file = os.open(environment[NOTES], os.O_WRONLY | os.O_APPEND)
            os.write(file, f"{what} {rank}\n".encode())
            os.close(file)


_PID = "DISTGRAD_RANK"  # in a rank's environment: its process and its job


def check_no_ranks_child(environment: MutableMapping[str, str] = os.environ) -> None:
    """Refuse a process that a rank has started, before it starts MPI; else leave word for those that this one starts.

    It inherits what the launcher told the rank.  Open MPI would take it for that rank and let it wait for ever, MPICH
    ends it, or the whole job.
    """
    if not is_launched(environment):
        return
    rank, job = launcher_rank(environment), _job(environment)
    pid, _, its_job = environment.get(_PID, "").partition(" ")
    multiprocessing = sys.modules.get("multiprocessing")
    parent = None if multiprocessing is None else multiprocessing.parent_process()
    if (pid and pid != str(os.getpid()) and job in ("", its_job)) or (not pid and parent is not None):
        pid = pid or str(getattr(parent, "pid", "?"))
        told = launcher_size(environment)
        variable = told[1] if told else next(v for v in _RANK_VARIABLES if environment.get(v, "").isdigit())
        raise RuntimeError(
            f"process {pid} is already rank {rank} of an MPI job ({variable} is set), and this process, which it "
            "started, has inherited that: it cannot join the job, nor start one, and would wait in it for ever. Let "
            "it work without a process group, or alone, with init_process_group('serial'). One that is to start a job "
            f"of its own is started without the variables whose names begin with {', '.join(_LAUNCHERS)}"
        )
    environment[_PID] = f"{os.getpid()} {job}"


_LAUNCHERS = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDI_", "MPI_LOCAL", "SLURM_")


def _job(environment: Mapping[str, str]) -> str:
    """What tells one job from another: PMIx's name for it, or the socket to MPICH's mpiexec; empty: neither."""
    if name := environment.get("PMIX_NAMESPACE", ""):
        return name
    if (number := environment.get("PMI_FD", "")).isdigit():
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/self/fd/{number}").replace(" ", "")
    return ""


def leave_stdin_to_rank_0(environment: Mapping[str, str] = os.environ) -> None:
    """Give every other process of the job an empty standard input, unless it has a terminal (docs/reliability.md, F20).

    MPICH's mpiexec gives those a pipe that nobody writes to or closes, so whoever reads it waits for ever; srun gives
    each of them what is meant for one.
    """
    if not launcher_rank(environment) or sys.__stdin__ is None or sys.__stdin__.closed or os.isatty(0):
        return
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # not only sys.stdin: child processes too
    os.close(null)


def check_launcher_size(size: int, library: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a job that fell apart: a launcher started N processes, each of which sees itself alone.

    That is what happens, silently, when one MPI's ``mpiexec`` starts a Python whose MPI is another.

    Args:
        size: the number of ranks that the MPI library sees in the world.
        library: the library's name and version, for the message.
    """
    found = launcher_size(environment)
    if found is None:
        return
    announced, variable, launcher = found
    if size == announced or (size != 1 and variable.startswith("SLURM")):
        return
    raise RuntimeError(
        f"{launcher} started {announced} processes ({variable}={announced}), but the MPI that this Python uses "
        f"({library}) sees {size}: the launcher belongs to another MPI, and the job would run as {announced} separate "
        "ones. Start it with the mpirun that was installed beside this Python (the one in its environment's bin folder)"
    )


def check_not_torchruns(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a process that torchrun started as one of several, or a script in its way: it would train alone."""
    size, rank = environment.get("WORLD_SIZE", ""), environment.get("RANK", "")
    if not is_launched(environment) and rank.isdigit() and size.isdigit() and int(size) > 1:
        raise RuntimeError(
            f"WORLD_SIZE={size} and RANK={rank} in the environment say that torchrun, or a script in its way, started "
            f"this process as one of {size}; ranks of distgrad are started by MPI, without it each would train alone. "
            f"Start them with mpirun -n {size} python, or python -m distgrad run -n {size}, and the script's name; a "
            "process that is to be alone asks for init_process_group('serial')"
        )


def deadline(timeout: timedelta | None, environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds that ranks may wait for each other: ``timeout``, else ``DISTGRAD_TIMEOUT``; None where neither is given.

    Raises:
        ValueError: a number of seconds that is not positive and finite.
    """
    if timeout is None and "DISTGRAD_TIMEOUT" not in environment:
        return None
    given = environment["DISTGRAD_TIMEOUT"] if timeout is None else timeout.total_seconds()
    with contextlib.suppress(ValueError):
        seconds = float(given)
        if 0 < seconds < float("inf"):
            return seconds
    source = "DISTGRAD_TIMEOUT" if timeout is None else "timeout"
    raise ValueError(f"{source} must be a positive number of seconds, got {given!r}")


def blas_threads(environment: Mapping[str, str] = os.environ) -> int:
    """How many threads this process' BLAS uses: asked from threadpoolctl where installed, else from the environment."""
    with contextlib.suppress(ImportError):
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

        counts = [int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"]
        if counts:
            return max(counts)
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        text = environment.get(variable, "")
        if text.isdigit() and int(text) > 0:
            return min(int(text), _cores())
    return _cores()


def _cores() -> int:
    """The processor cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_oversubscription(comm: Communicator) -> None:
    """Warn, once on every node, when its ranks' BLAS threads want more cores than they have together.  Collective."""
    if comm.per_thread or comm.size == 1:
        return
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    # Launchers often bind each rank to cores of its own, so the ranks' sets are united, as bit masks.
    nodes = comm.allgather([socket.gethostname(), hex(sum(1 << core for core in allowed)), blas_threads()])
    mine = [(int(mask, 16), threads) for host, mask, threads in nodes if host == nodes[comm.rank][0]]
    if comm.local_rank == 0:
        union = 0
        for mask, _ in mine:
            union |= mask
        warn_oversubscription(comm.local_size, max(threads for _, threads in mine), union.bit_count())


def warn_oversubscription(ranks: int, threads: int, available: int) -> None:
    """The warning of :func:`check_oversubscription`: ``ranks`` of ``threads`` threads on ``available`` cores."""
    if ranks == 1 or ranks * threads <= available:
        return
    fix = (
        f"set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to {available // ranks} before Python starts"
        if ranks <= available
        else f"start at most {available} ranks on this node"
    )
    advise(
        f"{ranks} ranks with {threads} BLAS thread{'s' * (threads > 1)} each share {available} cores on this node "
        f"and will slow each other down: {fix}",
        stacklevel=5,
    )
