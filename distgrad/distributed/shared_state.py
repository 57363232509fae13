"""Optimizer state of which each rank of a node holds its part, and any rank may read the whole.

Each array lies in memory of its owner, who tells the others, in a table that all see, by which process and file
descriptor they find it.  Reading takes no part of the owner's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np

from distgrad.backend import Array
from distgrad.distributed.communicator import Communicator
from distgrad.distributed.node_memory import NodeMemory

__all__ = ["SharedState"]

_MOST = 256  # arrays that can be told of, over the life of a storage


class SharedState:
    """The state that optimizers keep for one storage.  Making it is collective.

    Args:
        comm: the ranks of this node.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        memory = NodeMemory.common(comm, comm.size * _MOST * 3 * 8)
        self._told = memory.bytes.view(np.int64).reshape(comm.size, _MOST, 3)  # process, file descriptor, elements
        self._arrays: list[tuple[weakref.ref[np.ndarray], NodeMemory]] = []

    def allocate(self, n: int, dtype: np.dtype) -> Array:
        """Zeroed memory that the other ranks find in :meth:`assemble`."""
        number = len(self._arrays)
        if number == _MOST:
            raise RuntimeError(f"more than {_MOST} arrays of optimizer state for the parameters of one model")
        memory = NodeMemory(max(n, 1) * dtype.itemsize)
        memory.take()
        array = memory.bytes.view(dtype)[:n]
        self._arrays.append((weakref.ref(array), memory))
        mine = self._told[self._comm.rank, number]
        mine[1:] = memory.handle[1], n
        mine[0] = memory.handle[0]  # last: it tells that the others are there
        return array

    def assemble(self, part: Array) -> Array:
        """All ranks' parts of the state of which ``part`` is this one's; the others need not take part."""
        number = next(k for k, (array, _) in enumerate(self._arrays) if array() is part)
        told, width = self._told[:, number], part.dtype.itemsize
        self._comm.Await(lambda: bool(told[:, 0].all()), "for the other ranks to have optimizer state")
        return np.concatenate(
            [
                part if r == self._comm.rank else NodeMemory(max(n, 1) * width, (pid, fd)).bytes.view(part.dtype)[:n]
                for r, (pid, fd, n) in enumerate(told.tolist())
            ]
        )

    def keep_open(self) -> Callable[[], bool]:
        """Hold on to this rank's part and to nothing else; the function returned tells whether it is still in use."""
        arrays = self._arrays
        return lambda: any(array() is not None for array, _ in arrays)
