"""Process groups: the default one, which this process (or thread) trains with, and questions about any.

Groups of some of the ranks are made in :mod:`distgrad.distributed.process_groups.subgroups`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from distgrad import registry
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistError
from distgrad.distributed.launching.device_assignment import choose_device, leave_device, take_device
from distgrad.distributed.launching.environment import (
    check_not_torchruns,
    check_oversubscription,
    deadline,
    is_launched,
    leave_stdin_to_rank_0,
)
from distgrad.distributed.reliability import checked_communicator
from distgrad.distributed.reliability.job_guard import Guard
from distgrad.distributed.timeline import across_ranks

__all__ = [
    "NON_GROUP_MEMBER", "ProcessGroup", "destroy_process_group", "get_backend", "get_group", "get_local_rank",
    "get_rank", "get_world_size", "init_process_group", "is_available", "is_initialized", "ours", "outside",
    "this_thread_is_a_rank",
]  # fmt: skip

_NOT_INITIALIZED = "Default process group has not been initialized, please make sure to call init_process_group."
_PYTORCHS = {"gloo", "nccl", "ucc", "xccl"}  # its backends that are none of ours
NON_GROUP_MEMBER = -100  # what new_group gives a rank outside the group; PyTorch's number


class ProcessGroup:
    """Ranks that act together, over one communicator.

    Attributes:
        comm: the communicator; see :class:`distgrad.distributed.communication.communicator.Communicator`.
        backend: the name it is registered by.
        ranks: the members' numbers in the default group, by their numbers here.
        group_name, group_desc: what tells it from others, in errors.
        children: on the default group, those made by :func:`~distgrad.distributed.process_groups.subgroups.new_group`,
            until destroyed.
        destroyed: whether it can be used no longer.

    >>> group = dist.new_group([0])
    >>> group.rank(), group.size()
    (0, 1)
    """

    __slots__ = ("backend", "children", "comm", "destroyed", "group_desc", "group_name", "guard", "ranks")

    def __init__(
        self,
        comm: Communicator,
        backend: str,
        guard: Guard | None = None,
        ranks: Sequence[int] | None = None,
        group_name: str = "0",
        group_desc: str = "default_pg",
    ) -> None:
        self.comm, self.backend, self.guard = comm, backend, guard
        self.ranks = tuple(range(comm.size) if ranks is None else ranks)
        self.group_name, self.group_desc = group_name, group_desc
        self.children: list[ProcessGroup] = []
        self.destroyed = False

    def rank(self) -> int:
        """This rank's number in the group."""
        return self.comm.rank

    def size(self) -> int:
        """How many ranks the group has."""
        return self.comm.size

    def __repr__(self) -> str:
        return f"ProcessGroup(backend={self.backend!r}, rank={self.comm.rank}, size={self.comm.size})"


endings: list[Callable[[Communicator], Any]] = []
"""What is called with a group's communicator when the group is about to end, on each rank, before anything is freed.

What it returns is kept until all ranks have come to the end.
"""

_of_process: ProcessGroup | None = None
_of_thread = threading.local()  # .group, where ranks are threads; .backend, of a thread that is a rank


def _current() -> ProcessGroup | None:
    mine: ProcessGroup | None = getattr(_of_thread, "group", None)
    return _of_process if mine is None else mine


def this_thread_is_a_rank(backend: str) -> None:
    """Where no backend is asked for in this thread, ``backend`` is meant."""
    _of_thread.backend = backend


def outside(group: Any) -> bool:
    """Whether ``group`` is what :func:`~distgrad.distributed.process_groups.subgroups.new_group` gives ranks that are
    not members."""
    return isinstance(group, int) and group == NON_GROUP_MEMBER


def get_group(group: ProcessGroup | None = None) -> ProcessGroup:
    """``group``, or the default group; ValueError where there is none, or this rank is outside ``group``."""
    if group is None:
        found = _current()
        if found is None:
            raise ValueError(_NOT_INITIALIZED)
        return found
    if outside(group):
        raise ValueError(f"rank {get_rank()} does not belong to the given group")
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"group must be a ProcessGroup or None, got {type(group).__name__}")
    if group.destroyed:
        raise ValueError(f"Invalid process group specified or has been destroyed: {group!r}")
    return group


