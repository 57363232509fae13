"""Process groups and collectives under PyTorch's names; between the ranks lies a communicator plugin.

With one process every collective is a no-op, so one script runs everywhere.  :class:`DistributedDataParallel` is in
:mod:`distgrad.nn.parallel`.
"""

from __future__ import annotations

from distgrad.distributed.collectives import Work, all_gather, all_reduce, broadcast, reduce
from distgrad.distributed.communicator import Communicator, DistError, DistTimeoutError
from distgrad.distributed.process_group import (
    ProcessGroup,
    barrier,
    destroy_process_group,
    get_backend,
    get_local_rank,
    get_rank,
    get_world_size,
    init_process_group,
    is_available,
    is_initialized,
)
from distgrad.distributed.reduction import ReduceOp

__all__ = [
    "Communicator",
    "DistError",
    "DistTimeoutError",
    "ProcessGroup",
    "ReduceOp",
    "Work",
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "destroy_process_group",
    "get_backend",
    "get_local_rank",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_available",
    "is_initialized",
    "reduce",
]
