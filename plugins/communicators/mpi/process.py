"""MPI in this process: started when first used, unusable in a forked child and behind ``MPI.Finalize()``."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distgrad.distributed.launching.environment import check_no_ranks_child

if TYPE_CHECKING:
    from mpi4py import MPI  # at run time by start: a listing of plugins must not initialise MPI

__all__ = ["at_end", "start", "why_not"]

_forked = False
_ended = False  # by MPI.Finalize()
at_end: list[Callable[[], None]] = []
_watched = False


def _mark_forked() -> None:
    global _forked
    _forked = "mpi4py.MPI" in sys.modules


def why_not() -> str | None:
    """Why this process cannot use MPI; None where it can."""
    if _forked:
        return (
            "this process was forked from one that uses MPI and cannot use it; start workers with multiprocessing's "
            "'spawn' or 'forkserver' method, and let them work without a process group"
        )
    return None if not _ended else "MPI.Finalize() has been called in this process: no operation is possible any more"


def start() -> Any:
    """Import mpi4py, which initialises MPI and asks for THREAD_MULTIPLE (unless MPI4PY_RC_THREAD_LEVEL says less)."""
    global MPI
    check_no_ranks_child()
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            f"the mpi communicator needs mpi4py and an MPI library ({error}): python -m pip install 'distgrad[mpi]'"
        ) from error
    if MPI.Is_finalized():
        raise RuntimeError("MPI.Finalize() has been called in this process, and MPI cannot be started again")
    if not MPI.Is_initialized():  # mpi4py.rc.initialize = False: then mpi4py does not finalise either
        MPI.Init_thread()
        atexit.register(lambda: None if MPI.Is_finalized() else MPI.Finalize())
    _watch_the_end()
    return MPI


def _watch_the_end() -> None:
    """Learn of a ``MPI.Finalize()`` of the user's before it happens: MPI frees COMM_SELF's attributes first."""
    global _watched
    if _watched:
        return
    _watched = True

    def ends(*_: Any) -> None:
        global _ended
        if not forgotten:
            for leave in at_end:
                leave()
            _ended = True

    forgotten: list[bool] = []
    key = MPI.Comm.Create_keyval(delete_fn=ends)
    MPI.COMM_SELF.Set_attr(key, True)

    def forget() -> None:  # the interpreter ends, and MPI with it, when no Python can be called any more
        if not MPI.Is_finalized():
            forgotten.append(True)
            MPI.COMM_SELF.Delete_attr(key)

    atexit.register(forget)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)
