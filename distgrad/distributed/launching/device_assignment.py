"""Which GPU is a rank's: the one of its number among the ranks that see the same GPUs."""

from __future__ import annotations

import os
import socket

from distgrad import backend
from distgrad.distributed.communication.communicator import Communicator

__all__ = ["choose_device", "leave_device", "take_device"]

# What launchers set to give each rank GPUs of its own, which it then counts from 0.
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def take_device(comm: Communicator) -> None:
    """Claim this rank's GPU; the claim is looked at when ``"cuda"`` is first asked for.  Collective."""
    if comm.size == 1:
        return
    if comm.per_thread:
        backend.claim_device(comm.local_rank, comm.local_size, per_thread=True)
        return
    nodes = comm.allgather([socket.gethostname(), *(os.environ.get(name) for name in _VISIBLE)])
    rivals = [rank for rank, node in enumerate(nodes) if node == nodes[comm.rank]]
    backend.claim_device(rivals.index(comm.rank), len(rivals))


def choose_device(wanted: int | str | backend.device) -> None:
    """Make the GPU ``wanted`` this rank's, whatever it has claimed.

    Raises:
        RuntimeError: there is no such GPU.
        ValueError: it is none.
    """
    where = backend.resolve(wanted)
    if where.type != "cuda":
        raise ValueError(f"device_id must be a GPU, such as 'cuda:0', got {wanted!r}")
    backend.choose_device(where)


def leave_device(comm: Communicator) -> None:
    """Forget the claim."""
    backend.release_device(comm.per_thread)
