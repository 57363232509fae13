"""Parameters that lie once in a node's memory, where what a rank writes to them itself is its own until a step.

Each rank sees them through a private mapping: it reads what all ranks share, and a write of its own, by whatever alias
it comes, copies the page (see :class:`~distgrad.distributed.shared_memory.region.PrivateView`).  At a step each rank
publishes its part of what it wrote, so what all ranks write alike happens once.
"""

from __future__ import annotations

import numpy as np

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.shared_memory.region import NodeMemory

__all__ = ["SharedParameters"]


class SharedParameters:
    """Memory for ``n`` numbers of ``dtype``, zero at first.  Making it is collective.

    Args:
        comm: the ranks; all of one node.

    Attributes:
        mine: the numbers as this rank sees them, its own writes included.
        common: as all see them; a write is everybody's.
    """

    def __init__(self, comm: Communicator, n: int, dtype: np.dtype) -> None:
        self._comm, self._width = comm, dtype.itemsize
        self._region = NodeMemory.common(comm, n * dtype.itemsize)
        self._view = self._region.private()
        self.mine: np.ndarray = self._view.bytes.view(dtype)
        self.common: np.ndarray = self._region.bytes.view(dtype)

    def begin(self) -> None:
        """Everybody's are from here on what the first rank has written.  Collective."""
        if self._comm.rank == 0:
            self.common[...] = self.mine
            self._region.forget()  # of it all, of which this rank will write its part: memory is told by who maps it
        self._comm.Barrier()
        self.drop()

    def written(self) -> list[tuple[int, int]]:
        """The runs of bytes, as (first, behind last), that this rank may have written to since :meth:`drop`."""
        return self._view.written()

    def publish(self, written: list[tuple[int, int]], lo: int, hi: int) -> None:
        """Make what this rank wrote to numbers ``lo`` to ``hi - 1`` everybody's."""
        for first, last in written:
            part = slice(max(first, lo * self._width), min(last, hi * self._width))
            if part.start < part.stop:
                self._region.bytes[part] = self._view.bytes[part]

    def keep(self) -> None:
        """Have the numbers be this process's own from now on, as it sees them."""
        self._view.keep()

    def drop(self) -> None:
        """Forget this rank's own writes: see again what all ranks share."""
        self._view.drop()