def is_available() -> bool:
    """True: the package is part of every installation (the ``mpi`` backend also needs mpi4py and an MPI).

    >>> dist.is_available()
    True
    """
    return True


def is_initialized() -> bool:
    """Whether :func:`init_process_group` has been called here (in this thread, where ranks are threads).

    >>> dist.is_initialized()
    True
    """
    return _current() is not None


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
    *,
    comm: Any = None,
    exit_timeout: timedelta = timedelta(minutes=5),
) -> None:
    """Join this rank to the others; every rank calls it once.

    From here on an uncaught exception on any rank, in any thread, ends the whole job with that rank's traceback and a
    non-zero exit code, and a rank that ends while others wait for it is an error on them.

    With ``DISTGRAD_DEBUG=detail`` in the environment the ranks compare every collective before they run it, and raise
    where they differ, instead of waiting for each other.

    Ranks above 0 have an empty standard input from here on, unless it is a terminal.

    On a node with GPUs, ``"cuda"`` is from here on the GPU of this rank's number on the node.

    Args:
        backend: the name of a communicator: ``"shared"``, ``"mpi"``, ``"serial"``, ``"threads"`` or a plugin's.  None:
            when an MPI launcher started this process or ``comm`` is given, ``"shared"`` (MPI between ranks of one node:
            parameters lie once in memory, and the update is shared out) or, where that cannot serve, ``"mpi"`` and a
            line that says why; ``"threads"`` in a thread of ``threads.run``; else ``"serial"`` (one process, no
            MPI needed).  PyTorch's own (``"gloo"``, ``"nccl"``) stand for None, and rank 0 says what serves instead.
        init_method: None or ``"env://"``; ranks find each other through the launcher, not through an address.
        timeout: how long a collective may wait for other ranks.  Then what every rank was doing is printed and the job
            ends.  None: ``DISTGRAD_TIMEOUT`` in the environment (seconds), else the communicator's, 30 minutes for MPI.
        world_size, rank: where given, they are checked against the launcher's.
        store: None, for the same reason.
        group_name, pg_options: accepted for PyTorch's sake.
        device_id: the GPU that is to be ``"cuda"`` on this rank, instead of the one of its number on the node.
        comm: ranks to use instead of all: with ``"mpi"``, an mpi4py communicator.  It is duplicated.
        exit_timeout: how long a rank that has ended waits for the others before it ends the job.  Call
            :func:`destroy_process_group` on every rank where one of them goes on working alone.

    Raises:
        ValueError: called twice, a rank or size other than the launcher's, an address or a store, a ``device_id`` that
            is no GPU's, or another word in ``DISTGRAD_DEBUG``.
        LookupError: an unknown backend.
        RuntimeError: the launcher's number of processes is not the communicator's (another MPI's launcher), or torchrun
            started this process as one of several, or a rank started it, or there is no GPU of that ``device_id``;
            or ``DISTGRAD_TRACE`` names a file that cannot be written.

    >>> dist.init_process_group()      # MPI under mpirun, else this process alone
    >>> dist.get_rank(), dist.get_world_size()
    (0, 1)
    >>> dist.destroy_process_group()
    """
    global _of_process
    if is_initialized():
        raise ValueError("trying to initialize the default process group twice!")
    if init_method not in (None, "env://"):
        raise ValueError(
            f"init_method must be None or 'env://', got {init_method!r}: the launcher brings ranks together"
        )
    if store is not None:
        raise ValueError(f"store must be None, got {store!r}: the launcher brings ranks together")
    checked_communicator.wanted()  # a word that it does not know is an error before anything is started
    given, backend = backend, ours(backend)
    if comm is None and backend in (None, "mpi", "shared"):
        check_not_torchruns()
    if backend is None:
        alone = "serial" if not is_launched() else "shared"
        backend = getattr(_of_thread, "backend", alone) if comm is None else "shared"
        made = _shared_or_mpi(comm) if backend == "shared" else registry.get("communicator", backend)(comm)
        backend = "mpi" if backend == "shared" and not made.shares_memory else backend
    else:
        made = registry.get("communicator", backend)(comm)
    for what, asked, found in (("world_size", world_size, made.size), ("rank", rank, made.rank)):
        if asked not in (-1, found):
            raise ValueError(f"{what}={asked} was asked for, but the {backend} communicator was started with {found}")
    seconds = deadline(timeout)
    if seconds is not None:
        made.timeout = seconds
    take_device(made)
    kind = type(made)
    write_trace = across_ranks.join(made, lambda: kind(comm))
    if made.per_thread:
        between = checked_communicator.compared(made) if checked_communicator.wanted() else made
        _of_thread.group = ProcessGroup(between, backend)
        if device_id is not None:
            choose_device(device_id)
        return
    if given is not None and ours(given) is None and made.rank == 0:
        sys.stderr.write(f"distgrad: {given} is PyTorch's; using {backend}\n")
    if made.size > 1:
        leave_stdin_to_rank_0()
    guard = Guard(made, exit_timeout.total_seconds(), write_trace) if made.size > 1 else None
    _of_process = ProcessGroup(made, backend, guard)
    check_oversubscription(made)
    if checked_communicator.wanted():
        checked_communicator.compared(made)
    if device_id is not None:
        choose_device(device_id)  # behind the guard: a rank that has no such GPU ends the job


