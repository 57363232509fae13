"""On which ranks a communicator is checked.

Ranks that are threads are started here, by the class's ``run(size, function)``.  Where ranks are processes, start the
same checks on all of them: ``mpirun -n 3 python -m distgrad plugins check mpi``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad.distributed.communication.communicator import Communicator

from .report import NotApplicable

__all__ = ["CommunicatorTrial", "METHODS"]

METHODS = ("Iallreduce", "Bcast", "Allgather", "Barrier", "Send", "Recv", "Dup", "Depart", "Abort", "Free")


@dataclasses.dataclass
class CommunicatorTrial:
    """A communicator's class, and the settings to check it by.

    Args:
        cls: the class; where it has ``run(size, function)``, that calls ``function()`` on so many ranks and returns
            the list of what they returned; else the checks are made on the ranks that there are.
        sizes: how many ranks ``run`` is asked for.
        comm: the constructor's argument.
        timeout: seconds that an operation may wait for other ranks.
        skip: names of checks that do not apply, each with the reason.
    """

    cls: type
    sizes: Sequence[int] = (1, 2, 3)
    comm: Any = None
    timeout: float = 20.0
    skip: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.cls, type) and Communicator in self.cls.__mro__):
            raise TypeError(f"a communicator is a subclass of {Communicator.__module__}.Communicator, got {self.cls!r}")
        missing = [m for m in METHODS if getattr(self.cls, m) is getattr(Communicator, m)]
        if missing:
            raise TypeError(f"{self.cls.__name__} lacks {', '.join(missing)}")

    @property
    def limit(self) -> float:
        """The seconds that a check may stand still."""
        return self.timeout + 5

    @property
    def can_be_left(self) -> bool:
        """Whether a check that stands still can be left: ranks are threads, which take no part in the next."""
        return hasattr(self.cls, "run")

    def note(self) -> str:
        """How it was checked."""
        if hasattr(self.cls, "run"):
            return f"on {', '.join(map(str, self.sizes))} ranks"
        comm = self.alone
        return f"rank {comm.rank} of {comm.size}" + ("" if comm.size > 2 else "; start it on 3 ranks or more")

    @functools.cached_property
    def alone(self) -> Any:
        """The communicator of this process, where ranks are processes."""
        made = self.cls(self.comm)
        made.timeout = self.timeout
        return made

    def on_ranks(self, function: Callable[[Any], Any], least: int = 1) -> None:
        """Call ``function(communicator)`` on every rank, for every number of ranks from ``least`` on."""
        run: Any = getattr(self.cls, "run", None)
        if run is None:
            if self.alone.size < least:
                raise NotApplicable(f"there is 1 rank, this needs {least}: start it on more, as with mpirun -n 3")
            function(self.alone)
            return

        def on_rank() -> None:
            comm = self.cls(self.comm)
            comm.timeout = self.timeout
            with np.errstate(all="ignore"):
                function(comm)
            comm.Barrier()
            comm.Free()

        for size in self.sizes:
            if size >= least:
                run(size, on_rank)

    def apart(self, function: Callable[[Any], Any], least: int = 1) -> None:
        """:meth:`on_ranks`, with a communicator of its own that nothing is done with afterwards."""
        run: Any = getattr(self.cls, "run", None)
        if run is None:
            if self.alone.size < least:
                raise NotApplicable(f"there is 1 rank, this needs {least}: start it on more, as with mpirun -n 3")
            comm = self.alone.Dup()
            comm.timeout = self.timeout
            function(comm)
            return

        def on_rank() -> None:
            comm = self.cls(self.comm)
            comm.timeout = self.timeout
            function(comm)

        for size in self.sizes:
            if size >= least:
                run(size, on_rank)
