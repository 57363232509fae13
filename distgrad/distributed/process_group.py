"""The default process group: which communicator this process (or thread) trains with, and questions about it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from distgrad import registry
from distgrad.distributed import timeline
from distgrad.distributed.communicator import Communicator
from distgrad.distributed.gpu import leave_device, take_device
from distgrad.distributed.guard import Guard
from distgrad.distributed.launcher import check_oversubscription, deadline, launcher_size

__all__ = [
    "ProcessGroup", "barrier", "destroy_process_group", "get_backend", "get_group", "get_local_rank", "get_rank",
    "get_world_size", "init_process_group", "is_available", "is_initialized",
]  # fmt: skip

_NOT_INITIALIZED = "Default process group has not been initialized, please make sure to call init_process_group."


class ProcessGroup:
    """Ranks that act together, over one communicator.

    Attributes:
        comm: the communicator; see :class:`distgrad.distributed.communicator.Communicator`.
        backend: the name it is registered by.
    """

    __slots__ = ("backend", "comm", "guard")

    def __init__(self, comm: Communicator, backend: str, guard: Guard | None = None) -> None:
        self.comm, self.backend, self.guard = comm, backend, guard

    def rank(self) -> int:
        """This rank's number in the group."""
        return self.comm.rank

    def size(self) -> int:
        """How many ranks the group has."""
        return self.comm.size

    def __repr__(self) -> str:
        return f"ProcessGroup(backend={self.backend!r}, rank={self.comm.rank}, size={self.comm.size})"


_of_process: ProcessGroup | None = None
_of_thread = threading.local()  # .group, where ranks are threads


def _current() -> ProcessGroup | None:
    mine: ProcessGroup | None = getattr(_of_thread, "group", None)
    return _of_process if mine is None else mine


def get_group(group: ProcessGroup | None = None) -> ProcessGroup:
    """``group``, or the default group; ValueError where there is none."""
    found = _current() if group is None else group
    if found is None:
        raise ValueError(_NOT_INITIALIZED)
    return found


def is_available() -> bool:
    """True: the package is part of every installation (the ``mpi`` backend also needs mpi4py and an MPI)."""
    return True


def is_initialized() -> bool:
    """Whether :func:`init_process_group` has been called here (in this thread, where ranks are threads)."""
    return _current() is not None


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    *,
    comm: Any = None,
    exit_timeout: timedelta = timedelta(minutes=5),
) -> None:
    """Join this rank to the others; every rank calls it once.

    From here on an uncaught exception on any rank, in any thread, ends the whole job with that rank's traceback and a
    non-zero exit code, and a rank that ends while others wait for it is an error on them.

    On a node with GPUs, ``"cuda"`` is from here on the GPU of this rank's number on the node.

    Args:
        backend: the name of a communicator: ``"mpi"``, ``"serial"``, ``"threads"`` or a plugin's.  None: ``"mpi"`` when
            an MPI launcher started this process or ``comm`` is given, else ``"serial"`` (one process, no MPI needed).
        init_method: None or ``"env://"``; ranks find each other through the launcher, not through an address.
        timeout: how long a collective may wait for other ranks.  Then what every rank was doing is printed and the job
            ends.  None: ``DISTGRAD_TIMEOUT`` in the environment (seconds), else the communicator's, 30 minutes for MPI.
        world_size, rank: where given, they are checked against the launcher's.
        comm: ranks to use instead of all: with ``"mpi"``, an mpi4py communicator.  It is duplicated.
        exit_timeout: how long a rank that has ended waits for the others before it ends the job.  Call
            :func:`destroy_process_group` on every rank where one of them goes on working alone.

    Raises:
        ValueError: called twice, an unknown backend, or a rank or size other than the launcher's.
        RuntimeError: the launcher's number of processes is not the communicator's (another MPI's launcher).
    """
    global _of_process
    if is_initialized():
        raise ValueError("trying to initialize the default process group twice!")
    if init_method not in (None, "env://"):
        raise ValueError(
            f"init_method must be None or 'env://', got {init_method!r}: the launcher brings ranks together"
        )
    if backend is None:
        backend = "serial" if comm is None and launcher_size() is None else "mpi"
    made: Communicator = registry.get("communicator", backend)(comm)
    for what, asked, found in (("world_size", world_size, made.size), ("rank", rank, made.rank)):
        if asked not in (-1, found):
            raise ValueError(f"{what}={asked} was asked for, but the {backend} communicator was started with {found}")
    seconds = deadline(timeout)
    if seconds is not None:
        made.timeout = seconds
    take_device(made)
    kind = type(made)
    write_trace = timeline.join(made, lambda: kind(comm))
    if made.per_thread:
        _of_thread.group = ProcessGroup(made, backend)
        return
    guard = Guard(made, exit_timeout.total_seconds(), write_trace) if made.size > 1 else None
    _of_process = ProcessGroup(made, backend, guard)
    check_oversubscription(made)


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Leave the group; every rank calls it, and it returns when all have.  Another may be initialised afterwards."""
    global _of_process
    found = get_group(group)
    if found.guard is not None:
        found.guard.leave()
    found.comm.Free()
    leave_device(found.comm)
    if found is getattr(_of_thread, "group", None):
        _of_thread.group = None
    elif found is _of_process:
        _of_process = None


def get_rank(group: ProcessGroup | None = None) -> int:
    """This rank's number, 0 to ``get_world_size() - 1``."""
    return get_group(group).comm.rank


def get_world_size(group: ProcessGroup | None = None) -> int:
    """How many ranks there are."""
    return get_group(group).comm.size


def get_local_rank(group: ProcessGroup | None = None) -> int:
    """This rank's number among those on its node; it chooses the GPU."""
    return get_group(group).comm.local_rank


def get_backend(group: ProcessGroup | None = None) -> str:
    """The name of the group's communicator."""
    return get_group(group).backend


def barrier(group: ProcessGroup | None = None) -> None:
    """Return once every rank has called it."""
    get_group(group).comm.Barrier()
