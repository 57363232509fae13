"""Process groups and collectives under PyTorch's names; between the ranks lies a communicator plugin.

With one process every collective is a no-op, so one script runs everywhere.  ``DistributedDataParallel`` is in
:mod:`distgrad.nn.parallel`.
"""

from __future__ import annotations

from typing import Any as _Any

from distgrad._names import absent as _absent
from distgrad.distributed.collectives.gather_scatter import (
    all_gather,
    all_gather_into_tensor,
    all_to_all,
    all_to_all_single,
    gather,
    reduce_scatter,
    reduce_scatter_tensor,
    scatter,
)
from distgrad.distributed.collectives.in_place import all_reduce, barrier, broadcast, monitored_barrier, reduce
from distgrad.distributed.collectives.objects import (
    all_gather_object,
    broadcast_object_list,
    gather_object,
    recv_object_list,
    scatter_object_list,
    send_object_list,
)
from distgrad.distributed.collectives.point_to_point import P2POp, batch_isend_irecv, irecv, isend, recv, send
from distgrad.distributed.collectives.work import Work
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.gradients.grad_bucket import GradBucket
from distgrad.distributed.process_groups.availability import (
    get_node_local_rank,
    is_backend_available,
    is_gloo_available,
    is_mpi_available,
    is_nccl_available,
    is_torchelastic_launched,
    is_ucc_available,
    is_xccl_available,
)
from distgrad.distributed.process_groups.default_group import (
    ProcessGroup,
    destroy_process_group,
    get_backend,
    get_local_rank,
    get_rank,
    get_world_size,
    init_process_group,
    is_available,
    is_initialized,
)
from distgrad.distributed.process_groups.subgroups import (
    GroupMember,
    get_global_rank,
    get_group_rank,
    get_process_group_ranks,
    group,
    new_group,
    new_subgroups,
    new_subgroups_by_enumeration,
)

__all__ = [
    "Communicator",
    "DistError",
    "DistTimeoutError",
    "GradBucket",
    "GroupMember",
    "P2POp",
    "ProcessGroup",
    "ReduceOp",
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "batch_isend_irecv",
    "broadcast",
    "broadcast_object_list",
    "destroy_process_group",
    "gather",
    "gather_object",
    "get_backend",
    "get_global_rank",
    "get_group_rank",
    "get_local_rank",
    "get_node_local_rank",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "irecv",
    "is_available",
    "is_backend_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "is_ucc_available",
    "is_xccl_available",
    "isend",
    "monitored_barrier",
    "new_group",
    "new_subgroups",
    "new_subgroups_by_enumeration",
    "recv",
    "recv_object_list",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
    "send",
    "send_object_list",
]


def __getattr__(name: str) -> _Any:
    if name.startswith("_"):  # probes of the interpreter and of tools
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise _absent(__name__, name, "collective, class or module", __all__)