def ours(backend: str | None) -> str | None:
    """``backend``, in lower case if only that is known; None for PyTorch's own, such as ``"cpu:gloo,cuda:nccl"``."""
    if backend is None or all(part.rpartition(":")[2].lower() in _PYTORCHS for part in backend.split(",")):
        return None
    return backend if backend in registry.names("communicator") else backend.lower()


def _shared_or_mpi(comm: Any) -> Communicator:
    """The ``shared`` communicator; where it cannot serve ``mpi``, which is said once."""
    try:
        made: Communicator = registry.get("communicator", "shared")(comm)
    except DistError as reason:
        made = registry.get("communicator", "mpi")(comm)
        if made.rank == 0:
            sys.stderr.write(f"distgrad: {reason}; using mpi\n")
    return made


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Leave the group; every rank of it calls it.  Leaving the default one returns when all have, and ends all groups.

    Another default group may be initialised afterwards.

    >>> dist.init_process_group("serial")
    >>> dist.destroy_process_group()
    >>> dist.is_initialized()
    False
    """
    global _of_process
    if outside(group):
        return
    found = get_group(group)
    default = _current()
    # kept until all ranks have come to the end: they look for state in this one's memory
    kept = [ending(group_ends.comm) for group_ends in (found, *found.children) for ending in endings]
    if default is not None and found is not default:
        found.comm.Barrier()  # nobody is gone before all have taken along what lies in common memory
        kept.clear()
        found.comm.Free()
        found.destroyed = True
        if found in default.children:
            default.children.remove(found)
        return
    if found.guard is not None:
        found.guard.leave()
    kept.clear()
    for child in found.children:
        child.comm.Free()
        child.destroyed = True
    found.children.clear()
    found.comm.Free()
    found.destroyed = True
    leave_device(found.comm)
    if found is getattr(_of_thread, "group", None):
        _of_thread.group = None
    elif found is _of_process:
        _of_process = None


def get_rank(group: ProcessGroup | None = None) -> int:
    """This rank's number, 0 to ``get_world_size() - 1``; -1 where it is outside ``group``.

    >>> dist.get_rank()
    0
    """
    return -1 if outside(group) else get_group(group).comm.rank


def get_world_size(group: ProcessGroup | None = None) -> int:
    """How many ranks there are; -1 where this one is outside ``group``.

    >>> dist.get_world_size()
    1
    """
    return -1 if outside(group) else get_group(group).comm.size


def get_local_rank(group: ProcessGroup | None = None) -> int:
    """This rank's number among those on its node; it chooses the GPU.

    >>> dist.get_local_rank()
    0
    """
    return get_group(group).comm.local_rank


def get_backend(group: ProcessGroup | None = None) -> str:
    """The name of the group's communicator.

    >>> dist.get_backend()
    'serial'
    """
    return get_group(group).backend
